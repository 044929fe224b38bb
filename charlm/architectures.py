"""The table of architectures: names, settings, signals and weight layout of each kind of model.

A new recurrent cell needs a row here, a class in `charlm.models.cells` and its name in the setting ``model.kind``.
Without a kernel in torch it is trained by a plain loop over its class. All other code reads this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Signal:
    """A quantity that a recurrent cell computes at each character, one number per hidden unit."""

    name: str
    words: str
    """Its description, in a sentence or two."""
    limits: tuple[float, float] | None = None
    """Its bounds; None if it is unbounded. With relu in place of tanh, the hidden state of an rnn is unbounded, too."""
    is_gate: bool = False
    """Whether it is a gate, with values from 0 (shut) to 1 (open)."""


@dataclass(frozen=True)
class Architecture:
    """A kind of model."""

    kind: str
    """Its value of the setting ``model.kind``."""
    name: str
    """Its name in text."""
    article: str
    """The indefinite article of the name."""
    settings: tuple[str, ...]
    """The settings of section ``model`` that it uses, besides ``kind``."""
    signals: tuple[Signal, ...] = ()
    """The signals of its cell; empty for a model that is not a recurrent network."""
    memory: tuple[str, ...] = ()
    """The signals that the next step needs, the hidden state first."""
    blocks: int = 0
    """Number of blocks of H rows in the weight matrices."""
    block_apart: int | None = None
    """The block whose recurrent bias cannot be added to the input bias, because it is multiplied by a gate."""
    block_open: int | None = None
    """The block of the gate whose bias is initialized to 1, so that gradients flow from the first step."""
    kernel: str | None = None
    """The class of torch.nn with a fused kernel for it; None: it is trained by a plain loop over the cell."""

    @property
    def is_recurrent(self) -> bool:
        """Whether it is a recurrent network, trained by gradient descent; other models are counted."""
        return bool(self.signals)

    @property
    def signal_names(self) -> tuple[str, ...]:
        """The names of the signals."""
        return tuple(signal.name for signal in self.signals)

    @property
    def gates(self) -> tuple[str, ...]:
        """The names of the signals that are gates."""
        return tuple(signal.name for signal in self.signals if signal.is_gate)

    def signal(self, name: str) -> Signal:
        """Return the signal of this name; raises KeyError when there is none."""
        return {signal.name: signal for signal in self.signals}[name]


def _gate(name: str, words: str) -> Signal:
    return Signal(name, words, (0.0, 1.0), is_gate=True)


_SIZES = ("hidden_size", "num_layers", "embedding_size")
_DROPPED = ("dropout", "weight_dropout", "locked_dropout", "input_dropout")
_HIDDEN = Signal(
    "hidden",
    "The hidden state is a unit's output: to the layer above or the read-out, and to its own layer at the next "
    "character.",
    (-1.0, 1.0),
)
_ROWS = (
    Architecture(
        kind="rnn",
        name="RNN",
        article="an",
        settings=(*_SIZES, *_DROPPED, "nonlinearity"),
        signals=(_HIDDEN,),
        memory=("hidden",),
        blocks=1,
        kernel="RNN",
    ),
    Architecture(
        kind="lstm",
        name="LSTM",
        article="an",
        settings=(*_SIZES, *_DROPPED),
        signals=(
            _HIDDEN,
            Signal(
                "cell",
                "The cell state is an LSTM's memory: at each character the forget gate keeps a part of it and the "
                "input gate adds to it. It is unbounded.",
            ),
            _gate(
                "input",
                "The input gate decides how much of the candidate is added to the cell state: 0 none of it, 1 all.",
            ),
            _gate(
                "forget",
                "The forget gate decides how much of the previous cell state is kept: 0 none of it, 1 all.",
            ),
            Signal(
                "candidate",
                "The candidate is the new content for the cell state; the input gate decides how much of it is added.",
                (-1.0, 1.0),
            ),
            _gate(
                "output",
                "The output gate decides how much of the cell state becomes the hidden state: 0 none of it, 1 all.",
            ),
        ),
        memory=("hidden", "cell"),
        blocks=4,
        block_open=1,
        kernel="LSTM",
    ),
    Architecture(
        kind="gru",
        name="GRU",
        article="a",
        settings=(*_SIZES, *_DROPPED),
        signals=(
            _HIDDEN,
            _gate(
                "reset",
                "The reset gate decides how much of the previous hidden state enters the candidate: 0 none of it, 1 "
                "all.",
            ),
            _gate(
                "update",
                "The update gate decides how much of the previous hidden state is kept: 1 keeps all of it, 0 replaces "
                "it by the candidate.",
            ),
            Signal(
                "candidate",
                "The candidate is the proposed new hidden state; the update gate decides how much of it is used.",
                (-1.0, 1.0),
            ),
        ),
        memory=("hidden",),
        blocks=3,
        block_apart=2,
        kernel="GRU",
    ),
    Architecture(kind="markov", name="Markov model", article="a", settings=("order",)),
)

ARCHITECTURES: Mapping[str, Architecture] = {row.kind: row for row in _ROWS}
"""All kinds of models by their value of the setting ``model.kind``."""


def readers_of(setting: str) -> list[str]:
    """Return the kinds of models that use a setting of section ``model``."""
    return [row.kind for row in ARCHITECTURES.values() if setting == "kind" or setting in row.settings]


def recurrent_kinds() -> str:
    """Return the kinds of recurrent networks as a phrase: "a, b or c"."""
    *others, last = (row.kind for row in ARCHITECTURES.values() if row.is_recurrent)
    return f"{', '.join(others)} or {last}" if others else last
