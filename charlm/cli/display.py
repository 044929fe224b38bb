"""What people see: the product on standard output, the conversation on standard error.

User's strings never pass through rich's markup, and generated text does not pass through rich at all.
"""

import errno
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from charlm.errors import StorageError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_LONGEST = 1800
"""Characters of a message."""
_FILE_WIDTH = 160
"""Columns of a table that goes into a file or a pipe, so that paths stay in one piece."""


def write(text: str) -> None:
    """Put product text on standard output as it is, at once where a person is watching.

    Raises StorageError when the output refuses; a reader that went away raises BrokenPipeError.
    """
    with _output_errors():
        sys.stdout.write(text)
        if sys.stdout.isatty():
            sys.stdout.flush()


def write_bytes(content: bytes) -> None:
    """Put product bytes on standard output; raises as `write` does."""
    with _output_errors():
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def show(renderable: "RenderableType") -> None:
    """Put a rich table or text on standard output; raises as `write` does."""
    write(drawn(renderable))


def drawn(renderable: "RenderableType") -> str:
    """Return a rich table or text as standard output shows it; a file needs no padding at the ends of lines."""
    console = output_console()
    with _output_errors(), console.capture() as lines:  # rich would end the process itself when the reader has gone
        console.print(renderable)
    return lines.get() if sys.stdout.isatty() else _unpadded(lines.get())


def plain(renderable: "RenderableType") -> str:
    """Return a rich table or text as a file holds it: without colours, and as wide as in a pipe."""
    from rich.console import Console

    console = Console(
        file=io.StringIO(), markup=False, emoji=False, highlight=False, color_system=None, width=_FILE_WIDTH
    )
    with console.capture() as lines:
        console.print(renderable)
    return _unpadded(lines.get())


def _unpadded(text: str) -> str:
    return re.sub(r" +$", "", text, flags=re.MULTILINE)


def flush() -> None:
    """Make sure that all product text has left; raises as `write` does."""
    with _output_errors():
        sys.stdout.flush()


def say(message: str) -> None:
    """Write a message on standard error; where that is closed or gone, do nothing."""
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"{printable(message)}\n")
            sys.stderr.flush()
        except OSError:
            _abandon(2)


def is_watched() -> bool:
    """Return whether standard error is a terminal, so that a bar may move there."""
    return sys.stderr is not None and sys.stderr.isatty()


def printable(text: str) -> str:
    """Return text with its controls written out and of a bounded size: no file from elsewhere controls the terminal."""
    kept = (c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
    shown = "".join(kept)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST // 2]} … {shown[-_LONGEST // 2 :]}"


def output_console() -> "Console":
    """Return a console on standard output that takes strings literally."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _FILE_WIDTH
    return Console(file=sys.stdout, markup=False, emoji=False, highlight=False, width=width)


def facts(title: str, rows: Sequence[tuple[str, object]]) -> "RenderableType":
    """Return a two-column table of names and values."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(f"  {name}"), Text(str(value)))
    return Group(Text(title, style="bold"), table)


def abandon_output() -> None:
    """Let what is still buffered go nowhere, so that the interpreter's last flush cannot fail."""
    _abandon(1)


def _abandon(descriptor: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


@contextmanager
def _output_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(
            f"standard output: cannot write there ({os.strerror(error.errno or errno.EIO)}). Send the output elsewhere."
        ) from error
