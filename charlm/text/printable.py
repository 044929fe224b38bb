"""Invisible characters → printable marks, one for each; and characters that steer a terminal → escapes.

Newline is ↵, tab →, other control characters their control pictures, a conjoining jamo its compatibility letter,
any other combining character (an accent) ◌, and a character that cannot be printed �.
"""

import re
import unicodedata

from charlm.text.decoding import REPLACEMENT
from charlm.text.normalization import starts_afresh

_NAMED = {"\n": "↵", "\t": "→", "\x7f": "␡"}
_PICTURES = 0x2400
"""First code point of the control pictures, for U+0000 to U+001F."""

_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal may obey instead of showing it: control characters but newline and tab, marks of text direction, line
and paragraph separators; and lone surrogates, which cannot be encoded."""


def escaped(text: str) -> str:
    """Return ``text`` with each character that steers a terminal as a Python escape; newlines and tabs are kept."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def escaped_json(text: str) -> str:
    """Return JSON ``text`` with the same characters as JSON escapes, so that it still has the same value."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def marked(text: str) -> str:
    """Return ``text`` with each character that is invisible by itself replaced by a printable mark."""
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
    """Return the character of this name, or ◌: old jamo have no compatibility letter."""
    try:
        return unicodedata.lookup(name)
    except KeyError:
        return "◌"
