"""Characters that show nothing by themselves, made visible, one mark for each.

Newline is ↵, tab →, other controls are their pictures, a jamo is the letter that stands alone, what else joins
the character before it (an accent) is ◌, and what cannot be shown is �.
"""

import unicodedata

from charlm.text.decoding import REPLACEMENT
from charlm.text.normalization import starts_afresh

_NAMED = {"\n": "↵", "\t": "→", "\x7f": "␡"}
_PICTURES = 0x2400
"""Where Unicode keeps the pictures of the control characters U+0000 to U+001F."""


def marked(text: str) -> str:
    """Return ``text`` with a printable mark in place of each character that shows nothing by itself."""
    return "".join(map(_mark, text))


def _mark(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if ord(character) < 0x20:
        return chr(_PICTURES + ord(character))
    if not character.isprintable():
        return REPLACEMENT
    _, jamo, letter = unicodedata.name(character, "").partition("SEONG ")  # HANGUL CHOSEONG, JUNGSEONG, JONGSEONG
    if jamo:
        return _standing_alone(f"HANGUL LETTER {letter}")
    return character if starts_afresh(character) else "◌"


def _standing_alone(name: str) -> str:
    """Return the character of this name; old Korean has jamo without one."""
    try:
        return unicodedata.lookup(name)
    except KeyError:
        return "◌"
