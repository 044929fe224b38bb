"""Every unit and gate of every layer, after every character of a text.

Row t of a trace is what the network holds once it has read character t. The numbers come out of the same
step equations that write text; nothing is recomputed or hooked.

Letters: T characters, L layers, H hidden units.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charlm.errors import ConfigError, TextError
from charlm.models.recurrent import RecurrentModel
from charlm.text.vocabulary import Ids


@dataclass(frozen=True)
class Unit:
    """One number to watch: the signal of a unit in a layer; layers and units count from 0."""

    signal: str
    layer: int
    index: int

    def __str__(self) -> str:
        return f"{self.signal} {self.layer}:{self.index}"


@dataclass(frozen=True)
class Trace:
    """The activity of a model over one text, from a fresh state."""

    ids: Ids  # (T,)
    signals: dict[str, NDArray[np.float32]]  # each (T, L, H)

    def over_time(self, unit: Unit) -> NDArray[np.float32]:
        """Return one unit's signal after each character, (T,)."""
        return self.signals[unit.signal][:, unit.layer, unit.index]

    def units(self, signal: str) -> list[Unit]:
        """Return every unit of a signal, layer by layer."""
        _, layers, size = self.signals[signal].shape
        return [Unit(signal, layer, index) for layer in range(layers) for index in range(size)]

    def most_varying(self, signal: str, count: int) -> list[Unit]:
        """Return the ``count`` units whose signal varies most over the text, the liveliest first."""
        units = self.units(signal)
        spread = self.signals[signal].var(axis=0, dtype=np.float64).ravel()  # (L·H,), in the order of units
        return [units[place] for place in np.argsort(-spread, kind="stable")[:count]]


def trace(model: RecurrentModel, ids: Ids, signals: Sequence[str] | None = None) -> Trace:
    """Read ids (T,) from a fresh state and keep ``signals`` (all of the cell's by default).

    Raises TextError for an empty text, and ConfigError for a signal that the cell does not have.
    """
    signals = model.cell.signals if signals is None else signals
    for signal in signals:
        if signal not in model.cell.signals:
            raise ConfigError(
                f"--signal {signal}: a {model.config.kind} has no such signal, only {', '.join(model.cell.signals)}."
            )
    if len(ids) == 0:
        raise TextError("there is no text to read: it is empty. Give some with --text or --file.")
    shape = (len(ids), model.config.num_layers, model.config.hidden_size)
    kept = {signal: np.empty(shape, np.float32) for signal in signals}
    state = model.start(1)
    for t in range(len(ids)):
        state = model.advance(ids[t : t + 1], state)
        for signal, rows in kept.items():
            for layer, activations in enumerate(state):
                rows[t, layer] = activations[signal][0]
    return Trace(ids, kept)
