import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charlm.config.strict_yaml import dump_yaml, parse_yaml

unhurried = settings(deadline=None, max_examples=200)

NUMBER_LIKE = st.from_regex(r"[-+]?[0-9._xo:]{1,4}([eE][-+]?[0-9]{1,2})?", fullmatch=True)
WORDS = st.sampled_from(
    ["null", "~", "true", "FALSE", "no", "on", ".inf", "-.INF", ".NaN", "012", "0o17", "0x1F", "<<", "="]
)
TEXTS = st.text() | NUMBER_LIKE | WORDS
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
PLAIN = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=8)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[(text, None) for text in ("null", "Null", "NULL", "~", "", "# only a comment")],
        *[(text, True) for text in ("true", "True", "TRUE")],
        *[(text, False) for text in ("false", "False", "FALSE")],
        ("0", 0),
        ("12", 12),
        ("-7", -7),
        ("+7", 7),
        ("012", 12),  # ten in YAML 1.1
        ("0x1F", 31),
        ("0xff", 255),
        ("0o17", 15),
        ("1e-3", 0.001),  # text in YAML 1.1
        ("1e3", 1000.0),
        ("-2E+2", -200.0),
        (".5", 0.5),
        ("+.5", 0.5),
        ("5.", 5.0),
        ("1.50", 1.5),
        ("1e400", math.inf),
        *[(text, math.inf) for text in (".inf", ".Inf", ".INF", "+.inf", "+.INF")],
        *[(text, -math.inf) for text in ("-.inf", "-.Inf", "-.INF")],
        *[(text, math.nan) for text in (".nan", ".NaN", ".NAN")],
    ],
)
def test_a_plain_scalar_means_what_yaml_1_2_says(text: str, value: object) -> None:
    document = parse_yaml(text)
    assert repr(document.value) == repr(value)  # tells 1, 1.0 and True apart, and nan is nan
    assert document.problems == []


@pytest.mark.parametrize(
    "text",
    [
        *["no", "yes", "on", "off", "y", "n", "No", "YES", "nULL", "tRUE", "inf", "nan", "-.nan", "=", "<<"],
        *["1:30", "1_000", "0b11", "0o8", "0X1F", "-0x1F", "0x", "1e", "e3", ".", "1.2.3", "2001-01-01", "１"],
    ],
)
def test_what_only_yaml_1_1_or_nobody_calls_a_value_is_text(text: str) -> None:
    document = parse_yaml(text)
    assert document.value == text
    assert document.problems == []


@pytest.mark.parametrize("text", ["'1e3'", '"1e3"', "|-\n  1e3", ">-\n  1e3"])
def test_what_is_quoted_is_text(text: str) -> None:
    assert parse_yaml(text).value == "1e3"


@unhurried
@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_written_as_python_writes_it_is_read_as_that_number(number: float) -> None:
    assert repr(parse_yaml(f"key: {number!r}").value) == repr({"key": number})


def test_every_key_and_item_knows_its_line() -> None:
    document = parse_yaml("# first\ndata:\n  path:\n    - a\n\n    - b\nmodel: {kind: lstm,\n  order: 3}\n")
    assert document.value == {"data": {"path": ["a", "b"]}, "model": {"kind": "lstm", "order": 3}}
    assert document.lines == {
        (): 2,
        ("data",): 2,
        ("data", "path"): 3,
        ("data", "path", 0): 4,
        ("data", "path", 1): 6,
        ("model",): 7,
        ("model", "kind"): 7,
        ("model", "order"): 8,
    }


def test_a_duplicate_key_is_named_with_both_lines() -> None:
    document = parse_yaml("a: 1\nm:\n  b: 2\n  c: 3\n  b: 4\na: 5\na: 6\n")
    assert document.value == {"a": 1, "m": {"b": 2, "c": 3}}
    assert document.problems == [
        (5, "m.b: duplicate key, first on line 3"),
        (6, "a: duplicate key, first on line 1"),
        (7, "a: duplicate key, first on line 1"),
    ]


def test_equal_keys_in_different_sections_are_no_duplicates() -> None:
    document = parse_yaml("a: {x: 1}\nb: {x: 1}\nc: [{x: 1}, {x: 1}]\n")
    assert document.problems == []
    assert document.value == {"a": {"x": 1}, "b": {"x": 1}, "c": [{"x": 1}, {"x": 1}]}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: &x [1]\nb: *x", 2),
        ("a: &x 1\n\nb: [*x]", 3),
        ("a: &x\n  b: *x", 2),  # a mapping inside itself
        ("&x a: 1\nb: *x", 2),  # an alias of a key
        ("a: 1\nb: *unknown", 2),
    ],
)
def test_an_alias_is_refused_with_its_line(text: str, line: int) -> None:
    [(where, problem)] = parse_yaml(text).problems
    assert where == line
    assert "alias" in problem


def test_a_bomb_of_aliases_stays_small() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 30))
    document = parse_yaml(bomb)
    assert document.problems
    assert len(repr(document.value)) < 10_000


@pytest.mark.parametrize(
    "value",
    [
        *["!mine 1", "!mine {b: 1}", "!mine [1]", "!!python/object/apply:os.getcwd []", "!!python/name:os.getcwd"],
        *["!<other:tag> 1", "!!binary aGk=", "!!set {b, c}", "!!timestamp 2001-01-01", "!!omap [b: 1]"],
        *["!!int abc", "!!int ''", "!!float abc", "!!float ''", "!!bool maybe", "!!int {b: 1}", "!!map [1]", "!!seq x"],
    ],
)
def test_a_tag_is_refused_with_its_line(value: str) -> None:
    [(line, problem)] = parse_yaml(f"first: 1\na: {value}\n").problems
    assert line == 2
    assert "tag" in problem


def test_a_tag_on_a_key_is_refused_too() -> None:
    [(line, problem)] = parse_yaml("first: 1\n!mine a: 1\n").problems
    assert line == 2
    assert "tag" in problem


@pytest.mark.parametrize("text", ["first: 1\n? [a, b]\n: 2", "first: 1\n? {a: b}\n: 2"])
def test_a_key_that_is_no_word_is_refused(text: str) -> None:
    document = parse_yaml(text)
    assert document.value == {"first": 1}
    assert document.problems == [(2, "a key must be a plain scalar")]


def test_keys_are_words_even_where_they_look_like_numbers() -> None:
    assert parse_yaml("1: a\nnull: b\n0x1F: c\n").value == {"1": "a", "null": "b", "0x1F": "c"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\n---\nb: 2\n", 2),
        ("a: 1\nb: [\n", 3),
        ("a: 1\nb: 'open\n", 3),
        ("a: 1\nb: c: d\n", 2),
        ("a: 1\n\tb: 2\n", 2),
        ("a: 1\nb: @x\n", 2),
        ("a: 1\nb: \x07\n", 2),
        ('a: 1\nb: "\\q"\n', 2),
    ],
)
def test_what_is_not_one_yaml_document_is_refused_with_its_line(text: str, line: int) -> None:
    document = parse_yaml(text)
    assert document.value is None
    [(where, problem)] = document.problems
    assert problem.startswith("not valid YAML: ")
    assert where == line


def test_all_mistakes_that_leave_the_structure_readable_are_collected() -> None:
    document = parse_yaml("a: &x 1\na: 2\nb: *x\n? [c]\n: 3\nd: !mine 4\ne: 5\n")
    assert [line for line, _ in document.problems] == [2, 3, 4, 6]
    assert document.value["e"] == 5


@pytest.mark.parametrize("depth", [50, 150, 240, 300, 450, 3000])
@pytest.mark.parametrize(("start", "end"), [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", ""), ("[", ""), ("{", "}")])
def test_deep_nesting_is_read_or_refused_in_words(start: str, end: str, depth: int) -> None:
    document = parse_yaml(start * depth + "x" + end * depth)
    assert document.value is not None or document.problems
    assert document.problems or depth < 3000
    assert all(problem[0].islower() for _, problem in document.problems)  # a sentence, not a bare exception


@pytest.mark.parametrize(
    "text",
    ['"\\U00110000"', '"\\UFFFFFFFF"', "%YAML " + "9" * 5000 + ".1\n--- a", "9" * 5000, "-" + "9" * 5000],
    ids=["beyond Unicode", "far beyond Unicode", "endless version", "endless integer", "endless negative integer"],
)
def test_what_python_itself_cannot_hold_is_a_mistake_of_the_text(text: str) -> None:
    assert parse_yaml(text).problems


SNIPPETS = [": ", "- ", "? ", "\n", "\n  ", "[", "]", "{", "}", ",", "#", "&a ", "*a", "!t ", "!!int ", "!!float "]
SNIPPETS += ["'", '"', "\\U0011", "\\x", "|", ">-\n", "%YAML 1.1\n", "---\n", "...\n", "\t", "\x85", "\x00", "\ud800"]
SNIPPETS += ["a", "é", "1", "0x", "1e3", ".5", ".INF", "~", "<<", "=", "\ufeff", "@", "`"]


@settings(unhurried, max_examples=400)
@given(st.lists(st.sampled_from(SNIPPETS) | st.text(max_size=3), max_size=14).map("".join))
@example(".INF")
@example("!!int a")
@example("!!float")
def test_no_text_at_all_raises(text: str) -> None:
    document = parse_yaml(text)
    lines = len(text.splitlines()) + 1
    assert all(1 <= line <= lines and problem for line, problem in document.problems)


@unhurried
@given(PLAIN)
def test_what_is_dumped_is_read_back_as_the_same_values(value: Any) -> None:
    document = parse_yaml(dump_yaml(value))
    assert repr(document.value) == repr(value)
    assert document.problems == []


@unhurried
@given(TEXTS)
@example("\x85")
@example("a\x85b\n")
@example("\u2028")
@example("\ufeffa")
@example("word " * 60)
def test_a_string_is_dumped_so_that_it_stays_that_string(text: str) -> None:
    document = parse_yaml(dump_yaml({text: [text, {"key": text}]}))
    assert document.value == {text: [text, {"key": text}]}
    assert document.problems == []


def test_a_list_that_stands_in_two_places_is_dumped_twice() -> None:
    shared = [1, 2]
    document = parse_yaml(dump_yaml({"a": shared, "b": shared}))
    assert document.value == {"a": [1, 2], "b": [1, 2]}
    assert document.problems == []


def test_keys_are_dumped_in_their_order_and_text_stays_readable() -> None:
    assert dump_yaml({"b": "Märchen", "a": [1e-05, "1e3"], "c": None}) == (
        "b: Märchen\na:\n- 1.0e-05\n- '1e3'\nc: null\n"
    )
