"""Ids → text, one id at a time; incomplete characters are held back."""

import codecs
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from charlm.text.normalization import starts_afresh

REPLACEMENT = "\ufffd"
"""Shown for a special symbol, and for bytes that are not UTF-8."""


class Decoder:
    """An incremental decoder: ids in, text out as soon as a character is complete.

    ``unit`` "byte": symbols are bytes, decoded as UTF-8. ``recompose``: symbols are decomposed (NFD,
    NFKD); a letter is held back until its accents are known and returned recomposed (NFC).
    """

    def __init__(self, symbols: Sequence[str], *, unit: str, recompose: bool) -> None:
        self._symbols = [symbol if len(symbol) == 1 else REPLACEMENT for symbol in symbols]
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace") if unit == "byte" else None
        self._recompose = recompose
        self._held = ""

    def feed(self, index: int) -> str:
        """Take one id; return the text that is now complete, possibly empty."""
        symbol = self._symbols[index]
        if self._utf8 and symbol != REPLACEMENT:
            return self._utf8.decode(symbol.encode("latin-1"))
        if not self._recompose:
            return symbol
        if not starts_afresh(symbol):
            self._held += symbol
            return ""
        shown, self._held = unicodedata.normalize("NFC", self._held), symbol
        return shown

    def finish(self) -> str:
        """Return the text still held back; call once, at the end."""
        if self._utf8:
            return self._utf8.decode(b"", final=True)
        return unicodedata.normalize("NFC", self._held)


def decoded(ids: Iterable[int], decoder: Decoder) -> Iterator[str]:
    """Yield the text of ``ids``, each piece as soon as it is complete."""
    yield from map(decoder.feed, ids)
    yield decoder.finish()
