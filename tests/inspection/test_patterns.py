"""Patterns mark what they say, against a second definition that looks at the text up to each character alone."""

import itertools
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charlm.cli import unit_search
from charlm.errors import ConfigError
from charlm.inspection.patterns import PATTERNS, Values, values_of
from charlm.text.vocabulary import Vocabulary
from tests.conftest import Run, make_config, train

CLOSES = {'"': '"', "“": "”", "«": "»", "„": "“", "「": "」", "『": "』"}
AWKWARD = [
    *'"“”«»„「」『』',
    *"()[]{}",
    "\n",
    "\n\n",
    "\t",
    " ",
    *"abXYZ019_",
    "한",
    "é",
    "É",
    "²",
    "\u00a0",
    "\U0001f600",
    "",
]

texts = st.lists(st.sampled_from(AWKWARD), max_size=40).map("".join)
"""Texts made of little but what the patterns look for."""


def line_before(before: str) -> str:
    """Return what was read of the line that goes on after ``before``."""
    return before.rpartition("\n")[2]


def in_quotes(read: str) -> bool:
    """Find each opening quote and whichever comes first, its closing one or a blank line; is one left open?"""
    place = 0
    while opened := re.compile("[" + "".join(CLOSES) + "]").search(read, place):
        ends = [read.find(CLOSES[opened[0]], opened.end()), read.find("\n\n", opened.end())]
        ends = [end + len(closing) for end, closing in zip(ends, ("x", "\n\n"), strict=True) if end >= 0]
        if not ends:
            return True
        place = min(ends)
    return False


def depth(read: str, opening: str, closing: str) -> int:
    """Return how far the balance stands above its lowest point, which is where nothing was open."""
    balance = [0, *itertools.accumulate((c in opening) - (c in closing) for c in read)]
    return balance[-1] - min(balance)


def word(read: str) -> str:
    """Return what was read of a word that ends here."""
    return "".join(itertools.takewhile(str.isalnum, reversed(read)))


BY_WHAT_WAS_READ: dict[str, Callable[[str], float]] = {
    "quotes": in_quotes,
    "parentheses": lambda read: depth(read, "(", ")"),
    "brackets": lambda read: depth(read, "[{", "]}"),
    "since-newline": lambda read: len(line_before(read)),
    "word-start": lambda read: len(word(read)) == 1,
    "position-in-word": lambda read: len(word(read)),
    "upper-case": lambda read: read[-1].isupper(),
    "digit": lambda read: read[-1].isdigit(),
    "white-space": lambda read: read[-1].isspace(),
    "indentation": lambda read: len(line_before(read)) - len(line_before(read).lstrip(" \t")),
}
"""What each pattern is at the last character of what was read: nothing that follows can matter."""


def places_in_lines(text: str) -> list[float]:
    """Return how much of its line has been read at each character, the line end being the last of them."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    return [(place + 1) / len(line) for line in lines for place in range(len(line))]


def test_every_pattern_has_a_second_definition() -> None:
    assert {*BY_WHAT_WAS_READ, "position-in-line"} == set(PATTERNS)


@pytest.mark.parametrize("name", BY_WHAT_WAS_READ)
@given(text=texts)
@example("")
@example('"')
@example('a "b\n\nc" d"e')
@example("„a “b” c» “d\n")
@example("))((a)[{b]}")
@example("\n\n  x\t y\n\t\n z")
def test_a_pattern_is_what_its_second_definition_says_and_knows_nothing_of_what_follows(name: str, text: str) -> None:
    expected = [BY_WHAT_WAS_READ[name](text[: place + 1]) for place in range(len(text))]
    found = values_of(name, text)
    assert found.tolist() == expected
    assert found.dtype == np.float32


@given(text=texts)
@example("")
@example("a")
@example("\n")
@example("abc\n\nde")
def test_the_position_in_a_line_runs_to_1_at_its_end(text: str) -> None:
    found = values_of("position-in-line", text)
    np.testing.assert_allclose(found, np.array(places_in_lines(text)), rtol=1e-6)
    assert found.dtype == np.float32


def test_the_position_in_a_line_is_the_one_pattern_that_asks_what_follows() -> None:
    assert values_of("position-in-line", "ab").tolist() == [0.5, 1.0]
    assert values_of("position-in-line", "abcd\nef").tolist()[:2] == pytest.approx([0.2, 0.4])


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("quotes", 'x"ab"y', "011100"),
        ("quotes", '"ab\n\nc', "111100"),
        ("quotes", "“a\nb”c", "111100"),
        ("quotes", '“a"b”"', "111101"),  # another kind neither closes nor opens inside
        ("quotes", "'a'", "000"),  # an apostrophe is no quote
        ("parentheses", "(a(b))c)", "11221000"),
        ("brackets", "{[(x)]}", "1222210"),
        ("since-newline", "ab\nc\n\nd", "1201001"),
        ("word-start", "ab c_3", "100101"),
        ("position-in-word", "ab 한3x", "120123"),
        ("upper-case", "aB한É3", "01010"),
        ("digit", "a1²한", "0110"),
        ("white-space", "a \t\nb\u00a0", "011101"),
        ("indentation", "a b\n \tc d\n\te", "000012222011"),
    ],
)
def test_a_pattern_by_hand(name: str, text: str, expected: str) -> None:
    assert values_of(name, text).tolist() == [int(value) for value in expected]


@pytest.mark.parametrize(
    ("expression", "text", "expected"),
    [
        ("the", "the other", "111001110"),
        ("aa", "aaaa a", "111100"),
        (r"\d+", "a12b3", "01101"),
        ("^ab", "ab\nab ab", "11011000"),
        ("b$", "ab\nb", "0101"),
        ("a.b", "a\nb axb", "0000111"),
        ("a(?=b)", "aab", "010"),
        ("(?i)É", "éÉe", "110"),
        (r"\[x\]", "[x]x", "1110"),
        ("가+", "나가가", "011"),
        ("\U0001f600.", "a\U0001f600b", "011"),
        ("x*", "axxa", "0110"),
        ("", "abc", "000"),
        ("z", "", ""),
    ],
)
def test_a_regular_expression_marks_all_characters_of_its_matches(expression: str, text: str, expected: str) -> None:
    assert values_of(expression, text).tolist() == [int(value) for value in expected]


@given(text=texts, letters=st.sets(st.sampled_from('abX"(한\n'), min_size=1))
def test_a_class_of_characters_marks_those_characters(text: str, letters: set[str]) -> None:
    expression = "[" + "".join(map(re.escape, sorted(letters))) + "]"
    assert values_of(expression, text).tolist() == [character in letters for character in text]


@given(text=texts)
def test_a_pattern_has_one_number_for_each_character(text: str) -> None:
    for name in PATTERNS:
        assert values_of(name, text).shape == (len(text),)


@pytest.mark.parametrize(
    "expression",
    ["(", "[a", "*a", "a**", "a{2,1}", "(?P<n", "\\", r"\1", "a(?i)", "(" * 5000 + ")" * 5000, "a{" + "9" * 30 + "}"],
    ids=lambda expression: expression[:9],
)
def test_an_expression_that_is_none_is_refused_with_the_names_there_are(expression: str) -> None:
    with pytest.raises(ConfigError, match=r"^pattern: ") as refusal:
        values_of(expression, "text")
    assert all(name in str(refusal.value) for name in PATTERNS)
    assert expression in str(refusal.value)


def test_an_expression_that_only_python_frowns_at_is_used_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert values_of("[[a]", "xa[").tolist() == [0, 1, 1]


@pytest.fixture
def searched(charlm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Values]]:
    """Return a function that searches ``text`` with a model of it, and returns the patterns that were looked for."""

    def search(text: str, find: str, **data: object) -> tuple[dict[str, Values], Vocabulary]:
        (tmp_path / "text.txt").write_bytes(text.encode())
        path, checkpoint = train(make_config(tmp_path / "text.txt", tmp_path / "runs", kind="rnn", data=data))
        seen: dict[str, Values] = {}

        def remember(model, ids, patterns, *others):
            seen.update(patterns)
            return {}

        monkeypatch.setattr(unit_search, "find", remember)
        charlm("inspect-hidden", "-c", str(path), "--file", "text.txt", "--find", find)
        return seen, checkpoint.vocabulary

    return search


def test_a_byte_model_has_one_number_for_each_byte(searched) -> None:
    text = 'The "fox" (42)\n\tlay.\n' * 20
    seen, _ = searched(text, "all", unit="byte")
    assert set(seen) == set(PATTERNS)
    for name, values in seen.items():
        np.testing.assert_array_equal(values, values_of(name, text))


@pytest.mark.parametrize("name", ["quotes", "upper-case", "digit", "white-space"])
def test_bytes_of_a_letter_are_no_quotes_capitals_digits_or_spaces(name: str, searched) -> None:
    """Bytes above 127 are parts of characters: C3 A0 is an à, not a capital Ã and a no-break space."""
    text = "naïve fiancée à la Noël, ò ů 한글\n".lower() * 20
    seen, _ = searched(text, name, unit="byte")
    marked = sum(len(c.encode()) for c, value in zip(text, values_of(name, text), strict=True) if value)
    assert seen[name].sum() == marked
    assert len(seen[name]) == len(text.encode())


def test_what_a_model_reads_as_unknown_is_no_word_no_space_and_keeps_its_place(searched) -> None:
    text = "ab cd\n" * 60 + "é7"  # each of the last two stands here once, and is rarer than asked for
    seen, vocabulary = searched(text, "all", minimum_count=2)
    assert set(vocabulary.special) == {"<unk>"}
    assert {len(values) for values in seen.values()} == {len(text)}
    for name in ("digit", "word-start", "position-in-word", "white-space", "quotes"):
        assert seen[name].tolist()[-2:] == [0, 0]
    assert seen["since-newline"].tolist()[-2:] == [1, 2]
