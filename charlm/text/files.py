"""Files → pieces of text: found, decoded and normalized, one MiB at a time.

Line ends are kept, a byte order mark is dropped, and bytes that cannot be decoded are reported by
file and offset.
"""

import codecs
import glob
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from charlm.config.settings import DataConfig
from charlm.errors import TextError
from charlm.text.normalization import normalized

PIECE = 1 << 20
"""Bytes read at a time."""

_BYTE_ORDER_MARK = "\ufeff"
_LISTED, _LONGEST_NAME = 3, 300
"""Number of file names that a message lists, and of characters of each: a checkpoint may name very many."""
_KERNEL = ("/proc", "/sys")
"""Where Linux mounts file systems whose regular files are not stored anywhere."""


@dataclass(frozen=True)
class TextFile:
    """A file of a text."""

    path: Path
    size: int | None = None
    """Number of bytes, where it is recorded: the file is read only if it has that size. None: read to its end."""

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes in pieces; raises TextError when the file cannot be read or has another size."""
        return byte_pieces(self.path) if self.size is None else recorded_pieces(self.path, self.size)


class MissingFileError(TextError):
    """There is no file of this name."""


def find_files(patterns: Sequence[str]) -> list[Path]:
    """Return the files that paths and globs match: in the order given, each glob's matches sorted by name.

    Raises TextError when one matches nothing, or something other than regular files.
    """
    return [path for pattern in patterns for path in _matches(pattern)]


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
    """Yield the ``size`` bytes of a regular file in pieces; raises TextError for another size or kind of file.

    An empty file is not opened, and no more than ``size`` bytes are read.
    """
    check_size(path, size)
    left = size
    if not size:
        return
    try:
        with open(path, "rb", buffering=0, opener=_without_waiting) as file:
            while left and stat.S_ISREG(os.fstat(file.fileno()).st_mode) and (piece := file.read(min(PIECE, left))):
                left -= len(piece)
                yield piece
    except OSError as error:
        raise TextError(f"{listed([path])}: cannot read this file ({error.strerror}).") from error
    if left:
        raise _changed(path)


def check_size(path: Path, size: int) -> None:
    """Raise TextError unless this is a regular file of ``size`` bytes; it is not opened."""
    if stored_size(path) != size:
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


def text_pieces(pieces: Iterable[bytes], source: str, data: DataConfig) -> Iterator[str]:
    """Yield the text of ``pieces``, decoded and normalized as ``data`` specifies.

    ``source`` names the bytes in errors. With ``data.unit`` "byte", each byte becomes the character with
    that code point. Raises TextError, with the offset, at bytes that cannot be decoded.
    """
    if data.unit == "byte":
        return (piece.decode("latin-1") for piece in pieces)
    return normalized(_decoded(pieces, source, data.encoding), data.normalization)


def _decoded(pieces: Iterable[bytes], source: str, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    read, at_start = 0, True
    for piece, final in _with_end(pieces):
        read += len(piece)
        try:
            text = decoder.decode(piece, final)
        except UnicodeError as error:
            raise _not_text(source, encoding, error, read) from error
        _refuse_nul(text, source)
        _refuse_lone_surrogates(text, source, encoding)
        if text:
            yield text.removeprefix(_BYTE_ORDER_MARK) if at_start else text
            at_start = False


def _with_end(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield each piece with False, then an empty piece with True."""
    for piece in pieces:
        yield piece, False
    yield b"", True


def _not_text(source: str, encoding: str, error: UnicodeError, read: int) -> TextError:
    """Return the error for bytes that cannot be decoded; ``read`` bytes were given to the decoder so far."""
    where = f"this is not {encoding} ({error})"
    if isinstance(error, UnicodeDecodeError):
        offset = read - len(error.object) + error.start  # error.object ends where reading stopped
        where = f"byte 0x{error.object[error.start]:02x} at offset {offset:,} is not {encoding} ({error.reason})"
    return TextError(
        f"{source}: {where}. Save it as {encoding}; or, in a config, set data.encoding to the file's encoding (such "
        "as cp1252, cp949 or utf-16), or data.unit: byte to read raw bytes."
    )


def _refuse_lone_surrogates(text: str, source: str, encoding: str) -> None:
    """Raise TextError at a lone surrogate: some decoders (utf-7, unicode_escape) accept them; UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TextError(
            f"{source}: contains a lone surrogate (U+{ord(text[error.start]):04X}), which is not a character. Save it "
            f"as UTF-8 with another program, or set data.encoding to something other than {encoding}."
        ) from error


def _refuse_nul(text: str, source: str) -> None:
    if "\0" in text:
        raise TextError(
            f"{source}: contains a NUL character, so it is binary or in another encoding. Set data.encoding "
            "(such as utf-16), or data.unit: byte to read raw bytes."
        )
