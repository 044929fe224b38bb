"""Text for a trained model → ids: decoded, normalized and cut into items like the model's corpus.

Characters that the vocabulary lacks are read as ``<unk>`` where it has that symbol, skipped where the caller asks for
it, and otherwise refused. Skipped characters are removed before the text is cut into items, so what is left reads as
if they had never been there; white space is removed afterwards, because it may separate items.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from charlm.config.settings import DataConfig
from charlm.errors import TextError, UnknownCharactersError
from charlm.text.code_points import code_points
from charlm.text.corpus import itemized
from charlm.text.decoded import text_pieces
from charlm.text.findings import Findings
from charlm.text.newlines import newlines_normalized
from charlm.text.normalization import normalized
from charlm.text.unknown_characters import UnknownCharacter, listed
from charlm.text.vocabulary import UNKNOWN, Ids, Vocabulary

_BETWEEN = " \t\r\n"
"""White space, which may separate items and then belongs to none of them."""


def encode_bytes(
    pieces: Iterable[bytes],
    source: str,
    data: DataConfig,
    vocabulary: Vocabulary,
    findings: Findings | None = None,
    *,
    skip_unknown: bool = False,
) -> tuple[Ids, list[UnknownCharacter]]:
    """Return the ids (N,) of a text given as bytes, and its unknown characters, read as ``<unk>`` or skipped.

    ``source`` names the text in errors. ``findings`` takes what else is to be said about it. Raises TextError when it
    is empty or cannot be decoded, or when nothing is left of it, and UnknownCharactersError for characters outside a
    vocabulary without ``<unk>`` unless they are skipped.
    """
    texts = text_pieces(pieces, source, data, findings)
    return _encode(texts, source, data, _UnknownCharacters(vocabulary, skip_unknown))


def encode_text(
    text: str, data: DataConfig, vocabulary: Vocabulary, *, skip_unknown: bool = False
) -> tuple[Ids, list[UnknownCharacter]]:
    """Return the ids (N,) of a string, and its unknown characters; skips and raises like `encode_bytes`."""
    if data.unit == "byte":
        text_bytes = text.encode("utf-8", "surrogateescape")
        return encode_bytes([text_bytes], "text", data, vocabulary, skip_unknown=skip_unknown)
    lines = newlines_normalized([text]) if data.meant().newlines == "normalize" else [text]
    return _encode(normalized(lines, data.normalization), "text", data, _UnknownCharacters(vocabulary, skip_unknown))


class _UnknownCharacters:
    """Finds the characters of a text that a vocabulary lacks, and removes them where they are skipped.

    White space between separate items is not among them; so it is looked for after the text is cut into items.
    """

    def __init__(self, vocabulary: Vocabulary, skip: bool) -> None:
        self.vocabulary = vocabulary
        self.skip = skip
        self._between = "" if vocabulary.end is None else _BETWEEN
        self._found: dict[str, UnknownCharacter] = {}

    @property
    def found(self) -> list[UnknownCharacter]:
        """Those found so far, each with its first position in the text."""
        return [each for each in self._found.values() if each.count]

    def in_text(self, texts: Iterable[str]) -> Iterator[str]:
        """Yield the pieces of a text that is not yet cut into items; raises UnknownCharactersError."""
        position = 0
        for text in texts:
            lacking = self.vocabulary.unknown_characters(text, position)
            for each in lacking:
                self._found.setdefault(each.character, replace(each, count=0))
            own = {each.character: each.count for each in lacking if each.character not in self._between}
            position += len(text)
            yield self._without(text, own)

    def in_items(self, texts: Iterable[str]) -> Iterator[str]:
        """Yield the pieces of a text that is cut into items; raises UnknownCharactersError."""
        for text in texts:
            white = {each: text.count(each) for each in self._between if each in self._found}
            yield self._without(text, {each: count for each, count in white.items() if count})

    def _without(self, text: str, lacking: dict[str, int]) -> str:
        """Record the count of each lacking character of a piece; return the piece as it is to be read."""
        for character, count in lacking.items():
            known = self._found[character]
            self._found[character] = replace(known, count=known.count + count)
        if lacking and not self.skip and UNKNOWN not in self.vocabulary.special:
            raise self.vocabulary.unknown_error(self.found)
        return text.translate(dict.fromkeys(map(ord, lacking))) if lacking and self.skip else text


def _encode(
    texts: Iterable[str], source: str, data: DataConfig, unknown: _UnknownCharacters
) -> tuple[Ids, list[UnknownCharacter]]:
    """Encode a text given in pieces, already decoded and normalized."""
    vocabulary = unknown.vocabulary
    pieces = unknown.in_items(itemized([unknown.in_text(texts)], data))
    try:
        ids = _without_empty_items(encode_pieces(pieces, vocabulary), vocabulary.end)
    except UnknownCharactersError as error:
        raise _refused(source, error) from error
    if len(ids) == (0 if vocabulary.end is None else 1):
        raise _empty(source, unknown.found)
    return ids, unknown.found


def encode_pieces(pieces: Iterable[str], vocabulary: Vocabulary) -> Ids:
    """Return the ids (N,) of a text given in pieces, already decoded and normalized."""
    encoded, position = [np.empty(0, vocabulary.dtype)], 0
    for piece in pieces:
        encoded.append(vocabulary.encode_units(code_points(piece), position))
        position += len(encoded[-1])
    return np.concatenate(encoded)


def _without_empty_items(ids: Ids, end: int | None) -> Ids:
    """Return the ids with one ``<end>`` where several are adjacent, because what was between them is skipped."""
    if end is None:
        return ids
    ends = ids == end
    return ids[np.r_[True, ~(ends[1:] & ends[:-1])]]


def _refused(source: str, error: UnknownCharactersError) -> UnknownCharactersError:
    remedy = f"{error.remedy} To score the text without such characters, set skip_unknown."
    return UnknownCharactersError(f"{source}: {error.problem}", remedy, kind="unknown characters", names=[error.remedy])


def _empty(source: str, skipped: list[UnknownCharacter]) -> TextError:
    if not skipped:
        return TextError(f"{source}: the text is empty. Give at least one character.")
    return TextError(
        f"{source}: nothing is left of the text without the characters that the model's vocabulary lacks: "
        f"{listed(skipped)}. Use a text of the model's own characters."
    )
