"""Plots of traces and gradients as PNG images, drawn by matplotlib (the extra ``plot``)."""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from numpy.typing import NDArray

from charlm.config.settings import ModelConfig
from charlm.inspection.gradient_by_lag import GradientByLag, Saliency
from charlm.inspection.scale import HIGH, LOW, MIDDLE, scale_of, share
from charlm.inspection.trace import Trace, Unit

_LONGEST_NAME = 80
_COLUMNS = 80
"""Characters per row of text."""
_WIDTH, _CELL_HEIGHT, _CHART_HEIGHT = 11.2, 0.25, 2.4  # inches
_FLOOR = 1e-30
"""Smaller gradients are drawn at this value: they are negligible in float32 training."""
_DOTS_PER_INCH = 160
_FONTS = ("DejaVu Sans Mono", "Noto Sans Mono CJK KR", "Noto Sans CJK KR", "NanumGothicCoding", "AppleGothic")
"""Installed fonts are tried in this order for each character."""
_LINES = ("#2f6fb7", "#d9731a", "#3f8f5f", "#8e5ea8", "#a8323e", "#7a7a7a")


def trace_png(trace: Trace, units: Sequence[Unit], marks: Sequence[str], model: ModelConfig) -> bytes:
    """Draw the text, one printable mark per character, coloured by the first of ``units``, and a line per unit."""
    rows = -(-len(marks) // _COLUMNS)
    heights = (rows * _CELL_HEIGHT, _CHART_HEIGHT)
    figure = _figure(_WIDTH, sum(heights) + 1)
    text, chart = figure.subplots(2, height_ratios=heights)
    low, high = scale_of(trace, units[0], model)
    image = _draw_text(text, share(trace.over_time(units[0]), low, high), marks, (LOW, MIDDLE, HIGH))
    text.set_title(f"{units[0]} after each character", loc="left", fontsize=10)
    bar = figure.colorbar(image, ax=text, ticks=[0, 0.5, 1], fraction=0.02, pad=0.01)
    bar.ax.set_yticklabels([f"{value:.3g}" for value in (low, (low + high) / 2, high)], fontsize=8)
    _draw_lines(chart, {str(unit): trace.over_time(unit) for unit in units})
    chart.set_xlim(-0.5, len(marks) - 0.5)
    chart.set_xlabel("characters read", fontsize=9)
    return _png(figure)


def lag_png(found: Mapping[str, GradientByLag]) -> bytes:
    """Draw the gradient by lag: for each model a line, and a band of one standard deviation."""
    figure = _figure(_WIDTH, 5)
    axes = figure.subplots()
    _draw_lines(
        axes, {f"{name}: {gradient.words}": np.maximum(gradient.mean, _FLOOR) for name, gradient in found.items()}
    )
    for line, gradient in zip(axes.get_lines(), found.values(), strict=True):
        low, high = gradient.band
        places = np.arange(len(gradient.mean))
        axes.fill_between(places, low + _FLOOR, high + _FLOOR, color=line.get_color(), alpha=0.12, linewidth=0)
    axes.set_yscale("log")
    axes.set_xlabel("characters back", fontsize=9)
    axes.set_ylabel("size of the gradient", fontsize=9)
    return _png(figure)


def saliency_png(found: Mapping[str, Saliency]) -> bytes:
    """Draw the text for each model, coloured by how much the prediction depends on each character."""
    heights = [-(-len(saliency.marks) // _COLUMNS) * _CELL_HEIGHT for saliency in found.values()]
    figure = _figure(_WIDTH, sum(heights) + 0.5 * len(found))
    for axes, (name, saliency) in zip(
        figure.subplots(len(found), height_ratios=heights, squeeze=False)[:, 0], found.items(), strict=True
    ):
        _draw_text(axes, saliency.sizes / (saliency.sizes.max() or 1), saliency.marks, ((255,) * 3, HIGH))
        title = f"what the prediction after this text depends on: {shorten(name)}"
        axes.set_title(title, loc="left", fontsize=10, parse_math=False)
    return _png(figure)


def shorten(name: str) -> str:
    """Return a name abbreviated to leave room for the plot."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME // 2]} … {name[-_LONGEST_NAME // 2 :]}"


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)  # a box is drawn instead
        figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def _draw_text(axes: Any, shares: NDArray[np.float64], marks: Sequence[str], stops: Sequence[Sequence[int]]) -> Any:
    """Draw rows of characters on cells coloured by shares (T,) from 0 to 1; return the matplotlib image."""
    rows = -(-len(marks) // _COLUMNS)
    cells = np.full(rows * _COLUMNS, np.nan)
    cells[: len(marks)] = shares
    colours = LinearSegmentedColormap.from_list("charlm", np.array(stops) / 255)
    image = axes.imshow(cells.reshape(rows, _COLUMNS), cmap=colours, vmin=0, vmax=1, aspect="auto")
    there = set(get_font_names())
    family = [font for font in _FONTS if font in there]
    for place, mark in enumerate(marks):
        row, column = divmod(place, _COLUMNS)
        axes.text(column, row, mark, ha="center", va="center", family=family, fontsize=9, parse_math=False)
    axes.set_axis_off()
    return image


def _draw_lines(axes: Any, lines: Mapping[str, NDArray[Any]]) -> None:
    for place, values in enumerate(lines.values()):
        axes.plot(values, label=str(place), color=_LINES[place % len(_LINES)], linewidth=1.2)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    legend = axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    for text, name in zip(legend.get_texts(), lines, strict=True):
        text.set_parse_math(False)  # names may contain $
        text.set_text(shorten(name))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
