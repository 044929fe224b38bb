"""What a user sees of ``charlm runs``."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from charlm.pages.comparison import comparison_page
from charlm.runs.history import read_history
from tests.conftest import Run
from tests.harness.histories import falling, line, settings, write_run
from tests.harness.processes import run_in_shell, run_on_terminal

pytestmark = pytest.mark.slow

BESIDE = ("run", "model", "differing settings", "best bits", "characters", "time")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Four runs, and one that another charlm wrote; the third saved last."""
    folder = tmp_path / "runs"
    rate: dict[str, object] = {"learning_rate": 0.001, "patience": 3}
    write_run(folder, settings("oldest"), falling(20, 2.1), 40)
    write_run(folder, settings("big", model={"kind": "gru", "hidden_size": 2048}, training=rate), falling(8), 30)
    write_run(folder, settings("counted", model={"kind": "markov", "order": 3}), [line(0, 2.75, seconds=None)], 20)
    write_run(folder, settings("[red]new :smile:"), None, 10)
    write_run(folder, settings("strange"), [], 5)
    (folder / "strange" / "config.yaml").write_text("data: {path: a}\nmodel: {layers: 3}\n", encoding="utf-8")
    (folder / "latest").write_text("counted\n")
    return folder


def cells(output: str) -> list[list[str]]:
    """Return a table's cells; columns stand at least two spaces apart."""
    starts = None
    rows = []
    for text in output.splitlines():
        if starts is None:
            starts = [text.index(name) for name in BESIDE] if text.startswith("run") else [0]
        ends = [*starts[1:], len(text)]
        rows.append([text[start:end].strip() for start, end in zip(starts, ends, strict=True)])
    return rows


# list


@pytest.mark.parametrize("words", [("runs",), ("runs", "list")])
def test_all_runs_are_listed_the_newest_last(words: tuple[str, ...], runs: Path, charlm: Run) -> None:
    result = charlm(*words)

    assert result.exit_code == 0
    assert cells(result.stdout) == [
        list(BESIDE),
        ["oldest", "lstm 2 × 128", "", "2.100", "2,048,000", "4 min 10 s"],
        ["big", "gru 2 × 2,048", "learning_rate 0.001, patience 3", "2.000", "819,200", "1 min 40 s"],
        ["counted (latest)", "markov, order 3", "", "2.750", "0", "—"],
        ["[red]new :smile:", "lstm 2 × 128", "", "—", "—", "—"],
    ]
    assert result.stderr.startswith("charlm: runs/strange: cannot read this run's config, possibly written by another")
    assert "model.layers: unknown key" in result.stderr


@pytest.mark.parametrize("words", [("runs", "--json"), ("runs", "list", "--json")])
def test_the_list_as_json_has_the_same_in_full(words: tuple[str, ...], runs: Path, charlm: Run) -> None:
    result = charlm(*words, "--directory", "runs")
    found = json.loads(result.stdout)

    assert (result.exit_code, result.stderr) == (0, "")
    assert found["directory"] == "runs"
    assert [run["name"] for run in found["runs"]] == ["oldest", "big", "counted", "[red]new :smile:"]
    assert [run["latest"] for run in found["runs"]] == [False, False, True, False]
    big, new = found["runs"][1], found["runs"][3]
    assert big == {
        "name": "big",
        "path": "runs/big",
        "model": "gru 2 × 2,048",
        "best_bits_per_character": pytest.approx(2.0),
        "best_step": 300,
        "step": 400,
        "characters": 819_200,
        "seconds": 100.0,
        "latest": False,
        "settings": {
            "model.kind": "gru",
            "model.hidden_size": 2048,
            "training.learning_rate": 0.001,
            "training.patience": 3,
        },
    }
    assert new["best_bits_per_character"] is new["step"] is new["seconds"] is None
    assert [run["path"] for run in found["unreadable"]] == ["runs/strange"]


def test_a_run_of_so_many_steps_is_not_told_to_have_no_epochs(charlm: Run, tmp_path: Path) -> None:
    write_run(tmp_path / "runs", settings("a"), falling(2), 2)
    write_run(tmp_path / "runs", settings("b", training={"steps": 40, "gradient_clip": None}), falling(2), 1)

    assert [row[2] for row in cells(charlm("runs").stdout)[1:]] == ["", "steps 40, gradient_clip null"]


def test_no_runs_are_no_mistake_but_no_folder_is(charlm: Run, tmp_path: Path) -> None:
    missing = charlm("runs")
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert missing.stderr.startswith("charlm: runs/: cannot read this folder of runs (No such file or directory).")
    assert "charlm train --config FILE" in missing.stderr

    (tmp_path / "runs" / "notes").mkdir(parents=True)
    empty = charlm("runs")
    assert (empty.exit_code, empty.stdout) == (0, "")
    assert empty.stderr.startswith("charlm: there are no runs in runs/ yet. Train one with")
    assert json.loads(charlm("runs", "--json").stdout) == {"directory": "runs", "runs": [], "unreadable": []}


def test_help_names_the_commands(charlm: Run) -> None:
    for words in (("runs", "--help"), ("runs", "-h")):
        result = charlm(*words)
        assert result.exit_code == 0
        assert all(name in result.stdout for name in ("list", "show", "compare"))


def test_a_word_that_is_no_command_is_told(charlm: Run, runs: Path) -> None:
    result = charlm("runs", "oldest")
    assert result.exit_code == 2
    assert "No such command 'oldest'" in result.stderr


# show


def facts(output: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in output.splitlines():
        if text.startswith("  "):
            name, _, value = text.strip().partition("  ")
            found.setdefault(name, []).append(value.strip())
    return found


def test_a_run_is_shown_with_its_settings_and_its_last_evaluation(runs: Path, charlm: Run) -> None:
    for name in ("step-00000400.safetensors", "step-00000350.safetensors", "best.safetensors", "report.html"):
        (runs / "big" / name).write_bytes(b"")

    result = charlm("runs", "show", "big")
    assert (result.exit_code, result.stderr) == (0, "")
    heads = [text.strip() for text in result.stdout.splitlines() if not text.startswith("  ")]
    assert heads == ["runs/big", "settings that differ from their defaults", "evaluation at step 400"]
    assert facts(result.stdout) == {
        "model": ["gru 2 × 2,048"],
        "text": ["tales.txt"],
        "best, bits per character": ["2.000"],
        "at step": ["300"],
        "characters seen": ["819,200"],
        "time": ["1 min 40 s"],
        "evaluations": ["8"],
        "checkpoint": [
            "runs/big/step-00000350.safetensors",
            "runs/big/step-00000400.safetensors",
            "runs/big/best.safetensors",
        ],
        "report": ["runs/big/report.html"],
        "model.kind": ["gru"],
        "model.hidden_size": ["2048"],
        "training.learning_rate": ["0.001"],
        "training.patience": ["3"],
        "training loss": ["2.000 bits"],
        "validation loss": ["2.100 bits"],
        "learning rate": ["4.99e-06"],
        "gradient norm": ["0.302"],
        "characters per second": ["52,000"],
    }


def test_a_run_that_has_just_begun_is_shown(runs: Path, charlm: Run) -> None:
    result = charlm("runs", "show", "[red]new :smile:")
    assert result.exit_code == 0
    assert result.stdout.startswith("runs/[red]new :smile:")
    found = facts(result.stdout)
    assert found["best, bits per character"] == found["at step"] == found["report"] == ["—"]
    assert "none" in found
    assert "evaluation at" not in result.stdout


def test_a_trained_run_is_shown_as_json(trained: Mapping[str, Path], charlm: Run) -> None:
    result = charlm("runs", "show", str(trained["rnn"]), "--json")
    found = json.loads(result.stdout)
    expected = read_history(trained["rnn"])

    assert (result.exit_code, result.stderr) == (0, "")
    assert expected.best is not None
    assert (found["name"], found["best_step"]) == ("rnn", expected.best.step)
    assert found["best_bits_per_character"] == expected.best.validation_bits
    assert found["config"] == expected.config.model_dump(mode="json")
    assert {Path(path).name for path in found["checkpoints"]} == {
        path.name for path in trained["rnn"].glob("*.safetensors")
    }
    assert found["evaluations"] == 2
    assert found["last"]["step"] == 8
    assert found["chosen"]["model.kind"] == "rnn"
    assert found["report"] is None


# compare


def test_runs_stand_side_by_side(runs: Path, charlm: Run) -> None:
    result = charlm("runs", "compare", "oldest", "runs/big", "counted")
    assert result.exit_code == 0
    assert [text.split() for text in result.stdout.splitlines()] == [
        ["oldest", "big", "counted"],
        ["best,", "bits", "per", "character", "2.100", "2.000", "2.750"],
        ["at", "step", "750", "300", "0"],
        ["characters", "seen", "2,048,000", "819,200", "0"],
        ["time", "4", "min", "10", "s", "1", "min", "40", "s", "—"],
        ["model.kind", "lstm", "gru", "markov"],
        ["model.hidden_size", "128", "2048", "—"],
        ["training.learning_rate", "0.002", "0.001", "—"],
        ["training.patience", "null", "3", "—"],
    ]
    assert result.stderr == "charlm: --output FILE writes a page with the curves of these runs.\n"


def test_the_page_is_written_beside_the_table_and_replaces_an_old_one(runs: Path, charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("old")
    result = charlm("runs", "compare", "oldest", "big", "--output", "page.html")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == charlm("runs", "compare", "oldest", "big").stdout
    expected = comparison_page([read_history(runs / "oldest"), read_history(runs / "big")])
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == expected


def test_the_comparison_as_json_has_one_value_a_run(runs: Path, charlm: Run) -> None:
    result = charlm("runs", "compare", "oldest", "big", "--json")
    found = json.loads(result.stdout)

    assert (result.exit_code, result.stderr) == (0, "")
    assert [run["name"] for run in found["runs"]] == ["oldest", "big"]
    assert found["differences"] == {
        "model.kind": ["lstm", "gru"],
        "model.hidden_size": [128, 2048],
        "training.learning_rate": [0.002, 0.001],
        "training.patience": [None, 3],
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("compare oldest", "charlm: oldest: a comparison needs two runs or more."),
        ("compare oldest big oldest", "charlm: oldest: this is the same run as oldest."),
        (
            "compare oldest runs/../runs/oldest",
            "charlm: runs/../runs/oldest: this is the same run as oldest.",
        ),
        ("compare oldest tail", "charlm: tail: not a run's folder, and no such run in runs/. Runs there: [red]new"),
        ("compare oldest strange", "charlm: runs/strange: cannot read this run's config"),
        ("show tail", "charlm: tail: not a run's folder, and no such run in runs/."),
        ("show big --directory other", "charlm: big: not a run's folder, and no such run in other/. There are no runs"),
        ("show strange --json", "charlm: runs/strange: cannot read this run's config"),
        ("list --directory runs/latest", "charlm: runs/latest/: cannot read this folder of runs (Not a directory)"),
    ],
)
def test_mistakes_are_told_in_words(words: str, message: str, runs: Path, charlm: Run) -> None:
    result = charlm("runs", *words.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(message)


def test_a_page_that_cannot_be_written_is_told(runs: Path, charlm: Run) -> None:
    result = charlm("runs", "compare", "oldest", "big", "--output", "nowhere/page.html")
    assert (result.exit_code, result.stdout) == (74, "")
    assert result.stderr.startswith("charlm: nowhere/page.html: cannot write")


# Names of all kinds, and real processes


def test_names_that_are_no_unicode_or_steer_terminals_are_written_out(runs: Path, tmp_path: Path) -> None:
    for name in (b"runs/\xffrun", b"runs/\x1b[31mred"):
        there = (runs / "oldest").rename(tmp_path / os.fsdecode(name))
        for words in ("", "--json", "compare big"):
            arguments = [*words.split(), *([str(there)] if "compare" in words else [])]
            result = run_in_shell(tmp_path, "runs", *arguments, redirect="")
            assert result.returncode == 0, result.stderr
            assert "\x1b" not in result.stdout + result.stderr
            if words == "--json":
                names: list[Any] = [run["name"] for run in json.loads(result.stdout)["runs"]]
                assert os.fsencode(names[0]) == name.removeprefix(b"runs/")
        there.rename(runs / "oldest")


def test_a_terminal_shows_names_as_they_are(runs: Path, tmp_path: Path) -> None:
    code, shown = run_on_terminal(tmp_path, "runs", environment={"NO_COLOR": "1"})
    assert code == 0
    assert "[red]new :smile:" in shown
    table = re.sub(r"\x1b\[\d*m", "", shown.split("charlm:")[0])
    assert max(map(len, table.splitlines())) <= 100
