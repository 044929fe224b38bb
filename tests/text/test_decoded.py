import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from charlm.config.settings import DataConfig
from charlm.errors import TextError
from charlm.text import files
from charlm.text.decoded import text_pieces
from charlm.text.files import byte_pieces, find_files
from charlm.text.findings import Findings
from tests.harness.texts import forms, texts

BOM = "\ufeff"


def read(data: bytes, cuts: list[int] | None = None, findings: Findings | None = None, **settings: object) -> str:
    """Return the text of ``data`` when it comes in pieces that end at ``cuts``."""
    ends = [0, *sorted(min(cut, len(data)) for cut in cuts or []), len(data)]
    pieces = [data[start:end] for start, end in pairwise(ends)]
    config = DataConfig.model_validate({"path": "poem.txt"} | settings)
    return "".join(text_pieces(pieces, "poem.txt", config, findings))


def offset_named(error: TextError) -> int:
    """Return the offset that an error names, with its thousands in groups."""
    found = re.search(r"at offset ([\d,]+) is not", str(error))
    assert found, str(error)
    return int(found[1].replace(",", ""))


cuts = st.lists(st.integers(0, 40), max_size=5)


# Text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030"])
@given(texts, cuts)
def test_any_text_is_read_from_any_pieces_of_its_bytes(encoding: str, text: str, cuts: list[int]) -> None:
    text = text.replace("\0", "").lstrip(BOM)
    assert read(text.encode(encoding), cuts, encoding=encoding, newlines="keep") == text


@pytest.mark.parametrize("encoding", ["cp949", "shift_jis", "cp1252", "iso2022_kr"])
@given(st.text("한글가나Aé漢\r\n"), cuts)
def test_older_encodings_are_read_from_any_pieces(encoding: str, text: str, cuts: list[int]) -> None:
    data = text.encode(encoding, "ignore")
    assert read(data, cuts, encoding=encoding, newlines="keep") == data.decode(encoding)


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
def test_line_ends_become_lf_or_are_kept_wherever_pieces_end(text: str, cuts: list[int]) -> None:
    lf = re.sub("\r\n?", "\n", text)
    assert read(text.encode(), cuts) == lf
    assert read(text.encode(), cuts, newlines="normalize") == lf
    assert read(text.encode(), cuts, newlines="keep") == text
    assert read(text.encode(), cuts, unit="byte") == text.encode().decode("latin-1")


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
    assert "data.errors: replace" in str(caught.value)


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
        assert read(data, cuts, encoding=encoding, newlines="keep") == text.removeprefix(BOM)
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


# Bytes that are replaced


def bad_bytes(data: bytes, encoding: str) -> int:
    """Count the bytes that cannot be decoded, one sequence after another."""
    count = 0
    while data:
        try:
            data.decode(encoding)
        except UnicodeDecodeError as error:
            count += error.end - error.start
            data = data[error.end :]
        else:
            break
    return count


@pytest.mark.parametrize("encoding", ["utf-8", "cp949", "euc_jp", "cp1252", "utf-16-le"])
@given(st.binary(max_size=40), cuts)
@example(b"ab\xed\x95", [3])
@example(b"\xe1\x80\xff\xf0\x9f\x98ab", [1, 2, 4, 5])
def test_bad_bytes_are_replaced_and_counted_wherever_pieces_end(encoding: str, data: bytes, cuts: list[int]) -> None:
    text = data.decode(encoding, "replace")
    assume("\0" not in text)
    found = Findings()
    whole = read(data, cuts, findings=found, encoding=encoding, errors="replace", newlines="keep")
    assert whole == text.removeprefix(BOM)
    count = bad_bytes(data, encoding)
    were = "1 byte that is" if count == 1 else f"{count} bytes that are"
    was = "was" if count == 1 else "were"
    assert found.sentences() == ((f"poem.txt: {were} not {encoding} {was} read as \ufffd.",) if count else ())


def test_replaced_bytes_of_several_files_are_told_once() -> None:
    found = Findings()
    for name, count in {"a": 1, "b": 1_000, "c": 2, "d": 3}.items():
        found.add_replaced(name, count, "utf-8")
    assert found.sentences() == ("a, b, c and 1 more: 1,006 bytes that are not utf-8 were read as \ufffd.",)


def test_a_replacement_character_of_the_text_is_no_bad_byte() -> None:
    found = Findings()
    assert read("a\ufffdb".encode(), findings=found, errors="replace") == "a\ufffdb"
    assert found.sentences() == ()


@pytest.mark.parametrize("encoding", ["idna", "punycode", "utf-16"])
def test_an_encoding_that_can_replace_nothing_says_so(encoding: str) -> None:
    with pytest.raises(TextError, match=r"^poem\.txt: "):
        read(b"a \xff text", encoding=encoding, errors="replace")
