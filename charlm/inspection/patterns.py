"""Patterns of a text that a unit might follow, as one number per character.

The number at position t is known after reading character t, so that it can be compared with a unit's value at that
step: an opening quote is inside, the closing one is not. Two patterns look ahead: the position in the line depends on
where the line ends, and a regular expression marks a match from its first character on.
"""

import re
import sys
import warnings
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from charlm.errors import ConfigError
from charlm.text.decoding import REPLACEMENT
from charlm.text.vocabulary import Ids, Vocabulary

Values = NDArray[np.float32]
"""One number per character, (T,); zeros and ones for a binary pattern."""

_PAIRS = {"“": "”", "«": "»", "„": "“", "「": "」", "『": "』"}


def inside_quotes(text: str) -> Values:
    """Return 1 inside double quotes, 0 elsewhere; a blank line closes open quotes."""
    inside, closing = np.zeros(len(text), np.float32), ""
    for place, character in enumerate(text):
        if character == closing or (character == "\n" and text[place - 1 : place] == "\n"):
            closing = ""
        elif not closing and (character == '"' or character in _PAIRS):
            closing = _PAIRS.get(character, '"')
        inside[place] = bool(closing)
    return inside


def _depth(text: str, opening: str, closing: str) -> Values:
    """Return the nesting depth; unmatched closing characters are ignored."""
    steps = np.zeros(len(text), np.int64)
    depth = 0
    for place, character in enumerate(text):
        if character in opening:
            depth += 1
        elif character in closing and depth:
            depth -= 1
        steps[place] = depth
    return steps.astype(np.float32)


def parenthesis_depth(text: str) -> Values:
    """Return the number of open parentheses."""
    return _depth(text, "(", ")")


def bracket_depth(text: str) -> Values:
    """Return the number of open square brackets and braces."""
    return _depth(text, "[{", "]}")


def since_newline(text: str) -> Values:
    """Return the number of characters since the last newline, which itself is 0."""
    return _since(_places(text, "\n"))


def position_in_line(text: str) -> Values:
    """Return the fraction of the line read: near 0 at its beginning, 1 at its end."""
    ends = np.flatnonzero(_places(text, "\n"))
    lengths = np.diff(np.concatenate([[-1], ends, [len(text) - 1]]))
    line = np.repeat(lengths, lengths)  # the length of the line that each character is in
    column = _since(np.concatenate([[True], _places(text, "\n")[:-1]])) + 1 if text else np.zeros(0, np.float32)
    share: Values = (column / np.maximum(line, 1)).astype(np.float32)
    return share


def word_start(text: str) -> Values:
    """Return 1 at the first letter or digit of a word, 0 elsewhere."""
    letters = _are(text, str.isalnum)
    before = np.concatenate([[False], letters[:-1]])
    starts: Values = (letters & ~before).astype(np.float32)
    return starts


def position_in_word(text: str) -> Values:
    """Return the number of letters and digits of the word read so far; 0 between words."""
    return _since(~_are(text, str.isalnum))


def upper_case(text: str) -> Values:
    """Return 1 at an upper-case letter, 0 elsewhere."""
    return _are(text, str.isupper).astype(np.float32)


def digit(text: str) -> Values:
    """Return 1 at a digit, 0 elsewhere."""
    return _are(text, str.isdigit).astype(np.float32)


def white_space(text: str) -> Values:
    """Return 1 at white space, 0 elsewhere."""
    return _are(text, str.isspace).astype(np.float32)


def indentation(text: str) -> Values:
    """Return the number of leading spaces and tabs of the line read so far."""
    widths, width, at_start = np.zeros(len(text), np.float32), 0, True
    for place, character in enumerate(text):
        if character == "\n":
            width, at_start = 0, True
        elif at_start and character in " \t":
            width += 1
        else:
            at_start = False
        widths[place] = width
    return widths


PATTERNS: dict[str, Callable[[str], Values]] = {
    "quotes": inside_quotes,
    "parentheses": parenthesis_depth,
    "brackets": bracket_depth,
    "position-in-line": position_in_line,
    "since-newline": since_newline,
    "word-start": word_start,
    "position-in-word": position_in_word,
    "upper-case": upper_case,
    "digit": digit,
    "white-space": white_space,
    "indentation": indentation,
}
"""The built-in patterns, by name."""
EVERY = "all"
"""The name for all built-in patterns."""


def patterns_named(pattern: str, text: str) -> dict[str, Values]:
    """Return a pattern of the text, or for `EVERY` all built-in ones, by name; raises like `values_of`."""
    return {name: values_of(name, text) for name in (PATTERNS if pattern == EVERY else [pattern])}


def values_of(pattern: str, text: str) -> Values:
    """Return the built-in pattern of this name, or 1 inside the matches of a regular expression and 0 elsewhere.

    Raises ConfigError for an expression that Python cannot compile.
    """
    if pattern in PATTERNS:
        return PATTERNS[pattern](text)
    try:
        with warnings.catch_warnings(action="ignore"):  # FutureWarning about syntax
            return _inside(re.finditer(pattern, text, re.MULTILINE), len(text))
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(
            f"{pattern} is neither a built-in pattern nor a valid regular expression ({error}). "
            f"The built-in patterns are {', '.join(PATTERNS)} and {EVERY}.",
            field="pattern",
        ) from error


def aligned_text(vocabulary: Vocabulary, ids: Ids) -> str:
    """Return the text of ids (T,) with exactly one character for each, U+FFFD where an id is not a character."""
    highest = "\x7f" if vocabulary.unit == "byte" else chr(sys.maxunicode)  # other bytes are parts of a character
    characters = [symbol if len(symbol) == 1 and symbol <= highest else REPLACEMENT for symbol in vocabulary.symbols]
    return "".join(characters[index] for index in ids)


def _inside(matches: Iterator[re.Match[str]], length: int) -> Values:
    inside = np.zeros(length, np.float32)
    for match in matches:
        inside[match.start() : match.end()] = 1
    return inside


def _are(text: str, test: Callable[[str], bool]) -> NDArray[np.bool_]:
    return np.fromiter(map(test, text), np.bool_, len(text))


def _places(text: str, character: str) -> NDArray[np.bool_]:
    return _are(text, character.__eq__)


def _since(marks: NDArray[np.bool_]) -> Values:
    """Return the distance back to the last mark, (T,); before the first mark, the number of characters read."""
    places = np.arange(len(marks))
    last = np.maximum.accumulate(np.where(marks, places, -1)) if len(marks) else places
    return (places - last).astype(np.float32)
