"""Numbers as bars: a table on the terminal in which the eye compares what the numbers say."""

import math
from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

_LONGEST = 40
"""Cells of the longest bar."""
_EIGHTHS = "▏▎▍▌▋▊▉█"


def bars(title: str, values: Mapping[str, float]) -> Table:
    """Return a table of names, numbers and bars from 0, the largest number first."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(no_wrap=True)
    table.add_row(Text(f"\n  {title}", style="bold"))
    largest = max(values.values())
    for name, value in sorted(values.items(), key=lambda item: -item[1]):
        table.add_row(Text(f"  {name}"), Text(f"{value:.3f}"), Text(bar(value / largest if largest else 0.0)))
    return table


def bar(share: float) -> str:
    """Return a bar of this share, 0 to 1, of the longest, in eighths of a cell; none for what is not a number."""
    whole, part = divmod(round(share * _LONGEST * 8), 8) if math.isfinite(share) else (0, 0)
    return "█" * whole + (_EIGHTHS[part - 1] if part else "")
