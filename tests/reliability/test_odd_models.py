"""Degenerate models, of one symbol or of weights that overflow: every command copes with them."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from charlm.checkpoint.checkpoint import Checkpoint
from tests.conftest import Run
from tests.harness.processes import run_on_terminal


@pytest.fixture
def one_symbol(charlm: Run, tmp_path: Path) -> str:
    """Return a Markov model of a text that is one letter again and again."""
    (tmp_path / "text.txt").write_text("a" * 900, encoding="utf-8")
    (tmp_path / "one.yaml").write_text("data: {path: text.txt}\nmodel: {kind: markov}\nrun: {name: one}\n")
    assert charlm("train", "--config", "one.yaml").exit_code == 0
    return "one"


def test_one_symbol_leaves_nothing_to_guess(one_symbol: str, charlm: Run) -> None:
    result = charlm("evaluate", "-c", one_symbol, "--baselines")
    assert result.exit_code == 0
    assert re.search(r"^  uniform +0\.000$", result.stdout, re.MULTILINE)
    assert charlm("sample", "-c", one_symbol, "--length", "5", "--seed", "1").stdout == "aaaaa"


@pytest.fixture
def overflowing(trained: dict[str, Path], tmp_path: Path) -> str:
    """Return a checkpoint whose read-out gives no numbers."""
    checkpoint = Checkpoint.load(trained["lstm"] / "best.safetensors")
    signs = np.where(np.arange(checkpoint.tensors["model.head.weight"].size) % 2, 3e38, -3e38)
    weight = signs.astype(np.float32).reshape(checkpoint.tensors["model.head.weight"].shape)
    path = tmp_path / "huge.safetensors"
    replace(checkpoint, tensors=checkpoint.tensors | {"model.head.weight": weight}).save(path)
    return str(path)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_overflows_is_null_in_json_and_has_no_bar(overflowing: str, charlm: Run) -> None:
    for arguments in (["evaluate", "--baselines"], ["sample", "--next", "3", "--prompt", "The"]):
        shown = charlm(*arguments, "-c", overflowing)
        assert shown.exit_code == 0, shown.output
        record = json.loads(charlm(*arguments, "-c", overflowing, "--json").stdout, parse_constant=pytest.fail)
        assert record


@pytest.mark.slow
def test_what_overflows_is_coloured_as_a_surprise(overflowing: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("The fox", encoding="utf-8")
    code, shown = run_on_terminal(tmp_path, "evaluate", "-c", overflowing, "--file", "text.txt", "--per-character")
    assert code == 0
    assert "coloured by surprisal" in shown
