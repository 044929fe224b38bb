"""Numbers, settings and untrusted text, formatted for pages."""

import unicodedata

from charlm.text.printable import marked

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def readable(text: str) -> str:
    """Return text with each control character replaced by a mark, except line ends and tabs.

    Letters, accents and spaces are unchanged; characters that control the text direction are replaced too.
    """
    return "".join(map(_shown, text))


def setting(value: object) -> str:
    """Return the value of a setting as written in a config file."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(setting, value))
    return readable(str(value))


def compact(number: float) -> str:
    """Return a number in three digits and a unit prefix, such as 1.23M."""
    for size, letter in _UNITS:
        if number >= size * 0.9995:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units, such as 3 min 20 s."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    minutes, hours = whole // 60, whole // 3600
    if hours:
        return f"{hours:,} h {minutes % 60} min"
    return f"{minutes} min {whole % 60} s"


def _shown(character: str) -> str:
    if character in "\n\t" or character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return marked(character)
