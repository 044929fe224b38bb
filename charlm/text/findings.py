"""What is to be said about a text that was read: each remark once, however many files it is true of."""

from collections.abc import Callable, Iterable, Iterator

from charlm.text.files import listed
from charlm.text.markup import markup_of

Note = Callable[[str], object]
"""Called with a sentence for the user."""


class Findings:
    """Remarks about the files of a text, collected while they are read."""

    def __init__(self) -> None:
        self._replaced: dict[str, int] = {}
        self._encoding = ""
        self._markup: dict[str, list[str]] = {}

    def watched(self, texts: Iterable[str], source: str) -> Iterator[str]:
        """Yield the text of a file, in pieces, and note where it begins like markup."""
        begun = False
        for text in texts:
            if not begun and (kind := markup_of(text, source)):
                self._markup.setdefault(kind, []).append(source)
            begun = True
            yield text

    def add_replaced(self, source: str, count: int, encoding: str) -> None:
        """Note that ``count`` bytes of a file could not be decoded and were replaced."""
        self._replaced[source] = self._replaced.get(source, 0) + count
        self._encoding = encoding

    def sentences(self) -> tuple[str, ...]:
        """Return the remarks."""
        found = []
        if count := sum(self._replaced.values()):
            what = "1 byte that is" if count == 1 else f"{count:,} bytes that are"
            verb = "was" if count == 1 else "were"
            found.append(f"{listed(list(self._replaced))}: {what} not {self._encoding} {verb} read as \ufffd.")
        for kind, sources in self._markup.items():
            looks, is_ = ("looks", "is") if len(sources) == 1 else ("look", "are")
            other = "data.field: NAME reads one column of a .csv, .tsv or .jsonl file."
            if kind == "HTML":
                other = "take the tags out first, unless the model is to learn them."
            found.append(f"{listed(sources)} {looks} like {kind} and {is_} read as raw text; {other}")
        return tuple(found)
