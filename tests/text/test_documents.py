"""Items are what a plain split finds, each with an end behind it, however their text comes in pieces."""

import re
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from charlm.text import documents as module
from charlm.text.code_points import END_UNIT
from charlm.text.documents import Documents, ends_marked

END = chr(END_UNIT)
WHITE = " \t\r"

texts = st.lists(st.sampled_from(["a", "b", "한", " ", "\t", "\n", "\n", "\r\n", "a\rb"]), max_size=25).map("".join)
cuts = st.lists(st.integers(0, 60), max_size=6)


def lines_of(text: str) -> list[str]:
    return [line.rstrip(WHITE) for line in text.split("\n") if line.strip(WHITE)]


def blocks_of(text: str) -> list[str]:
    """Return the lines between blank ones, as they stand but for the white space behind the last."""
    blocks: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip(WHITE):
            blocks[-1].append(line)
        else:
            blocks.append([])
    return ["\n".join(block).rstrip(WHITE) for block in blocks if block]


def files_of(text: str) -> list[str]:
    return [text] if text else []


SPLITS: dict[Documents, Callable[[str], list[str]]] = {"line": lines_of, "blank-line": blocks_of, "file": files_of}
kinds = st.sampled_from(list(SPLITS))


def begins_with_one_blank_line(text: str) -> bool:
    """Tell what has a test of its own below."""
    first, *others = text.split("\n")
    return bool(others) and not first.strip(WHITE) and bool(others[0].strip(WHITE))


def pieces_of(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    return [text[start:stop] for start, stop in pairwise(edges)]


@given(kinds, texts, cuts)
@example("line", "", [])
@example("line", "\n\n", [1])
@example("line", "a \r\n\r\n \t\nb", [1, 2, 3, 4, 5, 6])
@example("blank-line", "a\r\nb\r\n\r\nc", [1, 2, 3, 4, 5, 6, 7])
@example("blank-line", "a\n \n", [2])
@example("blank-line", "\n\na", [1])
@example("blank-line", "a\n\n b", [3])
@example("file", " \n", [1])
def test_the_items_of_a_file_are_those_of_a_plain_split(kind: Documents, text: str, places: list[int]) -> None:
    assume(kind != "blank-line" or not begins_with_one_blank_line(text))
    expected = END + "".join(item + END for item in SPLITS[kind](text))
    assert "".join(ends_marked([pieces_of(text, places)], kind)) == expected


@given(kinds, st.lists(st.tuples(texts, cuts), max_size=4))
def test_no_item_reaches_from_one_file_into_the_next(kind: Documents, files: list[tuple[str, list[int]]]) -> None:
    assume(kind != "blank-line" or not any(begins_with_one_blank_line(text) for text, _ in files))
    expected = END + "".join(item + END for text, _ in files for item in SPLITS[kind](text))
    assert "".join(ends_marked([iter(pieces_of(*file)) for file in files], kind)) == expected


@given(kinds, st.lists(st.tuples(texts, cuts), max_size=4))
def test_no_item_is_empty_and_every_one_ends(kind: Documents, files: list[tuple[str, list[int]]]) -> None:
    marked = "".join(ends_marked([pieces_of(*file) for file in files], kind))
    assert END * 2 not in marked
    assert marked[0] == marked[-1] == END


@given(st.lists(texts, max_size=5), cuts)
@example(["", " \n", "\n \n  a\n\nb \r\n", "  ", "c"], [1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_a_record_ends_at_its_mark_and_nowhere_else(values: list[str], places: list[int]) -> None:
    expected = [re.sub(r"\A(?:[ \t]*\r?\n)+", "", value.rstrip(" \t\r\n")) for value in values]
    marked = "".join(ends_marked([pieces_of("".join(value + END for value in values), places)], "record"))
    assert marked == END + "".join(value + END for value in expected if value)


@pytest.mark.parametrize("blank", ["\n", "\r\n", " \t\n"])
def test_a_blank_line_before_the_first_item_belongs_to_none(blank: str) -> None:
    """As two of them do, and as one before every other item does."""
    assert "".join(ends_marked([[blank * 2 + "a\nb\n\nc"]], "blank-line")) == f"{END}a\nb{END}c{END}"
    assert "".join(ends_marked([[blank + "a\nb\n\nc"]], "blank-line")) == f"{END}a\nb{END}c{END}"


def test_poems_keep_their_line_ends_and_indentation() -> None:
    text = "Roses\r\n  are red \r\n\r\n\r\n  Violets\r\n\tare blue\r\n"
    expected = f"{END}Roses\r\n  are red{END}  Violets\r\n\tare blue{END}"
    assert "".join(ends_marked([[text]], "blank-line")) == expected


def test_bytes_as_characters_are_split_alike() -> None:
    content = "né\r\n\nbob".encode().decode("latin-1")
    assert "".join(ends_marked([[content]], "line")) == f"{END}nÃ©{END}bob{END}"


def test_the_module_s_picture_is_true() -> None:
    marked = " ".join("".join(ends_marked([["ann\nbob"]], "line")).replace(END, "▸")[1:])
    assert marked in (module.__doc__ or "")


@pytest.mark.parametrize("kind", ["line", "blank-line", "record"])
def test_long_runs_of_white_space_cost_no_more_than_other_text(kind: Documents) -> None:
    """Backing up at each place of a run would take the square of its length: seconds, and hours for a megabyte."""
    text = "a" + " " * 20_000 + "b" + "\t" * 20_000
    began = time.perf_counter()
    assert "".join(ends_marked([[text, "c"]], kind)) == END + text + "c" + END
    assert time.perf_counter() - began < 1
