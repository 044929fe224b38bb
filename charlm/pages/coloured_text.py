"""A text coloured by one unit of a trace, as an HTML fragment for a notebook."""

from collections.abc import Sequence

import numpy as np

from charlm.config.settings import ModelConfig
from charlm.inspection.scale import HIGH, LOW, MIDDLE, scale_of, share
from charlm.inspection.trace import Trace, Unit
from charlm.pages.rendering import render

_MOST = 20_000
"""Number of characters shown."""


def coloured_text(trace: Trace, unit: Unit, marks: Sequence[str], model: ModelConfig) -> str:
    """Return the text of a trace (T,), one printable mark per character, with the unit's value as background colour."""
    low, high = scale_of(trace, unit, model)
    values = trace.over_time(unit)[:_MOST]
    shares = share(values, low, high)[:, None]  # (T, 1)
    ends = np.where(shares < 0.5, np.array(LOW), np.array(HIGH))  # (T, 3)
    colours = (MIDDLE + (ends - np.array(MIDDLE)) * np.abs(2 * shares - 1)).round().astype(int).tolist()
    characters = [
        {"mark": mark, "colour": f"#{red:02x}{green:02x}{blue:02x}", "value": f"{value:.3f}"}
        for mark, (red, green, blue), value in zip(marks, colours, values.tolist(), strict=False)
    ]
    scale = {"low": f"{low:.3g}", "high": f"{high:.3g}"}
    return render("coloured_text.html", unit=str(unit), characters=characters, scale=scale, left_out=len(marks) > _MOST)
