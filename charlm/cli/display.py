"""Terminal output: results on standard output, messages on standard error.

User-supplied strings are never parsed as rich markup, and generated text bypasses rich. Texts, names and models come
from anywhere, so everything on its way to a terminal passes here and has what would steer the terminal written out;
only the colours are charlm's own.
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
from charlm.text.printable import escaped

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

_LONGEST = 1800
"""Maximum length of a message, in characters."""
_FILE_WIDTH = 160
"""Width of a table in a file or a pipe, in columns; wide enough that paths are not wrapped."""


def write(text: str) -> None:
    """Write text to standard output: escaped and flushed if it is a terminal, otherwise unchanged.

    Raises StorageError if writing fails, and BrokenPipeError if the reader closed the pipe.
    """
    _emit(escaped(text) if sys.stdout.isatty() else encodable(text).decode())


def encodable(text: str) -> bytes:
    """Return text in UTF-8, with lone surrogates, which a file's name may contain, as escapes."""
    return text.encode("utf-8", "backslashreplace")


def _emit(text: str) -> None:
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
    """Write a rich table or text to standard output, its content escaped; raises like `write`."""
    console = output_console()
    with _output_errors(), console.capture() as lines:  # rich would exit the process on a broken pipe
        console.print(_Escaped(renderable))
    _emit(lines.get() if sys.stdout.isatty() else _unpadded(lines.get()))


def plain(renderable: "RenderableType") -> str:
    """Return a rich table or text rendered for a file: escaped, without colours, and as wide as in a pipe."""
    from rich.console import Console

    console = Console(
        file=io.StringIO(), markup=False, emoji=False, highlight=False, color_system=None, width=_FILE_WIDTH
    )
    with console.capture() as lines:
        console.print(_Escaped(renderable))
    return _unpadded(lines.get())


class _Escaped:
    """A renderable whose content is escaped after the layout and before the colours.

    It covers all content; content that may need escapes is best passed through `cell`, so that its columns fit them.
    """

    def __init__(self, renderable: "RenderableType") -> None:
        self._renderable = renderable

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[Segment]":
        for segment in console.render(self._renderable, options):
            yield segment if segment.control else segment._replace(text=escaped(segment.text))


def cell(content: object, style: str = "") -> "Text":
    """Return content as rich text, escaped and not parsed as markup."""
    from rich.text import Text

    return Text(escaped(str(content)), style=style)


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

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(cell(f"  {name}"), cell(value))
    return Group(cell(title, "bold"), table)


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
