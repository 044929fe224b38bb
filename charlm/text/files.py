"""Files → pieces of text: found, decoded, normalized, a megabyte at a time.

Line ends are kept as they are, a byte order mark is dropped, and bytes that do not decode are
reported by file and offset.
"""

import codecs
import glob
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from charlm.config.settings import DataConfig
from charlm.errors import TextError
from charlm.text.normalization import normalized

PIECE = 1 << 20
"""Bytes read at a time."""

_BYTE_ORDER_MARK = "\ufeff"


def find_files(patterns: Sequence[str]) -> list[Path]:
    """Return the files that paths and globs name: order is kept, each glob sorts by name.

    Raises TextError when one names nothing, or something other than files.
    """
    return [path for pattern in patterns for path in _matches(pattern)]


def _matches(pattern: str) -> list[Path]:
    if Path(pattern).is_dir():
        raise TextError(f"{pattern}: this is a folder; name a file, or a glob such as '{pattern.rstrip('/')}/*.txt'.")
    if Path(pattern).exists():
        return [Path(pattern)]
    found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True)) if Path(name).is_file()]
    if not found:
        here = f" (looked in {Path.cwd()})" if not Path(pattern).is_absolute() else ""
        raise TextError(f"{pattern}: no such file{here}. A relative path starts where charlm is called.")
    return found


def byte_pieces(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes in pieces; raises TextError when it cannot be read."""
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece
    except OSError as error:
        raise TextError(f"{path}: cannot read this text ({error.strerror}).") from error


def text_pieces(pieces: Iterable[bytes], source: str, data: DataConfig) -> Iterator[str]:
    """Yield the text of ``pieces``, decoded and normalized as ``data`` says.

    ``source`` names the bytes in errors. With ``data.unit`` "byte" each byte becomes the character of
    the same number. Raises TextError at bytes that are no text, naming their offset.
    """
    if data.unit == "byte":
        return (piece.decode("latin-1") for piece in pieces)
    return normalized(_decoded(pieces, source, data.encoding), data.normalization)


def _decoded(pieces: Iterable[bytes], source: str, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, at_start = 0, True
    for piece, final in _with_end(pieces):
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(piece, final)
        except UnicodeDecodeError as error:
            raise _not_text(source, encoding, error, offset - pending) from error
        _refuse_nul(text, source)
        if text:
            yield text.removeprefix(_BYTE_ORDER_MARK) if at_start else text
            at_start = False
        offset += len(piece)


def _with_end(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Mark the end of the bytes with an empty last piece."""
    for piece in pieces:
        yield piece, False
    yield b"", True


def _not_text(source: str, encoding: str, error: UnicodeDecodeError, base: int) -> TextError:
    return TextError(
        f"{source}: byte 0x{error.object[error.start]:02x} at offset {base + error.start:,} is not {encoding} "
        f"({error.reason}). Set data.encoding to the file's own (perhaps cp1252, cp949 or utf-16), or "
        "data.unit: byte to read bytes as they are."
    )


def _refuse_nul(text: str, source: str) -> None:
    if "\0" in text:
        raise TextError(
            f"{source}: holds a NUL character, so it is binary or in another encoding. Set data.encoding "
            "(perhaps utf-16), or data.unit: byte to read bytes as they are."
        )
