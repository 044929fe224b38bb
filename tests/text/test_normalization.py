import sys
import unicodedata
from collections.abc import Iterator

from hypothesis import example, given
from hypothesis import strategies as st

from charlm.text.normalization import Form, last_fresh_start, normalized, starts_afresh
from tests.harness.texts import forms, texts

FORMS: tuple[Form, ...] = ("NFC", "NFD", "NFKC", "NFKD")


@given(st.lists(texts, max_size=6), forms)
@example(["e", "", "\u0301"], "NFC")
@example(["ᄀ", "ᅡ", "ᆨ"], "NFC")
@example(["q\u0307", "\u0323"], "NFD")
@example(["カ", "ﾞ"], "NFKC")
def test_any_text_in_any_pieces_is_normalized_as_the_whole(pieces: list[str], form: Form) -> None:
    assert "".join(normalized(pieces, form)) == unicodedata.normalize(form, "".join(pieces))


@given(texts, forms)
def test_every_cut_of_a_text_gives_the_same_normalization(text: str, form: Form) -> None:
    whole = unicodedata.normalize(form, text)
    assert all("".join(normalized([text[:cut], text[cut:]], form)) == whole for cut in range(len(text) + 1))
    assert "".join(normalized(text, form)) == whole  # a character at a time


def test_every_character_that_decomposes_comes_together_again_from_single_characters() -> None:
    for number in range(sys.maxunicode + 1):
        parts = unicodedata.normalize("NFKD", chr(number))
        if len(parts) > 1:
            composed = unicodedata.normalize("NFC", parts)
            assert "".join(normalized(parts, "NFC")) == composed, f"U+{number:04X}"


def first_of_decomposition(character: str) -> str:
    """Follow unicodedata's own table; Hangul syllables, not in it, begin with a leading jamo."""
    parts = [part for part in unicodedata.decomposition(character).split() if not part.startswith("<")]
    return first_of_decomposition(chr(int(parts[0], 16))) if parts else character


def canonical_seconds() -> Iterator[str]:
    """Yield the second character of each canonical composition: what may merge with the one before it."""
    for number in range(sys.maxunicode + 1):
        parts = unicodedata.decomposition(chr(number)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            first, second = (chr(int(part, 16)) for part in parts)
            if unicodedata.normalize("NFC", first + second) == chr(number):
                yield second
    yield from map(chr, range(0x1161, 0x1176))  # Hangul composes by rule: vowels
    yield from map(chr, range(0x11A8, 0x11C3))  # and finals


def test_nothing_that_merges_with_or_moves_before_its_predecessor_starts_afresh() -> None:
    seconds = set(canonical_seconds())
    assert len(seconds) > 100  # the table was read
    wrong = []
    for character in map(chr, range(sys.maxunicode + 1)):
        first = first_of_decomposition(character)
        if (first in seconds or unicodedata.combining(first) != 0) and starts_afresh(character):
            wrong.append(f"U+{ord(character):04X}")
    assert wrong == []


def test_what_texts_are_made_of_starts_afresh() -> None:
    ordinary = [*range(0x80), *range(0x00C0, 0x0100), *range(0x4E00, 0xA000), *range(0xAC00, 0xD7A4), 0x1F600]
    assert [hex(number) for number in ordinary if not starts_afresh(chr(number))] == []


@given(texts, forms)
def test_a_text_cut_at_its_last_fresh_start_keeps_its_normalization(text: str, form: Form) -> None:
    cut = last_fresh_start(text)
    parts = (unicodedata.normalize(form, text[:cut]), unicodedata.normalize(form, text[cut:]))
    assert "".join(parts) == unicodedata.normalize(form, text)
    assert not any(map(starts_afresh, text[cut + 1 :]))  # and it is the last


def test_all_but_the_end_of_a_piece_is_passed_on_at_once() -> None:
    for form in FORMS:
        pieces = iter(["abcde", "fghe\u0301", "\u0323"])
        passed_on = normalized(pieces, form)
        assert next(passed_on) == "abcd"
        assert next(passed_on) == "efgh"
        assert next(pieces) == "\u0323"  # not yet asked for


def test_no_form_changes_nothing() -> None:
    pieces = ["e", "\u0301", "", "ﬁ\r\n"]
    assert list(normalized(pieces, None)) == pieces
