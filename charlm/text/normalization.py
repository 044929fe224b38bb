"""Unicode normalization of a text given in pieces.

Normalizing each piece alone is wrong where a cut separates a letter from its accent or a jamo from its
syllable. So each piece is held back from its last stable code point: one that never interacts with
what precedes it (Unicode Standard Annex #15, section 9.1).
"""

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Literal

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]

_VOWEL_AND_FINAL_JAMO = range(0x1160, 0x1200)
_KIRAT_RAI_VOWEL_SIGN_E = "\U00016d67"  # its category is Lo, but it composes with what precedes it (Unicode 16)


def normalized(pieces: Iterable[str], form: Form | None) -> Iterator[str]:
    """Yield the normalization of the joined ``pieces``, in pieces; ``form`` None changes nothing."""
    if form is None:
        yield from pieces
        return
    held = ""
    for piece in pieces:
        held += piece
        cut = last_fresh_start(held)
        yield unicodedata.normalize(form, held[:cut])
        held = held[cut:]
    yield unicodedata.normalize(form, held)


def last_fresh_start(text: str) -> int:
    """Return the last index at which ``text`` can be cut without changing its normalization, else 0."""
    return next((index for index in range(len(text) - 1, 0, -1) if starts_afresh(text[index])), 0)


def starts_afresh(character: str) -> bool:
    """Return whether ``character`` can neither compose nor be reordered with anything before it."""
    first = unicodedata.normalize("NFKD", character)[0]
    return (
        unicodedata.combining(first) == 0
        and not unicodedata.category(first).startswith("M")
        and ord(first) not in _VOWEL_AND_FINAL_JAMO
        and first != _KIRAT_RAI_VOWEL_SIGN_E
    )
