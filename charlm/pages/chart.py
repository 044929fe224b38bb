"""Layout of a chart for a template: curves over the number of characters seen.

Coordinates are in percent of the plot, from its left and from its top, so that the plot can be scaled without scaling
its text.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from charlm.pages.formatting import compact, readable
from charlm.pages.thinning import Points, thinned

_DOTTED = 24
"""Largest number of points that are also drawn as dots."""
_TICKS = 5
_GAP = 6.5
"""Height of a label beside the plot, in percent of the plot's height."""
_FAR = 6.0
"""Values above this multiple of the 90th percentile, measured from the minimum, are drawn at the upper edge."""
_NEAR = 0.5
"""Levels within this multiple of the curves' height are drawn; others are only labelled at the edge."""


@dataclass(frozen=True)
class Curve:
    """Values over characters, with a name."""

    name: str
    words: str
    """Text of the legend after the name."""
    points: Points
    look: str
    """CSS classes of the line."""
    label: str = ""
    """Text beside the end of the line."""


@dataclass(frozen=True)
class Level:
    """A value to compare curves with."""

    name: str
    value: float
    words: str


@dataclass(frozen=True)
class Mark:
    """An annotated point of the chart."""

    point: tuple[float, float]
    words: str


@dataclass(frozen=True)
class Word:
    """A text on an axis or at a mark, and its position along that axis."""

    at: float
    text: str
    look: str = ""


@dataclass(frozen=True)
class Label:
    """A text beside the end of a line."""

    left: float
    top: float
    text: str
    look: str


@dataclass(frozen=True)
class Line:
    """A curve or a level as it is drawn."""

    name: str
    words: str
    look: str
    path: str
    """SVG path in a view box of 100 × 100; empty if the line is outside the plot."""
    dots: str = ""


@dataclass(frozen=True)
class Chart:
    """Everything that the template draws."""

    title: str
    across: Sequence[Word]
    up: Sequence[Word]
    lines: Sequence[Line]
    labels: Sequence[Label]
    mark: Word | None
    mark_height: float
    note: str


@dataclass(frozen=True)
class _Scale:
    """Mapping from values to coordinates in percent."""

    right: float
    bottom: float
    top: float

    def x(self, value: float) -> float:
        return round(min(max(value / self.right, 0.0), 1.0) * 100, 2)

    def y(self, value: float) -> float:
        share = (self.top - value) / (self.top - self.bottom)
        return round(min(max(share, 0.0), 1.0) * 100, 2)

    def holds(self, value: float) -> bool:
        return self.bottom <= value <= self.top


def chart(
    title: str,
    curves: Sequence[Curve],
    levels: Sequence[Level] = (),
    mark: Mark | None = None,
    floor: float = math.inf,
) -> Chart:
    """Return a chart whose vertical scale starts at ``floor``, or lower if a curve does.

    Long curves are thinned to the lowest and highest point of each bucket and both ends, so that no peak is lost.
    """
    drawn = [curve for curve in curves if len(curve.points)]
    points = [np.asarray(curve.points, np.float64) for curve in drawn]
    scale = _scale(np.concatenate([np.zeros((0, 2)), *points]), levels, floor)
    drawn = [replace(curve, points=thinned(all_)) for curve, all_ in zip(drawn, points, strict=True)]
    highest = max((y for curve in drawn for _, y in curve.points), default=scale.top)
    lines = [_line(curve, scale) for curve in drawn] + [_level_line(level, scale) for level in levels]
    labels = [_label(curve, scale) for curve in drawn if curve.label]
    return Chart(
        title=title,
        across=[Word(scale.x(value), compact(value)) for value in _ticks(0, scale.right)],
        up=[Word(scale.y(value), _in_steps(value, scale)) for value in _ticks(scale.bottom, scale.top)],
        lines=lines,
        labels=_apart([*labels, *(_level_label(level, scale) for level in levels)]),
        mark=None if mark is None else _mark_word(mark, scale),
        mark_height=0.0 if mark is None else scale.y(mark.point[1]),
        note="" if highest <= scale.top else f"Values up to {highest:.3g} are drawn at the upper edge.",
    )


def _scale(points: NDArray[np.float64], levels: Sequence[Level], floor: float) -> _Scale:
    """Return the scale of all curves' points (N, 2)."""
    if not len(points):
        points = np.zeros((1, 2))
    right, values = float(points[:, 0].max()) or 1.0, points[:, 1]
    rank = math.ceil(0.9 * (len(values) - 1))
    low, high, usual = float(values.min()), float(values.max()), float(np.partition(values, rank)[rank])
    if usual > low:
        high = min(high, low + _FAR * (usual - low))
    low = min(low, floor)
    margin = max(_NEAR * (high - low), 0.25 * abs(high))
    near = [level.value for level in levels if low - margin <= level.value <= high + margin]
    low, high = min([low, *near]), max([high, *near])
    room = 0.04 * (high - low) or 0.1 * abs(high) or 1.0
    return _Scale(right, low if low == floor else low - room, high + room)


def _line(curve: Curve, scale: _Scale) -> Line:
    corners = [f"{scale.x(x):g} {scale.y(y):g}" for x, y in curve.points]
    dots = "".join(f"M{corner}h0" for corner in corners) if len(corners) <= _DOTTED else ""
    return Line(readable(curve.name), readable(curve.words), curve.look, f"M{'L'.join(corners)}", dots)


def _level_line(level: Level, scale: _Scale) -> Line:
    path = f"M0 {scale.y(level.value):g}H100" if scale.holds(level.value) else ""
    return Line(readable(level.name), level.words, "level", path)


def _mark_word(mark: Mark, scale: _Scale) -> Word:
    x = scale.x(mark.point[0])
    return Word(x, mark.words, "left" if x > 50 else "")


def _label(curve: Curve, scale: _Scale) -> Label:
    x, y = curve.points[-1]
    return Label(scale.x(x), scale.y(y), readable(curve.label), curve.look)


def _level_label(level: Level, scale: _Scale) -> Label:
    arrow = "↑ " if level.value > scale.top else "↓ " if level.value < scale.bottom else ""
    return Label(100.0, scale.y(level.value), f"{arrow}{readable(level.name)}", "level")


def _apart(labels: Sequence[Label]) -> list[Label]:
    """Return the labels, moved up or down by the least that keeps labels of one column from overlapping."""
    moved = []
    for column in sorted({label.left for label in labels}):
        words = sorted((label for label in labels if label.left == column), key=lambda label: label.top)
        moved += [replace(label, top=top) for label, top in zip(words, _spaced([w.top for w in words]), strict=True)]
    return moved


def _spaced(tops: Sequence[float]) -> list[float]:
    """Return positions, from the top down, at least a label's height apart if there is room."""
    gap = min(_GAP, 100 / max(len(tops) - 1, 1))
    places: list[float] = []
    for top in tops:
        places.append(max(top, places[-1] + gap) if places else top)
    limit = 100.0
    for index in reversed(range(len(places))):
        places[index] = limit = min(places[index], limit)
        limit -= gap
    return [round(place, 2) for place in places]


def _step(low: float, high: float) -> float:
    """Return the distance between ticks: 1, 2 or 5 times a power of ten."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))


def _ticks(low: float, high: float) -> list[float]:
    step = _step(low, high)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [place * step for place in range(first, last + 1)]


def _in_steps(value: float, scale: _Scale) -> str:
    """Return a tick's value with enough digits to distinguish it from its neighbours."""
    step = _step(scale.bottom, scale.top)
    if step >= 1000:
        return compact(value)
    return f"{value:.{max(-math.floor(math.log10(step) + 1e-9), 0)}f}" if step >= 1e-5 else f"{value:.3g}"
