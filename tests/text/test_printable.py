import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.text.printable import marked
from tests.harness.texts import texts


@pytest.mark.parametrize(
    ("character", "mark"),
    [
        ("\n", "↵"),
        ("\t", "→"),
        ("\r", "␍"),
        ("\0", "␀"),
        ("\x1b", "␛"),
        ("\x7f", "␡"),
        ("\u0301", "◌"),  # an accent
        ("\u0903", "◌"),  # a vowel sign with width, which joins all the same
        ("\u1100", "ㄱ"),  # an initial jamo, as the letter that stands alone
        ("\u1161", "ㅏ"),
        ("\u11ab", "ㄴ"),
        ("\u1180", "◌"),  # an old vowel that has no letter of its own
        ("\x85", "�"),
        ("\xa0", "�"),
        ("\u200b", "�"),
        ("\u202e", "�"),  # turns the line around
        ("\ufeff", "�"),
        ("\ud800", "�"),
        ("\U0010ffff", "�"),
    ],
)
def test_what_shows_nothing_by_itself_gets_its_mark(character: str, mark: str) -> None:
    assert marked(character) == mark


def test_every_other_control_is_its_own_picture() -> None:
    for number in set(range(0x20)) - {ord("\n"), ord("\t")}:
        assert unicodedata.name(marked(chr(number))).startswith("SYMBOL FOR ")
    assert len({marked(chr(number)) for number in range(0x20)}) == 0x20


def test_what_can_be_seen_stays_itself() -> None:
    seen = " aZ09~éß한漢字🙂𝔸↵→"
    assert marked(seen) == seen


@given(st.one_of(texts, st.text(st.characters())))
def test_every_character_becomes_one_printable_character(text: str) -> None:
    assert len(marked(text)) == len(text)
    assert marked(text).isprintable()
    assert not any(unicodedata.category(mark).startswith("M") for mark in marked(text))


@given(texts, texts)
def test_the_mark_of_a_character_does_not_depend_on_its_neighbors(first: str, second: str) -> None:
    assert marked(first + second) == marked(first) + marked(second)
