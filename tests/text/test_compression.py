"""A compressed file is read as what it holds, in all its parts, and no further than it was read in training."""

import bz2
import gzip
import hashlib
import lzma
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charlm.config.settings import DataConfig
from charlm.errors import TextError
from charlm.text import compression, files
from charlm.text.compression import decompressed, refuse_compressed
from charlm.text.corpus import Corpus
from charlm.text.files import TextFile

COMPRESS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
TEXT = b"the quick brown fox jumps over the lazy dog\r\n" * 30

endings = pytest.mark.parametrize("ending", COMPRESS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compressed")


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def whole(content: bytes, ending: str, size: int = 1 << 20, most: int | None = None) -> bytes:
    pieces = (content[start : start + size] for start in range(0, len(content), size))
    return b"".join(decompressed(pieces, Path(f"text{ending}"), most))


@endings
@settings(max_examples=30)
@given(parts=st.lists(st.binary(max_size=60), min_size=1, max_size=4), size=st.integers(1, 50), step=st.integers(1, 9))
@example(parts=[b"a" * 5000, b"", b"b"], size=7, step=3)
def test_every_part_of_a_compressed_file_is_read_from_any_pieces(
    ending: str, parts: list[bytes], size: int, step: int
) -> None:
    content = b"".join(map(COMPRESS[ending], parts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compression, "_PIECE", step)
        assert whole(content, ending, size) == b"".join(parts)


@endings
@given(length=st.integers(0, 300), most=st.integers(0, 400), size=st.integers(1, 50))
def test_no_more_is_decompressed_than_is_asked_for(ending: str, length: int, most: int, size: int) -> None:
    content = COMPRESS[ending](b"x" * length)
    assert whole(content, ending, size, most) == b"x" * min(length, most)


@endings
@settings(max_examples=20)
@given(text=st.binary(min_size=30, max_size=200), unit=st.sampled_from(["character", "byte"]))
def test_ids_digest_and_sizes_are_those_of_the_plain_file(folder: Path, ending: str, text: bytes, unit: str) -> None:
    text = text if unit == "byte" else text.decode("latin-1").replace("\0", " ").encode() + b"fox\r\n"
    plain, packed = put(folder / "text", text), put(folder / f"text{ending}", COMPRESS[ending](text))
    one, other = (Corpus.read(DataConfig.model_validate({"path": str(path), "unit": unit})) for path in (plain, packed))
    assert one.ids.tolist() == other.ids.tolist()
    assert one.vocabulary == other.vocabulary
    assert one.sha256 == other.sha256 == hashlib.sha256(text).hexdigest()
    assert [file.size for file in other.files] == [len(text)] == [file.size for file in one.files]
    again = Corpus.read_files(other.files, DataConfig(path=("text",), unit="byte"), sha256=other.sha256)
    assert again.sha256 == one.sha256


def test_a_plain_text_of_any_name_and_capital_endings_are_read(tmp_path: Path) -> None:
    assert b"".join(TextFile(put(tmp_path / "gz", TEXT)).pieces()) == TEXT
    assert b"".join(TextFile(put(tmp_path / "A.TXT.GZ", gzip.compress(TEXT))).pieces()) == TEXT
    assert b"".join(TextFile(put(tmp_path / "empty.gz", b"")).pieces()) == b""


def test_a_link_counts_as_the_file_that_it_leads_to(tmp_path: Path) -> None:
    link = tmp_path / "link.txt"
    link.symlink_to(put(tmp_path / "real.gz", gzip.compress(TEXT)))
    assert b"".join(TextFile(link).pieces()) == TEXT


def test_zeros_between_and_after_the_parts_are_no_text() -> None:
    for ending, compress in COMPRESS.items():
        assert whole(compress(b"a") + bytes(4) + compress(b"b") + bytes(512), ending, size=3) == b"ab"


# What is refused


@endings
def test_a_file_that_ends_too_early_is_refused_wherever_it_ends(ending: str) -> None:
    content = COMPRESS[ending](b"some text")
    for end in range(1, len(content)):
        with pytest.raises(TextError, match=r"^text\.\w+: (ends in the middle of its|this is not)"):
            whole(content[:end], ending)


@endings
def test_a_damaged_file_is_refused_in_one_sentence(ending: str) -> None:
    content = bytearray(COMPRESS[ending](bytes(range(256)) * 9))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(TextError, match=rf"^text\{ending}: .*damaged.*take \{ending} off its name\.$"):
        whole(bytes(content), ending)


@endings
@pytest.mark.parametrize("content", [TEXT, b"P", b"\x1f\x8b\x08", b"BZh91AY&SY\0\0"], ids=["text", "P", "gz", "bz2"])
def test_what_is_not_compressed_or_only_begins_so_is_refused(ending: str, content: bytes) -> None:
    with pytest.raises(TextError, match=r"^text\."):
        whole(content, ending)


def test_xz_that_wants_gigabytes_is_refused_before_it_has_them() -> None:
    header = lzma.compress(b"a", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}])
    assert whole(header, ".xz") == b"a"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compression, "_MOST_MEMORY", 1 << 20)
        with pytest.raises(TextError, match="Memory usage limit"):
            whole(header, ".xz")


MAGIC = {
    "gzip": (gzip.compress(TEXT), r"gzip data.*ends in \.gz\. Decompress it first, with gzip -d\."),
    "bzip2": (bz2.compress(TEXT), r"bzip2 data.*ends in \.bz2\. Decompress it first, with bzip2 -d\."),
    "xz": (lzma.compress(TEXT), r"xz data.*ends in \.xz\. Decompress it first, with xz -d\."),
    "zip": (b"PK\x03\x04\x14\0", r"a zip archive, which cannot be read as a text\. Unpack it first, with unzip\."),
    "an empty zip": (b"PK\x05\x06" + bytes(18), r"a zip archive"),
    "zstd": (b"\x28\xb5\x2f\xfd\x24", r"Zstandard data.*Decompress it first, with zstd -d\."),
}


@pytest.mark.parametrize(("content", "words"), MAGIC.values(), ids=MAGIC)
def test_compressed_data_under_another_name_is_named_with_what_unpacks_it(
    content: bytes, words: str, tmp_path: Path
) -> None:
    path = put(tmp_path / "text.zip", content)
    with pytest.raises(TextError, match=rf"text\.zip: this is {words}"):
        Corpus.read(DataConfig(path=(str(path),)))
    assert b"".join(TextFile(path).pieces()) == content  # bytes are read as they are


@given(st.text(max_size=20).map(str.encode))
@example(b"BZh is a text")
@example(b"PKW")
@example(b"")
def test_a_text_is_not_taken_for_a_compressed_one(begin: bytes) -> None:
    refuse_compressed(begin, "text")


# What is recorded


@endings
@pytest.mark.parametrize(("size", "words"), [(len(TEXT) - 1, "changed"), (len(TEXT) + 1, "changed"), (0, "changed")])
def test_another_size_than_the_recorded_one_has_changed(ending: str, size: int, words: str, tmp_path: Path) -> None:
    path = put(tmp_path / f"text{ending}", COMPRESS[ending](TEXT))
    given: list[bytes] = []
    with pytest.raises(TextError, match=rf"{ending} has {words} since training"):
        given.extend(TextFile(path, size).pieces())
    assert len(b"".join(given)) <= size
    assert b"".join(TextFile(path, len(TEXT)).pieces()) == TEXT


@endings
def test_a_bomb_is_not_unpacked_past_what_was_recorded(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty million zeros in fifty kilobytes, recorded as ten bytes."""
    path = put(tmp_path / f"text{ending}", COMPRESS[ending](bytes(50_000_000)))
    stepped, step = [], compression._step

    def counting(*arguments: object) -> bytes:
        stepped.append(len(content := step(*arguments)))  # type: ignore[arg-type]
        return content

    monkeypatch.setattr(compression, "_step", counting)
    with pytest.raises(TextError, match="has changed since training"):
        list(TextFile(path, 10).pieces())
    assert sum(stepped) == 11


def test_no_endless_file_of_empty_parts_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "text.gz", gzip.compress(b"") * 10_000)
    monkeypatch.setattr(files, "PIECE", 100)
    read, real = [], compression.decompressed

    def noting(pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            read.append(len(piece))
            yield piece

    monkeypatch.setattr(files, "decompressed", lambda pieces, *others: real(noting(pieces), *others))
    with pytest.raises(TextError):
        list(TextFile(path, 50).pieces())
    assert sum(read) <= 2 * 50 + 100


def test_a_pipe_of_a_compressed_name_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "text.gz")
    with pytest.raises(TextError, match="not a regular file"):
        list(TextFile(tmp_path / "text.gz", 9).pieces())
