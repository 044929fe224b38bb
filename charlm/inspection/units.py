"""Which unit follows which pattern, and whether that is more than luck.

Among thousands of units one will always look as if it followed something. So the text is cut in two: units are
ranked by their correlation r with the pattern on the first half and judged by r on the second, against a null that
knows nothing: the pattern shifted round the second half by more than its own memory. Under every shift the best |r|
of *all* the units compared is taken, so that choosing among many is paid for (a max-statistic permutation test,
Westfall & Young 1993); a unit that stays below the null's 95 % level follows nothing.

All is made of running sums over pieces of the text, so memory does not grow with it but for the pattern itself.

Letters: T characters, K units, S shifts, C columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charlm.errors import TextError
from charlm.inspection.patterns import Values
from charlm.inspection.trace import Trace, Unit, Watched, pieces
from charlm.models.recurrent import RecurrentModel
from charlm.text.vocabulary import Ids

SHIFTS = 200
"""Circular shifts that make the null."""

_PIECE = 1024
"""Characters whose activity is held at a time."""
_BINS = 256
"""Steps in which activity is counted for the AUC."""
_FORGOTTEN = 0.1
"""Autocorrelation below which a pattern has forgotten where it was."""
_SHORTEST_SHIFT = 100
_DEAD = 1e-6
"""Standard deviation below which a unit never moves."""


@dataclass(frozen=True)
class Finding:
    """How well one unit follows one pattern."""

    unit: Unit
    train: float
    """Correlation on the half of the text that units are ranked on."""
    held_out: float
    """Correlation on the other half."""
    auc: float | None
    """Chance that the unit is higher where the pattern is on than where it is off; None where it is no yes or no."""
    null95: float
    """What the best of all units reaches on the held-out half by luck, in 95 of 100 cases at most."""

    @property
    def beats_null(self) -> bool:
        """Whether it follows the pattern by more than luck, and in the same direction on both halves."""
        return abs(self.held_out) > self.null95 and self.train * self.held_out > 0


def find(
    model: RecurrentModel, ids: Ids, patterns: Mapping[str, Values], watched: Watched | None = None, seed: int = 0
) -> dict[str, list[Finding]]:
    """Return for each pattern how every unit follows it, best on the first half first.

    A pattern that never changes in one of the halves is left out. Raises TextError when the text is too short for
    the null of some pattern.
    """
    middle = len(ids) // 2
    halves = {name: (values[:middle], values[middle:]) for name, values in patterns.items()}
    moving = {name: parts for name, parts in halves.items() if all(len(part) and np.ptp(part) > 0 for part in parts)}
    random = np.random.default_rng(seed)
    shifts = {name: _draw_shifts(parts[1], random, name) for name, parts in moving.items()}
    first = _Sums({name: (parts[0], np.zeros(1, np.int64)) for name, parts in moving.items()}, middle)
    second = _Sums({name: (parts[1], shifts[name]) for name, parts in moving.items()}, len(ids) - middle)
    units: list[Unit] = []
    for traced in pieces(model, ids, watched or Watched(), _PIECE):
        units = units or [unit for signal in traced.signals for unit in traced.units(signal)]
        activity = _flat(traced)  # (T, K)
        rest = max(middle - first.read, 0)
        first.add(activity[:rest])
        second.add(activity[rest:])
    return {name: _ranked(units, first, second, name) for name in moving}


class _Sums:
    """What correlations and AUCs are made of, for one half of the text and patterns (T,) under their shifts (S,)."""

    def __init__(self, columns: Mapping[str, tuple[Values, NDArray[np.int64]]], length: int) -> None:
        self._columns = {
            name: ((values - values.mean()) / values.std(), shifts) for name, (values, shifts) in columns.items()
        }
        self._marks = {name: values > 0 for name, (values, _) in columns.items() if set(np.unique(values)) <= {0, 1}}
        self._length = length
        self._centre: NDArray[np.float32] | None = None
        self._sum = self._squares = np.zeros(0)
        self._products: dict[str, NDArray[np.float64]] = {}
        self._counts: dict[str, NDArray[np.int64]] = {}
        self.read = 0
        """Characters counted so far."""

    def add(self, activity: NDArray[np.float32]) -> None:
        """Count the activity (T, K) of the next characters."""
        if not len(activity):
            return
        if self._centre is None:  # near the mean, so that float32 products lose nothing
            self._centre = activity.mean(axis=0)
            self._sum = self._squares = np.zeros(activity.shape[1])
        centred = activity - self._centre
        self._sum = self._sum + centred.sum(axis=0, dtype=np.float64)
        self._squares = self._squares + np.square(centred, dtype=np.float64).sum(axis=0)
        here = np.arange(self.read, self.read + len(activity))
        for name, (values, shifts) in self._columns.items():
            shifted = values[(here[:, None] + shifts) % self._length]  # (T, S)
            self._products[name] = self._products.get(name, 0) + (centred.T @ shifted).astype(np.float64)
        self._count(activity, here)
        self.read += len(activity)

    def correlations(self, name: str) -> NDArray[np.float64]:
        """Return r (K, S) of every unit with the pattern under every shift; 0 for units that never move."""
        variance = self._squares / self.read - (self._sum / self.read) ** 2
        spread = np.sqrt(np.maximum(variance, 0))  # (K,)
        alive = spread > _DEAD
        r = np.zeros_like(self._products[name])
        r[alive] = self._products[name][alive] / (self.read * spread[alive, None])
        return r

    def auc(self, name: str) -> NDArray[np.float64] | None:
        """Return the area under the ROC curve (K,) where the pattern is a yes or no; ties count half."""
        if name not in self._marks:
            return None
        everywhere, on = self._counts[""], self._counts[name]  # each (K, bins)
        off = everywhere - on
        below = off.cumsum(axis=1) - off
        area: NDArray[np.float64] = (on * (below + 0.5 * off)).sum(axis=1) / (on.sum(axis=1) * off.sum(axis=1))
        return area

    def _count(self, activity: NDArray[np.float32], here: NDArray[np.int64]) -> None:
        """Count how often each unit stood how high, everywhere and where each yes-or-no pattern is on."""
        if not self._marks:
            return
        units = activity.shape[1]
        height = activity / (1 + np.abs(activity))  # anything → −1 to 1, in the same order
        bins = ((height + 1) * (_BINS / 2)).astype(np.int64).clip(0, _BINS - 1) + np.arange(units) * _BINS  # (T, K)
        chosen = {"": slice(None)} | {name: marks[here] for name, marks in self._marks.items()}
        for name, rows in chosen.items():
            counts = np.bincount(bins[rows].ravel(), minlength=units * _BINS).reshape(units, _BINS)
            self._counts[name] = self._counts.get(name, 0) + counts


def _draw_shifts(values: Values, random: np.random.Generator, name: str) -> NDArray[np.int64]:
    """Return 0 and `SHIFTS` others, each longer than the pattern's own memory either way round."""
    shortest = max(2 * _memory(values), _SHORTEST_SHIFT)
    possible = np.arange(shortest, len(values) - shortest + 1)
    if len(possible) < SHIFTS:
        raise TextError(
            f"--find {name}: the text is too short to tell this pattern from luck. Half of it has {len(values):,} "
            f"characters; as long as the pattern lasts, {2 * shortest + SHIFTS:,} are needed. Use a longer text."
        )
    return np.concatenate([[0], random.choice(possible, SHIFTS, replace=False)])


def _memory(values: Values) -> int:
    """Return after how many characters the pattern has forgotten where it was, by its autocorrelation."""
    centred = values - values.mean()
    power = np.abs(np.fft.rfft(centred.astype(np.float64), 2 * len(values))) ** 2
    correlation = np.fft.irfft(power)[: len(values)]
    forgotten = correlation < _FORGOTTEN * correlation[0]
    return int(forgotten.argmax()) if forgotten.any() else len(values)


def _flat(traced: Trace) -> NDArray[np.float32]:
    """Return all signals of all units side by side, (T, K), in the order of `Trace.units`."""
    return np.concatenate([rows.reshape(len(rows), -1) for rows in traced.signals.values()], axis=1)


def _ranked(units: Sequence[Unit], first: _Sums, second: _Sums, name: str) -> list[Finding]:
    train, held_out = first.correlations(name)[:, 0], second.correlations(name)  # (K,), (K, 1 + S)
    null95 = float(np.quantile(np.abs(held_out[:, 1:]).max(axis=0), 0.95, method="higher"))
    auc = second.auc(name)
    return [
        Finding(
            unit=units[place],
            train=float(train[place]),
            held_out=float(held_out[place, 0]),
            auc=None if auc is None else float(auc[place]),
            null95=null95,
        )
        for place in np.argsort(-np.abs(train), kind="stable")
    ]
