"""A text of separate items, such as names, poems or files: where one ends and the next begins.

    ann                       a n n ▸ b o b ▸
    bob        line by line ▸

Every item ends with an end of its own (▸), which the model learns to write, and one stands before the first: so each
is read right after an end. What separates items belongs to none, white space before it included, and there are no
empty ones.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from charlm.text.vocabulary import END_UNIT

Documents = Literal["line", "blank-line", "file"]

_END = chr(END_UNIT)
_BREAKS: dict[Documents, re.Pattern[str]] = {
    "line": re.compile(r"(?:[ \t]*\r?\n)+"),
    "blank-line": re.compile(r"[ \t]*\r?\n(?:[ \t]*\r?\n)+"),
}
_OPEN = re.compile(r"[ \t\r\n]*\Z")
"""White space at a piece's end, which may be half of what separates two items; at a file's end it is nothing."""


def ends_marked(files: Iterable[Iterable[str]], documents: Documents) -> Iterator[str]:
    """Yield the text of ``files``, each given in pieces, with half a character U+D800 for every end."""
    yield _END
    for pieces in files:
        inside = False
        for text in pieces if documents == "file" else _marked(pieces, _BREAKS[documents]):
            piece = text if inside else text.removeprefix(_END)
            inside = piece[-1:] != _END if piece else inside
            yield piece
        if inside:
            yield _END


def _marked(pieces: Iterable[str], separator: re.Pattern[str]) -> Iterator[str]:
    """Yield the pieces with each separator replaced by one end; none is cut in two."""
    held = ""
    for piece in pieces:
        text = held + piece
        ending = _OPEN.search(text)
        held = ending[0] if ending else ""
        yield separator.sub(_END, text[: len(text) - len(held)])
