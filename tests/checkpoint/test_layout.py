"""Which arrays a Markov checkpoint must hold: whatever else lies there is refused in charlm's own words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.checkpoint.layout import check_layout
from charlm.checkpoint.sealed_file import Layout
from charlm.config.settings import Config
from charlm.errors import CheckpointError, DamagedCheckpointError
from charlm.models.markov import MarkovModel
from tests.conftest import TEXT, Run
from tests.harness.handmade import Parts, put_at

ORDER = 2
ARRAYS = {"contexts": "I64", "starts": "I64", "symbols": "U8", "counts": "U32"}


def config(order: int = ORDER) -> Config:
    return Config.model_validate({"data": {"path": "text.txt"}, "model": {"kind": "markov", "order": order}})


def layout(order: int = ORDER, symbols: str = "U8") -> Layout:
    """Return what a checkpoint of this order holds; each array may be of any length."""
    types = ARRAYS | {"symbols": symbols}
    return {
        f"model.{name}.{length}": (dtype, (7 + 3 * length + place,))
        for length in range(order + 1)
        for place, (name, dtype) in enumerate(types.items())
    }


@pytest.mark.parametrize("order", [0, 1, 5, 32])
def test_four_arrays_of_any_length_for_each_length_of_a_context_are_a_model(order: int) -> None:
    check_layout(layout(order), config(order), 30, 1)


@pytest.mark.parametrize(("size", "dtype"), [(1, "U8"), (256, "U8"), (257, "U16"), (65536, "U16"), (65537, "U32")])
def test_symbols_have_the_smallest_type_that_holds_them(size: int, dtype: str) -> None:
    check_layout(layout(symbols=dtype), config(), size, 1)
    for other in {"U8", "U16", "U32", "U64", "I64", "F32"} - {dtype}:
        with pytest.raises(DamagedCheckpointError, match=r"symbols\.0"):
            check_layout(layout(symbols=other), config(), size, 1)


@pytest.mark.parametrize("name", layout())
def test_an_array_that_is_missing_or_odd_is_named(name: str) -> None:
    found = layout()
    dtype, shape = found.pop(name)
    with pytest.raises(DamagedCheckpointError, match=name):
        check_layout(found, config(), 30, 1)
    others = [(dtype, ()), (dtype, (1, *shape)), (dtype, (*shape, 1)), ("F32", shape), ("BOOL", shape)]
    for other in others:
        with pytest.raises(DamagedCheckpointError, match=name):
            check_layout({**found, name: other}, config(), 30, 1)


@pytest.mark.parametrize(
    "name",
    ["model.contexts.3", "model.counts.-1", "model.counts", "rng.cpu", "state.0", "model.rnn.weight_ih_l0", "", "x"],
)
def test_an_array_too_many_is_named(name: str) -> None:
    with pytest.raises(DamagedCheckpointError, match=repr(name)):
        check_layout({**layout(), name: ("I64", (3,))}, config(), 30, 1)


@given(st.dictionaries(st.sampled_from([*layout(), "model.counts.9"]), st.sampled_from([("U8", ()), ("I64", (0, 4))])))
def test_any_change_is_refused(changes: Layout) -> None:
    found = {**layout(), **changes}
    if changes:
        with pytest.raises(DamagedCheckpointError):
            check_layout(found, config(), 30, 1)
    else:
        check_layout(found, config(), 30, 1)


def test_a_recurrent_model_holds_no_counts() -> None:
    recurrent = Config.model_validate({"data": {"path": "text.txt"}, "model": {"hidden_size": 3}})
    with pytest.raises(DamagedCheckpointError):
        check_layout(layout(), recurrent, 30, 1)


# ------------------------------------------------------------------------------------------------------ as a file


@pytest.fixture
def parts(charlm: Run, tmp_path: Path) -> Parts:
    """Return the parts of a Markov checkpoint that was counted here."""
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8", newline="")
    (tmp_path / "markov.yaml").write_text("data: {path: text.txt}\nmodel: {kind: markov, order: 2}\n")
    assert charlm("train", "--config", "markov.yaml", "--quiet").exit_code == 0
    return Parts.of(Path("runs/run/best.safetensors").read_bytes())


Arrays = dict[str, np.ndarray[Any, Any]]


def changed(name: str, change: Callable[[np.ndarray[Any, Any]], object]) -> Callable[[Arrays], Arrays]:
    """Return what puts another array in the place of one, of the same type unless it is given one."""

    def put(arrays: Arrays) -> Arrays:
        values = np.asarray(change(arrays[name].copy()))
        return {**arrays, name: values}

    return put


def at(place: int, value: int) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    def put(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        values[place] = value
        return values

    return put


DAMAGED = {
    "an array too few": lambda arrays: {name: arrays[name] for name in arrays if name != "model.counts.1"},
    "an array too many": lambda arrays: arrays | {"model.counts.3": np.ones(3, np.uint32)},
    "another type": changed("model.symbols.1", lambda values: values.astype(np.uint16)),
    "numbers with a sign": changed("model.counts.1", lambda values: values.astype(np.int32)),
    "broken numbers": changed("model.counts.1", lambda values: values.astype(np.float32)),
    "a table": changed("model.contexts.1", lambda values: values[None]),
    "one number": changed("model.contexts.0", lambda values: values[0]),
}
IMPOSSIBLE = {
    "no arrays' contents": lambda arrays: {name: values[:0] for name, values in arrays.items()},
    "no pairs": lambda arrays: (
        arrays | {f"model.{name}.2": arrays[f"model.{name}.2"][:0] for name in ("symbols", "counts")}
    ),
    "a start too few": changed("model.starts.1", lambda values: values[:-1]),
    "a start past the end": changed("model.starts.1", at(-1, 10**12)),
    "a start before the beginning": changed("model.starts.1", at(0, -1)),
    "starts that fall": changed("model.starts.2", at(3, 0)),
    "the lowest number there is": changed("model.starts.2", at(1, -(2**63))),
    "a context of no symbol": changed("model.contexts.1", at(-1, 2**40)),
    "the highest context there is": changed("model.contexts.2", at(-1, 2**63 - 1)),
    "a context below nought": changed("model.contexts.1", at(0, -1)),
    "contexts out of order": changed("model.contexts.2", lambda values: values[::-1].copy()),
    "two empty contexts": changed("model.contexts.0", lambda _: np.zeros(2, np.int64)),
    "another empty context": changed("model.contexts.0", at(0, 1)),
    "a symbol past the vocabulary": changed("model.symbols.0", at(-1, 255)),
    "symbols out of order": changed("model.symbols.0", lambda values: values[::-1].copy()),
    "nothing counted": changed("model.counts.1", at(0, 0)),
    "more than a shorter context has": changed("model.counts.2", at(0, 2**32 - 1)),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_file_without_the_arrays_of_its_config_is_damaged(damage: str, parts: Parts, charlm: Run) -> None:
    parts.put(DAMAGED[damage](parts.tensors()))
    with pytest.raises(DamagedCheckpointError):
        Checkpoint.from_bytes(parts.written())
    assert_refused(parts, charlm)


@pytest.mark.parametrize("counts", IMPOSSIBLE)
def test_counts_that_no_text_has_are_refused_before_they_are_read(counts: str, parts: Parts, charlm: Run) -> None:
    parts.put(IMPOSSIBLE[counts](parts.tensors()))
    with pytest.raises(CheckpointError):
        Checkpoint.from_bytes(parts.written()).model()
    assert_refused(parts, charlm)


def assert_refused(parts: Parts, charlm: Run) -> None:
    """Hold the command line to one sentence that names the file."""
    Path("hostile.safetensors").write_bytes(parts.written())
    for command in (["sample", "--seed", "1"], ["sample", "--next", "3"], ["evaluate"]):
        result = charlm(*command, "-c", "hostile.safetensors")
        assert (result.exit_code, result.stdout) == (4, ""), result.stderr
        assert result.stderr.startswith("charlm: ")
        assert result.stderr.count("\n") == 1


def test_counts_that_are_impossible_are_told_with_the_file_that_holds_them(parts: Parts, charlm: Run) -> None:
    parts.put(IMPOSSIBLE["nothing counted"](parts.tensors()))
    Path("hostile.safetensors").write_bytes(parts.written())
    assert "hostile.safetensors" in charlm("sample", "--seed", "1", "-c", "hostile.safetensors").stderr


@pytest.mark.parametrize("order", [0, 1, 3, 32, 33, -1, 10**9, 2.0, None])
def test_another_order_than_that_of_its_arrays_is_refused(order: object, parts: Parts) -> None:
    put_at(parts.record, "config.model.order", order)
    with pytest.raises(DamagedCheckpointError):
        Checkpoint.from_bytes(parts.written())


@pytest.mark.parametrize("kind", ["lstm", "rnn", "hmm"])
def test_another_kind_than_that_of_its_arrays_is_refused(kind: str, parts: Parts) -> None:
    put_at(parts.record, "config.model.kind", kind)
    with pytest.raises(DamagedCheckpointError):
        Checkpoint.from_bytes(parts.written())


@pytest.mark.parametrize("symbols", ["ab", "".join(map(chr, range(0x100, 0x300)))])
def test_a_vocabulary_of_another_size_is_refused(symbols: str, parts: Parts) -> None:
    put_at(parts.record, "vocabulary.symbols", list(symbols))
    with pytest.raises(CheckpointError):
        Checkpoint.from_bytes(parts.written()).model()


def test_a_file_assembled_from_valid_parts_is_read(parts: Parts, charlm: Run) -> None:
    parts.put(parts.tensors())
    Path("honest.safetensors").write_bytes(parts.written())
    honest, own = (charlm("sample", "-c", path, "--seed", "1").stdout for path in ("honest.safetensors", "run"))
    assert honest == own
    assert isinstance(Checkpoint.from_bytes(parts.written()).model(), MarkovModel)
