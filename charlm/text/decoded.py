"""Bytes of a text → its characters, in pieces: decoded, with one kind of line end, and normalized.

A byte order mark is dropped, and bytes that cannot be decoded are reported by file and offset.
"""

import codecs
from collections.abc import Iterable, Iterator

from charlm.config.settings import DataConfig
from charlm.errors import TextError
from charlm.text.compression import refuse_compressed
from charlm.text.findings import Findings
from charlm.text.newlines import newlines_normalized
from charlm.text.normalization import normalized
from charlm.text.records import column

_BYTE_ORDER_MARK = "\ufeff"


_FIRST_BAD, _MORE_BAD = "\udcff", "\udcfe"
"""What decoding puts in the place of bytes that it cannot decode: the first of a sequence, and each that follows."""


def _marking(error: UnicodeError) -> tuple[str, int]:
    """Mark each byte of a sequence that cannot be decoded (an error handler of `codecs`)."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _FIRST_BAD + _MORE_BAD * (error.end - error.start - 1), error.end


codecs.register_error("charlm.marking", _marking)


def text_pieces(
    pieces: Iterable[bytes], source: str, data: DataConfig, findings: Findings | None = None
) -> Iterator[str]:
    """Yield the text of ``pieces``, decoded and normalized as ``data`` specifies.

    ``source`` names the bytes in errors. With ``data.unit`` "byte", each byte becomes the character with
    that code point. With ``data.field``, the text is that column of the table called ``source``, with an end mark after
    each value. ``findings`` takes what is to be said about the text. Raises TextError, with the offset, at bytes that
    cannot be decoded.
    """
    if data.unit == "byte":
        return (piece.decode("latin-1") for piece in pieces)
    texts = _without_nul(_decoded(pieces, source, data, findings or Findings()), source)
    if data.field is not None:
        texts = column(texts, source, data.field)
    elif findings is not None:
        texts = findings.watched(texts, source)
    return normalized(newlines_normalized(texts) if data.meant().newlines == "normalize" else texts, data.normalization)


def _decoded(pieces: Iterable[bytes], source: str, data: DataConfig, findings: Findings) -> Iterator[str]:
    """Yield the text of ``pieces`` without its byte order mark."""
    decoder = codecs.getincrementaldecoder(data.encoding)("strict" if data.errors == "strict" else "charlm.marking")
    read, at_start, replaced = 0, True, 0
    for piece, final in _with_end(pieces):
        if not read:
            refuse_compressed(piece, source)
        read += len(piece)
        try:
            text = decoder.decode(piece, final)
        except UnicodeError as error:
            raise _not_text(source, data.encoding, error, read) from error
        if data.errors == "replace":
            replaced += text.count(_FIRST_BAD) + text.count(_MORE_BAD)
            text = text.replace(_MORE_BAD, "").replace(_FIRST_BAD, "\ufffd")
        _refuse_lone_surrogates(text, source, data.encoding)
        if text:
            yield text.removeprefix(_BYTE_ORDER_MARK) if at_start else text
            at_start = False
    if replaced:
        findings.add_replaced(source, replaced, data.encoding)


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
        "as cp1252, cp949 or utf-16), data.errors: replace to read bad bytes as \ufffd, or data.unit: byte to read "
        "raw bytes."
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


def _without_nul(texts: Iterable[str], source: str) -> Iterator[str]:
    for text in texts:
        if "\0" in text:
            raise TextError(
                f"{source}: contains a NUL character, so it is binary or in another encoding. Set data.encoding "
                "(such as utf-16), or data.unit: byte to read raw bytes."
            )
        yield text
