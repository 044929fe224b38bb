"""Files → their bytes: found by name or pattern and read one MiB at a time, decompressed where they are compressed."""

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from charlm.errors import TextError
from charlm.home_folder import from_home
from charlm.text.compression import decompressed, is_compressed
from charlm.text.watching import watched

PIECE = 1 << 20
"""Bytes read at a time."""

_LISTED, _LONGEST_NAME = 3, 300
"""Number of file names that a message lists, and of characters of each: a checkpoint may name very many."""
_KERNEL = ("/proc", "/sys")
"""Where Linux mounts file systems whose regular files are not stored anywhere."""


@dataclass(frozen=True)
class TextFile:
    """A file of a text."""

    path: Path
    size: int | None = None
    """Number of bytes, where it is recorded: the file is read only if it has that size. None: read to its end.

    Of a compressed file, it is the size of its content.
    """

    def pieces(self) -> Iterator[bytes]:
        """Yield the content in pieces, decompressed; raises TextError when it cannot be read or has another size."""
        if self.size is not None:
            return watched(recorded_pieces(self.path, self.size))
        return watched(decompressed(byte_pieces(self.path), self.path))


class MissingFileError(TextError):
    """There is no file of this name."""


def find_files(patterns: Sequence[str]) -> list[Path]:
    """Return the files that paths and globs match: in the order given, each glob's matches sorted by name.

    Raises TextError when one matches nothing, or something other than regular files.
    """
    return [
        path
        for pattern in patterns
        for path in _matches(str(from_home(pattern)) if pattern.startswith("~") else pattern)
    ]


def _matches(pattern: str) -> list[Path]:
    if os.path.isdir(pattern):
        raise TextError(f"{pattern}: this is a folder; name a file, or a glob such as '{pattern.rstrip('/')}/*.txt'.")
    if os.path.isfile(pattern):
        return [Path(pattern)]
    if os.path.exists(pattern):
        raise TextError(f"{pattern}: not a regular file; a text is read twice. Save it as a file first.")
    try:
        names = sorted(glob.glob(pattern, recursive=True))
    except (ValueError, OSError, RecursionError):  # a pattern that glob cannot search for
        names = []
    found = [Path(name) for name in names if os.path.isfile(name)]
    if not found:
        here = "" if os.path.isabs(pattern) else f" (looked in {Path.cwd()})"
        raise TextError(f"{pattern}: no such file{here}. Relative paths are resolved against the working directory.")
    return found


def byte_pieces(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes in pieces of `PIECE` bytes; raises TextError when it cannot be read."""
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece
    except OSError as error:
        raise TextError(f"{path}: cannot read this file ({error.strerror}).") from error


def recorded_pieces(path: Path, size: int) -> Iterator[bytes]:
    """Yield a regular file's content of ``size`` bytes, in pieces; raises TextError for another size or kind of file.

    An empty file is not opened, and no more than ``size`` bytes are read. Of a compressed file, no more than
    ``size + 1`` bytes are decompressed, and no more is read than any compression of so few takes.
    """
    check_size(path, size)
    left = size
    most = 2 * size + PIECE if is_compressed(path) else size
    for piece in decompressed(_regular_pieces(path, most), path, size + 1):
        left -= len(piece)
        if left < 0:
            break
        yield piece
    if left:
        raise _changed(path)


def _regular_pieces(path: Path, most: int) -> Iterator[bytes]:
    """Yield at most ``most`` bytes of a regular file in pieces; of anything else, none."""
    if not most:
        return
    try:
        with open(path, "rb", buffering=0, opener=_without_waiting) as file:
            while most and stat.S_ISREG(os.fstat(file.fileno()).st_mode) and (piece := file.read(min(PIECE, most))):
                most -= len(piece)
                yield piece
    except OSError as error:
        raise TextError(f"{listed([path])}: cannot read this file ({error.strerror}).") from error


def check_size(path: Path, size: int) -> None:
    """Raise TextError unless this is a regular file of ``size`` bytes; it is not opened.

    The size of a compressed file's content is known only when it has been read.
    """
    stored = stored_size(path)
    if stored != size and not is_compressed(path):
        raise _changed(path)


def stored_size(path: Path) -> int:
    """Return the size in bytes of a regular file, without opening it.

    Raises MissingFileError where there is nothing, and TextError for anything else. Files of the kernel are refused
    too: reading one may wait for ever, never end, or change the machine.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a name that no file can have
        raise MissingFileError(f"{listed([path])}: no such file.") from error
    except OSError as error:
        raise TextError(f"{listed([path])}: cannot read this file ({error.strerror}).") from error
    if not stat.S_ISREG(status.st_mode):
        raise TextError(f"{listed([path])}: not a regular file.")
    if status.st_dev in _kernel_devices():
        raise TextError(f"{listed([path])}: a file of the kernel, not of a text.")
    return status.st_size


def listed(names: Sequence[object]) -> str:
    """Return the first names, each cut to a readable length, and the number of the others."""
    shown = [name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…" for name in map(str, names[:_LISTED])]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def files_here(names: Sequence[str]) -> list[str]:
    """Return the relative names of files in the working directory, none of which is opened."""
    return [name for name in names if not os.path.isabs(name) and os.path.isfile(name)]


def _changed(path: Path) -> TextError:
    return TextError(f"{listed([path])} has changed since training.")


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that has taken its place since is not waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@cache
def _kernel_devices() -> frozenset[int]:
    return frozenset(os.stat(place).st_dev for place in _KERNEL if os.path.ismount(place))
