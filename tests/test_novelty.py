"""What a sample copied from a text, checked against Python's own search in strings."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charlm import novelty as module
from charlm.novelty import Novelty, Stretch, novelty

GREEK = np.array([0, 7, 255])
"""Ids of the letters of tiny texts: the least and the greatest of a byte, and one between."""

tiny = st.text("abc", max_size=14)
few = st.one_of(tiny, st.text("ab", max_size=40))


def ids_of(text: str, dtype: type = np.uint8) -> np.ndarray:
    return GREEK.astype(dtype)[[ord(letter) - ord("a") for letter in text]]


def compared(sample: str, text: str, gram: int = 8, piece: int = 3, dtype: type = np.uint8) -> Novelty:
    """Return what is found with n-grams and pieces so short that stretches pass over the ends of both."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_GRAM", gram)
        patch.setattr(module, "_PIECE", piece)
        return novelty(ids_of(sample, dtype), ids_of(text, dtype))


def longest_of(sample: str, text: str) -> list[int]:
    return [
        max(n for n in range(len(sample) - place + 1) if sample[place : place + n] in text)
        for place in range(len(sample))
    ]


def random_ids(length: int, seed: int, symbols: int = 60, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, symbols, length).astype(dtype)


@given(few, few, st.integers(1, 5), st.integers(1, 9), st.sampled_from([np.uint8, np.uint16, np.uint32]))
@example("abcabcabc", "", 2, 3, np.uint8)
@example("ababab", "aabbabab", 1, 1, np.uint8)
@example("aaaaaaaa", "aaaaaaaaaaa", 2, 4, np.uint8)
def test_the_longest_stretch_of_each_place_is_what_a_search_in_strings_finds(sample, text, gram, piece, dtype) -> None:
    found = compared(sample, text, gram, piece, dtype)

    assert found.longest.dtype == np.int64
    assert found.longest.tolist() == longest_of(sample, text)


@given(tiny, tiny)
def test_as_it_is_set_up_it_finds_the_same(sample, text) -> None:
    assert novelty(ids_of(sample), ids_of(text)).longest.tolist() == longest_of(sample, text)


@given(few, few, st.integers(1, 16))
def test_the_share_of_new_ngrams_is_counted_place_by_place(sample, text, n) -> None:
    grams = [sample[place : place + n] for place in range(len(sample) - n + 1)]
    new = [gram not in text for gram in grams]

    assert compared(sample, text, gram=3).share_new(n) == (sum(new) / len(new) if new else None)


@given(few, few, st.integers(0, 5))
def test_stretches_are_those_that_stand_in_the_text_and_cannot_be_made_longer(sample, text, minimum) -> None:
    whole = len(sample)
    expected = [
        Stretch(start, end)
        for start in range(whole)
        for end in range(start + max(minimum, 1), whole + 1)
        if sample[start:end] in text
        and (start == 0 or sample[start - 1 : end] not in text)
        and (end == whole or sample[start : end + 1] not in text)
    ]

    assert compared(sample, text, gram=2).stretches(minimum) == expected


@given(few, few)
def test_the_longest_stretch_is_the_first_of_the_greatest_length(sample, text) -> None:
    longest = longest_of(sample, text)
    length = max(longest, default=0)
    first = longest.index(length) if length else 0

    assert compared(sample, text).longest_stretch() == (Stretch(first, first + length) if length else None)


@given(few, few, st.integers(1, 5))
def test_what_is_covered_is_the_union_of_the_stretches(sample, text, minimum) -> None:
    expected = [
        any(
            sample[start : start + minimum] in text
            for start in range(max(place - minimum + 1, 0), place + 1)
            if start + minimum <= len(sample)
        )
        for place in range(len(sample))
    ]

    assert compared(sample, text, gram=2).covered(minimum).tolist() == expected


def test_stretches_overlap_where_the_text_has_both_but_not_the_two_joined() -> None:
    found = compared("abcab", "abca" + "cc" + "bcab")

    assert found.stretches(3) == [Stretch(0, 4), Stretch(1, 5)]
    assert found.longest_stretch() == Stretch(0, 4)
    assert found.covered(3).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("place", [0, 40_000, 99_700])  # the beginning, the middle and the very end of the text
def test_a_planted_copy_is_found_and_marked_exactly(dtype, place) -> None:
    text = random_ids(100_000, seed=1, dtype=dtype)
    sample = random_ids(1_000, seed=2, dtype=dtype)
    sample[350:650] = text[place : place + 300]
    for edge, beside in ((349, place - 1), (650, place + 300)):
        if 0 <= beside < len(text):
            sample[edge] = (text[beside] + 1) % 60  # what stands beside it differs

    found = novelty(sample, text)

    assert found.longest_stretch() == Stretch(350, 650)
    assert found.stretches(20) == [Stretch(350, 650)]
    assert np.flatnonzero(found.covered(20)).tolist() == list(range(350, 650))
    assert found.longest[350:640].tolist() == list(range(300, 10, -1))
    assert found.share_new(300) == pytest.approx(700 / 701)


def test_a_text_of_ones_own_over_the_same_letters_has_no_long_stretch() -> None:
    found = novelty(random_ids(1_000, seed=3), random_ids(100_000, seed=4))

    assert found.longest.min() >= 1
    assert found.longest.max() < 7
    assert found.stretches(8) == []
    assert found.share_new(8) == 1
    assert found.share_new(1) == 0


@pytest.mark.parametrize(("start", "end"), [(0, 30_000), (0, 5_000), (12_345, 20_000), (25_000, 30_000)])
def test_a_piece_of_the_text_is_one_stretch_however_long(start, end) -> None:
    text = random_ids(30_000, seed=5)

    found = novelty(text[start:end], text)

    assert found.stretches() == [Stretch(0, end - start)]
    assert found.longest.tolist() == list(range(end - start, 0, -1))
    assert found.share_new(end - start) == 0


def test_a_text_may_be_nothing_but_one_letter() -> None:
    text = np.zeros(300_000, np.uint8)

    found = novelty(np.zeros(500, np.uint8), text)

    assert found.stretches() == [Stretch(0, 500)]
    assert novelty(np.zeros(500, np.uint8), text[:499]).stretches() == [Stretch(0, 499), Stretch(1, 500)]


def test_ids_that_differ_by_256_are_not_the_same() -> None:
    sample, text = np.array([1, 2, 3], np.uint16), np.array([257, 258, 259, 65_535], np.uint16)

    assert novelty(sample, text).longest.tolist() == [0, 0, 0]


def test_stretches_pass_over_the_ends_of_real_pieces() -> None:
    text = random_ids(module._PIECE + 500, seed=6)
    sample = text[module._PIECE - 100 : module._PIECE + 100]

    assert novelty(sample, text).stretches() == [Stretch(0, 200)]


def test_an_empty_sample_has_nothing_to_tell() -> None:
    found = compared("", "abc")

    assert found.longest.shape == (0,)
    assert found.share_new(1) is None
    assert found.stretches() == []
    assert found.longest_stretch() is None
    assert found.covered(1).shape == (0,)


def test_in_an_empty_text_nothing_is_found() -> None:
    found = compared("abc", "")

    assert found.longest.tolist() == [0, 0, 0]
    assert found.share_new(2) == 1
    assert found.longest_stretch() is None


def test_a_sample_may_be_longer_than_its_text() -> None:
    found = compared("bbabcabb", "abca")

    assert found.stretches(2) == [Stretch(2, 6), Stretch(5, 7)]
    assert found.longest.tolist() == [1, 1, 4, 3, 2, 2, 1, 1]


def test_nothing_that_was_given_is_changed() -> None:
    sample, text = ids_of("abcabc"), ids_of("cabcab")
    sample.flags.writeable = text.flags.writeable = False

    assert novelty(sample, text).longest.tolist() == [5, 4, 4, 3, 2, 1]
