"""The kinds of models, one row a kind: what each consists of, reads, shows and is called.

A new recurrent cell needs its row here, its class in `charlm.models.cells` and its name in the setting ``model.kind``.
Without a kernel of torch's it trains through a plain loop over its class. Everything else reads this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Signal:
    """Something that a recurrent cell computes at each character, one number a hidden unit."""

    name: str
    words: str
    """What it is, in a sentence or two."""
    limits: tuple[float, float] | None = None
    """The range that it never leaves; None: nothing bounds it. A relu in place of a tanh takes it away."""
    is_gate: bool = False
    """Whether it says how much of something passes, from 0, none, to 1, all."""


@dataclass(frozen=True)
class Architecture:
    """One kind of model."""

    kind: str
    """Its name as the setting ``model.kind``."""
    name: str
    """Its name for people."""
    article: str
    """The word before the name."""
    settings: tuple[str, ...]
    """The settings of section ``model``, beside ``kind``, that it reads."""
    signals: tuple[Signal, ...] = ()
    """What its cell computes; empty where the model is no recurrent network."""
    memory: tuple[str, ...] = ()
    """The signals that the next step needs, the hidden state first."""
    blocks: int = 0
    """Blocks of H rows in the weight matrices."""
    block_apart: int | None = None
    """The block whose recurrent bias cannot be added to the input's: it stands inside a product with a gate."""
    block_open: int | None = None
    """The block of the gate that begins open, its bias at 1, so that gradients flow from the first step."""
    kernel: str | None = None
    """The class of torch.nn that computes it in one call; None: there is none, and a plain loop over the cell does."""

    @property
    def is_recurrent(self) -> bool:
        """Whether it is a network with hidden units, which is trained by gradients; others are counted."""
        return bool(self.signals)

    @property
    def signal_names(self) -> tuple[str, ...]:
        """The name of each signal."""
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


_SIZES = ("hidden_size", "num_layers", "embedding_size", "dropout")
_HIDDEN = Signal(
    "hidden",
    "The hidden state is what a unit shows: to the layer above or the guess, and to its own layer one character later.",
    (-1.0, 1.0),
)
_ROWS = (
    Architecture(
        kind="rnn",
        name="RNN",
        article="an",
        settings=(*_SIZES, "nonlinearity"),
        signals=(_HIDDEN,),
        memory=("hidden",),
        blocks=1,
        kernel="RNN",
    ),
    Architecture(
        kind="lstm",
        name="LSTM",
        article="an",
        settings=_SIZES,
        signals=(
            _HIDDEN,
            Signal(
                "cell",
                "The cell state is an LSTM's memory: at each character the forget gate keeps a part of it and the "
                "input gate adds to it. Nothing bounds it.",
            ),
            _gate(
                "input",
                "The input gate decides how much of the candidate is written into the cell: 0 is nothing, 1 all of it.",
            ),
            _gate(
                "forget",
                "The forget gate decides how much of the old cell state stays: 1 remembers all of it, 0 forgets it.",
            ),
            Signal(
                "candidate",
                "The candidate is what would be written into the cell; the input gate decides how much of it is.",
                (-1.0, 1.0),
            ),
            _gate(
                "output",
                "The output gate decides how much of the cell is shown as the hidden state: 0 is nothing, 1 all of it.",
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
        settings=_SIZES,
        signals=(
            _HIDDEN,
            _gate(
                "reset",
                "The reset gate decides how much of the past hidden state the candidate sees: 0 is nothing, 1 all "
                "of it.",
            ),
            _gate(
                "update",
                "The update gate decides how much of the past hidden state stays: 1 keeps it, 0 puts the candidate in "
                "its place.",
            ),
            Signal(
                "candidate",
                "The candidate is what the hidden state would become; the update gate decides how far.",
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
"""Every kind of model by the name that the setting ``model.kind`` gives it."""


def readers_of(setting: str) -> list[str]:
    """Return the kinds that read a setting of section ``model``."""
    return [row.kind for row in ARCHITECTURES.values() if setting == "kind" or setting in row.settings]


def recurrent_kinds() -> str:
    """Return the kinds that are recurrent networks, as a sentence names them: a, b or c."""
    *others, last = (row.kind for row in ARCHITECTURES.values() if row.is_recurrent)
    return f"{', '.join(others)} or {last}" if others else last
