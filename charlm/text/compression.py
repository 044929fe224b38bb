"""Compressed files, read through: those whose names end in .gz, .bz2 or .xz.

The name decides, because it is known before a file is opened. A link counts as the file that it leads to. Data that is
compressed under any other name, or in any other format, is refused with the program that unpacks it.
"""

import bz2
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from charlm.errors import TextError

_PIECE = 1 << 20
"""Maximum number of bytes that are decompressed at a time."""
_MOST_MEMORY = 1 << 28
"""Memory that decompressing .xz may take, in bytes; `xz -9` needs a quarter of it."""


class _Decompressor(Protocol):
    """What the decompressors of bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's decompressor in the form of the other two."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        text = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self.needs_input = not self._inner.unconsumed_tail and len(text) < max_length
        return text


def _xz() -> _Decompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MEMORY)


@dataclass(frozen=True)
class _Format:
    name: str
    begins: re.Pattern[bytes]
    program: str
    """The program that decompresses it."""
    new: Callable[[], _Decompressor]


_READ: dict[str, _Format] = {
    ".gz": _Format("gzip", re.compile(rb"\x1f\x8b\x08"), "gzip -d", _Gzip),
    ".bz2": _Format("bzip2", re.compile(rb"BZh[1-9]1AY&SY"), "bzip2 -d", bz2.BZ2Decompressor),
    ".xz": _Format("xz", re.compile(rb"\xfd7zXZ\0"), "xz -d", _xz),
}
_REFUSED = {
    "a zip archive": (re.compile(rb"PK(\x03\x04|\x05\x06)"), "Unpack it first, with unzip"),
    "Zstandard data": (re.compile(rb"\x28\xb5\x2f\xfd"), "Decompress it first, with zstd -d"),
}


def is_compressed(path: Path) -> bool:
    """Return whether this file, or the one that a link leads to, is decompressed when it is read."""
    return _ending(path) in _READ


def without_compression(name: str) -> str:
    """Return a file's name without the ending of its compression, if it has one."""
    return name.removesuffix(ending) if (ending := Path(name).suffix).lower() in _READ else name


def decompressed(pieces: Iterable[bytes], path: Path, most: int | None = None) -> Iterator[bytes]:
    """Yield the content of a file whose bytes are ``pieces``; they themselves where the file is not compressed.

    Where it is, at most ``most`` bytes are decompressed; None: all. Raises TextError when that fails.
    """
    known = _READ.get(_ending(path))
    if known is None:
        yield from pieces
        return
    running: _Decompressor | None = None
    left = most
    for piece in pieces:
        data = piece
        while running or (data := data.lstrip(b"\0")):  # zeros may fill the space between two streams
            running = running or known.new()
            length = _PIECE if left is None else min(_PIECE, left)
            if not length:
                return
            content = _step(running, data, length, path)
            left = None if left is None else left - len(content)
            if content:
                yield content
            data = running.unused_data
            if running.eof:
                running = None
            elif running.needs_input:
                break
    if running:
        raise TextError(f"{path}: ends in the middle of its {known.name} data. Get the whole file again.")


def _step(running: _Decompressor, data: bytes, length: int, path: Path) -> bytes:
    try:
        return running.decompress(data, length)
    except (zlib.error, lzma.LZMAError, OSError) as error:
        known, ending = _READ[_ending(path)], _ending(path)
        raise TextError(
            f"{path}: this is not {known.name} data, or it is damaged ({error}). Get the file again; or, if it is not "
            f"compressed, take {ending} off its name."
        ) from error


def refuse_compressed(begin: bytes, source: str) -> None:
    """Raise TextError where a text begins with these bytes and is compressed; ``source`` names it."""
    for ending, known in _READ.items():
        if known.begins.match(begin):
            only = f"which is read only from a file whose name ends in {ending}"
            twice = "compressed a second time" if source.lower().endswith(ending) else only
            raise TextError(f"{source}: this is {known.name} data, {twice}. Decompress it first, with {known.program}.")
    for what, (begins, remedy) in _REFUSED.items():
        if begins.match(begin):
            raise TextError(f"{source}: this is {what}, which cannot be read as a text. {remedy}.")


def _ending(path: Path) -> str:
    return Path(os.path.realpath(path)).suffix.lower()
