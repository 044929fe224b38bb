import copy
import json
import unicodedata
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from charlm.errors import CheckpointError, UnknownCharactersError
from charlm.text import vocabulary as module
from charlm.text.code_points import END_UNIT, code_points
from charlm.text.normalization import Form
from charlm.text.vocabulary import END, Vocabulary
from tests.harness.texts import forms, texts

RECOMPOSED: dict[Form, Form] = {"NFC": "NFC", "NFD": "NFC", "NFKC": "NFKC", "NFKD": "NFKC"}
END_MARK = chr(END_UNIT)
few_letters = st.text("abcdé한😀\n", max_size=40)


def first_characters(number: int) -> Vocabulary:
    """Return a vocabulary of so many characters, the first there are; half a character that stands for ends is none."""
    counts = np.ones(number + (number > END_UNIT), np.int64)
    counts[END_UNIT : END_UNIT + 1] = 0
    return Vocabulary.of_code_points(counts)


# Characters to ids and back


@given(texts)
def test_symbols_are_the_characters_of_the_text_sorted_by_code_point(text: str) -> None:
    assert list(Vocabulary.of_text(text).symbols) == sorted(set(text), key=ord)


@given(texts)
@example("")
def test_an_id_is_the_place_of_its_symbol(text: str) -> None:
    symbols = sorted(set(text))
    assert Vocabulary.of_text(text).encode(text).tolist() == [symbols.index(character) for character in text]


@given(st.one_of(texts, st.text(st.characters(exclude_characters=[END_MARK]))))
@example("\ud801\udfff")  # lone surrogates are code points too
def test_decoding_what_was_encoded_gives_the_text_back(text: str) -> None:
    vocabulary = Vocabulary.of_text(text)
    assert vocabulary.decode(vocabulary.encode(text)) == text


@given(texts, forms)
def test_a_normalized_text_comes_back_composed(text: str, form: Form) -> None:
    vocabulary = Vocabulary.of_text(text, form)
    assert vocabulary.decode(vocabulary.encode(text)) == unicodedata.normalize(RECOMPOSED[form], text)


@given(texts, forms)
def test_a_normalized_vocabulary_holds_no_other_form_and_reads_all_of_them(text: str, form: Form) -> None:
    vocabulary = Vocabulary.of_text(text, form)
    same = unicodedata.normalize("NFD", text)
    assert set(vocabulary.symbols) == set(unicodedata.normalize(form, text))
    assert vocabulary.encode(same).tolist() == vocabulary.encode(text).tolist()


def test_hangul_becomes_jamo_in_nfd_and_syllables_again_when_shown() -> None:
    vocabulary = Vocabulary.of_text("한하", "NFD")
    assert vocabulary.symbols == ("ᄒ", "\u1161", "\u11ab")
    assert vocabulary.encode("하한").tolist() == [0, 1, 0, 1, 2]
    assert vocabulary.decode([0, 1, 0, 1, 2]) == "하한"


@given(texts)
@example("é한😀")
def test_a_text_in_bytes_comes_back(text: str) -> None:
    vocabulary = Vocabulary.of_bytes()
    ids = vocabulary.encode(text)
    assert bytes(ids) == text.encode()
    assert vocabulary.decode(ids) == text


def test_bytes_of_the_command_line_that_were_no_text_come_back_as_bytes() -> None:
    assert Vocabulary.of_bytes().encode(b"a\xff\x80".decode("utf-8", "surrogateescape")).tolist() == [0x61, 0xFF, 0x80]


def test_the_vocabulary_of_bytes_has_all_256_and_needs_one_byte_an_id() -> None:
    vocabulary = Vocabulary.of_bytes()
    assert (len(vocabulary), vocabulary.unit) == (256, "byte")
    assert vocabulary.dtype == np.uint8
    assert vocabulary.decode([0x41, 0xFF, 0xED, 0x95, 0x9C]) == "A�한"


@pytest.mark.parametrize(
    ("size", "dtype"), [(1, "u1"), (256, "u1"), (257, "u2"), (65_536, "u2"), (65_537, "u4"), (70_001, "u4")]
)
def test_ids_are_held_in_the_smallest_type_that_holds_them_all(size: int, dtype: str) -> None:
    vocabulary = first_characters(size)
    ids = vocabulary.encode(vocabulary.symbols[-1] + "\0")
    assert len(vocabulary) == size
    assert vocabulary.dtype == ids.dtype == np.dtype(dtype)
    assert ids.tolist() == [size - 1, 0]


@given(st.lists(texts, max_size=4))
def test_code_points_are_those_of_ord(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert code_points(text).tolist() == list(map(ord, text))


# Rare characters


@given(few_letters, st.integers(1, 6))
@example("aabbb", 3)
@example("abc", 2)  # all are rare
def test_characters_rarer_than_the_minimum_count_share_the_last_id(text: str, minimum: int) -> None:
    counts = Counter(text)
    kept = sorted(character for character in counts if counts[character] >= minimum)
    has_rare = len(kept) < len(counts)
    vocabulary = Vocabulary.of_text(text, minimum_count=minimum)
    assert vocabulary.symbols == (*kept, *(["<unk>"] if has_rare else []))
    assert vocabulary.special == ({"<unk>": len(kept)} if has_rare else {})
    ids = vocabulary.encode(text)
    assert ids.tolist() == [kept.index(letter) if letter in kept else len(kept) for letter in text]
    assert vocabulary.decode(ids) == "".join(letter if letter in kept else "�" for letter in text)


def test_a_vocabulary_that_learned_unk_reads_strangers_as_unk() -> None:
    vocabulary = Vocabulary.of_text("aab", minimum_count=2)
    assert vocabulary.encode("a!b😀\0").tolist() == [0, 1, 1, 1, 1]
    assert [stranger.character for stranger in vocabulary.unknown_characters("a!b😀")] == ["!", "b", "😀"]


def test_unk_alone_does_not_make_the_ids_wider_than_they_need_be() -> None:
    counts = np.full(256, 2, np.int64)
    assert Vocabulary.of_code_points(np.append(counts[1:], 1), minimum_count=2).dtype == np.uint8
    assert Vocabulary.of_code_points(np.append(counts, 1), minimum_count=2).dtype == np.uint16


# Strangers


def test_each_stranger_is_named_with_code_point_first_position_and_count() -> None:
    with pytest.raises(UnknownCharactersError) as caught:
        Vocabulary.of_text("abc").encode("ab😀a\néb\n\n")
    message = str(caught.value)
    assert message.startswith(
        "3 characters are not in the model's vocabulary of 3 symbols: '😀' (U+1F600) at position 2, "
        r"'\n' (U+000A) at position 4, 3 times, 'é' (U+00E9) at position 5. "
    )


def test_a_single_stranger_is_spoken_of_in_the_singular() -> None:
    with pytest.raises(UnknownCharactersError, match=r"^1 character is not in .* symbols: '!' \(U\+0021\) at"):
        Vocabulary.of_text("abc").encode("a!b!")


def test_ten_strangers_are_named_and_the_rest_only_counted() -> None:
    vocabulary = Vocabulary.of_text("x")
    for number, more in [(10, False), (11, True), (26, True)]:
        with pytest.raises(UnknownCharactersError) as caught:
            vocabulary.encode("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:number])
        message = str(caught.value)
        assert message.startswith(f"{number} characters are")
        assert "'J' (U+004A) at position 9" in message
        assert "'K'" not in message
        assert (", …. " in message) == more


@given(few_letters, texts)
def test_strangers_are_what_a_plain_search_finds(known: str, text: str) -> None:
    vocabulary = Vocabulary.of_text(known)
    text = known[3:] + text + known + text
    expected = [(letter, text.index(letter), text.count(letter)) for letter in set(text) - set(known)]
    found = [
        (stranger.character, stranger.position, stranger.count) for stranger in vocabulary.unknown_characters(text)
    ]
    assert found == sorted(expected, key=lambda stranger: stranger[1])
    if not expected:
        assert vocabulary.decode(vocabulary.encode(text)) == text
        return
    with pytest.raises(UnknownCharactersError):
        vocabulary.encode(text)


def test_positions_are_counted_from_where_the_piece_starts() -> None:
    units = code_points("ab?")
    with pytest.raises(UnknownCharactersError, match=r"'\?' \(U\+003F\) at position 1,234,569\."):
        Vocabulary.of_text("ab").encode_units(units, 1_234_567)


def test_a_stranger_past_every_symbol_is_no_symbol() -> None:
    vocabulary = Vocabulary.of_text("a")
    for stranger in "b\U0010ffff`":
        with pytest.raises(UnknownCharactersError):
            vocabulary.encode(stranger)


# One-hot rows and marks


def test_one_hot_rows_of_hello_are_the_textbook_s() -> None:
    vocabulary = Vocabulary.of_text("hello")
    ids = vocabulary.encode("hello")
    assert vocabulary.symbols == ("e", "h", "l", "o")
    assert vocabulary.one_hot(ids).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_the_module_s_picture_of_one_hot_rows_is_true() -> None:
    vocabulary = Vocabulary.of_text("hello")
    ids = vocabulary.encode("hello")
    rows = [" ".join(map(str, row)) for row in vocabulary.one_hot(ids)]
    lines = [f"      {letter} → {index} → [{row}]" for letter, index, row in zip("hello", ids, rows, strict=True)]
    picture = [f'    "hello"  over the symbols  {" ".join(vocabulary.symbols)}', "", *lines, ""]
    assert "\n".join(picture) in (module.__doc__ or "")


@given(texts)
def test_each_one_hot_row_has_one_one_in_the_column_of_its_id(text: str) -> None:
    vocabulary = Vocabulary.of_text(text + "ab")
    ids = vocabulary.encode(text)
    rows = vocabulary.one_hot(ids)
    assert rows.shape == (len(text), len(vocabulary))
    assert rows.dtype == np.uint8
    assert [row.nonzero()[0].tolist() for row in rows] == [[index] for index in ids]
    assert rows.sum() == len(text)


@given(texts)
def test_there_is_one_printable_mark_for_each_id(text: str) -> None:
    vocabulary = Vocabulary.of_text(text + "aa", minimum_count=2)
    marks = vocabulary.marks(vocabulary.encode(text))
    assert len(marks) == len(text)
    assert all(len(mark) == 1 and mark.isprintable() for mark in marks)


def test_the_mark_of_a_byte_shows_ascii_alone() -> None:
    marks = Vocabulary.of_bytes().marks([0x0A, 0x20, 0x41, 0x7F, 0x80, 0xE9, 0xFF])
    assert marks == ["↵", " ", "A", "␡", "�", "�", "�"]
    assert Vocabulary.of_text("é\n<").marks([2, 0, 1]) == ["é", "↵", "<"]
    assert Vocabulary.of_text("aab", minimum_count=2).marks([1, 0]) == ["�", "a"]


# Ends


def of_items(marked: str, form: Form | None = None, minimum: int = 1) -> Vocabulary:
    """Return the vocabulary of a text in which half characters stand for ends."""
    return Vocabulary.of_code_points(np.bincount(code_points(marked)), form, minimum)


with_ends = st.text("abcdé한😀\n" + END_MARK, max_size=40).map(lambda text: END_MARK + text)


@given(with_ends, st.integers(1, 4))
@example(END_MARK + "ab", 2)  # the end is as rare as the others, and stays
@example(END_MARK * 9 + "a", 1)
def test_the_end_stands_first_behind_the_characters(marked: str, minimum: int) -> None:
    counts = Counter(marked.replace(END_MARK, ""))
    kept = sorted(character for character in counts if counts[character] >= minimum)
    specials = [END, *(["<unk>"] if len(kept) < len(counts) else [])]
    vocabulary = of_items(marked, minimum=minimum)
    assert vocabulary.symbols == (*kept, *specials)
    assert vocabulary.special == {name: len(kept) + place for place, name in enumerate(specials)}
    assert vocabulary.end == len(kept)
    expected = [
        len(kept) if letter == END_MARK else kept.index(letter) if letter in kept else len(kept) + 1
        for letter in marked
    ]
    assert vocabulary.encode_units(code_points(marked)).tolist() == expected


@given(texts)
def test_a_text_that_is_one_has_no_end(text: str) -> None:
    vocabulary = Vocabulary.of_text(text)
    assert vocabulary.end is None
    assert END not in vocabulary.symbols
    assert Vocabulary.of_bytes().end is None
    assert vocabulary.encode_item(text).tolist() == vocabulary.encode(text).tolist()
    assert vocabulary.encode_item(text).dtype == vocabulary.dtype


def test_an_item_is_read_behind_an_end() -> None:
    vocabulary = of_items(END_MARK + "bab")
    assert vocabulary.encode_item("ab").tolist() == [2, 0, 1]
    assert vocabulary.encode_item("").tolist() == [2]
    assert vocabulary.encode_item("ab").dtype == vocabulary.dtype == np.uint8
    decomposed = of_items(END_MARK + unicodedata.normalize("NFD", "é"), "NFD")
    assert decomposed.encode_item("é").tolist() == [2, 0, 1]
    assert Vocabulary.of_bytes([END]).encode_item("é").tolist() == [256, 0xC3, 0xA9]


def test_strangers_of_a_vocabulary_with_an_end_are_the_others() -> None:
    vocabulary = of_items(END_MARK + "ab")
    with pytest.raises(UnknownCharactersError, match=r"^1 character is not in the model's .* 3 symbols: 'c'"):
        vocabulary.encode("abc")
    assert [stranger.character for stranger in vocabulary.unknown_characters(END_MARK + "a<end>")] == [
        "<",
        "e",
        "n",
        "d",
        ">",
    ]
    past = of_items(END_MARK + "a")
    for character in ("\ud7ff", "\ud801", "\U0010ffff"):  # the neighbours of the end, and what is past it
        with pytest.raises(UnknownCharactersError):
            past.encode(character)


def test_a_vocabulary_without_an_end_does_not_read_one() -> None:
    with pytest.raises(UnknownCharactersError):
        Vocabulary.of_text("ab").encode_units(code_points(END_MARK))


@given(with_ends, st.none() | forms, st.integers(1, 3))
def test_a_vocabulary_with_an_end_comes_back_from_json(marked: str, form: Form | None, minimum: int) -> None:
    vocabulary = of_items(marked if form is None else unicodedata.normalize(form, marked), form, minimum)
    assume(len(vocabulary) > len(vocabulary.special))
    again = Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json())))
    assert again == vocabulary
    assert again.end == vocabulary.end
    assert again.encode_units(code_points(marked[:1])).tolist() == [vocabulary.end]


def test_bytes_may_have_an_end_behind_them() -> None:
    vocabulary = Vocabulary.of_bytes([END])
    assert (len(vocabulary), vocabulary.end) == (257, 256)
    assert vocabulary.dtype == np.uint16
    assert Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json()))) == vocabulary
    ids = vocabulary.encode_units(code_points(END_MARK + "é".encode().decode("latin-1") + END_MARK))
    assert ids.tolist() == [256, 0xC3, 0xA9, 256]
    assert vocabulary.decode(ids) == "\né\n"
    assert vocabulary.marks([0x41, 256, 0xC3]) == ["A", "␃", "�"]


def test_an_end_cuts_off_half_a_character_of_bytes() -> None:
    assert Vocabulary.of_bytes([END]).decode([0xC3, 256, 0x41]) == "�\nA"


@given(with_ends)
def test_an_end_is_shown_as_a_new_line_and_marked_as_what_it_is(marked: str) -> None:
    vocabulary = of_items(marked)
    ids = vocabulary.encode_units(code_points(marked))
    assert vocabulary.decode(ids) == marked.replace(END_MARK, "\n")
    marks = vocabulary.marks(ids)
    assert [mark == "␃" for mark in marks] == [letter == END_MARK for letter in marked]


def test_an_end_lets_go_of_a_letter_that_waits_for_its_accent() -> None:
    vocabulary = of_items(unicodedata.normalize("NFD", END_MARK + "é한"), "NFD")
    ids = vocabulary.encode_units(code_points(unicodedata.normalize("NFD", END_MARK + "é" + END_MARK + "한")))
    assert vocabulary.decode(ids) == "\né\n한"
    decoder = vocabulary.decoder()
    assert [decoder.feed(int(index)) for index in ids[:4]] == ["", "\n", "", "é"]


@given(with_ends, with_ends, st.integers(1, 3))
def test_vocabularies_that_are_united_keep_their_end(one: str, other: str, minimum: int) -> None:
    first, second = of_items(one, minimum=minimum), of_items(other)
    united = first.united(second)
    characters = sorted({*first.symbols, *second.symbols} - {END, "<unk>"})
    assert united.symbols[: len(characters)] == tuple(characters)
    assert united.end == len(characters)
    assert united.special.keys() == first.special.keys() | second.special.keys()
    for part, text in ((first, one), (second, other)):
        known = "".join(letter for letter in text if letter == END_MARK or letter in part.symbols)
        assert united.decode(united.encode_units(code_points(known))) == known.replace(END_MARK, "\n")
    assert Vocabulary.of_bytes([END]).united(Vocabulary.of_bytes([END])) == Vocabulary.of_bytes([END])


# At rest


@given(texts, st.none() | forms, st.integers(1, 3))  # what a decoder yields: no lone surrogates
def test_a_vocabulary_comes_back_from_json(text: str, form: Form | None, minimum: int) -> None:
    vocabulary = Vocabulary.of_text(text, form, minimum)
    assume(len(vocabulary) > len(vocabulary.special))  # one without a character could write nothing
    assert Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json()))) == vocabulary


def test_the_vocabulary_of_bytes_comes_back_from_json() -> None:
    assert Vocabulary.from_json(Vocabulary.of_bytes().to_json()) == Vocabulary.of_bytes()


def test_json_has_the_four_fields_that_checkpoints_promise() -> None:
    assert Vocabulary.of_text("baaé", "NFD", 2).to_json() == {
        "unit": "character",
        "normalization": "NFD",
        "symbols": ["a", "<unk>"],
        "special": {"<unk>": 1},
    }


GOOD = {"unit": "character", "normalization": None, "symbols": ["a", "b", "<unk>"], "special": {"<unk>": 2}}


@pytest.mark.parametrize(
    "change",
    [
        {"unit": "word"},
        {"normalization": "NFX"},
        {"symbols": ["b", "a", "<unk>"]},  # out of order
        {"symbols": ["a", "a", "<unk>"]},  # twice
        {"symbols": ["a", "bc", "<unk>"]},  # two characters
        {"symbols": ["a", "", "<unk>"]},
        {"symbols": ["a", 98, "<unk>"]},
        {"symbols": "ab"},
        {"symbols": None},
        {"special": {}},  # then <unk> is five characters
        {"special": {"<unk>": 0}},
        {"special": {"<unk>": 3}},
        {"special": {"<unk>": "2"}},
        {"special": {"<unk>": 2.0}},
        {"symbols": ["a", "<unk>"], "special": {"<unk>": True}},
        {"special": {"<unk>": 2, "<end>": 3}},
        {"special": {"<end>": 2}},
        {"special": {"<end>": 2, "<unk>": 3}},
        {"symbols": ["a", "<unk>", "<end>"], "special": {"<unk>": 1, "<end>": 2}},  # <end> stands first
        {"symbols": ["a", "<unk>", "<end>"], "special": {"<end>": 1, "<unk>": 2}},
        {"symbols": ["a", "<new>", "<end>", "<unk>"], "special": {"<new>": 1, "<end>": 2, "<unk>": 3}},
        {"symbols": ["<end>", "a", "b"], "special": {"<end>": 0}},
        {"symbols": ["a", "b", "<end>"], "special": {"<end>": 1}},
        {"symbols": ["a", "b", "<end>"], "special": {"<end>": True}},
        {"symbols": ["a", "b", "<end>"], "special": {}},
        {"symbols": ["<end>"], "special": {"<end>": 0}},
        {"symbols": ["a", "\ud800"], "special": {}},
        {"symbols": [], "special": {"<unk>": 0, "<end>": 0}},
        {"symbols": ["a", "<unk>", "<unk>"]},
        {"symbols": ["<unk>"], "special": {"a": 0, "b": 1, "c": 2}},
        {"symbols": ["a", "\u0100"], "special": {}, "unit": "byte"},
        {"extra": 1},
    ],
)
def test_json_that_charlm_did_not_write_is_refused(change: dict[str, object]) -> None:
    Vocabulary.from_json(GOOD)
    with pytest.raises(CheckpointError, match=r"^the vocabulary is not valid: "):
        Vocabulary.from_json(GOOD | change)


@pytest.mark.parametrize("missing", list(GOOD))
def test_json_that_lacks_a_field_is_refused(missing: str) -> None:
    with pytest.raises(CheckpointError):
        Vocabulary.from_json({key: value for key, value in GOOD.items() if key != missing})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
almost_vocabularies = st.fixed_dictionaries(
    {
        "unit": st.sampled_from(["character", "byte"]) | json_values,
        "normalization": st.none() | forms | json_values,
        "symbols": st.lists(st.sampled_from("abcd\xff\u0100\ud800") | st.just("<unk>"), max_size=4).map(sorted)
        | json_values,
        "special": st.dictionaries(st.sampled_from(["<unk>", "<end>", "a"]), st.integers(-1, 4), max_size=3)
        | json_values,
    }
)


@given(json_values | almost_vocabularies)
@example({"unit": "byte", "normalization": None, "symbols": ["a", "<unk>"], "special": {"<unk>": 1}})
def test_any_json_is_a_vocabulary_that_works_or_a_checkpoint_error(values: Any) -> None:
    before = copy.deepcopy(values)
    try:
        vocabulary = Vocabulary.from_json(values)
    except CheckpointError:
        return
    assert vocabulary.to_json() == before
    vocabulary.decode(range(len(vocabulary)))
    assert len(vocabulary.marks(range(len(vocabulary)))) == len(vocabulary)
