import unicodedata
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charlm.text.decoding import Decoder, decoded
from charlm.text.normalization import Form
from tests.harness.texts import texts

BYTES = tuple(map(chr, range(256)))
decompositions = st.sampled_from([("NFD", "NFC"), ("NFKD", "NFKC")])


def decomposed(text: str, form: Form) -> tuple[list[int], Decoder]:
    """Return the ids of a text in a decomposed form, and a decoder that composes them again."""
    parts = unicodedata.normalize(form, text)
    symbols = sorted(set(parts))
    return [symbols.index(part) for part in parts], Decoder(symbols, unit="character", recompose=True)


def test_each_character_is_shown_at_once() -> None:
    decoder = Decoder("ab\u0301", unit="character", recompose=False)
    assert [decoder.feed(index) for index in (1, 0, 2, 1)] == ["b", "a", "\u0301", "b"]
    assert decoder.finish() == ""


def test_a_special_symbol_is_shown_as_the_replacement_character() -> None:
    for recompose in (False, True):
        assert "".join(decoded([0, 2, 1], Decoder(["a", "b", "<unk>"], unit="character", recompose=recompose))) == "a�b"


@given(texts)
@example("aé한😀")
def test_bytes_are_shown_when_their_character_is_whole_and_not_before(text: str) -> None:
    decoder = Decoder(BYTES, unit="byte", recompose=False)
    for character in text:
        *early, last = character.encode()
        assert [decoder.feed(byte) for byte in early] == [""] * len(early)
        assert decoder.feed(last) == character
    assert decoder.finish() == ""


@given(st.one_of(st.binary(), st.lists(st.sampled_from([b"\xe1", b"\x80", b"\xff", b"\xf0\x9f", b"A"])).map(b"".join)))
@example("한".encode()[:2])
@example(b"\xed\xa0\x80")  # a surrogate is no UTF-8
def test_bytes_that_are_no_utf_8_are_shown_as_replacement_characters(data: bytes) -> None:
    assert "".join(decoded(data, Decoder(BYTES, unit="byte", recompose=False))) == data.decode("utf-8", "replace")


@pytest.mark.parametrize(("parts", "whole"), [("e\u0301", "é"), ("ᄒ\u1161\u11ab", "한"), ("o\u0323\u0302", "ộ")])
def test_a_letter_waits_for_its_accents_and_a_syllable_for_its_jamo(parts: str, whole: str) -> None:
    decoder = Decoder([*parts, "x"], unit="character", recompose=True)
    assert [decoder.feed(index) for index in range(len(parts))] == [""] * len(parts)
    assert decoder.feed(len(parts)) == whole
    assert decoder.finish() == "x"


@given(texts, decompositions)
def test_a_decomposed_text_is_shown_recomposed(text: str, form: tuple[Form, Form]) -> None:
    ids, decoder = decomposed(text, form[0])
    assert "".join(decoded(ids, decoder)) == unicodedata.normalize(form[1], text)


@given(texts, texts, decompositions)
def test_what_was_shown_is_right_whatever_follows(text: str, more: str, form: tuple[Form, Form]) -> None:
    ids, decoder = decomposed(text + more, form[0])
    read = len(unicodedata.normalize(form[0], text))
    shown = "".join(map(decoder.feed, ids[:read]))
    assert unicodedata.normalize(form[1], text + more).startswith(shown)


@given(texts, decompositions)
def test_no_more_is_held_than_one_letter_with_all_that_joins_it(text: str, form: tuple[Form, Form]) -> None:
    ids, decoder = decomposed(text + "x", form[0])
    assert "".join(map(decoder.feed, ids)) == unicodedata.normalize(form[1], text)
    assert decoder.finish() == "x"


def test_a_stream_is_shown_while_it_runs() -> None:
    def ids() -> Iterator[int]:
        yield from (0, 1, 2, 0)
        pytest.fail("read ahead of what was shown")

    shown = decoded(ids(), Decoder("abc", unit="character", recompose=True))
    assert list(islice(shown, 4)) == ["", "a", "b", "c"]
