"""Which unit follows which pattern, and whether that is more than chance.

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
from charlm.inspection.trace import Trace, TraceSelection, Unit, pieces
from charlm.models.recurrent import RecurrentModel
from charlm.text.vocabulary import Ids

SHIFTS = 200
"""Circular shifts that make the null."""

_PIECE = 1024
"""Characters whose activity is held at a time."""
_RANKED = 10_000
"""Characters of the held-out half, at most, that are put in order for the AUC; of a longer one every n-th."""
_INDEPENDENT = 20
"""Times the pattern's memory that the shifts must spread over: fewer would all say the same."""
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
    """Chance that the unit is higher where the pattern is on than where it is off; None where it is not a yes or no, or
    too rare to be counted."""
    null95: float
    """What the best of all units reaches on the held-out half by chance, in 95 of 100 cases at most."""

    @property
    def beats_null(self) -> bool:
        """Whether it follows the pattern more than chance explains, and in the same direction on both halves."""
        return abs(self.held_out) > self.null95 and self.train * self.held_out > 0


def find(
    model: RecurrentModel,
    ids: Ids,
    patterns: Mapping[str, Values],
    selection: TraceSelection | None = None,
    seed: int = 0,
) -> dict[str, list[Finding]]:
    """Return for each pattern how every unit follows it, best on the first half first.

    A pattern is left out that never changes in one of the halves, or lasts too long for this text to make a null of.
    Raises TextError when that leaves none.
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
        kept.append(activity[rest:][-second.read % every :: every].copy())  # a view would keep the whole piece
        second.add(activity[rest:])
    on = {name: parts[1][::every] > 0 for name, parts in moving.items() if set(np.unique(parts[1])) <= {0, 1}}
    areas = _areas(np.concatenate(kept), on) if on else {}
    return {
        name: _ranked(units, first.correlations(name), second.correlations(name), areas.get(name)) for name in moving
    }


class _Sums:
    """What correlations and AUCs are made of, for one half of the text and patterns (T,) under their shifts (S,)."""

    def __init__(self, columns: Mapping[str, tuple[Values, NDArray[np.int64]]], length: int) -> None:
        self._columns = {
            name: ((values - values.mean()) / values.std(), shifts) for name, (values, shifts) in columns.items()
        }
        self._length = length
        self._centre: NDArray[np.float32] | None = None
        self._sum = self._squares = np.zeros(0)
        self._products: dict[str, NDArray[np.float64]] = {}
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
        self.read += len(activity)

    def correlations(self, name: str) -> NDArray[np.float64]:
        """Return r (K, S) of every unit with the pattern under every shift; 0 for units that never move."""
        variance = self._squares / self.read - (self._sum / self.read) ** 2
        spread = np.sqrt(np.maximum(variance, 0))  # (K,)
        alive = spread > _DEAD
        r = np.zeros_like(self._products[name])
        r[alive] = self._products[name][alive] / (self.read * spread[alive, None])
        return r


def _shifts_of(patterns: Mapping[str, Values], random: np.random.Generator) -> dict[str, NDArray[np.int64]]:
    """Return the shifts of each pattern that does not last too long; raises TextError when all of them do."""
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
    """Return 0 and `SHIFTS` others, each longer than the pattern's own memory either way round."""
    memory = _memory(values)
    shortest = max(2 * memory, _SHORTEST_SHIFT)
    spread = max(SHIFTS, _INDEPENDENT * memory)
    possible = np.arange(shortest, len(values) - shortest + 1)
    if len(possible) < spread:
        raise TextError(
            f"the text is too short to tell {name} from chance. Half of it has {len(values):,} characters, and as long "
            f"as this pattern lasts, {2 * shortest + spread:,} are needed.",
            "Use a longer text.",
            field="pattern",
        )
    return np.concatenate([[0], random.choice(possible, SHIFTS, replace=False)])


def _memory(values: Values) -> int:
    """Return after how many characters the pattern has forgotten where it was, by its autocorrelation."""
    centred = values - values.mean()
    power = np.abs(np.fft.rfft(centred.astype(np.float64), 2 * len(values))) ** 2
    correlation = np.fft.irfft(power)[: len(values)]
    forgotten = correlation < _FORGOTTEN * correlation[0]
    return int(forgotten.argmax()) if forgotten.any() else len(values)


def _areas(activity: NDArray[np.float32], on: Mapping[str, NDArray[np.bool_]]) -> dict[str, NDArray[np.float64]]:
    """Return the area under the ROC curve of each unit of activity (T, K) for each yes-or-no pattern (T,), each (K,).

    It is the share of pairs, one inside and one outside, in which the one inside is higher; ties count half.
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
    """Return all signals of all units side by side, (T, K), in the order of `Trace.units`."""
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
