"""Messages about wrong usage, which Typer writes: the arguments that they quote are escaped."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from charlm.text.printable import escaped

_UsageError: type[typer.BadParameter] = typer.BadParameter.__mro__[1]
"""The base class of Typer's usage errors, which it exports under no name; all have a ``message``."""


class EscapedUsage(TyperGroup):
    """Group of commands whose usage errors are safe to print: an argument may be a file name with escape sequences."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parse the arguments of the group."""
        with _escaped_messages():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Parse the arguments of the selected command and run it."""
        with _escaped_messages():
            return super().invoke(ctx)


@contextmanager
def _escaped_messages() -> Iterator[None]:
    try:
        yield
    except _UsageError as error:
        error.message = escaped(error.message)
        raise
