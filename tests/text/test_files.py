import os
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from charlm.config.settings import DataConfig
from charlm.errors import TextError
from charlm.text import files
from charlm.text.files import byte_pieces, find_files, text_pieces
from tests.harness.texts import forms, texts

BOM = "\ufeff"


def read(data: bytes, cuts: list[int] | None = None, **settings: object) -> str:
    """Return the text of ``data`` when it comes in pieces that end at ``cuts``."""
    ends = [0, *sorted(min(cut, len(data)) for cut in cuts or []), len(data)]
    pieces = [data[start:end] for start, end in pairwise(ends)]
    return "".join(text_pieces(pieces, "poem.txt", DataConfig.model_validate({"path": "poem.txt"} | settings)))


def offset_named(error: TextError) -> int:
    """Return the offset that an error names, with its thousands in groups."""
    found = re.search(r"at offset ([\d,]+) is not", str(error))
    assert found, str(error)
    return int(found[1].replace(",", ""))


cuts = st.lists(st.integers(0, 40), max_size=5)


# Finding


def test_one_path_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    assert find_files([str(tmp_path / "a.txt")]) == [tmp_path / "a.txt"]


def test_a_list_keeps_its_order_and_each_glob_in_it_sorts_by_name(tmp_path: Path) -> None:
    for name in ["part10.txt", "part2.txt", "part1.txt", "Z.txt", "notes.md", "end.txt"]:
        (tmp_path / name).touch()
    found = find_files([str(tmp_path / pattern) for pattern in ["part*.txt", "notes.md", "*.txt"]])
    assert [path.name for path in found] == [
        *["part1.txt", "part10.txt", "part2.txt"],
        "notes.md",
        *["Z.txt", "end.txt", "part1.txt", "part10.txt", "part2.txt"],
    ]


def test_a_glob_names_files_alone_and_looks_into_folders_when_asked(tmp_path: Path) -> None:
    (tmp_path / "b.txt").touch()
    (tmp_path / "a.txt").mkdir()  # a folder that is called like a file
    (tmp_path / "a.txt" / "deep.txt").touch()
    assert find_files([str(tmp_path / "*.txt")]) == [tmp_path / "b.txt"]
    assert find_files([str(tmp_path / "**" / "*.txt")]) == [tmp_path / "a.txt" / "deep.txt", tmp_path / "b.txt"]


def test_a_file_whose_name_has_glob_characters_is_found_by_its_name(tmp_path: Path) -> None:
    for name in ["song[1].txt", "song1.txt", "what?.txt", "whats.txt"]:
        (tmp_path / name).touch()
    assert find_files([str(tmp_path / "song[1].txt")]) == [tmp_path / "song[1].txt"]
    assert find_files([str(tmp_path / "what?.txt")]) == [tmp_path / "what?.txt"]
    assert find_files([str(tmp_path / "song[1-3].txt")]) == [tmp_path / "song1.txt"]


def test_a_relative_glob_starts_where_charlm_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert find_files(["*.txt"]) == [Path("a.txt")]


def test_a_missing_file_is_named_with_the_folder_that_was_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TextError, match=r"^gone\.txt: no such file") as caught:
        find_files(["gone.txt"])
    assert f"(looked in {tmp_path})" in str(caught.value)
    with pytest.raises(TextError, match="no such file") as caught:
        find_files([str(tmp_path / "gone.txt")])
    assert "looked in" not in str(caught.value)


def test_a_glob_that_matches_nothing_is_an_error_even_beside_one_that_does(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(TextError, match=r"\*\.md: no such file"):
        find_files([str(tmp_path / "*.txt"), str(tmp_path / "*.md")])


def test_a_folder_is_refused_with_a_glob_to_use_instead(tmp_path: Path) -> None:
    for name in [str(tmp_path), f"{tmp_path}/"]:
        with pytest.raises(TextError, match="this is a folder") as caught:
            find_files([name])
        assert f"'{tmp_path}/*.txt'" in str(caught.value)


def test_a_pipe_is_refused_because_a_text_is_read_twice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TextError, match=r"pipe: not a regular file"):
        find_files([str(tmp_path / "pipe")])


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "a.txt/b.txt"])
def test_a_name_that_no_file_can_have_is_an_error_like_any_missing_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TextError):
        find_files([name])


# Bytes


@pytest.mark.parametrize("size", [1, 3, 4, 9, 10, 11, 99])
def test_the_pieces_of_a_file_are_its_bytes_in_order(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PIECE", size)
    path = tmp_path / "ten.bin"
    path.write_bytes(bytes(range(250, 260 - 4)) + b"\r\n\0\x1a")
    pieces = list(byte_pieces(path))
    assert b"".join(pieces) == path.read_bytes()
    assert [len(piece) for piece in pieces[:-1]] == [size] * (len(pieces) - 1)
    assert 1 <= len(pieces[-1]) <= size


def test_an_empty_file_has_no_pieces(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert list(byte_pieces(tmp_path / "empty")) == []


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    for path, reason in [(tmp_path / "gone.txt", "No such file or directory"), (tmp_path, "Is a directory")]:
        with pytest.raises(TextError) as caught:
            list(byte_pieces(path))
        assert str(caught.value) == f"{path}: cannot read this file ({reason})."


# Text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030"])
@given(texts, cuts)
def test_any_text_is_read_from_any_pieces_of_its_bytes(encoding: str, text: str, cuts: list[int]) -> None:
    text = text.replace("\0", "").lstrip(BOM)
    assert read(text.encode(encoding), cuts, encoding=encoding) == text


@pytest.mark.parametrize("encoding", ["cp949", "shift_jis", "cp1252", "iso2022_kr"])
@given(st.text("한글가나Aé漢\r\n"), cuts)
def test_older_encodings_are_read_from_any_pieces(encoding: str, text: str, cuts: list[int]) -> None:
    data = text.encode(encoding, "ignore")
    assert read(data, cuts, encoding=encoding) == data.decode(encoding)


@given(texts, cuts, forms)
def test_a_text_is_normalized_as_a_whole(text: str, cuts: list[int], form: str) -> None:
    assume("\0" not in text and not text.startswith(BOM))
    whole = read(text.encode(), normalization=form)
    assert read(text.encode(), cuts, normalization=form) == whole


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_byte_order_mark_is_dropped_at_the_start_and_nowhere_else(encoding: str) -> None:
    codec = {"utf-16": "utf-16-be", "utf-32": "utf-32-le"}.get(encoding, encoding.removesuffix("-sig"))
    data = f"{BOM}a{BOM}b".encode(codec)
    for cut in range(len(data) + 1):
        assert read(data, [cut], encoding=encoding) == f"a{BOM}b"
    assert read(data, list(range(len(data))), encoding=encoding) == f"a{BOM}b"


def test_a_file_that_is_only_a_byte_order_mark_is_empty() -> None:
    assert read(b"\xef\xbb\xbf", [1, 2]) == ""
    assert read(b"\xef\xbb\xbf" * 2) == BOM  # only the first one is a mark


def test_the_mark_of_a_later_file_is_dropped_too(tmp_path: Path) -> None:
    # each file has a start of its own
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(f"{BOM}{name}".encode())
    found = find_files([str(tmp_path / "*")])
    data = DataConfig(path=("*",))
    assert ["".join(text_pieces(byte_pieces(path), str(path), data)) for path in found] == ["a", "b"]


@given(st.text("a\r\n\x0b\x0c\x1c\x85\u2028", max_size=20), cuts)
@example("a\r\nb\rc\n\n\r", [2, 3])
def test_line_ends_are_kept_as_they_are(text: str, cuts: list[int]) -> None:
    assert read(text.encode(), cuts) == text


@given(st.binary(), cuts)
@example(b"\xef\xbb\xbf\0\r\n\xff", [])
def test_bytes_are_read_as_they_are(data: bytes, cuts: list[int]) -> None:
    assert read(data, cuts, unit="byte") == data.decode("latin-1")


# What is no text


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 1 << 20])
@pytest.mark.parametrize(
    ("encoding", "before", "bad", "byte"),
    [
        ("utf-8", "1234é한😀" * 200, b"\xed\x95", 0xED),  # two thirds of a syllable, then a letter
        ("utf-8", "1234한" * 300, b"\xff", 0xFF),
        ("cp949", "가나다x" * 300, b"\xb0\xff", 0xB0),
        ("utf-16-le", "가x" * 300, b"\x00\xdc", 0x00),  # the second half of a pair, alone
        ("cp1252", "é1" * 600, b"\x81", 0x81),
    ],
)
def test_a_bad_byte_is_named_by_file_and_offset_wherever_pieces_end(
    size: int, encoding: str, before: str, bad: bytes, byte: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PIECE", size)
    path, start = tmp_path / "poem.txt", before.encode(encoding)
    path.write_bytes(start + bad + "abc".encode(encoding))
    with pytest.raises(TextError) as caught:
        list(text_pieces(byte_pieces(path), str(path), DataConfig(path=(str(path),), encoding=encoding)))
    assert len(start) >= 1_000
    assert str(caught.value).startswith(f"{path}: byte 0x{byte:02x} at offset {len(start):,} is not {encoding} (")
    assert "data.encoding" in str(caught.value)
    assert "data.unit: byte" in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "cp949", "gb18030", "utf-16-le", "cp1252"])
@given(st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"")), cuts)
@example(b"ab\xed\x95", [3])  # cut short by the end of the file
@example(b"\xe1\x80\xff", [1, 2])
@example(b"\xf0\x9f\x98ab", [2])
def test_any_bytes_are_a_text_or_an_error_at_the_offset_that_the_whole_has(
    encoding: str, data: bytes, cuts: list[int]
) -> None:
    good, wrong_at = data, None
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        good, wrong_at = data[: error.start], error.start
    text = good.decode(encoding)
    assume("\0" not in text)
    if wrong_at is None:
        assert read(data, cuts, encoding=encoding) == text.removeprefix(BOM)
        return
    with pytest.raises(TextError) as caught:
        read(data, cuts, encoding=encoding)
    assert offset_named(caught.value) == wrong_at


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_offsets_count_the_byte_order_mark(encoding: str) -> None:
    start = "abc한".encode(encoding)
    bad = {"utf-8-sig": b"\xffd", "utf-16": b"\x00\xdc\x00\xdc", "utf-32": b"\xff\xff\xff\xff"}[encoding]
    for cut in range(len(start + bad) + 1):
        with pytest.raises(TextError) as caught:
            read(start + bad, [cut], encoding=encoding)
        assert offset_named(caught.value) == len(start)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@given(st.binary(min_size=5, max_size=12), cuts)
@example(b"a plain text", [])
def test_a_text_without_the_byte_order_mark_that_its_encoding_needs_is_an_error(
    encoding: str, data: bytes, cuts: list[int]
) -> None:
    assume(data[:2] not in {b"\xff\xfe", b"\xfe\xff"} and data[:4] != b"\0\0\xfe\xff")
    with pytest.raises(TextError, match=r"^poem\.txt: "):
        read(data, cuts, encoding=encoding)


@pytest.mark.parametrize("cut", range(7))
def test_a_nul_is_refused_because_it_is_in_no_text(cut: int) -> None:
    with pytest.raises(TextError, match=r"^poem\.txt: contains a NUL character.*utf-16.*data\.unit: byte"):
        read(b"abc\0de", [cut])


def test_utf_16_read_as_something_narrower_is_refused_and_not_read_as_every_second_character() -> None:
    for encoding in ("utf-8", "latin-1"):
        with pytest.raises(TextError, match=r"data\.encoding"):
            read("plain words".encode("utf-16-le"), encoding=encoding)


def test_text_is_given_piece_by_piece_and_not_only_at_the_end() -> None:
    pieces = iter([b"abc", b"\xff"])
    texts_read = text_pieces(pieces, "poem.txt", DataConfig(path=("poem.txt",)))
    assert next(texts_read) == "abc"
    with pytest.raises(TextError):
        next(texts_read)
