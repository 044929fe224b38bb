"""Correlation of units with patterns, and a test whether it exceeds chance.

Among thousands of units, some correlate with any pattern by chance. So the text is split in two: units are ranked by
their correlation r with the pattern on the first half and tested by r on the second, held-out half. The null
distribution is made by circular shifts of the pattern over the held-out half, by more than its autocorrelation time.
For every shift the maximum |r| over *all* units is taken, which corrects for multiple comparisons (a max-statistic
permutation test, Westfall & Young 1993); a unit below the null's 95th percentile is not significant.

Everything is computed from running sums over pieces of the text, so only the pattern itself takes memory proportional
to the text.

Letters: T characters, K units, S shifts, C columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charlm.errors import TextError
from charlm.inspection.patterns import Values
from charlm.inspection.trace import Trace, TraceSelection, Unit, pieces
from charlm.models.recurrent import RecurrentModel
from charlm.text.vocabulary import Ids

SHIFTS = 200
"""Number of circular shifts in the null distribution."""

_PIECE = 1024
"""Characters whose activity is in memory at a time."""
_RANKED = 10_000
"""Maximum number of held-out characters for the AUC; of a longer text every n-th is used."""
_INDEPENDENT = 20
"""The range of shifts must be this many times the pattern's autocorrelation time, so that they are independent."""
_FORGOTTEN = 0.1
"""Autocorrelation below which a pattern counts as uncorrelated with itself."""
_SHORTEST_SHIFT = 100
_DEAD = 1e-6
"""Standard deviation below which a unit counts as constant."""


@dataclass(frozen=True)
class Finding:
    """The correlation of one unit with one pattern."""

    unit: Unit
    train: float
    """Correlation on the first half of the text, by which units are ranked."""
    held_out: float
    """Correlation on the second half."""
    auc: float | None
    """Area under the ROC curve: the probability that the unit is higher inside the pattern than outside; None where
    the pattern is not binary, or too rare."""
    null95: float
    """95th percentile, under the null, of the maximum |correlation| of all units on the held-out half."""

    @property
    def beats_null(self) -> bool:
        """Whether the held-out correlation is significant and has the same sign on both halves."""
        return abs(self.held_out) > self.null95 and self.train * self.held_out > 0


def find(
    model: RecurrentModel,
    ids: Ids,
    patterns: Mapping[str, Values],
    selection: TraceSelection | None = None,
    seed: int = 0,
) -> dict[str, list[Finding]]:
    """Return for each pattern the findings of all units, highest |correlation| on the first half first.

    A pattern is left out if it is constant on one of the halves, or varies too slowly for a null distribution on this
    text. Raises TextError when none is left for that reason.
    """
    middle = len(ids) // 2
    halves = {name: (values[:middle], values[middle:]) for name, values in patterns.items()}
    moving = {name: parts for name, parts in halves.items() if all(len(part) and np.ptp(part) > 0 for part in parts)}
    shifts = _shifts_of({name: parts[1] for name, parts in moving.items()}, np.random.default_rng(seed))
    moving = {name: moving[name] for name in shifts}
    first = _Sums({name: (parts[0], np.zeros(1, np.int64)) for name, parts in moving.items()}, middle)
    second = _Sums({name: (parts[1], shifts[name]) for name, parts in moving.items()}, len(ids) - middle)
    units: list[Unit] = []
    kept: list[NDArray[np.float32]] = []
    every = max(-(-(len(ids) - middle) // _RANKED), 1)
    for traced in pieces(model, ids, selection or TraceSelection(), _PIECE):
        units = units or [unit for signal in traced.signals for unit in traced.units(signal)]
        activity = _flat(traced)  # (T, K)
        rest = max(middle - first.read, 0)
        first.add(activity[:rest])
        kept.append(activity[rest:][-second.read % every :: every].copy())  # a view would keep the piece in memory
        second.add(activity[rest:])
    on = {name: parts[1][::every] > 0 for name, parts in moving.items() if set(np.unique(parts[1])) <= {0, 1}}
    areas = _areas(np.concatenate(kept), on) if on else {}
    return {
        name: _ranked(units, first.correlations(name), second.correlations(name), areas.get(name)) for name in moving
    }


class _Sums:
    """Running sums for correlations, over one half of the text, with patterns (T,) under their shifts (S,)."""

    def __init__(self, columns: Mapping[str, tuple[Values, NDArray[np.int64]]], length: int) -> None:
        self._columns = {
            name: ((values - values.mean()) / values.std(), shifts) for name, (values, shifts) in columns.items()
        }
        self._length = length
        self._centre: NDArray[np.float32] | None = None
        self._sum = self._squares = np.zeros(0)
        self._products: dict[str, NDArray[np.float64]] = {}
        self.read = 0
        """Number of characters added so far."""

    def add(self, activity: NDArray[np.float32]) -> None:
        """Add the activity (T, K) of the next characters."""
        if not len(activity):
            return
        if self._centre is None:  # near the mean, so that float32 products keep their precision
            self._centre = activity.mean(axis=0)
            self._sum = self._squares = np.zeros(activity.shape[1])
        centred = activity - self._centre
        self._sum = self._sum + centred.sum(axis=0, dtype=np.float64)
        self._squares = self._squares + np.square(centred, dtype=np.float64).sum(axis=0)
        here = np.arange(self.read, self.read + len(activity))
        for name, (values, shifts) in self._columns.items():
            shifted = values[(here[:, None] + shifts) % self._length]  # (T, S)
            self._products[name] = self._products.get(name, 0) + (centred.T @ shifted).astype(np.float64)
        self.read += len(activity)

    def correlations(self, name: str) -> NDArray[np.float64]:
        """Return r (K, S) of every unit with the pattern under every shift; 0 for constant units."""
        variance = self._squares / self.read - (self._sum / self.read) ** 2
        spread = np.sqrt(np.maximum(variance, 0))  # (K,)
        alive = spread > _DEAD
        r = np.zeros_like(self._products[name])
        r[alive] = self._products[name][alive] / (self.read * spread[alive, None])
        return r


def _shifts_of(patterns: Mapping[str, Values], random: np.random.Generator) -> dict[str, NDArray[np.int64]]:
    """Return the shifts of each pattern that varies fast enough; raises TextError when none does."""
    shifts, too_slow = {}, []
    for name, values in patterns.items():
        try:
            shifts[name] = _draw_shifts(values, random, name)
        except TextError as error:
            too_slow.append(error)
    if too_slow and not shifts:
        raise too_slow[0]
    return shifts


def _draw_shifts(values: Values, random: np.random.Generator, name: str) -> NDArray[np.int64]:
    """Return 0 and `SHIFTS` random shifts, each longer than the autocorrelation time in both directions."""
    memory = _memory(values)
    shortest = max(2 * memory, _SHORTEST_SHIFT)
    spread = max(SHIFTS, _INDEPENDENT * memory)
    possible = np.arange(shortest, len(values) - shortest + 1)
    if len(possible) < spread:
        raise TextError(
            f"the text is too short to test {name} against chance: half of it has {len(values):,} characters, and "
            f"this pattern varies so slowly that {2 * shortest + spread:,} are needed.",
            "Use a longer text.",
            field="pattern",
        )
    return np.concatenate([[0], random.choice(possible, SHIFTS, replace=False)])


def _memory(values: Values) -> int:
    """Return the pattern's autocorrelation time: the first lag at which its autocorrelation is below `_FORGOTTEN`."""
    centred = values - values.mean()
    power = np.abs(np.fft.rfft(centred.astype(np.float64), 2 * len(values))) ** 2
    correlation = np.fft.irfft(power)[: len(values)]
    forgotten = correlation < _FORGOTTEN * correlation[0]
    return int(forgotten.argmax()) if forgotten.any() else len(values)


def _areas(activity: NDArray[np.float32], on: Mapping[str, NDArray[np.bool_]]) -> dict[str, NDArray[np.float64]]:
    """Return the area under the ROC curve (K,) of the units of activity (T, K) for each binary pattern (T,).

    It is the fraction of pairs of positions, one inside and one outside, in which the unit is higher inside; ties
    count half.
    """
    ranks = np.empty(activity.shape, np.float64)
    for place, values in enumerate(activity.T):
        ordered = np.sort(values)
        ranks[:, place] = (np.searchsorted(ordered, values) + np.searchsorted(ordered, values, "right") + 1) / 2
    areas = {}
    for name, marks in on.items():
        inside, outside = int(marks.sum()), int((~marks).sum())
        if inside and outside:
            areas[name] = (ranks[marks].sum(axis=0) - inside * (inside + 1) / 2) / (inside * outside)
    return areas


def _flat(traced: Trace) -> NDArray[np.float32]:
    """Return the signals of all units as columns, (T, K), in the order of `Trace.units`."""
    return np.concatenate([rows.reshape(len(rows), -1) for rows in traced.signals.values()], axis=1)


def _ranked(
    units: Sequence[Unit],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    area: NDArray[np.float64] | None,
) -> list[Finding]:
    """Return the findings of one pattern from r on both halves, (K, 1) and (K, 1 + S)."""
    null95 = float(np.quantile(np.abs(second[:, 1:]).max(axis=0), 0.95, method="higher"))
    return [
        Finding(
            unit=units[place],
            train=float(first[place, 0]),
            held_out=float(second[place, 0]),
            auc=None if area is None else float(area[place]),
            null95=null95,
        )
        for place in np.argsort(-np.abs(first[:, 0]), kind="stable")
    ]
