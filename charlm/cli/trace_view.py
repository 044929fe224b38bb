"""A trace on a terminal: the text coloured by a unit, and below it a line of bars for each unit.

Blue is low, white is the middle, orange is high; the bars show the same without colour.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from charlm.config.settings import ModelConfig
from charlm.inspection.scale import HIGH, LOW, MIDDLE, scale_of, share
from charlm.inspection.trace import Trace, Unit

BARS = "▁▂▃▄▅▆▇█"
"""Bars in eight heights, the lowest first."""


def trace_lines(trace: Trace, units: Sequence[Unit], characters: str, model: ModelConfig, width: int) -> Iterator[Text]:
    """Yield the lines of the display: a legend, then the text in rows with the units' bars below.

    ``characters`` contains one printable mark per character; ``width`` is the terminal's, in cells.
    """
    margin = max(len(str(unit)) for unit in units) + 2
    scales = {unit: scale_of(trace, unit, model) for unit in units}
    shares = {unit: share(trace.over_time(unit), *scales[unit]) for unit in units}
    yield _legend(units[0], *scales[units[0]])
    for row in rows_of(characters, max(width - margin, 10)):
        yield Text(" " * margin).append_text(_coloured(characters[row], shares[units[0]][row]))
        for unit in units:
            bars = "".join(
                BARS[int(height * (len(BARS) - 1) + 0.5)] * cell_len(character)
                for character, height in zip(characters[row], shares[unit][row], strict=True)
            )
            yield Text(str(unit).ljust(margin), style="dim").append(bars, style="default not dim")
        yield Text()


def _coloured(characters: str, shares: NDArray[np.float64]) -> Text:
    text = Text()
    for character, place in zip(characters, shares, strict=True):
        text.append(character, style=_style(float(place)))
    return text


def _style(place: float) -> Style:
    middle, towards = np.array(MIDDLE), np.array(LOW if place < 0.5 else HIGH)
    red, green, blue = (middle + (towards - middle) * abs(2 * place - 1)).round().astype(int)
    return Style(color="#000000", bgcolor=f"#{red:02x}{green:02x}{blue:02x}")


def _legend(unit: Unit, low: float, high: float) -> Text:
    legend = Text(f"coloured by {unit}:  {low:.3g} ")
    for index, bar in enumerate(BARS):
        legend.append(bar, style=_style(index / (len(BARS) - 1)))
    return legend.append(f" {high:.3g}\n")


def rows_of(characters: str, width: int) -> Iterator[slice]:
    """Yield slices of the text that fit ``width`` cells; a wide character takes two."""
    start, cells = 0, 0
    for place, character in enumerate(characters):
        if cells + cell_len(character) > width:
            yield slice(start, place)
            start, cells = place, 0
        cells += cell_len(character)
    yield slice(start, len(characters))
