"""Progress while texts are read, for whoever wants to show it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_WATCH: ContextVar[Callable[[int], object] | None] = ContextVar("watch", default=None)


@contextmanager
def reading_watched(watch: Callable[[int], object]) -> Iterator[None]:
    """Call ``watch`` with the number of bytes of each piece of a text that is read in this block.

    A corpus is read twice. The bytes of compressed files are counted as they are decompressed.
    """
    token = _WATCH.set(watch)
    try:
        yield
    finally:
        _WATCH.reset(token)


def watched(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a file, each after it has been told."""
    for piece in pieces:
        if watch := _WATCH.get():
            watch(len(piece))
        yield piece
