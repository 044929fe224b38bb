"""Untrusted files: whatever they hold, charlm reads them or refuses them with a message, within bounded memory.

Commands run in `tests.harness.sandbox`: a hostile file must neither fill the machine nor make it wait for ever.
"""

import io
import json
import math
import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
import yaml

from charlm.checkpoint.checkpoint import FORMAT, Checkpoint
from charlm.errors import CheckpointError
from tests.conftest import TEXT
from tests.harness.handmade import HUGE, Parts, by_hand, everything_in, put_at
from tests.harness.processes import Outcome
from tests.harness.repetitions import pairs, spread
from tests.harness.sandbox import (
    BOUND,
    READING,
    TRAINING,
    Sandbox,
    assert_messages_readable,
    assert_refused,
    memory_bound,
)

pytestmark = pytest.mark.slow

Command = Callable[..., Outcome]
Change = Callable[["Parts"], object]
PRECIOUS = b'{"step": 4}\nnot to be lost\n'
"""What lies outside the run's folder and must never change."""

CONFIG = """\
data:
  path: text.txt
model:
  hidden_size: 5
training:
  batch_size: 3
  sequence_length: 11
  steps: 8
  evaluate_every: 4
  evaluation_lanes: 2
  device: cpu
run:
  name: tiny
"""
RUN = Path("runs/tiny")
BEST, OLDER, NEWER = (RUN / f"{name}.safetensors" for name in ("best", "step-00000004", "step-00000008"))
RESUME = ("train", "--config", "tiny.yaml", "--resume", "--quiet")
HOSTILE = "hostile.safetensors"
COMMANDS = {
    "sample": ("sample", "--checkpoint", HOSTILE, "--seed", "1", "--length", "9"),
    "evaluate": ("evaluate", "--checkpoint", HOSTILE),
    "inspect": ("inspect-hidden", "--checkpoint", HOSTILE, "--text", "The fox"),
    "vocabulary": ("vocabulary", "--checkpoint", HOSTILE, "--text", "fox"),
}


@pytest.fixture(scope="module")
def run() -> Iterator[Command]:
    """Return a function that runs a command in a folder, in a sandbox."""
    reading, training = Sandbox(READING), Sandbox(READING + TRAINING)

    def run(folder: Path, *arguments: str) -> Outcome:
        return (training if {"train", "--device"} & {*arguments} else reading).run(folder, *arguments)

    yield run
    reading.end()
    training.end()


# ------------------------------------------------------------------------------------------ files made by hand


@pytest.fixture(scope="module")
def template(run: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a text, a config and a trained run."""
    folder = tmp_path_factory.mktemp("hostile") / "template"
    folder.mkdir()
    (folder / "text.txt").write_bytes(TEXT.encode())
    (folder / "tiny.yaml").write_text(CONFIG, encoding="utf-8")
    outcome = run(folder, "train", "--config", "tiny.yaml")
    assert outcome.code == 0, outcome
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """Return a copy of that folder, in a folder of the test's own, beside something precious."""
    shutil.copytree(template, tmp_path / "here")
    (tmp_path / "precious").write_bytes(PRECIOUS)
    return tmp_path / "here"


@pytest.fixture
def parts(template: Path) -> Parts:
    return Parts.of((template / BEST).read_bytes())


@pytest.fixture
def full(template: Path) -> Parts:
    """Return the run's full checkpoint of step 4."""
    return Parts.of((template / OLDER).read_bytes())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_assembled_from_valid_parts_is_read(run: Command, command: str, folder: Path, parts: Parts) -> None:
    """So that what is refused below is refused for what was changed."""
    (folder / HOSTILE).write_bytes(parts.written())
    outcome = run(folder, *COMMANDS[command])

    assert outcome.code == 0, outcome
    assert outcome.stdout


def test_the_memory_bound_works() -> None:
    with pytest.raises(MemoryError), memory_bound(BOUND):
        bytearray(2 * BOUND)


# ---------------------------------------------------------------------------------------- code instead of data


class Weapon:
    """Runs code when it is unpickled."""

    def __init__(self, function: Callable[..., object], argument: object) -> None:
        self._call = function, (argument,)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object]]:
        return self._call


def torch_file(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def weapons(marker: Path) -> dict[str, bytes]:
    """Return files each of which would make ``marker`` if anything unpickled it."""
    by_system, by_eval = Weapon(os.system, f"touch '{marker}'"), Weapon(eval, f"open({str(marker)!r}, 'w').close()")
    nested = Weapon(pickle.loads, pickle.dumps({"weights": [by_eval]}))
    return {
        "os.system": pickle.dumps(by_system),
        "eval, oldest protocol": pickle.dumps({"model": by_eval}, protocol=0),
        "nested": pickle.dumps(nested),
        "torch.save": torch_file({"state_dict": {"weight": torch.zeros(2)}, "config": by_system}),
        "torch.save, nested": torch_file([nested]),
        "torch.save, old format": legacy_torch_file(by_eval),
    }


def legacy_torch_file(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


WEAPONS = list(weapons(Path("marker")))


@pytest.mark.parametrize("weapon", [name for name in WEAPONS if not name.startswith("torch")])
def test_the_weapons_are_loaded(weapon: str, tmp_path: Path) -> None:
    pickle.loads(weapons(tmp_path / "marker")[weapon])
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize(("command", "weapon"), pairs([*COMMANDS, "train --init-from"], WEAPONS))
def test_a_pickle_is_refused_and_not_opened(
    run: Command, weapon: str, command: str, folder: Path, tmp_path: Path
) -> None:
    (folder / HOSTILE).write_bytes(weapons(tmp_path / "marker")[weapon])
    arguments = COMMANDS.get(command) or ("train", "--config", "tiny.yaml", "--init-from", HOSTILE)

    assert_refused(run(folder, *arguments))
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("weapon", "name"),
    list(zip(WEAPONS, [BEST, OLDER, NEWER, RUN / "config.yaml", RUN / "metrics.jsonl", "runs/latest"], strict=True)),
)
def test_a_pickle_anywhere_in_a_run_is_not_opened_by_resume(
    run: Command, weapon: str, name: str, folder: Path, tmp_path: Path
) -> None:
    (folder / name).write_bytes(weapons(tmp_path / "marker")[weapon])
    outcome = run(folder, *RESUME)

    assert outcome.code == 0, outcome
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("weapon", WEAPONS)
def test_a_pickle_inside_a_good_file_is_a_tensor_too_many(
    run: Command, weapon: str, folder: Path, parts: Parts, tmp_path: Path
) -> None:
    content = np.frombuffer(weapons(tmp_path / "marker")[weapon], np.uint8)
    parts.put(parts.tensors() | {"model.data.pkl": content})
    (folder / HOSTILE).write_bytes(parts.written())

    assert_refused(run(folder, *COMMANDS["sample"]))
    assert not (tmp_path / "marker").exists()


def bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**7))
    return file.getvalue()


NO_CHECKPOINTS = {
    "a zip bomb": bomb(),
    "a zip bomb behind a length": (100).to_bytes(8, "little") + bomb(),
    "an empty zip": b"PK\5\6" + bytes(18),
    "an executable": b"\x7fELF" + bytes(4000),
    "a picture": b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(4000),
    "a program": b"#!/usr/bin/env python3\nimport os\n" * 99,
    "HTML": b"<html><body>404 Not Found</body></html>",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n",
    "another program's tensors": safetensors.numpy.save({"weight": np.ones(3, np.float32)}, {"format": "pt"}),
}


@pytest.mark.parametrize("content", NO_CHECKPOINTS.values(), ids=NO_CHECKPOINTS)
def test_another_kind_of_file_is_refused(run: Command, content: bytes, folder: Path) -> None:
    (folder / HOSTILE).write_bytes(content)
    assert_refused(run(folder, *COMMANDS["sample"]))


# ----------------------------------------------------------------------------------------------------- headers


@pytest.mark.parametrize("length", [0, 1, 2**24, 10**8, 10 * 2**30, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_header_is_no_longer_than_its_file(run: Command, length: int, folder: Path, parts: Parts) -> None:
    (folder / HOSTILE).write_bytes(length.to_bytes(8, "little") + parts.written()[8:])
    assert_refused(run(folder, *COMMANDS["sample"]))


@pytest.mark.parametrize("size", [10**8, 10 * 2**30, 2**40], ids="{:,} bytes".format)
@pytest.mark.parametrize("header", ["small", "all there is", "100 MB"])
def test_a_huge_sparse_file_takes_no_memory(run: Command, header: str, size: int, folder: Path, parts: Parts) -> None:
    lengths = {"small": None, "all there is": size - 8, "100 MB": 10**8 - 8}
    content = parts.written()
    with (folder / HOSTILE).open("wb") as file:
        file.write(content if lengths[header] is None else (lengths[header] or 0).to_bytes(8, "little"))
        file.truncate(size)

    assert_refused(run(folder, *COMMANDS["sample"]))


LONGEST_HEADER = 1 << 24
VALUES_OF_JSON = {"dictionaries": "{},", "floats": "1e1,", "strings": '"ab",', "wide characters": '"\U0001d11e",'}


@pytest.mark.parametrize("value", VALUES_OF_JSON.values(), ids=VALUES_OF_JSON)
def test_the_longest_header_that_is_read_takes_little_memory(run: Command, value: str, folder: Path) -> None:
    count = (LONGEST_HEADER - 99) // len(value.encode())
    (folder / HOSTILE).write_bytes(by_hand(f'{{"__metadata__":[{value * count}0]}}'.encode()))
    assert_refused(run(folder, *COMMANDS["sample"]))


MANY_NUMBERS = [0] * 1_600_000
MANY_NAMES = {f"{index:x}": 0 for index in range(250_000)}
MANY: dict[str, object] = {
    **dict.fromkeys(("config.data.path", "corpus.path", "vocabulary.symbols", "versions"), MANY_NUMBERS),
    **dict.fromkeys(("corpus.files", "corpus.sizes"), MANY_NUMBERS),
    **dict.fromkeys(("config", "config.model", "vocabulary.special", "progress"), MANY_NAMES),
}


@pytest.mark.parametrize("place", spread(list(MANY), least=4))
def test_a_record_of_many_things_takes_little_memory(run: Command, place: str, folder: Path, parts: Parts) -> None:
    put_at(parts.record, place, MANY[place])
    (folder / HOSTILE).write_bytes(parts.written())
    assert_refused(run(folder, *COMMANDS["sample"]))


DEEP = 200_000
DEEP_HEADERS = {
    "lists": b"[" * DEEP,
    "closed lists": b"[" * DEEP + b"]" * DEEP,
    "dictionaries": b'{"a":' * DEEP,
    "closed dictionaries": b'{"a":' * DEEP + b"0" + b"}" * DEEP,
    "in a tensor's shape": b'{"a":{"dtype":"F32","shape":' + b"[" * DEEP + b"]" * DEEP + b"}}",
    "in the metadata": b'{"__metadata__":{"charlm":' + b"[" * DEEP + b"]" * DEEP + b"}}",
    "in the record": b'{"__metadata__":{"charlm":"' + b"[" * DEEP + b"]" * DEEP + b'"}}',
}


@pytest.mark.parametrize("header", DEEP_HEADERS.values(), ids=DEEP_HEADERS)
def test_a_deeply_nested_header_is_refused(run: Command, header: bytes, folder: Path) -> None:
    (folder / HOSTILE).write_bytes(by_hand(header))
    assert_refused(run(folder, *COMMANDS["sample"]))


@pytest.mark.parametrize("depth", [*range(900, 1000, 4), 5000])
def test_a_record_nested_near_the_recursion_limit_is_no_crash(depth: int, parts: Parts) -> None:
    parts.record["versions"] = {"torch": "@"}
    header = parts.header().replace(b'\\"@\\"', b"[" * depth + b"]" * depth)
    with suppress(CheckpointError):
        assert Checkpoint.from_bytes(by_hand(header, parts.body)).versions


def recoded(coding: str) -> Callable[[Parts], bytes]:
    return lambda parts: by_hand(parts.header().decode().encode(coding), parts.body)


def twice(before: bytes, more: bytes) -> Callable[[Parts], bytes]:
    """Put something into the header, in front of the first ``before``."""
    return lambda parts: by_hand(parts.header().replace(before, more + before, 1), parts.body)


ESCAPE = b"\\u001b[31m" + b"x" * 5000
HEADERS: dict[str, Callable[[Parts], bytes]] = {
    "in UTF-16": recoded("utf-16-le"),
    "in UTF-32": recoded("utf-32"),
    "with a byte order mark": recoded("utf-8-sig"),
    "not in UTF-8": lambda parts: by_hand(
        parts.header().replace(b"model.head.bias", b"model.head.\xff", 1), parts.body
    ),
    "with a lone surrogate": lambda parts: by_hand(b'{"\xed\xa0\x80":0,' + parts.header()[1:], parts.body),
    "the metadata twice": twice(b'"model.head.bias"', b'"__metadata__": {"charlm": "{}"}, '),
    "a type twice": twice(b'"dtype"', b'"dtype": "' + ESCAPE + b'", '),
    "a shape twice": twice(b'"shape"', b'"shape": ["' + ESCAPE + b'"], '),
    "an offset twice": twice(b'"data_offsets"', b'"data_offsets": "' + ESCAPE + b'", '),
    "metadata that is no text": twice(b'"charlm"', b'"' + ESCAPE + b'": 5, '),
    "without a record": lambda parts: by_hand(json.dumps({"__metadata__": {}, **parts.tree}).encode(), parts.body),
    "without metadata": lambda parts: by_hand(json.dumps(parts.tree).encode(), parts.body),
    "a list": lambda parts: by_hand(b"[" + parts.header() + b"]", parts.body),
    "trailing garbage": lambda parts: by_hand(parts.header() + b"}", parts.body),
    "no digest": lambda parts: by_hand(parts.header().replace(b"sha256", b"sha512"), parts.body),
    "a digest that is no text": lambda parts: by_hand(
        parts.header().replace(b'\\"' + b"0" * 64 + b'\\"', b"null"), parts.body
    ),
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
def test_an_ambiguous_header_is_refused(
    run: Command, change: Callable[[Parts], bytes], folder: Path, parts: Parts
) -> None:
    content = change(parts)
    assert content != parts.written()
    (folder / HOSTILE).write_bytes(content)
    assert_refused(run(folder, *COMMANDS["sample"]))


TWICE: dict[str, Callable[[Parts], bytes]] = {
    "a tensor twice": twice(
        b'"model.head.bias"', b'"model.head.bias": {"dtype": "F32", "shape": [30], "data_offsets": [9, 7]}, '
    ),
    "the record twice": twice(b'"charlm"', b'"charlm": "{}", '),
}


@pytest.mark.parametrize("change", TWICE.values(), ids=TWICE)
def test_a_duplicate_key_is_refused_or_the_last_one_counts(
    run: Command, change: Callable[[Parts], bytes], folder: Path, parts: Parts
) -> None:
    (folder / HOSTILE).write_bytes(parts.written())
    honest = run(folder, *COMMANDS["sample"])
    (folder / HOSTILE).write_bytes(change(parts))
    outcome = run(folder, *COMMANDS["sample"])

    if outcome.code:
        assert_refused(outcome)
    else:
        assert outcome == honest


# ----------------------------------------------------------------------------------------------------- tensors


def entry(name: str, **values: object) -> Change:
    """Change what the header says of one tensor."""
    return lambda parts: parts.tree[name].update(values)


def offsets(change: Callable[[int, int], tuple[object, object]]) -> Change:
    def apply(parts: Parts) -> None:
        place = parts.tree["model.head.bias"]["data_offsets"]
        place[:] = change(*place)

    return apply


def as_type(dtype: str, *, claimed: str | None = None) -> Change:
    def apply(parts: Parts) -> None:
        tensors = parts.tensors()
        parts.put(tensors | {"model.head.bias": tensors["model.head.bias"].astype(dtype)})
        parts.tree["model.head.bias"]["dtype"] = claimed or parts.tree["model.head.bias"]["dtype"]

    return apply


def with_tensors(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    return lambda parts: parts.put(change(parts.tensors()))


def without(name: str) -> Change:
    return with_tensors(lambda tensors: {key: value for key, value in tensors.items() if key != name})


def filled(name: str, value: float, places: slice = slice(None)) -> Change:
    def change(tensors: dict[str, Any]) -> dict[str, Any]:
        values = tensors[name].copy()
        values.reshape(-1)[places] = value
        return tensors | {name: values}

    return with_tensors(change)


NOTHING = np.zeros(0, np.float32)
WEIGHTS = "model.rnn.weight_hh_l0"
TENSORS: dict[str, Change] = {
    "overlapping": offsets(lambda start, end: (start - 4, end)),
    "behind a gap": offsets(lambda start, end: (start + 4, end)),
    "backwards": offsets(lambda start, end: (end, start)),
    "before the beginning": offsets(lambda start, end: (-(end - start), 0)),
    "outside the file": offsets(lambda start, end: (start + 10**12, end + 10**12)),
    "past all numbers": offsets(lambda start, end: (start, 10**4000)),
    "at 2**64": offsets(lambda start, end: (2**64 + start, 2**64 + end)),
    "at a broken place": offsets(lambda start, end: (start + 0.5, end + 0.5)),
    "nowhere": offsets(lambda start, end: (math.nan, math.nan)),
    "at infinity": offsets(lambda start, end: (start, math.inf)),
    "in words": offsets(lambda start, end: (str(start), str(end))),
    "without a place": lambda parts: parts.tree["model.head.bias"].pop("data_offsets"),
    "without a type": lambda parts: parts.tree["model.head.bias"].pop("dtype"),
    "without a shape": lambda parts: parts.tree["model.head.bias"].pop("shape"),
    "a gap at the end": lambda parts: setattr(parts, "body", parts.body + bytes(8)),
    "cut at the end": lambda parts: setattr(parts, "body", parts.body[:-8]),
    "no tensors": with_tensors(lambda tensors: {}),
    "float64": as_type("float64"),
    "float16": as_type("float16"),
    "int64": as_type("int64"),
    "int32": as_type("int32"),
    "bool": as_type("bool"),
    "float64 called F32": as_type("float64", claimed="F32"),
    "float16 called F32": as_type("float16", claimed="F32"),
    "int32 called F32, of NaN": with_tensors(lambda tensors: tensors | {"model.head.bias": np.full(30, np.nan, "f4")}),
    "an unknown type": entry("model.head.bias", dtype="F33"),
    "a type that is no word": entry("model.head.bias", dtype=["F32"]),
    "flat": entry(WEIGHTS, shape=[100]),
    "transposed": entry(WEIGHTS, shape=[5, 20]),
    "deeper": entry(WEIGHTS, shape=[1, 20, 5]),
    "wider by nothing": entry(WEIGHTS, shape=[20, 5, 0]),
    "of negative size": entry(WEIGHTS, shape=[-20, -5]),
    "of a product past all numbers": entry(WEIGHTS, shape=[2**32, 2**32, 20, 5]),
    "of a shape in words": entry(WEIGHTS, shape=["20", "5"]),
    "of a shape in endless words": entry(WEIGHTS, shape=["0" * 4000 + "20", "5"]),
    "of a broken shape": entry(WEIGHTS, shape=[20.5, 5.5]),
    "of a shape that is true": entry(WEIGHTS, shape=[20, 5, True]),
    "of a shape that is a word": entry(WEIGHTS, shape="205"),
    "of a shape that is a name": entry(WEIGHTS, shape={"20": 0, "5": 0}),
    "of a shape of endless dimensions": entry(WEIGHTS, shape=[20, 5] + [1] * 100_000),
    **{f"missing: {name}": without(f"model.{name}") for name in ("head.bias", "head.weight", "rnn.weight_ih_l1")},
    "one too many": with_tensors(lambda tensors: tensors | {"model.extra": NOTHING}),
    "an embedding too many": with_tensors(
        lambda tensors: tensors | {"model.embedding.weight": np.zeros((30, 2), "f4")}
    ),
    "a layer too many": with_tensors(lambda tensors: tensors | {"model.rnn.weight_hh_l2": tensors[WEIGHTS]}),
    "a random state among weights": with_tensors(lambda tensors: tensors | {"rng.cpu": np.zeros(9, np.uint8)}),
    "a random state of GPUs": with_tensors(lambda tensors: tensors | {"rng.cuda": np.zeros((4, 4), np.uint8)}),
    "a state of no size": with_tensors(lambda tensors: tensors | {"state.0": np.zeros((), np.float32)}),
    "a name that moves the cursor": with_tensors(lambda tensors: tensors | {"\x1b[2J\x1b]0;pwned\x07" * 99: NOTHING}),
    "a name of C1 controls": with_tensors(lambda tensors: tensors | {"\x9b31m\u202e\u2028": NOTHING}),
    "a name without an end": with_tensors(lambda tensors: tensors | {"model." + "x" * 10**6: NOTHING}),
    "a name that is a digest": with_tensors(lambda tensors: tensors | {f'"sha256": "{"0" * 64}': NOTHING}),
    "no name": with_tensors(lambda tensors: tensors | {"": NOTHING}),
    "very many": with_tensors(lambda tensors: tensors | {f"{index:x}": NOTHING for index in range(20_000)}),
    "not a number": filled("model.head.bias", math.nan, slice(7, 8)),
    "infinite": filled(WEIGHTS, math.inf, slice(-1, None)),
    "negatively infinite": filled("model.head.weight", -math.inf),
}


@pytest.mark.parametrize("change", TENSORS.values(), ids=TENSORS)
def test_tensors_that_are_not_those_of_the_config_are_refused(
    run: Command, change: Change, folder: Path, parts: Parts
) -> None:
    change(parts)
    (folder / HOSTILE).write_bytes(parts.written())
    assert_refused(run(folder, *COMMANDS["sample"]))


# ------------------------------------------------------------------------------------------------------ record


def record(place: str, value: object) -> Change:
    return lambda parts: put_at(parts.record, place, value)


def symbols(change: Callable[[list[str]], list[Any]], **special: object) -> Change:
    """Replace the 30 symbols of the vocabulary."""

    def apply(parts: Parts) -> None:
        parts.record["vocabulary"]["symbols"] = change(parts.record["vocabulary"]["symbols"])
        parts.record["vocabulary"]["special"] = special

    return apply


def no_symbols(parts: Parts) -> None:
    """Take all symbols away, and all weights that belong to one."""
    symbols(lambda _: [])(parts)
    tensors = parts.tensors()
    by_symbol = {"model.rnn.weight_ih_l0": np.s_[:, :0], "model.head.weight": np.s_[:0], "model.head.bias": np.s_[:0]}
    parts.put(tensors | {name: tensors[name][places] for name, places in by_symbol.items()})


RECORDS: dict[str, Change] = {
    **{
        f"{key} {label}": record(f"config.model.{key}", size)
        for key in ("hidden_size", "num_layers", "embedding_size")
        for label, size in {"0": 0, "-1": -1, "10^9": 10**9, "2^63": 2**63, "10^400": 10**400, "endless": HUGE}.items()
    },
    "hidden_size 5.0": record("config.model.hidden_size", 5.0),
    "hidden_size true": record("config.model.hidden_size", True),
    "hidden_size '5'": record("config.model.hidden_size", "5"),
    "hidden_size nothing": record("config.model.hidden_size", None),
    "hidden_size infinite": record("config.model.hidden_size", math.inf),
    "an unknown kind": record("config.model.kind", "transformer"),
    "an unknown setting": record("config.model.width", 5),
    "an unknown section": record("config.pickle", {"path": "x"}),
    "a config that is nothing": record("config", None),
    "a config that is a list": record("config", [1]),
    "a config without a text": record("config.data.path", []),
    "a codec that is none": record("config.data.encoding", "zlib_codec"),
    "a codec without an end": record("config.data.encoding", "x" * 10**6),
    "a million symbols": symbols(lambda _: [chr(0x10000 + index) for index in range(1_000_000)]),
    "no symbols": no_symbols,
    "symbols out of order": symbols(lambda found: found[::-1]),
    "a symbol twice": symbols(lambda found: [found[0], *found[:-1]]),
    "a symbol of two characters": symbols(lambda found: [*found[:-1], "yz"]),
    "a symbol of no character": symbols(lambda found: ["", *found[1:]]),
    "a symbol that is a number": symbols(lambda found: [*found[:-1], 5]),
    "a symbol that is nothing": symbols(lambda found: [*found[:-1], None]),
    "half a character": symbols(lambda found: [*found[:-1], "\ud800"]),
    "special symbols alone": symbols(lambda found: [f"<{i}>" for i in range(30)], **{f"<{i}>": i for i in range(30)}),
    "a special symbol in front": symbols(lambda found: ["<unk>", *found[1:]], **{"<unk>": 0}),
    "a special symbol outside": symbols(lambda found: [*found[:-1], "<unk>"], **{"<unk>": 30}),
    "a special symbol of negative id": symbols(lambda found: [*found[:-1], "<unk>"], **{"<unk>": -1}),
    "a special symbol under another name": symbols(lambda found: [*found[:-1], "<unk>"], **{"<end>": 29}),
    "a special symbol in words": symbols(lambda found: [*found[:-1], "<unk>"], **{"<unk>": "29"}),
    "a special symbol that is true": symbols(lambda found: [found[0], "<unk>"], **{"<unk>": True}),
    "more special symbols than symbols": symbols(lambda found: found, **{f"<{i}>": i for i in range(31)}),
    "an unknown unit": record("vocabulary.unit", "word"),
    "an unknown normalization": record("vocabulary.normalization", "NFX"),
    "a byte past 255": lambda parts: (
        symbols(lambda found: [*found[:-1], "\u0100"])(parts),
        record("vocabulary.unit", "byte")(parts),
    ),
    "a vocabulary that is nothing": record("vocabulary", None),
    "a format in words": record("format", "1"),
    "a newer format": record("format", FORMAT + 1),
    "a format without an end": record("format", HUGE),
    "a format of control characters": record("format", "\x1b[31m" * 9999),
    "no format": lambda parts: parts.record.pop("format"),
    "versions that are a list": record("versions", ["torch"]),
    "a corpus without a digest": lambda parts: parts.record["corpus"].pop("sha256"),
    "a corpus of numbers": record("corpus.path", [1, 2]),
    "a corpus of control characters": record("corpus.path", "\x1b[31m" * 9999),
    "a record that is a list": lambda parts: setattr(parts, "record", ["format", 1]),
    "a record that is a word": lambda parts: setattr(parts, "record", "\x1b[31m" * 9999),
    "a record that is nothing": lambda parts: setattr(parts, "record", None),
    **{
        f"progress: {name} is {value!a:.9}": record(f"progress.{name}", value)
        for name, values in {
            "step": (-1, -HUGE, HUGE, "4", 4.0, None, True, math.nan, [4]),
            "epoch": (-1.0, math.nan, math.inf, -math.inf, "1", None),
            "characters": (-1, HUGE, 0.5, "\x1b[31m"),
            "seconds": (-1.0, math.nan, math.inf, "1"),
            "train_loss": (math.nan, math.inf, "1", [0.5]),
            "validation_loss": (math.nan, -math.inf, {}),
            "best_validation_loss": (math.nan, math.inf, "1"),
            "best_step": (-1, HUGE, 4.0, "4"),
            "evaluations_without_better": (-1, HUGE, None),
            "nats_since_evaluation": (math.nan, math.inf, "1"),
            "characters_since_evaluation": (-33, -1, HUGE, 0.5),
            "rate_factor": (math.nan, math.inf, -1.0, -1e300, "1"),
            "rollbacks": (-1, HUGE, 0.5),
            "lanes_began_at_step": (-1, -HUGE, HUGE, 0.5),
            "lanes_began_at_epoch": (-1.0, math.nan, math.inf),
            "pickle": (0,),
        }.items()
        for value in values
    },
}


@pytest.mark.parametrize("change", RECORDS.values(), ids=RECORDS)
def test_a_record_that_charlm_would_not_write_is_refused(
    run: Command, change: Change, folder: Path, parts: Parts
) -> None:
    change(parts)
    (folder / HOSTILE).write_bytes(parts.written())
    assert_refused(run(folder, *COMMANDS["sample"]))


SPECIAL = "\x1b[31m\x9b\u202e" + "x" * 9999


@pytest.mark.parametrize("command", COMMANDS)
def test_a_special_symbols_name_is_escaped_on_the_terminal(
    run: Command, command: str, folder: Path, parts: Parts
) -> None:
    symbols(lambda found: [*found[:-1], SPECIAL], **{SPECIAL: 29})(parts)
    (folder / HOSTILE).write_bytes(parts.written())
    outcome = run(folder, *COMMANDS[command])

    assert outcome.code in (0, 2, 4), outcome
    assert_messages_readable(outcome)
    assert "\x1b" not in outcome.stdout
    assert "\x9b" not in outcome.stdout


@pytest.mark.parametrize("scale", [1e3, 1e6, 3e38])
@pytest.mark.parametrize("command", COMMANDS)
def test_huge_finite_weights_cause_no_numpy_warning(
    run: Command, command: str, scale: float, folder: Path, parts: Parts
) -> None:
    largest = np.finfo(np.float32).max
    grown = {name: np.clip(values * np.float64(scale), -largest, largest) for name, values in parts.tensors().items()}
    parts.put({name: values.astype(np.float32) for name, values in grown.items()})
    (folder / HOSTILE).write_bytes(parts.written())
    outcome = run(folder, *COMMANDS[command])

    assert outcome.code in (0, 4), outcome
    assert_messages_readable(outcome)


# ------------------------------------------------------------------------------- paths that point somewhere else


SECRET = "root-password-hunter2"
PATHS = {
    "a secret": "../secret",
    "an absolute path": "/etc/passwd",
    "a path upwards": "../../x",
    "endless zeros": "/dev/zero",
    "standard input": "/dev/stdin",
    "a terminal": "/dev/tty",
    "a pipe": "pipe",
    "a folder": ".",
    "a glob": "../[s]ecret",
    "a glob of nothing": "**/[",
    "a NUL": "a\0b",
    "a NUL in a glob": "\0/*",
    "half a character in a glob": "\ud800/*",
    "half a character": "\ud800",
    "escape codes": "\x1b[2J\x1b]0;pwned\x07",
    "escape codes in a glob": "\x1b[2J*",
    "no end": "x" * 10**6,
    "no end of folders": "x/" * 10**5 + "*",
    "many": ["\x1b[31mno such file"] * 10**5,
}


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "older"])
@pytest.mark.parametrize(("command", "name"), pairs(["evaluate", "inspect"], list(PATHS)))
def test_a_checkpoints_text_path_reveals_no_other_file(
    run: Command, name: str, command: str, recorded: bool, folder: Path, parts: Parts
) -> None:
    path = PATHS[name]
    os.mkfifo(folder / "pipe")
    secret = folder.parent / "secret"
    secret.write_text(f"{SECRET}\n" * 99, encoding="utf-8")
    paths = [path] if isinstance(path, str) else path
    parts.record["config"]["data"]["path"] = paths
    files = {"files": paths, "sizes": [secret.stat().st_size] * len(paths)} if recorded else {}
    parts.record["corpus"] = {"path": paths, "sha256": parts.record["corpus"]["sha256"]} | files
    (folder / HOSTILE).write_bytes(parts.written())
    before = everything_in(folder.parent)
    outcome = run(folder, *COMMANDS[command][:3], *(("--split", "validation") if command == "evaluate" else ()))

    assert outcome.code in (2, 4), outcome
    assert_refused(outcome, outcome.code)
    assert SECRET not in outcome.stderr
    assert {name: found for name, found in everything_in(folder.parent).items() if name in before} == before


ELSEWHERE = {
    "directory upwards": ("config.run.directory", "../elsewhere"),
    "absolute directory": ("config.run.directory", "{elsewhere}"),
    "directory of escape codes": ("config.run.directory", "\x1b[2J" * 999),
    "name upwards": ("config.run.name", "../../elsewhere/run"),
    "absolute name": ("config.run.name", "{elsewhere}"),
    "another name": ("config.run.name", "other"),
    "corpus": ("corpus.path", ["../elsewhere/text.txt"]),
    "recorded file": ("corpus.files", ["../elsewhere/text.txt"]),
    "path": ("config.data.path", ["../precious"]),
}


@pytest.mark.parametrize(("command", "name"), pairs([*COMMANDS, "resume"], list(ELSEWHERE)))
def test_nothing_is_written_where_a_checkpoint_says(
    run: Command, name: str, command: str, folder: Path, full: Parts
) -> None:
    place, value = ELSEWHERE[name]
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    put_at(full.record, place, value.format(elsewhere=elsewhere) if isinstance(value, str) else value)
    (folder / HOSTILE).write_bytes(full.written())
    (folder / NEWER).unlink()
    (folder / OLDER).write_bytes(full.written())
    before = everything_in(folder.parent)
    outcome = run(folder, *COMMANDS.get(command, RESUME))

    assert outcome.code in (0, 2, 4), outcome
    assert_messages_readable(outcome)
    after = everything_in(folder.parent)
    ours = (
        ("here.out", "here.err", f"here/{RUN}", "here/runs/latest") if command == "resume" else ("here.out", "here.err")
    )
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert [name for name in changed if not name.startswith(ours)] == []


# --------------------------------------------------------------------------------------------- resuming from it


def test_a_full_checkpoint_assembled_from_valid_parts_is_resumed(run: Command, folder: Path, full: Parts) -> None:
    (folder / NEWER).unlink()
    (folder / OLDER).write_bytes(full.written())
    outcome = run(folder, *RESUME)

    assert outcome.code == 0, outcome
    assert outcome.stderr == ""
    assert (folder / NEWER).read_bytes() != full.written()


def random_state(change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> Change:
    return with_tensors(lambda tensors: tensors | {"rng.cpu": change(tensors["rng.cpu"])})


def noise(state: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).integers(0, 256, state.shape).astype(np.uint8)


FULL: dict[str, Change] = {
    "a random state of zeros": random_state(np.zeros_like),
    "a random state of ones": random_state(lambda state: np.full_like(state, 255)),
    "a random state of noise": random_state(noise),
    "a random state cut short": random_state(lambda state: state[:-1]),
    "a random state too long": random_state(lambda state: np.concatenate([state, state])),
    "a huge random state": random_state(lambda state: np.zeros(10**6, np.uint8)),
    "no random state left": random_state(lambda state: state[:0]),
    "a flat random state": random_state(lambda state: state.reshape(1, -1)),
    "a random state of floats": random_state(lambda state: state.astype(np.float32)),
    "no random state": without("rng.cpu"),
    "a moment missing": without("optimizer.head.bias.exp_avg"),
    "a step count missing": without("optimizer.rnn.weight_hh_l1.step"),
    "no moments": with_tensors(lambda found: {name: found[name] for name in found if not name.startswith("optim")}),
    "a moment of another shape": with_tensors(
        lambda found: found | {"optimizer.head.bias.exp_avg": np.zeros(31, np.float32)}
    ),
    "a moment of no weight": with_tensors(
        lambda found: found | {"optimizer.head.extra.exp_avg": np.zeros(30, np.float32)}
    ),
    "a moment that is not finite": filled("optimizer.head.bias.exp_avg_sq", math.inf),
    "a step count that is no number": filled("optimizer.head.bias.step", math.nan),
    "a state missing": without("state.1"),
    "a state too many": with_tensors(lambda found: found | {"state.2": found["state.0"]}),
    "a state of other lanes": with_tensors(lambda found: found | {"state.0": found["state.0"][:, :2]}),
    "a state that is not finite": filled("state.0", math.nan, slice(0, 1)),
    "lanes without an end": record("config.training.batch_size", 10**9),
    "another step than its name": record("progress.step", 5),
    "no step": record("progress.step", 0),
}


@pytest.mark.parametrize("change", FULL.values(), ids=FULL)
def test_resume_refuses_what_training_never_writes(run: Command, change: Change, folder: Path, full: Parts) -> None:
    change(full)
    (folder / NEWER).unlink()
    (folder / OLDER).write_bytes(full.written())
    before = everything_in(folder)

    assert_refused(run(folder, *RESUME))
    assert everything_in(folder) == before


SENSELESS: dict[str, Change] = {
    "squares below zero": filled("optimizer.head.bias.exp_avg_sq", -1.0),
    "a step before the first": filled("optimizer.head.bias.step", -1.0),
    "the zeroth step": filled("optimizer.head.bias.step", 0.0),
    "the largest moment": filled("optimizer.head.weight.exp_avg", 3e38),
    "the largest state": filled("state.0", 3e38),
    "the largest weight": filled("model.head.weight", 3e38),
    "the largest rate": record("progress.rate_factor", 1e308),
    "lanes from the future": record("progress.lanes_began_at_step", 10**15),
    "a past without an end": record("progress.seconds", 1e308),
    "a best from the future": record("progress.best_step", 10**15),
}


@pytest.mark.parametrize("change", SENSELESS.values(), ids=SENSELESS)
def test_senseless_numbers_end_with_a_message_and_are_not_saved(
    run: Command, change: Change, folder: Path, full: Parts
) -> None:
    change(full)
    (folder / NEWER).unlink()
    (folder / OLDER).write_bytes(full.written())
    outcome = run(folder, *RESUME)

    assert outcome.code in (0, 3, 4), outcome
    assert_messages_readable(outcome)
    if outcome.code == 0:
        assert Checkpoint.load(folder / NEWER).progress.step == 8
    else:
        assert not (folder / NEWER).exists()


@pytest.mark.parametrize(
    ("place", "value"),
    {
        "versions.torch": "\x1b[2J" + "9" * 9999,
        "versions.device": "cpu\n\x1b[1Acharlm: all is well",
        "config.run.directory": "\x1b[2J" + "d" * 9999,
        "config.data.path": ["\x1b[2J"] * 9999,
        "config.data.encoding": "utf\x1b8",
        "config.training.learning_rate": 0.5,
    }.items(),
)
def test_a_checkpoints_own_words_are_printed_escaped(
    run: Command, place: str, value: object, folder: Path, full: Parts
) -> None:
    put_at(full.record, place, value)
    (folder / NEWER).unlink()
    (folder / OLDER).write_bytes(full.written())
    outcome = run(folder, *RESUME)

    assert outcome.code in (0, 2, 4), outcome
    assert_messages_readable(outcome)


# ---------------------------------------------------------------------------------- links, pipes, endless files


LINKED = ["best.safetensors", "config.yaml", "metrics.jsonl", NEWER.name, "../latest"]


@pytest.mark.parametrize(("name", "target"), pairs(LINKED, ["../../../precious", "{absolute}"]))
def test_the_target_of_a_link_in_a_run_is_not_changed_by_resume(
    run: Command, name: str, target: str, folder: Path
) -> None:
    precious = folder.parent / "precious"
    path = folder / RUN / name
    path.unlink()
    path.symlink_to(precious if target == "{absolute}" else os.path.relpath(precious, path.parent))
    assert path.read_bytes() == PRECIOUS
    before = precious.stat()
    outcome = run(folder, *RESUME)

    assert outcome.code == 0, outcome
    assert_messages_readable(outcome)
    assert precious.read_bytes() == PRECIOUS
    assert (precious.stat().st_ino, precious.stat().st_mtime_ns, precious.stat().st_nlink) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_nlink,
    )


def test_what_an_abandoned_link_points_to_is_not_deleted(run: Command, folder: Path) -> None:
    import platform

    link = folder / RUN / f".charlm-{platform.node()}-{2**22 + 1}-0123abcd.tmp"  # no process has so high a number
    link.symlink_to(folder.parent / "precious")

    assert run(folder, *RESUME).code == 0
    assert not link.is_symlink()
    assert (folder.parent / "precious").read_bytes() == PRECIOUS


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 * 2**30)


def directory(path: Path) -> None:
    path.mkdir()


def socket_(path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


ODD = [pipe, endless, sparse, directory, socket_]


@pytest.mark.parametrize(("name", "odd"), pairs(LINKED, [*ODD[1:], ODD[0]]))
def test_a_run_with_an_odd_file_goes_on_or_says_why_not(
    run: Command, odd: Callable[[Path], None], name: str, folder: Path
) -> None:
    path = folder / RUN / name
    path.unlink()
    odd(path) if odd is not socket_ else bound_socket(path)
    outcome = run(folder, *RESUME)

    assert outcome.code in (0, 4, 74), outcome
    assert_messages_readable(outcome)
    assert (outcome.stderr != "") or outcome.code == 0


def bound_socket(path: Path) -> None:
    """Make a socket through a short name, as long ones are none."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        socket_(Path(path.name))
    finally:
        os.chdir(before)


def text(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


LATEST: dict[str, Callable[[Path], object]] = {
    "upwards": text(b"..\n"),
    "further upwards": text(b"../..\n"),
    "here": text(b"."),
    "somewhere else": text(b"tiny/../../elsewhere"),
    "hidden": text(b".git"),
    "absolute": text(b"/etc"),
    "nothing": text(b""),
    "white": text(b" \n\t\n"),
    "two runs": text(b"tiny\nother\n"),
    "escape codes": text(b"\x1b[2Jtiny"),
    "C1 controls": text("\x9b2J".encode()),
    "another direction": text("\u202eynit".encode()),
    "a NUL": text(b"tiny\0"),
    "binary": text(bytes(range(256))),
    "UTF-16": text("tiny".encode("utf-16")),
    "longer than any name": text(b"x" * 999),
    "huge": text(b"x" * 10**7),
    "a pipe": pipe,
    "endless": endless,
    "sparse": sparse,
    "a folder": directory,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nowhere": lambda path: path.symlink_to("gone"),
    "a link to something precious": lambda path: path.symlink_to("../../precious"),
}


@pytest.mark.parametrize("change", LATEST.values(), ids=LATEST)
def test_the_name_of_the_latest_run_leads_to_no_other_place(
    run: Command, change: Callable[[Path], object], folder: Path
) -> None:
    latest = folder / "runs/latest"
    for decoy in (folder, folder / "runs", folder / "runs/.git", folder.parent, folder / "elsewhere"):
        decoy.mkdir(exist_ok=True)
        shutil.copy(folder / BEST, decoy / BEST.name)
    latest.unlink()
    change(latest)

    assert_refused(run(folder, "sample", "--seed", "1", "--length", "5"))


STANDING = (
    "binary",
    "huge",
    "a pipe",
    "endless",
    "sparse",
    "a folder",
    "a link to itself",
    "a link to something precious",
)


@pytest.mark.parametrize("change", [LATEST[name] for name in STANDING], ids=STANDING)
def test_a_new_run_becomes_the_latest_whatever_stood_there(
    run: Command, change: Callable[[Path], object], folder: Path
) -> None:
    latest = folder / "runs/latest"
    latest.unlink()
    change(latest)
    outcome = run(folder, "train", "--config", "tiny.yaml", "--quiet", "--name", "new")

    assert_messages_readable(outcome)
    assert (folder.parent / "precious").read_bytes() == PRECIOUS
    if change is directory:  # it may hold anything, so it stays
        assert outcome.code == 74
    else:
        assert outcome.code == 0, outcome
        assert latest.read_bytes() == b"new\n"


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 700, "\x1b[2J", "\u202egnp", "a\nb", "..", "~", "-", "", " "])
def test_a_checkpoint_of_any_name_is_there_or_not(run: Command, name: str, folder: Path) -> None:
    outcome = run(folder, "sample", "--checkpoint", name)
    assert_refused(outcome)


# ------------------------------------------------------------------------------------------------------ configs


def laughs(count: int) -> str:
    return "a0: &a0 [lol, lol]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, count))


CONFIGS: dict[str, str | bytes] = {
    "billion laughs": laughs(64),
    "billion laughs in a value": f"data: {{path: &a [x, x], unit: {'[*a, *a], ' * 999}}}",
    "an alias of itself": "data: &a {path: *a}",
    "merge keys": "base: &b {path: x}\ndata: {<<: *b}",
    "deep lists": "data: " + "[" * 3000,
    "deep dictionaries": "data: " + "{a: " * 100_000,
    "deep blocks": "- " * 100_000,
    "deep keys": "? " * 100_000,
    "deep indentation": "".join(" " * depth + "a:\n" for depth in range(1000)),
    "a long scalar": "data: " + "x" * 10**6,
    "a long scalar of words": "data: " + "x y " * 30_000,
    "a long quoted scalar": 'data: "' + "\\n" * 10**5 + '"',
    "a long block": "data: |\n" + "  xxxxxxx\n" * 30_000,
    "a long comment": "#" * 10**6 + CONFIG.replace("steps", "stepz"),
    "many keys": "".join(f"key{index}: 1\n" for index in range(2000)),
    "many keys in a section": "data:\n" + "".join(f"  key{index}: 1\n" for index in range(1000)),
    "many paths": f"data: {{path: [{'1, ' * 10**4}]}}",
    "a long key": f'? "{"k" * 50_000}"\n: 1\n',
    "many duplicates": "data: {path: x}\n" * 1000,
    "code": "!!python/object/apply:os.system ['touch marker']",
    "code in a value": "data: {path: !!python/object/apply:os.system ['touch marker']}",
    "code in a key": "? !!python/object/new:os.system ['touch marker']\n: 1",
    "code in a tuple": "data: !!python/tuple [!!python/name:os.system '', 1]",
    "a module": "data: !!python/module:os",
    "binary": "data: !!binary aGVsbG8=",
    "a tag of escape codes": "data: !%1B[31m 1",
    "a named tag of escape codes": "data: !<%1B%5B31m> 1",
    "a tag without an end": f"data: !{'t' * 10**5} 1",
    "a key of escape codes": '"\\e[31mdata": 1',
    "a nested key of escape codes": 'data: {"\\e[31mpath": 1}',
    "a duplicate of escape codes": '"\\e]0;pwned\\a": 1\n"\\e]0;pwned\\a": 1',
    "a key of C1 controls": 'data: {"\\x9b31m\\u202e\\u2028": 1}',
    "a value of escape codes": 'data: {path: x, unit: "\\e[31m", encoding: "\\e"}',
    "a NUL": "data: {path: \0}",
    "a NUL in quotes": 'data: {path: x, encoding: "a\\0b"}',
    "control characters": b"data: {path: \x1b[31m}",
    "not UTF-8": b"data: {path: \xff\xfe}",
    "UTF-16": CONFIG.encode("utf-16"),
    "UTF-32": CONFIG.encode("utf-32"),
    "past all characters": 'data: {path: "\\Uffffffff"}',
    "two documents": f"{CONFIG}---\n{CONFIG}",
    "an endless version": f"%YAML {'9' * 5000}.1\n--- a",
    "an endless integer": f"{CONFIG}  keep: {'9' * 5000}",
    "an endless float": f"model: {{dropout: {'9' * 5000}.5e{'9' * 5000}}}",
    "nothing but a dash": "-",
    "a picture": NO_CHECKPOINTS["a picture"],
    "a checkpoint": NO_CHECKPOINTS["another program's tensors"],
    **{f"a pickle by {weapon}": content for weapon, content in weapons(Path("marker")).items()},
}


@pytest.mark.parametrize("content", CONFIGS.values(), ids=CONFIGS)
def test_a_hostile_config_is_refused(run: Command, content: str | bytes, folder: Path) -> None:
    (folder / "hostile.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())

    assert_refused(run(folder, "config", "show", "--config", "hostile.yaml"), 2)
    assert not (folder / "marker").exists()


@pytest.mark.parametrize("key", ["data.path", "run.directory"])
@pytest.mark.parametrize("name", ["\\udcff", "\\ud800"], ids=["a byte", "half a character"])
def test_a_name_that_is_not_unicode_is_refused_or_works(run: Command, name: str, key: str, folder: Path) -> None:
    section, _, setting = key.partition(".")
    config = yaml.safe_load(CONFIG)
    config[section][setting] = "@"
    (folder / "hostile.yaml").write_text(yaml.safe_dump(config).replace("'@'", f'"{name}"'), encoding="utf-8")
    (folder / os.fsdecode(b"\xff")).write_bytes(TEXT.encode()) if key == "data.path" else None
    before = everything_in(folder)
    outcome = run(folder, "train", "--config", "hostile.yaml", "--quiet", "--name", "new")

    if outcome.code:
        assert_refused(outcome, 2)
        assert everything_in(folder) == before
    else:
        assert [path.name for path in folder.rglob("step-*8.safetensors") if path.parent.name == "new"]


@pytest.mark.parametrize("odd", [endless, sparse, directory], ids=lambda odd: odd.__name__)
def test_an_odd_file_as_config_is_refused(run: Command, odd: Callable[[Path], None], folder: Path) -> None:
    odd(folder / "hostile.yaml")
    assert_refused(run(folder, "config", "show", "--config", "hostile.yaml"), 2)


COUNTS = ["training.batch_size", "training.sequence_length", "training.epochs", "training.steps", "training.patience"]
COUNTS += ["training.evaluate_every", "training.evaluation_lanes", "training.seed", "run.keep", "run.save_every"]
COUNTS += ["data.minimum_count", "model.hidden_size", "model.num_layers", "model.embedding_size"]


@pytest.mark.parametrize(("key", "endless"), pairs(COUNTS, [False, True]))
def test_a_count_past_all_reason_is_planned_or_refused(run: Command, key: str, endless: bool, folder: Path) -> None:
    section, _, setting = key.partition(".")
    config = yaml.safe_load(CONFIG)
    config[section][setting] = HUGE if endless else 10**9
    if setting == "epochs":
        del config[section]["steps"]
    (folder / "hostile.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    outcome = run(folder, "train", "--config", "hostile.yaml", "--dry-run")

    assert outcome.code in (0, 2, 74), outcome
    if outcome.code:
        assert_refused(outcome, outcome.code)
    assert_messages_readable(outcome)


@pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=["trained", "planned"])
def test_a_model_that_does_not_fit_into_memory_is_refused(run: Command, options: tuple[str, ...], folder: Path) -> None:
    before = everything_in(folder)
    outcome = run(
        folder, "train", "--config", "tiny.yaml", "--set", "model.hidden_size=60000", "--name", "new", *options
    )

    assert_refused(outcome, 2)
    assert everything_in(folder) == before


@pytest.mark.parametrize(
    "device", ["cuda:01", "cuda:200", "cuda:99999999999999999999", "cuda:-1", "cuda:\x1b[31m", "xpu"]
)
@pytest.mark.parametrize(
    "command", [("sample", "--checkpoint", "tiny"), ("train", "--config", "tiny.yaml")], ids="{0[0]}".format
)
def test_a_device_that_cannot_be_is_refused(run: Command, device: str, command: tuple[str, ...], folder: Path) -> None:
    assert_refused(run(folder, *command, "--device", device), 2)
