"""Pages of gradients, without a script: a chart over lags, or text coloured by saliency."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from charlm.inspection.gradient_by_lag import GradientByLag, Saliency
from charlm.pages.rendering import render

_WIDTH, _HEIGHT = 1000.0, 420.0
"""Size of the chart in SVG units; the browser scales it."""
_FLOOR = 1e-30
"""Smaller gradients are drawn at the bottom: they have no effect on training in float32."""
_ROWS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
"""Lags that the table shows."""


@dataclass(frozen=True)
class _Line:
    """The line of one model in the chart."""

    name: str
    words: str
    points: str
    """Points of the line, in SVG units."""
    band: str
    """Points of the area of one standard deviation around the line."""


@dataclass(frozen=True)
class _Character:
    mark: str
    size: float
    share: float
    """Size as a share of the largest, 0 to 1."""


def lag_page(found: Mapping[str, GradientByLag]) -> str:
    """Return the page of gradients at each lag."""
    lags = max(len(gradient.mean) for gradient in found.values()) - 1
    means = [max(value, _FLOOR) for gradient in found.values() for value in gradient.mean.tolist()]
    top = math.ceil(math.log10(max(means)))
    bottom = min(math.floor(math.log10(min(means))), top - 1)

    def height(value: float) -> float:
        power = math.log10(max(value, 10.0**bottom))
        return round((top - min(power, top)) / (top - bottom) * _HEIGHT, 1)

    def corners(values: list[float]) -> list[str]:
        return [f"{lag / max(lags, 1) * _WIDTH:.1f},{height(value)}" for lag, value in enumerate(values)]

    lines = [
        _Line(
            name=name,
            words=gradient.words,
            points=" ".join(corners(gradient.mean.tolist())),
            band=" ".join(corners(gradient.band[1].tolist()) + corners(gradient.band[0].tolist())[::-1]),
        )
        for name, gradient in found.items()
    ]
    step = max((top - bottom) // 6, 1)
    powers = [(power, height(10.0**power)) for power in range(top, bottom - 1, -step)]
    ticks = [(lag, lag / lags * _WIDTH) for lag in sorted({round(lags * part / 5) for part in range(6)})]
    table = [
        (lag, [f"{gradient.mean[lag]:.3g}" for gradient in found.values()])
        for lag in sorted({*(row for row in _ROWS if row < lags), lags})
    ]
    return render(
        "gradient_by_lag.html",
        lines=lines,
        powers=powers,
        ticks=ticks,
        table=table,
        width=_WIDTH,
        height=_HEIGHT,
        lags=lags,
    )


def saliency_page(found: Mapping[str, Saliency]) -> str:
    """Return the page of texts, each character coloured by how strongly the prediction after the text depends on it."""
    texts = {}
    for name, saliency in found.items():
        largest = float(saliency.sizes.max()) or 1.0
        pairs = zip(saliency.marks, saliency.sizes.tolist(), strict=True)
        texts[name] = [_Character(mark, size, size / largest) for mark, size in pairs]
    return render("saliency.html", texts=texts)
