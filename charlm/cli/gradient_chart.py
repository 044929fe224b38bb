"""Gradients on a terminal: lines over lags on a logarithmic scale, and text coloured by saliency."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from charlm.cli.display import cell
from charlm.cli.trace_view import BARS, rows_of
from charlm.inspection.gradient_by_lag import GradientByLag, Saliency

_HEIGHT = 16
"""Height of the chart, in rows."""
_MARGIN = 10
"""Width of the axis labels, in cells."""
_FLOOR = 1e-30
"""Smaller gradients are drawn at the bottom: they have no effect on training in float32."""
_LINES = (("●", "#2f6fb7"), ("▲", "#d9731a"), ("■", "#3f8f5f"), ("◆", "#8e5ea8"), ("○", "#a8323e"), ("△", "#7a7a7a"))
_STRONG = np.array([240, 138, 48])


def lag_chart(found: Mapping[str, GradientByLag], width: int) -> Iterator[Text]:
    """Yield the lines of a chart with a mark for each model, then a description of each decay."""
    columns = max(width - _MARGIN, 20)
    lags = max(len(gradient.mean) for gradient in found.values()) - 1
    logs = {name: np.log10(np.maximum(gradient.mean, _FLOOR)) for name, gradient in found.items()}
    top = math.ceil(max(values.max() for values in logs.values()))
    bottom = min(math.floor(min(values.min() for values in logs.values())), top - 1)
    grid: dict[tuple[int, int], tuple[str, str]] = {}
    for (_, values), line in zip(logs.items(), _cycle(len(logs)), strict=True):
        for column in range(columns):
            lag = round(column * lags / max(columns - 1, 1))
            row = round((top - values[min(lag, len(values) - 1)]) / (top - bottom) * (_HEIGHT - 1))
            grid.setdefault((row, column), line)
    yield Text("norm of the gradient of the loss with respect to the state, by number of characters back\n")
    for row in range(_HEIGHT):
        power = top - (top - bottom) * row / (_HEIGHT - 1)
        drawn = Text(f"{10**power:>{_MARGIN - 3}.0e} │ " if row % 5 == 0 else f"{'│':>{_MARGIN - 1}} ", style="dim")
        for column in range(columns):
            mark, colour = grid.get((row, column), (" ", ""))
            drawn.append(mark, style=Style(color=colour or None, dim=False))
        yield drawn
    yield Text(f"{'└':>{_MARGIN - 1}}{'─' * columns}", style="dim")
    yield Text(f"{'':{_MARGIN}}{_axis(lags, columns)}\n", style="dim")
    for (name, gradient), (mark, colour) in zip(found.items(), _cycle(len(found)), strict=True):
        yield Text(f"{mark} ", style=colour).append_text(cell(f"{name}: {gradient.words}", "default"))


def saliency_drawing(found: Mapping[str, Saliency], width: int) -> Iterator[Text]:
    """Yield each model's text, coloured by how strongly the prediction depends on each character, with bars below."""
    for name, saliency in found.items():
        yield cell(f"what the prediction after this text depends on: {name}\n", "bold")
        shares = saliency.sizes / (saliency.sizes.max() or 1.0)
        marks = "".join(saliency.marks)
        for row in rows_of(marks, width):
            line, bars = Text(), ""
            for mark, share in zip(marks[row], shares[row], strict=True):
                red, green, blue = (255 + (_STRONG - 255) * share).round().astype(int)
                line.append(mark, style=Style(color="#000000", bgcolor=f"#{red:02x}{green:02x}{blue:02x}"))
                bars += BARS[round(share * (len(BARS) - 1))] * cell_len(mark)
            yield line
            yield Text(bars)
        yield Text()


def _axis(lags: int, columns: int) -> str:
    """Return the first, the middle and the last lag, each below its column."""
    middle = str(lags // 2)
    before = round(lags // 2 / lags * (columns - 1)) - len(middle) // 2
    inner = f"{'':{before - 1}}{middle}" if lags > 1 else ""
    return f"0{inner}{lags:>{columns - 1 - len(inner)}}"


def _cycle(count: int) -> list[tuple[str, str]]:
    """Return a mark and a colour for each of ``count`` lines; they repeat after six."""
    return [_LINES[place % len(_LINES)] for place in range(count)]
