import hashlib
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charlm.config.settings import DataConfig
from charlm.errors import TextError, UnknownCharactersError
from charlm.text import files
from charlm.text.code_points import END_UNIT, code_points
from charlm.text.corpus import Corpus, read_vocabulary
from charlm.text.encoding import encode_pieces
from charlm.text.files import byte_pieces
from charlm.text.normalization import Form
from charlm.text.vocabulary import END, Vocabulary
from tests.harness.texts import forms, texts


def written(path: Path, content: str | bytes) -> str:
    """Write a file, line ends as they are, and return its name."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def data(path: str | tuple[str, ...], **settings: object) -> DataConfig:
    return DataConfig.model_validate({"path": path} | settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one folder whose files every example overwrites."""
    return tmp_path_factory.mktemp("corpus")


@pytest.fixture(autouse=True)
def _piece_of_five_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PIECE", 5)  # so that even a short text comes in pieces


# Ids


@settings(max_examples=40)
@given(texts, st.integers(1, 9))
@example("a\r\nb\u0301\n", 1)
def test_the_ids_say_what_the_file_says(folder: Path, text: str, size: int) -> None:
    text = "ab" * 10 + text.replace("\0", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "PIECE", size)
        corpus = Corpus.read(data(written(folder / "text", text), newlines="keep"))
    assert corpus.vocabulary == Vocabulary.of_text(text)
    assert corpus.ids.tolist() == Vocabulary.of_text(text).encode(text).tolist()
    assert corpus.vocabulary.decode(corpus.ids) == text


@settings(max_examples=40)
@given(texts, forms, st.integers(1, 3))
def test_normalization_and_rare_characters_count_over_the_whole_text(
    folder: Path, text: str, form: Form, minimum: int
) -> None:
    text = "ab" * 10 + text.replace("\0", "")
    path = written(folder / "text", text)
    corpus = Corpus.read(data(path, normalization=form, minimum_count=minimum, newlines="keep"))
    vocabulary = Vocabulary.of_text(text, form, minimum)
    assert corpus.vocabulary == vocabulary
    assert corpus.ids.tolist() == vocabulary.encode(text).tolist()
    assert read_vocabulary(data(path, normalization=form, minimum_count=minimum, newlines="keep")) == vocabulary


@settings(max_examples=40)
@given(st.lists(texts, min_size=1, max_size=4))
def test_several_files_are_joined_in_the_order_they_are_named(folder: Path, parts: list[str]) -> None:
    parts = ["ab" * 10, *(part.replace("\0", "").lstrip("\ufeff") for part in parts)]
    paths = [written(folder / f"{9 - number}.txt", part) for number, part in enumerate(parts)]
    corpus = Corpus.read(data(tuple(paths)))
    assert corpus.paths == tuple(paths)
    assert corpus.vocabulary.decode(corpus.ids) == "".join(parts)


def test_a_glob_is_joined_by_name(tmp_path: Path) -> None:
    for name, part in {"2.txt": "second ", "1.txt": "first ", "3.txt": "third", "4.md": "no"}.items():
        written(tmp_path / name, part)
    pattern = str(tmp_path / "*.txt")
    corpus = Corpus.read(data(pattern))
    assert corpus.paths == (pattern,)
    assert corpus.vocabulary.decode(corpus.ids) == "first second third"


@pytest.mark.parametrize(("symbols", "dtype"), [(2, "u1"), (256, "u1"), (257, "u2"), (300, "u2")])
def test_ids_take_the_smallest_type(symbols: int, dtype: str, tmp_path: Path) -> None:
    text = "".join(chr(0x4E00 + number) for number in range(symbols)) * 12
    corpus = Corpus.read(data(written(tmp_path / "text", text)))
    assert corpus.ids.dtype == np.dtype(dtype)
    assert corpus.vocabulary.decode(corpus.ids) == text


@given(st.binary(min_size=20, max_size=60))
@example(bytes(range(256)))
def test_a_corpus_of_bytes_is_the_file_s_bytes(folder: Path, content: bytes) -> None:
    corpus = Corpus.read(data(written(folder / "bytes", content), unit="byte"))
    assert corpus.ids.tobytes() == content
    assert corpus.vocabulary == Vocabulary.of_bytes()


def test_another_encoding_is_read_as_it_is_named(tmp_path: Path) -> None:
    text = "가나다 라마바 abc\r\n" * 4
    corpus = Corpus.read(data(written(tmp_path / "text", text.encode("cp949")), encoding="cp949"))
    assert corpus.vocabulary.decode(corpus.ids) == text.replace("\r", "")
    with pytest.raises(TextError, match=r"text: byte 0xb0 at offset 0 is not utf-8"):
        Corpus.read(data(str(tmp_path / "text")))


def test_a_bad_byte_is_named_by_the_file_that_holds_it(tmp_path: Path) -> None:
    paths = (written(tmp_path / "good", "abcdefghijkl"), written(tmp_path / "bad", b"abcdefgh\xffi"))
    with pytest.raises(TextError, match=r"bad: byte 0xff at offset 8 is"):
        Corpus.read(data(paths))


# Digest


@settings(max_examples=40)
@given(st.lists(texts, min_size=1, max_size=3))
def test_the_digest_is_that_of_the_joined_bytes(folder: Path, parts: list[str]) -> None:
    contents = [("\ufeff" + part.replace("\0", "") + "\r\n" + "ab" * 10).encode() for part in parts]
    paths = tuple(written(folder / f"{number}.txt", content) for number, content in enumerate(contents))
    expected = hashlib.sha256(b"".join(contents)).hexdigest()
    assert Corpus.read(data(paths, normalization="NFKD")).sha256 == expected
    assert Corpus.read(data(paths, unit="byte")).sha256 == expected


# Splits


@given(st.integers(20, 300), st.integers(1, 31), st.integers(0, 31))
def test_splits_are_contiguous_tails_of_exactly_their_share(folder: Path, size: int, held: int, kept: int) -> None:
    # In 64ths a share is an exact number, so that rounding is the only question: down, away from the tails.
    validation, test = Fraction(held, 64), Fraction(kept, 64)
    path = written(folder / "text", ("abcdefghij" * 30)[:size])
    config = data(path, validation_fraction=held / 64, test_fraction=kept / 64)
    starts = int(size * (1 - validation - test)), int(size * (1 - test))
    wanted = [starts[0], starts[1] - starts[0], size - starts[1]]
    if wanted[0] < 2 or wanted[1] < 2 or (kept and wanted[2] < 2):
        with pytest.raises(TextError, match="too short"):
            Corpus.read(config)
        return
    corpus = Corpus.read(config)
    assert (corpus.validation_start, corpus.test_start) == starts
    assert [len(corpus.train), len(corpus.validation), len(corpus.test)] == wanted
    assert np.concatenate([corpus.train, corpus.validation, corpus.test]).tolist() == corpus.ids.tolist()
    assert all(np.shares_memory(corpus.ids, part) for part in (corpus.train, corpus.validation))


def test_a_tenth_is_split_as_nanogpt_splits_shakespeare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PIECE", 1 << 18)
    path = written(tmp_path / "text", b"To be, or not to be\n" * 55_769 + b"That is the qu")
    corpus = Corpus.read(data(path, validation_fraction=0.1))
    assert len(corpus.ids) == 1_115_394
    assert (len(corpus.train), len(corpus.validation), len(corpus.test)) == (1_003_854, 111_540, 0)


def test_the_test_split_is_a_tail_behind_the_validation_split(tmp_path: Path) -> None:
    path = written(tmp_path / "text", "t" * 50 + "v" * 25 + "e" * 25)
    corpus = Corpus.read(data(path, validation_fraction=0.25, test_fraction=0.25))
    decode = corpus.vocabulary.decode
    assert [decode(part) for part in (corpus.train, corpus.validation, corpus.test)] == ["t" * 50, "v" * 25, "e" * 25]


@pytest.mark.parametrize(
    ("size", "validation", "test", "message"),
    [
        (0, 0.5, 0.0, "Its 0 characters leave 0 for the train split, which needs 2"),
        (3, 0.5, 0.0, "Its 3 characters leave 1 for the train split, which needs 2"),
        (13, 0.0625, 0.0, "Its 13 characters leave 1 for the validation split, which needs 2"),
        (1_001, 0.5, 0.0009765625, "Its 1,001 characters leave 1 for the test split, which needs 2"),
    ],
)
def test_a_text_too_short_for_its_splits_is_refused_with_the_numbers(
    size: int, validation: float, test: float, message: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "text", "x" * size)
    with pytest.raises(TextError) as caught:
        Corpus.read(data(path, validation_fraction=validation, test_fraction=test))
    settings = f"(data.validation_fraction is {validation}, data.test_fraction {test})"
    assert str(caught.value).startswith(f"{path}: too short. {message} {settings}.")


def test_two_characters_a_split_are_enough(tmp_path: Path) -> None:
    path = written(tmp_path / "text", "abcd")
    corpus = Corpus.read(data(path, validation_fraction=0.5))
    assert (len(corpus.train), len(corpus.validation)) == (2, 2)


# Separate items

items = st.lists(st.text("abcde한 ", min_size=1, max_size=12).map(lambda item: f"x{item}x"), min_size=1, max_size=30)


def split_up(ids: np.ndarray, corpus: Corpus) -> list[str]:
    """Return the items of ids that begin and end with an end."""
    assert ids[0] == ids[-1] == corpus.vocabulary.end
    ends = np.flatnonzero(ids == corpus.vocabulary.end)
    return [corpus.vocabulary.decode(ids[one + 1 : two]) for one, two in pairwise(ends)]


@given(items, st.integers(1, 31), st.integers(0, 31))
@example(["xax"] * 3, 16, 16)
def test_splits_are_cut_between_items_and_each_item_is_in_one(
    folder: Path, parts: list[str], held: int, kept: int
) -> None:
    config = data(
        written(folder / "items", "\r\n".join(parts)),
        documents="line",
        split="tail",
        validation_fraction=held / 64,
        test_fraction=kept / 64,
    )
    marked = chr(END_UNIT) + "".join(part + chr(END_UNIT) for part in parts)
    ends = [place for place, unit in enumerate(marked) if unit == chr(END_UNIT)]
    shares = Fraction(64 - held - kept, 64), Fraction(64 - kept, 64)
    starts = [min(ends, key=lambda end: (abs(end - int(len(marked) * share)), end)) for share in shares]
    if len(parts) >= 2 + bool(kept):  # then no split goes without an item
        starts[1] = min(max(starts[1], ends[2]), ends[-2] if kept else ends[-1])
        starts[0] = min(max(starts[0], ends[1]), ends[ends.index(starts[1]) - 1])
    else:
        with pytest.raises(TextError, match=rf"Its items \({len(parts)}, data\.documents: line\) leave none for the "):
            Corpus.read(config)
        return
    corpus = Corpus.read(config)
    assert [corpus.validation_start, corpus.test_start] == starts
    assert corpus.ids.tolist() == corpus.vocabulary.encode_units(code_points(marked)).tolist()
    found = [split_up(split, corpus) for split in (corpus.train, corpus.validation, corpus.test)]
    assert [item for split in found for item in split] == parts
    assert all(found[:2])
    assert bool(found[2]) == (starts[1] < ends[-1])
    assert all(np.shares_memory(corpus.ids, split) for split in (corpus.train, corpus.validation, corpus.test))


@settings(max_examples=40)
@given(items, st.integers(1, 9))
def test_items_are_the_same_however_the_file_is_read(folder: Path, parts: list[str], size: int) -> None:
    text = "\n \t\n\n".join(["start", *parts, "stop"]) + "\n\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "PIECE", size)
        corpora = [
            Corpus.read(data(written(folder / "items", text), documents=kind, split="tail", validation_fraction=0.5))
            for kind in ("line", "blank-line")
        ]
    for corpus in corpora:
        assert split_up(corpus.ids, corpus) == ["start", *parts, "stop"]
        assert corpus.vocabulary.symbols == (*sorted(set("startop" + "".join(parts))), END)
        assert read_vocabulary(data(str(folder / "items"), documents="line")) == corpus.vocabulary


def test_each_file_may_be_an_item_with_all_its_lines(tmp_path: Path) -> None:
    texts = ["\ufeffone\r\n\r\n", "", "two\n", "\n", "three"]
    paths = tuple(written(tmp_path / f"{number}.txt", text) for number, text in enumerate(texts))
    corpus = Corpus.read(data(paths, documents="file", split="tail", validation_fraction=0.3))
    assert split_up(corpus.ids, corpus) == ["one\n\n", "two\n", "\n", "three"]
    assert split_up(corpus.train, corpus) == ["one\n\n", "two\n", "\n"]
    assert corpus.sha256 == hashlib.sha256("".join(f"{text}<end>" for text in texts).encode()).hexdigest()


def test_lines_of_bytes_are_items_too(tmp_path: Path) -> None:
    path = written(tmp_path / "bytes", b"n\xc3\xa9\r\n\xff\xfe\n\nbob")
    corpus = Corpus.read(data(path, unit="byte", documents="line", split="tail", validation_fraction=0.4))
    assert corpus.vocabulary == Vocabulary.of_bytes([END])
    assert corpus.ids.tolist() == [256, 0x6E, 0xC3, 0xA9, 256, 0xFF, 0xFE, 256, 0x62, 0x6F, 0x62, 256]
    assert corpus.ids.dtype == np.uint16


def test_an_end_is_never_too_rare(tmp_path: Path) -> None:
    path = written(tmp_path / "text", "aaaab\naaaab")
    corpus = Corpus.read(data(path, documents="line", split="tail", minimum_count=4, validation_fraction=0.5))
    assert corpus.vocabulary.symbols == ("a", END, "<unk>")
    assert corpus.ids.tolist() == [1, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 2, 1]
    with pytest.raises(TextError, match="no character occurs 9 times"):
        Corpus.read(data(path, documents="line", minimum_count=9))


@pytest.mark.parametrize(
    ("text", "validation", "test", "message"),
    [
        ("", 0.5, 0.0, "Its items (0, data.documents: line) leave none for the train split, which needs 1"),
        ("\n \n", 0.5, 0.0, "Its items (0, data.documents: line) leave none for the train split, which needs 1"),
        ("abc\n", 0.5, 0.0, "Its items (1, data.documents: line) leave none for the train split, which needs 1"),
        ("a\nb", 0.25, 0.25, "Its items (2, data.documents: line) leave none for the validation split, which needs 1"),
    ],
)
def test_a_split_that_gets_no_item_is_refused_with_the_numbers(
    text: str, validation: float, test: float, message: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "text", text)
    with pytest.raises(TextError) as caught:
        Corpus.read(data(path, documents="line", split="tail", validation_fraction=validation, test_fraction=test))
    settings = f"(data.validation_fraction is {validation}, data.test_fraction {test})"
    assert str(caught.value).startswith(f"{path}: too short. {message} {settings}.")


@pytest.mark.parametrize("unit", ["character", "byte"])
@pytest.mark.parametrize("content", [b"", b"\n \r\n\t"])
def test_a_text_without_an_item_has_no_vocabulary(content: bytes, unit: str, tmp_path: Path) -> None:
    path = written(tmp_path / "text", content)
    with pytest.raises(TextError, match=r"text: the text is empty"):
        read_vocabulary(data(path, documents="line", unit=unit))


def test_items_are_read_with_a_given_vocabulary_and_its_end(tmp_path: Path) -> None:
    path = written(tmp_path / "text", "ab\nba\nab")
    given_one = Vocabulary.of_code_points(np.bincount(code_points("zab" + chr(END_UNIT))))
    corpus = Corpus.read(data(path, documents="line", split="tail", validation_fraction=0.5), given_one)
    assert corpus.vocabulary is given_one
    assert corpus.ids.tolist() == [3, 0, 1, 3, 1, 0, 3, 0, 1, 3]


@pytest.mark.parametrize("documents", [None, "file"])
def test_half_a_character_in_a_text_is_no_end(documents: str | None, tmp_path: Path) -> None:
    """Python decodes some encodings to lone surrogates, of which one stands for ends."""
    path = written(tmp_path / "text", b"abc+2AA-def" * 9)
    with suppress(TextError):
        corpus = Corpus.read(data((path, path, path), documents=documents, encoding="utf-7", validation_fraction=0.5))
        items = 0 if corpus.vocabulary.end is None else int((corpus.ids == corpus.vocabulary.end).sum()) - 1
        assert items == (3 if documents else 0)


# A vocabulary that is given


def test_a_given_vocabulary_is_used_as_it_is(tmp_path: Path) -> None:
    vocabulary = Vocabulary.of_text("zyxcba ")
    corpus = Corpus.read(data(written(tmp_path / "text", "abc cab abc")), vocabulary)
    assert corpus.vocabulary is vocabulary
    assert corpus.ids.tolist() == vocabulary.encode("abc cab abc").tolist()


def test_characters_that_a_given_vocabulary_lacks_are_named_at_their_place_in_the_whole(tmp_path: Path) -> None:
    paths = (written(tmp_path / "a", "abcabcabc"), written(tmp_path / "b", "abcab!cc!"))
    with pytest.raises(UnknownCharactersError, match=r"'!' \(U\+0021\) at position 14\b"):
        Corpus.read(data(paths), Vocabulary.of_text("abc"))


def test_characters_that_a_given_vocabulary_lacks_are_unk_where_it_has_learned_that(tmp_path: Path) -> None:
    vocabulary = Vocabulary.of_text("aabbz", minimum_count=2)
    corpus = Corpus.read(data(written(tmp_path / "text", "abqab한ab" * 4)), vocabulary)
    assert corpus.ids.tolist() == [0, 1, 2, 0, 1, 2, 0, 1] * 4


# The vocabulary alone, and texts that are no corpus


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
def test_an_empty_text_has_no_vocabulary(content: bytes, tmp_path: Path) -> None:
    path = written(tmp_path / "text", content)
    with pytest.raises(TextError, match=r"text: the text is empty"):
        read_vocabulary(data(path))


def test_the_vocabulary_of_a_text_of_one_character_can_be_read(tmp_path: Path) -> None:
    assert read_vocabulary(data(written(tmp_path / "text", "x"))).symbols == ("x",)
    assert len(read_vocabulary(data(str(tmp_path / "text"), unit="byte"))) == 256


@given(st.lists(texts, max_size=5))
def test_pieces_are_encoded_as_the_whole(pieces: list[str]) -> None:
    vocabulary = Vocabulary.of_text("".join(pieces))
    ids = encode_pieces(pieces, vocabulary)
    assert ids.dtype == vocabulary.dtype
    assert ids.tolist() == vocabulary.encode("".join(pieces)).tolist()


def test_a_stranger_in_a_later_piece_is_named_at_its_place_in_the_whole() -> None:
    with pytest.raises(UnknownCharactersError, match=r"'!' \(U\+0021\) at position 7\b"):
        encode_pieces(["abc", "", "cba", "a!"], Vocabulary.of_text("abc"))


def test_pieces_of_nothing_are_no_ids() -> None:
    ids = encode_pieces([], Vocabulary.of_text("ab"))
    assert ids.shape == (0,)
    assert ids.dtype == np.uint8


# Reading it twice


@pytest.mark.parametrize("after", ["ab" * 10, "ab" * 30], ids=["shorter", "longer"])
def test_a_text_that_changes_while_it_is_read_is_an_error(
    after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "log", "ab" * 20)

    def then_changed(file: Path) -> Iterator[bytes]:
        yield from byte_pieces(file)
        written(file, after)

    monkeypatch.setattr(files, "byte_pieces", then_changed)
    with pytest.raises(TextError, match="log"):
        Corpus.read(data(path))


def test_reading_costs_less_than_two_bytes_a_character_and_a_few_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # pieces of their real size
    size, path = 20_000_000, tmp_path / "text"
    path.write_bytes(b"Down the Rabbit-Hole" * (size // 20))
    tracemalloc.start()
    corpus = Corpus.read(data(str(path)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert corpus.ids.nbytes == size
    assert peak < 2 * size
