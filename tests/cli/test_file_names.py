"""File names that are not UTF-8 work in every command, or are refused in words."""

import json
import os
import shutil
from pathlib import Path

import pytest

from charlm.cli.delivery import Format
from tests.conftest import TEXT, Run

BAD = os.fsdecode(b"bad\xff")
SHOWN = "bad\\udcff"
CONFIG = """\
data: {path: good.txt}
model: {hidden_size: 5}
training: {batch_size: 3, sequence_length: 11, steps: 2, device: cpu}
run: {name: new}
"""


@pytest.fixture
def folder(tmp_path: Path, trained: dict[str, Path]) -> Path:
    (tmp_path / f"{BAD}.txt").write_text(TEXT, encoding="utf-8", newline="")
    (tmp_path / "good.txt").write_text(TEXT, encoding="utf-8", newline="")
    (tmp_path / f"{BAD}.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "markov.yaml").write_text(
        "data: {path: good.txt}\nmodel: {kind: markov, order: 2}\nrun: {name: counted}\n", encoding="utf-8"
    )
    (tmp_path / "runs").mkdir()
    for kind in ("lstm", "gru"):
        shutil.copytree(trained[kind], tmp_path / f"runs/{kind}{BAD}")
    return tmp_path


LSTM, GRU = f"runs/lstm{BAD}", f"runs/gru{BAD}"
WORKING = [
    ("evaluate", "-c", LSTM, "--file", f"{BAD}.txt"),
    ("evaluate", "-c", LSTM, "--file", f"{BAD}.txt", "--json"),
    ("evaluate", "-c", LSTM),
    ("sample", "-c", LSTM, "--length", "9"),
    ("sample", "-c", LSTM, "--prompt-file", f"{BAD}.txt", "--length", "9", "--json"),
    ("sample", "-c", LSTM, "--next", "3"),
    ("inspect-hidden", "-c", LSTM, "--file", f"{BAD}.txt", "--max-characters", "20"),
    *(
        ("inspect-hidden", "-c", LSTM, "--text", "The", "--format", name, "--output", f"{BAD}.{name}")
        for name in Format
    ),
    ("inspect-hidden", "-c", LSTM, "--text", "The", "--format", "html"),
    ("inspect-gradients", "-c", f"{LSTM}/best.safetensors", "-c", LSTM, "--lags", "3"),
    ("inspect-gradients", "--config", f"{BAD}.yaml", "--lags", "3", "--file", f"{BAD}.txt"),
    *(("inspect-gradients", "-c", LSTM, "--lags", "3", "--format", name) for name in ("csv", "json", "html", "png")),
    *(("inspect-gradients", "-c", LSTM, "--text", "The", "--format", name) for name in Format if name != "npz"),
    ("vocabulary", "--file", f"{BAD}.txt", "--text", "fox"),
    ("vocabulary", "--file", f"{BAD}.txt", "--json"),
    ("vocabulary", "-c", LSTM),
    ("config", "show", "--config", f"{BAD}.yaml"),
    ("config", "init", "--output", f"{BAD}-2.yaml"),
    ("runs", "list"),
    ("runs", "list", "--json"),
    ("runs", "show", LSTM),
    ("runs", "show", f"lstm{BAD}", "--json"),
    ("runs", "compare", LSTM, GRU),
    ("runs", "compare", LSTM, GRU, "--json", "--output", f"{BAD}.html"),
    ("train", "--config", f"{BAD}.yaml", "--dry-run"),
    ("train", "--config", f"{BAD}.yaml", "--quiet", "--init-from", LSTM, "--set", "model={hidden_size: 7}"),
    ("train", "--config", "markov.yaml"),
]
REFUSED = [
    ("train", "--config", f"{BAD}.yaml", "--set", f"data.path={BAD}.txt"),
    ("train", "--config", f"{BAD}.yaml", "--name", BAD),
    ("train", "--config", f"missing{BAD}"),
    ("sample", "-c", f"missing{BAD}"),
    ("sample", "-c", LSTM, "--prompt", BAD),
    ("sample", "-c", LSTM, "--device", BAD),
    ("evaluate", "-c", LSTM, "--file", f"missing{BAD}"),
    ("vocabulary", "--file", f"missing{BAD}"),
    ("vocabulary", "--file", ""),
    ("inspect-hidden", "-c", LSTM, "--text", "The", "--unit", BAD),
    ("inspect-hidden", "-c", LSTM, "--text", "The", "--signal", BAD),
    ("inspect-gradients", "--config", f"missing{BAD}"),
    ("config", "show", "--config", f"missing{BAD}"),
    ("config", "init", "--output", f"{BAD}.txt"),
    ("runs", "list", "--directory", f"missing{BAD}"),
    ("runs", "show", f"missing{BAD}"),
    ("runs", "compare", LSTM, LSTM),
]


def named(arguments: tuple[str, ...]) -> str:
    return "-".join(word.strip("-") for word in arguments if word.isascii() and "/" not in word)


@pytest.mark.parametrize("arguments", WORKING, ids=named)
def test_a_name_that_is_not_utf_8_works(arguments: tuple[str, ...], folder: Path, charlm: Run) -> None:
    result = charlm(*arguments)

    assert result.exit_code == 0, (result.stderr, result.exception)
    assert result.stdout_bytes.isascii() or "png" in arguments or result.stdout  # it could be encoded
    if "--output" in arguments:
        assert (folder / arguments[arguments.index("--output") + 1]).stat().st_size


@pytest.mark.parametrize("arguments", REFUSED, ids=named)
def test_a_name_that_is_not_utf_8_is_refused_in_words(arguments: tuple[str, ...], folder: Path, charlm: Run) -> None:
    result = charlm(*arguments)

    assert result.exit_code in (2, 4), (result.stderr, result.exception)
    assert result.stderr.startswith("charlm: ")
    assert "Traceback" not in result.stderr


def test_json_has_the_name_as_python_reads_it(folder: Path, charlm: Run) -> None:
    record = json.loads(charlm("evaluate", "-c", LSTM, "--file", f"{BAD}.txt", "--json").stdout)
    assert record["checkpoint"] == f"{LSTM}/best.safetensors"
    assert record["text"] == f"{BAD}.txt"


def test_tables_and_messages_show_the_name_escaped(folder: Path, charlm: Run) -> None:
    assert f"{SHOWN}.txt" in charlm("evaluate", "-c", LSTM, "--file", f"{BAD}.txt").stdout
    assert f"lstm{SHOWN}" in charlm("inspect-gradients", "-c", LSTM, "--lags", "3", "--format", "csv").stdout
    assert f"missing{SHOWN}" in charlm("sample", "-c", f"missing{BAD}").stderr
