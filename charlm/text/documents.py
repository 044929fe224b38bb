"""Separate items in a text, such as names, poems or files: finding where one ends and the next begins.

    ann                       a n n ▸ b o b ▸
    bob        line by line ▸

Every item is followed by an end mark (▸), which the model learns to predict, and one precedes the first: so each
item is read right after an end mark. Separators, and white space before them, belong to no item; empty items are
dropped. Records, the values of a table, come with a mark after each, which is then their separator.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from charlm.text.code_points import END_UNIT

Documents = Literal["line", "blank-line", "file", "record"]

_END = chr(END_UNIT)
_WHITE = " \t\r\n"
_BLANK_LINES = r"(?:(?<![ \t])[ \t]*+\r?\n)+"  # matched only where white space begins, which keeps the search linear
_SEPARATORS: dict[Documents, re.Pattern[str]] = {
    "line": re.compile(_BLANK_LINES),
    "blank-line": re.compile(rf"(?<![ \t])[ \t]*+\r?\n{_BLANK_LINES}"),
    "record": re.compile(rf"(?<![{_WHITE}{_END}])(?:[{_WHITE}]*+{_END})+(?:{_BLANK_LINES})?"),
}
_LEADING = re.compile(rf"(?:[{_WHITE}]*+{_END})*+(?:{_BLANK_LINES})?")


def ends_marked(files: Iterable[Iterable[str]], documents: Documents) -> Iterator[str]:
    """Yield the text of ``files``, each given in pieces, with the lone surrogate U+D800 as the end mark."""
    yield _END
    for pieces in files:
        last = _END
        for piece in pieces if documents == "file" else _marked(pieces, _SEPARATORS[documents]):
            last = piece[-1:] or last
            yield piece
        if last != _END:
            yield _END


def _marked(pieces: Iterable[str], separator: re.Pattern[str]) -> Iterator[str]:
    """Yield the pieces with each separator replaced by one end mark; leading separators are dropped.

    White space at the end of a piece may be part of a separator, so it is held back; at the end of the text it is
    dropped.
    """
    held, begun = "", False
    for piece in pieces:
        text = held + piece
        kept = text.rstrip(_WHITE + _END)
        held = text[len(kept) :]
        if kept and not begun:
            kept, begun = _LEADING.sub("", kept, count=1), True  # at the start, where it matches, if only nothing
        yield separator.sub(_END, kept)
