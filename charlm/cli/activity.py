"""A trace on a terminal: the text coloured by a unit, and a line of bars for each unit beneath it.

Blue is low, orange high, white the middle; bars say the same without colour. The scale of a signal is the
range it can take: gates 0 to 1, states squashed by tanh −1 to 1, others as far as this text drove them.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from charlm.inspection.trace import Trace, Unit

_BARS = "▁▂▃▄▅▆▇█"
_LOW, _MIDDLE, _HIGH = np.array([[94, 152, 222], [245, 245, 245], [240, 138, 48]])
_GATES = ("input", "forget", "output", "reset", "update")


def activity(trace: Trace, units: Sequence[Unit], characters: str, *, squashed: bool, width: int) -> Iterator[Text]:
    """Yield the lines of the display: a scale, then the text in rows with the units' bars beneath.

    ``characters`` holds one printable mark a character; ``squashed`` says that hidden states lie within
    −1 and 1; ``width`` is the screen's, in cells.
    """
    margin = max(len(str(unit)) for unit in units) + 2
    scales = {unit: _scale(unit, trace.over_time(unit), squashed) for unit in units}
    shares = {unit: _share(trace.over_time(unit), *scales[unit]) for unit in units}
    yield _legend(units[0], *scales[units[0]])
    for row in _rows(characters, max(width - margin, 10)):
        yield Text(" " * margin).append_text(_coloured(characters[row], shares[units[0]][row]))
        for unit in units:
            bars = "".join(
                _BARS[int(share * (len(_BARS) - 1) + 0.5)] * cell_len(character)
                for character, share in zip(characters[row], shares[unit][row], strict=True)
            )
            yield Text(str(unit).ljust(margin), style="dim").append(bars, style="default not dim")
        yield Text()


def _scale(unit: Unit, values: NDArray[np.float32], squashed: bool) -> tuple[float, float]:
    if unit.signal in _GATES:
        return 0.0, 1.0
    if unit.signal == "candidate" or (unit.signal == "hidden" and squashed):
        return -1.0, 1.0
    far = float(np.abs(values).max()) or 1.0
    return -far, far


def _share(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float64]:
    """Return how far up its scale each value stands, 0 to 1."""
    return np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)


def _coloured(characters: str, shares: NDArray[np.float64]) -> Text:
    text = Text()
    for character, share in zip(characters, shares, strict=True):
        text.append(character, style=_style(float(share)))
    return text


def _style(share: float) -> Style:
    towards, amount = (_LOW, 1 - 2 * share) if share < 0.5 else (_HIGH, 2 * share - 1)
    red, green, blue = (_MIDDLE + (towards - _MIDDLE) * amount).round().astype(int)
    return Style(color="#000000", bgcolor=f"#{red:02x}{green:02x}{blue:02x}")


def _legend(unit: Unit, low: float, high: float) -> Text:
    legend = Text(f"coloured by {unit}:  {low:.3g} ")
    for index, bar in enumerate(_BARS):
        legend.append(bar, style=_style(index / (len(_BARS) - 1)))
    return legend.append(f" {high:.3g}\n")


def _rows(characters: str, width: int) -> Iterator[slice]:
    """Cut the text into rows that fit ``width`` cells; a wide character takes two."""
    start, cells = 0, 0
    for place, character in enumerate(characters):
        if cells + cell_len(character) > width:
            yield slice(start, place)
            start, cells = place, 0
        cells += cell_len(character)
    yield slice(start, len(characters))
