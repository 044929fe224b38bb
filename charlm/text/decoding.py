"""Ids → text, one id at a time, never showing a part of a character."""

import codecs
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from charlm.text.normalization import starts_afresh

REPLACEMENT = "\ufffd"
"""Stands for what is not a character: a special symbol, or bytes that are not UTF-8."""


class Decoder:
    """Turns a stream of ids into text as early as it can be shown.

    ``unit`` "byte": symbols are bytes, and the text is their UTF-8. ``recompose``: the symbols are
    decomposed (NFD, NFKD); a letter waits for its accents and is shown recomposed (NFC).
    """

    def __init__(self, symbols: Sequence[str], *, unit: str, recompose: bool) -> None:
        self._symbols = [symbol if len(symbol) == 1 else REPLACEMENT for symbol in symbols]
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace") if unit == "byte" else None
        self._recompose = recompose
        self._held = ""

    def feed(self, index: int) -> str:
        """Take one id; return the text that can be shown now, perhaps none."""
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
        """Return what was held back; call it once, at the end."""
        if self._utf8:
            return self._utf8.decode(b"", final=True)
        return unicodedata.normalize("NFC", self._held)


def decoded(ids: Iterable[int], decoder: Decoder) -> Iterator[str]:
    """Yield the text of ``ids`` as early as it can be shown, to the end."""
    yield from map(decoder.feed, ids)
    yield decoder.finish()
