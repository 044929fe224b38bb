"""Files → pieces of text: found, decoded and normalized, one MiB at a time.

Line ends are kept, a byte order mark is dropped, and bytes that cannot be decoded are reported by
file and offset.
"""

import codecs
import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from charlm.config.settings import DataConfig
from charlm.errors import TextError
from charlm.text.normalization import normalized

PIECE = 1 << 20
"""Bytes read at a time."""

_BYTE_ORDER_MARK = "\ufeff"


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
