"""Next-character probabilities after a prompt (many to one), as a table or JSON."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from charlm.cli.bars import bar
from charlm.cli.delivery import as_json
from charlm.cli.display import show, write
from charlm.text.vocabulary import Vocabulary


def show_next(
    probabilities: tuple[NDArray[np.float64], NDArray[np.float64]], vocabulary: Vocabulary, count: int, json_: bool
) -> None:
    """Show the ``count`` likeliest symbols of the result of `next_probabilities`."""
    rows = _rows(*probabilities, vocabulary, count)
    if json_:
        write(as_json(rows))
    else:
        show(_table(rows))


def _rows(
    plain: NDArray[np.float64], chosen: NDArray[np.float64], vocabulary: Vocabulary, count: int
) -> list[dict[str, Any]]:
    """Return the likeliest symbols in descending order, with the probability of the model and that of sampling."""
    return [
        {
            "symbol": vocabulary.symbols[index],
            "mark": mark,
            "model": float(plain[index]),
            "sampled": float(chosen[index]),
        }
        for index in np.argsort(-plain, kind="stable")[:count].tolist()
        for mark in vocabulary.marks([index])
    ]


def _table(rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table with bars."""
    table = Table.grid(padding=(0, 2))
    for justify in ("left", "right", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    table.add_row(*(Text(f"  {title}", style="bold") for title in ("next", "model", "sampled", "")))
    for row in rows:
        numbers = (Text(f"{row[name]:.4f}") for name in ("model", "sampled"))
        table.add_row(Text(f"  {'␣' if row['mark'] == ' ' else row['mark']}"), *numbers, Text(bar(row["model"])))
    return table
