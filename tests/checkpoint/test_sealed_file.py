"""What is sealed comes back as it was, and not one bit of it can change unnoticed."""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from charlm.checkpoint.checkpoint import Checkpoint, Progress
from charlm.checkpoint.corpus_identity import CorpusIdentity
from charlm.checkpoint.sealed_file import SealedFile, sealed
from charlm.config.settings import Config
from charlm.errors import CheckpointError
from charlm.models.recurrent import tensor_shapes
from charlm.text.vocabulary import Vocabulary

pytestmark = pytest.mark.slow

BLANK = "0" * 64
LONGEST_HEADER = 1 << 24

SMALL = {"format": 1, "path": ["a.txt"], "corpus": {"sha256": hashlib.sha256(b"text").hexdigest()}}
SMALL_TENSORS = {"model.bias": np.array([1.5, -2.0], np.float32), "rng.cpu": np.arange(3, dtype=np.uint8)}

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    [BLANK, f'"sha256": "{BLANK}"', f'\\"sha256\\": \\"{BLANK}', '", "sha256": "', "\\", '"', "__metadata__", "\0"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.dictionaries(TEXTS, JSON, max_size=4).filter(lambda record: "sha256" not in record)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
TENSORS = st.dictionaries(
    st.text("abc.wé_0\"'\\ ", min_size=1, max_size=8),
    st.sampled_from([np.float32, np.uint8]).flatmap(lambda dtype: arrays.arrays(dtype, SHAPES)),
    max_size=4,
)


def read(content: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    file = SealedFile(io.BytesIO(content), len(content))
    return file.record, file.tensors()


def header_length(content: bytes) -> int:
    return int.from_bytes(content[:8], "little")


def assert_same(found: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
        assert found[name].tobytes() == values.tobytes()  # NaN is NaN, −0 is not 0


@given(RECORDS, TENSORS)
@example({}, {})
@example(SMALL, {"step": np.array(7.0, np.float32), "none": np.zeros((0, 3), np.float32), **SMALL_TENSORS})
@settings(max_examples=300)
def test_what_is_sealed_is_what_is_read_back(record: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> None:
    found, found_tensors = read(sealed(record, tensors))

    assert {key: value for key, value in found.items() if key != "sha256"} == record
    assert_same(found_tensors, tensors)


@given(RECORDS, TENSORS)
@settings(max_examples=200)
def test_the_digest_is_that_of_all_bytes_with_its_own_places_zeroed(
    record: dict[str, Any], tensors: dict[str, NDArray[Any]]
) -> None:
    content = sealed(record, tensors)
    digest = read(content)[0]["sha256"]

    assert content.count(digest.encode()) == 1
    assert hashlib.sha256(content.replace(digest.encode(), BLANK.encode())).hexdigest() == digest


@given(TENSORS, st.randoms())
def test_the_bytes_are_the_same_in_whatever_order_and_layout_the_tensors_come(
    tensors: dict[str, NDArray[Any]], random: Any
) -> None:
    names = list(tensors)
    random.shuffle(names)
    transposed = {name: np.asarray(tensors[name], order="F") for name in names}

    assert sealed(SMALL, transposed) == sealed(SMALL, tensors)


def test_a_slice_of_a_larger_array_is_sealed_as_the_numbers_it_shows() -> None:
    whole = np.arange(24, dtype=np.float32).reshape(4, 6)
    view = whole[::2, 1::3]

    assert_same(read(sealed({}, {"a": view}))[1], {"a": view.copy()})


def test_every_flipped_bit_of_a_file_is_noticed() -> None:
    content = sealed(SMALL, SMALL_TENSORS)
    read(content)

    for place in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(CheckpointError):
            read(bytes(damaged))


def test_every_length_but_its_own_is_noticed() -> None:
    content = sealed(SMALL, SMALL_TENSORS)

    for length in range(len(content)):
        with pytest.raises(CheckpointError):
            read(content[:length])
        with pytest.raises(CheckpointError):
            read(content + content[: length + 1])


@pytest.mark.parametrize("before", [0, 8, 16, -1], ids=["in front", "header", "record", "behind"])
def test_a_byte_more_is_noticed_wherever_it_stands(before: int) -> None:
    content = sealed(SMALL, SMALL_TENSORS)

    for byte in b"\0 0{":
        with pytest.raises(CheckpointError):
            read(content[:before] + bytes([byte]) + content[before:])


LIKE_A_DIGEST = [
    BLANK,
    f'"sha256": "{BLANK}"',
    f'", "sha256": "{BLANK}"}}',
    f'\\"sha256\\": \\"{BLANK}\\"',
    f'\\\\\\"sha256\\\\\\": \\\\\\"{BLANK}',
]


@pytest.mark.parametrize("text", LIKE_A_DIGEST)
@pytest.mark.parametrize("place", ["value", "key", "item"])
def test_what_looks_like_a_digest_inside_the_record_stays_as_it_is(text: str, place: str) -> None:
    """A run may be called anything."""
    record = {"value": {"name": text}, "key": {text: 1}, "item": {"path": ["a", text]}}[place]
    content = sealed(record, SMALL_TENSORS)
    found, tensors = read(content)

    assert {key: value for key, value in found.items() if key != "sha256"} == record
    assert_same(tensors, SMALL_TENSORS)
    inner = json.loads(content[8 : 8 + header_length(content)])["__metadata__"]["charlm"]
    assert inner.endswith(f'"sha256": "{found["sha256"]}"}}')
    assert found["sha256"] != BLANK


@pytest.mark.parametrize("text", LIKE_A_DIGEST)
def test_what_looks_like_a_digest_in_a_tensors_name_stays_as_it_is(text: str) -> None:
    tensors = {text: np.ones(3, np.float32)}
    record, found = read(sealed(SMALL, tensors))

    assert_same(found, tensors)
    assert {key: value for key, value in record.items() if key != "sha256"} == SMALL


def test_a_record_that_was_read_can_be_sealed_again_and_gets_a_digest_of_its_own() -> None:
    record, _ = read(sealed(SMALL, SMALL_TENSORS))
    again = {"sha256": record.pop("sha256"), **record}  # wherever the old one stands
    other = {"rng.cpu": np.zeros(5, np.uint8)}

    assert sealed(again, other) == sealed(SMALL, other)


class Recording(io.BytesIO):
    """A stream that remembers how many bytes it was asked for."""

    asked = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size >= 0, "a reader must say how much it is ready to take"
        self.asked += size
        return super().read(size)


@pytest.mark.parametrize("length", [0, 7, 2**20, 2**31, 10 * 2**30, 2**63 - 1, 2**63, 2**64 - 1])
def test_no_more_is_asked_for_than_the_file_holds_whatever_its_first_bytes_claim(length: int) -> None:
    content = length.to_bytes(8, "little") + sealed(SMALL, SMALL_TENSORS)[8:]
    stream = Recording(content)

    with pytest.raises(CheckpointError):
        SealedFile(stream, len(content)).tensors()
    assert stream.asked <= len(content)


@pytest.mark.parametrize("size", [10 * 2**30, 2**63 - 1])
def test_a_header_longer_than_any_charlm_writes_is_not_read_though_the_file_be_long_enough(size: int) -> None:
    stream = Recording((LONGEST_HEADER + 1).to_bytes(8, "little") + b"{" * 100)

    with pytest.raises(CheckpointError):
        SealedFile(stream, size)
    assert stream.asked == 8


def test_tensors_are_not_read_before_the_header_fits_the_files_size() -> None:
    content = sealed(SMALL, SMALL_TENSORS)
    stream = Recording(content)
    file = SealedFile(stream, 10 * 2**30)
    asked = stream.asked

    with pytest.raises(CheckpointError):
        file.tensors()
    assert stream.asked == asked


def test_a_vocabulary_of_all_of_unicode_fits_into_a_header(tmp_path: Path) -> None:
    symbols = tuple(chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000)
    vocabulary = Vocabulary((*symbols, "<unk>"), special={"<unk>": len(symbols)})
    config = Config.model_validate({"data": {"path": "all.txt"}, "model": {"kind": "rnn", "hidden_size": 1}})
    shapes = tensor_shapes(config.model, len(vocabulary))
    tensors = {f"model.{name}": np.zeros(shape, np.float32) for name, shape in shapes.items()}
    identity = CorpusIdentity(path=["all.txt"], sha256=BLANK)
    content = Checkpoint(config, vocabulary, Progress(), identity, tensors, {"charlm": "0"}).to_bytes()

    assert len(symbols) == 1_112_064
    assert header_length(content) < 0.9 * LONGEST_HEADER  # the rest of the record has room too
    assert Checkpoint.from_bytes(content).vocabulary == vocabulary
