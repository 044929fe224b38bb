"""A text for a trained model is read as its own was; what the vocabulary lacks is refused, ``<unk>`` or skipped."""

import re
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charlm.config.settings import DataConfig
from charlm.errors import TextError, UnknownCharactersError
from charlm.text.code_points import END_UNIT
from charlm.text.encoding import encode_bytes, encode_text
from charlm.text.findings import Findings
from charlm.text.unknown_characters import unknown_note
from charlm.text.vocabulary import Vocabulary

LINES = Vocabulary.of_text("ab\r\n\ufffd")
KNOWN, STRANGERS = "abc", "€한🦊\x07é"
DOCUMENTS = (None, "line", "blank-line", "file")


def data(**settings: object) -> DataConfig:
    return DataConfig.model_validate({"path": "text.txt"} | settings)


def with_line_ends(documents: str | None) -> DataConfig:
    """Return settings that keep line ends, so that characters stay where they are."""
    return data(documents=documents, newlines="keep")


def vocabulary(text: str, documents: str | None = None, *, rare: str = "") -> Vocabulary:
    """Return a vocabulary of ``text``; with ``rare`` characters it has ``<unk>``, with documents ``<end>``."""
    end = chr(END_UNIT) * 2 if documents else ""
    return Vocabulary.of_text(text * 2 + end + rare, minimum_count=2 if rare else 1)


pieces = st.lists(st.sampled_from(["a", "b", "c", " ", "\t", "\n", "\r\n", "\n\n", *STRANGERS]), max_size=30)


@pytest.mark.parametrize("documents", DOCUMENTS)
@pytest.mark.parametrize("rare", ["", "€"], ids=["plain", "unk"])
@given(pieces)
def test_a_text_reads_as_it_does_without_the_strangers(documents: str | None, rare: str, text: list[str]) -> None:
    symbols = vocabulary(KNOWN + " \t\r\n", documents, rare=rare)
    known = "".join(each for each in text if each not in STRANGERS)
    settings = with_line_ends(documents)
    try:
        expected, none = encode_text(known, settings, symbols)
    except TextError:
        with pytest.raises(TextError):
            encode_text("".join(text), settings, symbols, skip_unknown=True)
        return
    ids, skipped = encode_text("".join(text), settings, symbols, skip_unknown=True)

    assert none == []
    assert ids.tolist() == expected.tolist()
    assert [(each.character, each.count, each.position) for each in skipped] == told("".join(text), STRANGERS)


def told(text: str, characters: Iterable[str]) -> list[tuple[str, int, int]]:
    """Return those characters of a text, how often each occurs and where first, in that order."""
    return sorted(
        ((each, text.count(each), text.index(each)) for each in characters if each in text), key=lambda each: each[2]
    )


@pytest.mark.parametrize("rare", ["", "€"], ids=["plain", "unk"])
@given(st.lists(st.text("ab \t\r\n", max_size=9), min_size=1, max_size=6))
@example(["a", "\r\r", "b"])
def test_white_space_between_items_is_not_told_and_within_them_is(rare: str, lines: list[str]) -> None:
    """A vocabulary of letters: what separates items is no part of them, so nothing is lost with it."""
    symbols, settings = vocabulary("ab", "line", rare=rare), with_line_ends("line")
    text = "\n".join(lines)
    items = [line for line in re.split(r"(?<![ \t])[ \t]*\r?\n", text.rstrip(" \t\r\n")) if line]
    lost = "".join(each for item in items for each in item if each not in "ab")
    kept = ["".join(each for each in item if each in "ab") for item in items]
    ends = [symbols.end, *(index for item in kept if item for index in (*symbols.encode(item).tolist(), symbols.end))]
    if len(ends) == 1:
        with pytest.raises(TextError):
            encode_text(text, settings, symbols, skip_unknown=True)
        return
    ids, skipped = encode_text(text, settings, symbols, skip_unknown=True)

    assert ids.tolist() == ends
    assert sorted((each.character, each.count) for each in skipped) == sorted(
        (each, lost.count(each)) for each in set(lost)
    )


def test_an_item_of_strangers_alone_is_dropped_as_empty_items_are() -> None:
    symbols, settings = vocabulary("abno", "line"), data(documents="line")
    ids, skipped = encode_text("ann\n€€\nbob\n", settings, symbols, skip_unknown=True)

    assert symbols.decode(ids) == "\nann\nbob\n"
    assert unknown_note(skipped, skipped=True) == "skipped: '€' (U+20AC) at position 4, 2 times"


def test_bytes_lack_nothing() -> None:
    settings, symbols = data(unit="byte"), Vocabulary.of_bytes()
    both = [
        encode_bytes([b"\xff\xc3", b"\xa9\0"], "text", settings, symbols, skip_unknown=skip) for skip in (False, True)
    ]

    assert [(ids.tolist(), skipped) for ids, skipped in both] == [([255, 195, 169, 0], [])] * 2


def test_what_normalization_makes_of_a_text_is_what_is_looked_up() -> None:
    settings, symbols = data(normalization="NFC"), Vocabulary.of_text("é")

    assert encode_text("e\u0301", settings, symbols, skip_unknown=True)[1] == []
    assert encode_text("éé", data(normalization="NFD"), Vocabulary.of_text("e"), skip_unknown=True)[0].tolist() == [
        0,
        0,
    ]


@pytest.mark.parametrize("documents", DOCUMENTS)
@pytest.mark.parametrize("rare", ["", "z"], ids=["plain", "unk"])
def test_a_text_of_which_nothing_is_left_is_named_with_what_it_was(documents: str | None, rare: str) -> None:
    symbols = vocabulary("ab", documents, rare=rare)
    with pytest.raises(TextError) as caught:
        encode_bytes(["€z".encode()], "own.txt", data(documents=documents), symbols, skip_unknown=True)

    assert str(caught.value) == (
        "own.txt: nothing is left of the text without the characters that the model's vocabulary lacks: "
        "'€' (U+20AC) at position 0, 'z' (U+007A) at position 1. Use a text of the model's own characters."
    )


@pytest.mark.parametrize(("text", "position"), [("a€", 1), ("a b", 1), ("b\r\na a", 4)])
def test_without_unk_a_stranger_is_refused_with_its_place_and_the_way_out(text: str, position: int) -> None:
    with pytest.raises(UnknownCharactersError, match=rf"at position {position}\b.*skip_unknown") as caught:
        encode_text(text, with_line_ends("line"), vocabulary("ab", "line"))
    assert caught.value.kind == "unknown characters"


def test_with_unk_white_space_within_items_is_told_as_any_stranger() -> None:
    symbols = vocabulary("ab", "line", rare="z")
    ids, unknown = encode_text("b\r\na a\n", with_line_ends("line"), symbols)

    assert unknown_note(unknown) == "read as unknown: ' ' (U+0020) at position 4"
    assert symbols.special["<unk>"] in ids.tolist()


@given(st.text("ab\r\n", min_size=1))
@example("a\r\n\rb\r")
def test_line_ends_of_strings_and_files_are_those_of_the_training_text(text: str) -> None:
    lf = text.replace("\r\n", "\n").replace("\r", "\n")
    for newlines, expected in {None: lf, "normalize": lf, "keep": text}.items():
        ids = LINES.encode(expected).tolist()
        assert encode_text(text, data(newlines=newlines), LINES)[0].tolist() == ids
        assert encode_bytes([text.encode()], "t", data(newlines=newlines), LINES)[0].tolist() == ids


def test_bytes_keep_their_line_ends() -> None:
    vocabulary = Vocabulary.of_bytes()
    assert encode_text("a\r\n", data(unit="byte"), vocabulary)[0].tolist() == [97, 13, 10]
    assert encode_text("a\r\n", data(unit="byte", newlines="keep"), vocabulary)[0].tolist() == [97, 13, 10]


def test_replaced_bytes_of_a_text_are_found() -> None:
    findings = Findings()
    ids, unknown = encode_bytes([b"a\xff", b"\xfeb"], "t", data(errors="replace"), LINES, findings)
    assert LINES.decode(ids) == "a\ufffd\ufffdb"
    assert unknown == []
    assert findings.sentences() == ("t: 2 bytes that are not utf-8 were read as \ufffd.",)
