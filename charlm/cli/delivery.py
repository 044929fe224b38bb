"""Output of a command: on standard output, or where ``--output`` points.

JSON is written the same way everywhere: letters of all scripts unescaped, null for non-finite numbers, and escapes for
what would steer a terminal or, like the lone surrogates of some file names, could not be encoded.
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

from charlm.cli.display import encodable, output_console, plain, show, write, write_bytes
from charlm.cli.output_file import is_terminal, write_output
from charlm.errors import ConfigError
from charlm.text.printable import escaped_json

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    Drawing = Callable[[int], Iterable[Text]]
    """Function that returns lines of coloured text for a given number of columns."""

_FILE_WIDTH = 100
"""Width of a drawing in a file, in columns."""


class Format(StrEnum):
    """Output formats of traces and gradients."""

    terminal = "terminal"
    csv = "csv"
    json = "json"
    npz = "npz"
    png = "png"
    html = "html"


_BINARY = frozenset({Format.npz, Format.png})


def refuse_binary_on_terminal(format_: Format, output: Path | None) -> None:
    """Raise ConfigError if a binary format would be written to a terminal."""
    if format_ in _BINARY and (sys.stdout.isatty() if output is None else is_terminal(output)):
        raise ConfigError(f"--format {format_}: binary output cannot be shown on a terminal. Use --output FILE.")


def deliver(content: "str | bytes | Drawing | RenderableType", output: Path | None) -> None:
    """Write text, bytes, a drawing or a rich table to standard output, or without colours where ``output`` points.

    Raises StorageError if the output cannot be written.
    """
    if output is not None:
        write_output(output, _as_bytes(content))
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
    """Return a value as one line of JSON."""
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)
    return escaped_json(text) + "\n"


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
        return encodable(content)
    if callable(content):
        return encodable("".join(f"{line.plain}\n" for line in content(_FILE_WIDTH)))
    return encodable(plain(content))


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
