"""Horizontal bar charts for the terminal."""

import math
from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

_LONGEST = 40
"""Length of the longest bar, in terminal cells."""
_EIGHTHS = "▏▎▍▌▋▊▉█"


def bars(title: str, values: Mapping[str, float]) -> Table:
    """Return a table of names, values and bars that start at 0, sorted by value in descending order."""
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
    """Return a bar of this share, 0 to 1, of the longest one, in eighths of a cell; empty if it is not finite."""
    whole, part = divmod(round(share * _LONGEST * 8), 8) if math.isfinite(share) else (0, 0)
    return "█" * whole + (_EIGHTHS[part - 1] if part else "")
