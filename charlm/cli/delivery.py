"""What a command made, delivered: to standard output, or whole into the file that ``--output`` names.

JSON has one form on every path: letters as they are, null for what is not a finite number, and an escape for a lone
surrogate, such as a file's name may hold, so that it can always be written.
"""

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.cli.display import output_console, plain, show, write, write_bytes
from charlm.errors import ConfigError
from charlm.whole_file import write_whole_file

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    Drawing = Callable[[int], Iterable[Text]]
    """Lines of coloured text, for a screen of so many columns."""

_FILE_WIDTH = 100
"""Columns of a drawing that goes into a file."""


class Format(StrEnum):
    """What activity and gradients are written as."""

    terminal = "terminal"
    csv = "csv"
    json = "json"
    npz = "npz"
    png = "png"
    html = "html"


_BINARY = frozenset({Format.npz, Format.png})


def refuse_binary_on_terminal(format_: Format, output: Path | None) -> None:
    """Raise ConfigError where bytes that are not text would go to a terminal."""
    if format_ in _BINARY and output is None and sys.stdout.isatty():
        raise ConfigError(f"--format {format_}: this is binary and would not show on a terminal. Use --output FILE.")


def deliver(content: "str | bytes | Drawing | RenderableType", output: Path | None) -> None:
    """Put text, bytes, a drawing or a rich table on standard output, or whole into a file without colours.

    Raises StorageError where the output refuses.
    """
    if output is not None:
        write_whole_file(output, _as_bytes(content))
    elif isinstance(content, str):
        write(content)
    elif isinstance(content, bytes):
        write_bytes(content)
    elif callable(content):
        for line in content(output_console().width):
            show(line)
    else:
        show(content)


def as_json(value: object) -> str:
    """Return a line of JSON."""
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode() + "\n"


def as_csv(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table as CSV."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return table.getvalue()


def _as_bytes(content: "str | bytes | Drawing | RenderableType") -> bytes:
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    if callable(content):
        return "".join(f"{line.plain}\n" for line in content(_FILE_WIDTH)).encode()
    return plain(content).encode()


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
