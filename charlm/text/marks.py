"""Characters that show nothing by themselves, made visible, one mark for each.

Newline is ↵, tab →, other controls are their pictures, what joins the character before it (an accent, a
jamo) is ◌, and what cannot be shown is �.
"""

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
    return character if starts_afresh(character) else "◌"
