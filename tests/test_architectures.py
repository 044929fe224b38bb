"""One row a kind: what the rest of charlm reads from the table agrees with cells, settings and torch."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from charlm import architectures
from charlm.architectures import ARCHITECTURES, Architecture, Signal, readers_of, recurrent_kinds
from charlm.config.settings import ModelConfig
from charlm.inspection.gates import GATES
from charlm.models import cells
from charlm.models.cells import Cell, cell_of

PACKAGE = Path(architectures.__file__).parent
RECURRENT = {kind: row for kind, row in ARCHITECTURES.items() if row.is_recurrent}
rows = pytest.mark.parametrize("row", RECURRENT.values(), ids=RECURRENT)
B, H = 3, 5


def stepped(row: Architecture, scale: float, nonlinearity: str = "tanh") -> tuple[Cell, dict[str, Any]]:
    """Return a cell of this kind and its activations after one step from random shares and memory."""
    rng, cell = np.random.default_rng(4), cell_of(row.kind, nonlinearity)
    before = {name: rng.normal(size=(B, H)) * 0.9 for name in row.memory}
    before["hidden"] = np.tanh(before["hidden"])
    return cell, cell.step(*(scale * rng.normal(size=(2, B, row.blocks * H))), before)


def test_the_kinds_of_the_setting_are_the_rows_of_the_table() -> None:
    assert get_args(ModelConfig.model_fields["kind"].annotation) == tuple(ARCHITECTURES)
    assert all(row.kind == kind for kind, row in ARCHITECTURES.items())


def test_every_recurrent_kind_has_a_class_and_no_other_has() -> None:
    assert cells._CELLS.keys() == RECURRENT.keys()
    for kind in ARCHITECTURES.keys() - RECURRENT.keys():
        with pytest.raises(KeyError, match=kind):
            cell_of(kind, "tanh")


def test_the_settings_of_a_row_are_settings_and_each_is_read_by_some_kind() -> None:
    named = {name for row in ARCHITECTURES.values() for name in row.settings}
    assert named | {"kind"} == set(ModelConfig.model_fields)
    assert readers_of("kind") == list(ARCHITECTURES)
    assert readers_of("order") == ["markov"]
    assert readers_of("nonlinearity") == ["rnn"]
    assert readers_of("hidden_size") == list(RECURRENT)
    assert readers_of("no_such_setting") == []


def test_the_recurrent_kinds_are_named_as_a_sentence_names_them() -> None:
    *others, last = RECURRENT
    assert recurrent_kinds() == f"{', '.join(others)} or {last}"


@rows
def test_a_step_returns_the_signals_of_the_row_in_their_order(row: Architecture) -> None:
    cell, after = stepped(row, 1.0)
    assert tuple(after) == row.signal_names == cell.signals
    assert cell.memory == row.memory
    assert set(row.memory) <= set(row.signal_names)
    assert row.memory[0] == row.signal_names[0] == "hidden"


@rows
@pytest.mark.parametrize("scale", [0.5, 100.0])
def test_a_signal_stays_within_its_limits(row: Architecture, scale: float) -> None:
    _, after = stepped(row, scale)
    for signal in row.signals:
        if signal.limits is not None:
            low, high = signal.limits
            assert low <= after[signal.name].min()
            assert after[signal.name].max() <= high


@rows
def test_limits_are_tight_and_only_the_unbounded_leave_one(row: Architecture) -> None:
    """Driven hard, what has limits comes near one of them: no row states a range that is far too wide."""
    _, after = stepped(row, 100.0)
    for signal in row.signals:
        if signal.limits is not None:
            assert max(signal.limits) - after[signal.name].max() < 0.2


def test_a_gate_goes_from_0_to_1_and_its_name_is_a_gate_in_every_kind() -> None:
    everything = [signal for row in RECURRENT.values() for signal in row.signals]
    assert all(signal.limits == (0, 1) for signal in everything if signal.is_gate)
    assert {signal.name for signal in everything if signal.is_gate} == set(GATES)
    assert not {signal.name for signal in everything if not signal.is_gate} & set(GATES)
    assert {"input", "forget", "output", "reset", "update"} <= set(GATES)


@rows
def test_the_words_on_a_signal_are_sentences_that_name_it(row: Architecture) -> None:
    for signal in row.signals:
        assert signal.words.startswith("The ")
        assert signal.words.endswith(".")
        assert signal.name in signal.words


@pytest.mark.parametrize(("kind", "kernel"), [("rnn", "RNN"), ("lstm", "LSTM"), ("gru", "GRU")])
def test_a_kernel_has_the_blocks_and_the_memory_of_its_row(kind: str, kernel: str) -> None:
    row = ARCHITECTURES[kind]
    assert row.kernel == kernel
    module = getattr(torch.nn, kernel)(3, H)
    assert module.weight_hh_l0.shape == (row.blocks * H, H)
    _, state = module(torch.zeros(1, 1, 3))
    assert len(state if isinstance(state, tuple) else (state,)) == len(row.memory)


def test_a_signal_is_found_by_its_name() -> None:
    row = Architecture("x", "X", "an", (), (Signal("hidden", "The hidden state."), Signal("gate", "", (0, 1), True)))
    assert row.signal("gate").is_gate
    assert row.gates == ("gate",)
    with pytest.raises(KeyError):
        row.signal("cell")


def test_the_table_imports_neither_charlm_nor_numpy_nor_torch() -> None:
    look = "import sys, charlm.architectures; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert not loaded & {"numpy", "torch"}
    assert {name for name in loaded if name.startswith("charlm.")} == {"charlm.architectures"}


def test_no_other_file_asks_for_a_kind_by_its_name() -> None:
    """The table, the setting's type and the table of classes name the kinds; whatever else does would be forgotten."""
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in ARCHITECTURES
    }
    assert found == {"architectures.py", "config/model.py", "models/cells.py"}
