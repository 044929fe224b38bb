"""Traces: the signals of all units of all layers after every character of a text.

Row t of a trace has the signals after reading character t. They are computed by the same step equations as in
sampling.

Letters: T characters, L layers, H hidden units.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charlm.errors import ConfigError, TextError
from charlm.models.recurrent import RecurrentModel
from charlm.models.threads import computing
from charlm.text.vocabulary import Ids


@dataclass(frozen=True)
class Unit:
    """A unit of a trace: signal, layer and index; layers and indices count from 0."""

    signal: str
    layer: int
    index: int

    def __str__(self) -> str:
        return f"{self.signal} {self.layer}:{self.index}"


@dataclass(frozen=True)
class Trace:
    """The signals of a model over one text, from a zero state."""

    ids: Ids  # (T,)
    signals: dict[str, NDArray[np.float32]]  # each (T, L, H)
    only: tuple[int, ...] = ()
    """The traced layers; empty means all."""

    @property
    def layers(self) -> tuple[int, ...]:
        """The numbers of the traced layers."""
        return self.only or tuple(range(next(iter(self.signals.values())).shape[1]))

    def over_time(self, unit: Unit) -> NDArray[np.float32]:
        """Return one unit's signal after each character, (T,)."""
        return self.signals[unit.signal][:, self.layers.index(unit.layer), unit.index]

    def units(self, signal: str) -> list[Unit]:
        """Return all units of a signal, layer by layer."""
        size = self.signals[signal].shape[2]
        return [Unit(signal, layer, index) for layer in self.layers for index in range(size)]

    def most_varying(self, signal: str, count: int) -> list[Unit]:
        """Return the ``count`` units whose signal has the largest variance over the text, largest first."""
        units = self.units(signal)
        spread = self.signals[signal].var(axis=0, dtype=np.float64).ravel()  # (L·H,), in the order of units
        return [units[place] for place in np.argsort(-spread, kind="stable")[:count]]


@dataclass(frozen=True)
class TraceSelection:
    """The signals and layers to trace; None means all."""

    signals: Sequence[str] | None = None
    layers: Sequence[int] | None = None

    def check(self, model: RecurrentModel) -> "tuple[tuple[str, ...], tuple[int, ...]]":
        """Return the signals and layers to trace; raises ConfigError for those that the model does not have."""
        names = tuple(model.cell.signals if self.signals is None else self.signals)
        for name in names:
            if name not in model.cell.signals:
                raise ConfigError(
                    f"{name} is not a signal of this {model.config.kind}, which has {', '.join(model.cell.signals)}.",
                    field="signals",
                )
        layers = tuple(range(model.config.num_layers) if self.layers is None else sorted(set(self.layers)))
        for layer in layers:
            if not 0 <= layer < model.config.num_layers:
                raise ConfigError(f"{layer}: {layers_of(model.config.num_layers)}.", field="layers")
        return names, layers


def layers_of(count: int) -> str:
    """Return a clause that states the layers of a model with ``count`` layers."""
    return "this model has one layer, 0" if count == 1 else f"this model has layers 0 to {count - 1}"


def trace(
    model: RecurrentModel, ids: Ids, signals: Sequence[str] | None = None, layers: Sequence[int] | None = None
) -> Trace:
    """Return the trace of ids (T,) from a zero state, with ``signals`` and ``layers`` (all by default).

    Raises TextError for an empty text, and ConfigError for a signal or layer that the model does not have.
    """
    if len(ids) == 0:
        raise TextError(
            "must not be empty.",
            "Give at least one character.",
            field="text",
            kind="empty text",
        )
    (whole,) = pieces(model, ids, TraceSelection(signals, layers), len(ids))
    return whole


def pieces(model: RecurrentModel, ids: Ids, selection: TraceSelection, length: int) -> Iterator[Trace]:
    """Yield the trace of ids (T,) in pieces of ``length`` characters, to limit memory for a long text.

    Raises ConfigError for a signal or layer that the model does not have.
    """
    names, layers = selection.check(model)
    return _pieces(model, ids, names, layers, length)


def _pieces(
    model: RecurrentModel, ids: Ids, names: tuple[str, ...], layers: tuple[int, ...], length: int
) -> Iterator[Trace]:
    state = model.start(1)
    for start in range(0, len(ids), length):
        piece = ids[start : start + length]
        shape = (len(piece), len(layers), model.config.hidden_size)
        kept = {name: np.empty(shape, np.float32) for name in names}
        with computing(1):
            for t in range(len(piece)):
                state = model.advance(piece[t : t + 1], state)
                for name, rows in kept.items():
                    for place, layer in enumerate(layers):
                        rows[t, place] = state[layer][name][0]
        yield Trace(piece, kept, layers)
