"""Terminal output: results on standard output, messages on standard error.

User-supplied strings are never parsed as rich markup, and generated text bypasses rich.
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
"""Maximum length of a message, in characters."""
_FILE_WIDTH = 160
"""Width of a table in a file or a pipe, in columns; wide enough that paths are not wrapped."""


def write(text: str) -> None:
    """Write text to standard output unchanged, and flush if it is a terminal.

    Raises StorageError if writing fails, and BrokenPipeError if the reader closed the pipe.
    """
    with _output_errors():
        sys.stdout.write(text)
        if sys.stdout.isatty():
            sys.stdout.flush()


def write_bytes(content: bytes) -> None:
    """Write bytes to standard output; raises like `write`."""
    with _output_errors():
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def show(renderable: "RenderableType") -> None:
    """Write a rich table or text to standard output; raises like `write`."""
    write(drawn(renderable))


def drawn(renderable: "RenderableType") -> str:
    """Return a rich table or text rendered for standard output, without trailing spaces unless it is a terminal."""
    console = output_console()
    with _output_errors(), console.capture() as lines:  # rich would exit the process on a broken pipe
        console.print(renderable)
    return lines.get() if sys.stdout.isatty() else _unpadded(lines.get())


def plain(renderable: "RenderableType") -> str:
    """Return a rich table or text rendered for a file: without colours, and as wide as in a pipe."""
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
    """Flush standard output; raises like `write`."""
    with _output_errors():
        sys.stdout.flush()


def say(message: str) -> None:
    """Write a message to standard error; do nothing if it is closed."""
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"{printable(message)}\n")
            sys.stderr.flush()
        except OSError:
            _abandon(2)


def is_watched() -> bool:
    """Return whether standard error is a terminal, which can show a progress bar."""
    return sys.stderr is not None and sys.stderr.isatty()


def printable(text: str) -> str:
    """Return text with control characters escaped and its length limited, so that untrusted text is safe to print."""
    kept = (c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
    shown = "".join(kept)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST // 2]} … {shown[-_LONGEST // 2 :]}"


def output_console() -> "Console":
    """Return a console on standard output that does not interpret markup."""
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
    """Redirect standard output to the null device, so that the interpreter's final flush cannot fail."""
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
            f"standard output: cannot write ({os.strerror(error.errno or errno.EIO)}). Redirect the output elsewhere."
        ) from error
