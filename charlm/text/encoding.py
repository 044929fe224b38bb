"""Text for a trained model → ids: decoded, normalized and cut into items like the model's corpus."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from charlm.config.settings import DataConfig
from charlm.errors import TextError, UnknownCharactersError
from charlm.text.corpus import encode_pieces, itemized
from charlm.text.files import text_pieces
from charlm.text.normalization import normalized
from charlm.text.vocabulary import UNKNOWN, Ids, UnknownCharacter, Vocabulary

_SHOWN = 10
"""Maximum number of unknown characters that a message lists."""


def encode_bytes(
    pieces: Iterable[bytes], source: str, data: DataConfig, vocabulary: Vocabulary
) -> tuple[Ids, list[UnknownCharacter]]:
    """Return the ids (N,) of a text given as bytes, and the characters that were read as ``<unk>``.

    ``source`` names the text in errors. Raises TextError when it is empty or cannot be decoded, and
    UnknownCharactersError for characters outside a vocabulary without ``<unk>``.
    """
    return _encode(text_pieces(pieces, source, data), source, data, vocabulary)


def encode_text(text: str, data: DataConfig, vocabulary: Vocabulary) -> tuple[Ids, list[UnknownCharacter]]:
    """Return the ids (N,) of a string, and the characters read as ``<unk>``; raises like `encode_bytes`."""
    if data.unit == "byte":
        return encode_bytes([text.encode("utf-8", "surrogateescape")], "text", data, vocabulary)
    return _encode(normalized([text], data.normalization), "text", data, vocabulary)


def _encode(
    texts: Iterable[str], source: str, data: DataConfig, vocabulary: Vocabulary
) -> tuple[Ids, list[UnknownCharacter]]:
    """Encode a text given in pieces, already decoded and normalized."""
    found: dict[str, UnknownCharacter] = {}
    try:
        ids = encode_pieces(itemized([_noting(texts, vocabulary, found)], data), vocabulary)
    except UnknownCharactersError as error:
        raise error.at(source) from error
    if len(ids) == (0 if vocabulary.end is None else 1):
        raise TextError(f"{source}: the text is empty. Give at least one character.")
    return ids, list(found.values())


def _noting(texts: Iterable[str], vocabulary: Vocabulary, found: dict[str, UnknownCharacter]) -> Iterator[str]:
    """Yield the pieces of a text, and record in ``found`` the characters that the vocabulary lacks.

    White space between separate items belongs to no item and is not reported. Raises UnknownCharactersError where the
    vocabulary has no ``<unk>``.
    """
    position = 0
    between = "" if vocabulary.end is None else " \t\r\n"
    for text in texts:
        lacking = [each for each in vocabulary.unknown_characters(text, position) if each.character not in between]
        if lacking and UNKNOWN not in vocabulary.special:
            raise vocabulary.unknown_error(lacking)
        for each in lacking:
            known = found.setdefault(each.character, replace(each, count=0))
            found[each.character] = replace(known, count=known.count + each.count)
        position += len(text)
        yield text


def unknown_note(unknown: list[UnknownCharacter]) -> str | None:
    """Return a message that lists the characters read as ``<unk>``, or None where there are none."""
    if not unknown:
        return None
    shown = ", ".join(map(str, unknown[:_SHOWN])) + (", …" if len(unknown) > _SHOWN else "")
    return f"read as unknown: {shown}"
