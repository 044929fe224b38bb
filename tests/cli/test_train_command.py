"""What a user sees of ``charlm train``, and what it leaves behind."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from charlm.checkpoint.checkpoint import Checkpoint
from tests.conftest import TEXT, Run
from tests.harness.processes import run_on_terminal

pytestmark = pytest.mark.slow

CONFIG = """\
data:
  path: text.txt
model:
  kind: gru
  hidden_size: 5
training:
  batch_size: 3
  sequence_length: 11
  steps: 8
  evaluate_every: 4
  evaluation_lanes: 2
run:
  name: tiny
"""
METRICS = (
    "step",
    "epoch",
    "characters",
    "train_loss",
    "validation_loss",
    "bits_per_character",
    "learning_rate",
    "gradient_norm",
    "characters_per_second",
    "seconds",
    "sample",
    "run",
)
RUN_FILES = [
    "best.safetensors",
    "config.yaml",
    "metrics.jsonl",
    "report.html",
    "run.json",
    "step-00000004.safetensors",
    "step-00000008.safetensors",
]


@pytest.fixture
def train(charlm: Run, tmp_path: Path) -> Run:
    (tmp_path / "text.txt").write_bytes(TEXT.encode())
    (tmp_path / "tiny.yaml").write_text(CONFIG, encoding="utf-8")
    return lambda *arguments: charlm("train", "--config", "tiny.yaml", *arguments)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]


def table(stdout: str) -> dict[str, str]:
    """Return the rows below a table's title."""
    rows = (re.split(r"\s{2,}", row.strip(), maxsplit=1) for row in stdout.splitlines()[1:])
    return {row[0]: row[1] for row in rows}


def test_a_run_leaves_its_config_metrics_and_checkpoints_and_is_the_latest(train: Run, tmp_path: Path) -> None:
    assert train().exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "text.txt", "tiny.yaml"]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["latest", "tiny"]
    assert sorted(path.name for path in (tmp_path / "runs/tiny").iterdir()) == RUN_FILES
    assert (tmp_path / "runs/latest").read_text("utf-8") == "tiny\n"
    resolved = yaml.safe_load((tmp_path / "runs/tiny/config.yaml").read_text("utf-8"))
    assert resolved["model"]["hidden_size"] == 5
    assert resolved["training"]["learning_rate"] == 0.002  # defaults are written out


def test_metrics_have_a_line_an_evaluation_with_their_keys_in_order(train: Run, tmp_path: Path) -> None:
    train()
    lines = metrics(tmp_path / "runs/tiny")
    assert [tuple(line) for line in lines] == [METRICS, METRICS]
    assert [line["step"] for line in lines] == [4, 8]
    assert [line["characters"] for line in lines] == [4 * 3 * 11, 8 * 3 * 11]
    for line in lines:
        assert line["bits_per_character"] == pytest.approx(line["validation_loss"] / np.log(2))
        assert line["seconds"] > 0
    lane = (int(len(TEXT) * 0.9) - 1) // 3
    assert lines[1]["epoch"] == pytest.approx(8 * 11 / lane, abs=1e-4)


def test_the_last_step_is_evaluated_and_saved_wherever_it_falls(train: Run, tmp_path: Path) -> None:
    train("--set", "training.steps=7", "--set", "training.evaluate_every=5", "--set", "run.save_every=3")
    run = tmp_path / "runs/tiny"
    assert [line["step"] for line in metrics(run)] == [5, 7]
    full = sorted(path.name for path in run.glob("step-*"))
    assert full == ["step-00000006.safetensors", "step-00000007.safetensors"]  # 3 was the third last
    assert Checkpoint.load(run / "best.safetensors").progress.step in (5, 7)


def test_the_best_is_the_lowest_validation_loss_not_the_last(train: Run, tmp_path: Path) -> None:
    # So high a rate undoes what the first steps learned.
    train("--set", "training.steps=16", "--set", "training.learning_rate=30", "--set", "training.schedule=constant")
    losses = {line["step"]: line["validation_loss"] for line in metrics(tmp_path / "runs/tiny")}
    best = min(losses, key=lambda step: losses[step])
    assert best != 16
    kept = Checkpoint.load(tmp_path / "runs/tiny/best.safetensors")
    assert kept.progress.step == best
    assert kept.progress.validation_loss == losses[best]
    assert {name.partition(".")[0] for name in kept.tensors} == {"model"}


def test_a_second_run_takes_a_new_name_and_leaves_the_first_alone(train: Run, tmp_path: Path) -> None:
    train()
    first = files_in(tmp_path / "runs/tiny")
    again = train("--set", "training.seed=2")
    assert again.exit_code == 0
    assert again.stdout.startswith("runs/tiny-2 is trained\n")
    assert files_in(tmp_path / "runs/tiny") == first
    assert sorted(path.name for path in (tmp_path / "runs/tiny-2").iterdir()) == RUN_FILES
    assert (tmp_path / "runs/latest").read_text("utf-8") == "tiny-2\n"
    train()
    assert (tmp_path / "runs/tiny-3").is_dir()


def test_the_same_seed_trains_the_same_weights_and_another_seed_others(train: Run, tmp_path: Path) -> None:
    train()
    train()
    train("--set", "training.seed=2")
    weights = [
        Checkpoint.load(tmp_path / f"runs/{name}/best.safetensors").tensors["model.head.weight"]
        for name in ("tiny", "tiny-2", "tiny-3")
    ]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_the_result_says_how_good_it_is_where_it_lies_and_what_to_type_next(
    train: Run, charlm: Run, tmp_path: Path
) -> None:
    result = train()
    assert result.stdout.startswith("runs/tiny is trained\n")
    rows = table(result.stdout)
    assert list(rows) == ["best validation loss", "characters seen", "checkpoint", "report", "next"]
    best = min(line["validation_loss"] for line in metrics(tmp_path / "runs/tiny"))
    assert rows["best validation loss"] == f"{best:.4f} nats ({best / np.log(2):.3f} bits) per character"
    assert rows["characters seen"].startswith("264 in ")
    assert rows["checkpoint"] == "runs/tiny/best.safetensors"
    command = shlex.split(rows["next"])
    assert command[:2] == ["charlm", "sample"]
    following = charlm(*command[1:])
    assert following.exit_code == 0, following.stderr
    assert following.stdout.startswith(command[-1])
    assert len(command[-1]) == 3


@pytest.mark.parametrize("name", ["two words", "[red]x", ":smile:", "$HOME", "it's", "한글"])
def test_the_next_command_can_be_typed_whatever_the_run_is_called(name: str, train: Run, charlm: Run) -> None:
    result = train("--name", name)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"runs/{name} is trained\n")
    rows = table(result.stdout)
    assert rows["checkpoint"] == f"runs/{name}/best.safetensors"
    command = shlex.split(rows["next"])
    assert f"runs/{name}" in command
    assert charlm(*command[1:]).exit_code == 0


def test_off_a_terminal_each_evaluation_is_a_plain_line_and_a_sample(train: Run) -> None:
    result = train()
    assert "\r" not in result.stderr
    assert "\x1b" not in result.stdout + result.stderr
    lines = result.stderr.splitlines()
    assert lines[0] == "charlm: runs/tiny on cpu, 8 steps"
    told = [line for line in lines if line.startswith("step ")]
    number = r"[\d,]+(\.\d+)?"
    expected = (
        rf"step (4|8)/8  epoch {number}  loss {number} \({number} bits/char\)  "
        rf"validation {number} \({number} bits/char\)( best)?  {number} chars/s  {number} s left"
    )
    assert [re.fullmatch(expected, line) is not None for line in told] == [True, True]
    assert told[0].startswith("step 4/8")
    samples = [line for line in lines[1:] if line not in told]
    assert all(line.startswith("    | ") for line in samples)
    assert len(samples) >= 2


def test_a_sample_shown_in_training_holds_160_characters_of_the_text(train: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("[red]x:smile:" * 30, encoding="utf-8")
    lines = train().stderr.splitlines()
    samples = [line.removeprefix("    | ") for line in lines if line.startswith("    | ")]
    assert [len(sample) for sample in samples] == [160, 160]  # no line end in this text
    assert set("".join(samples)) <= set("[red]x:smile:")


def test_quiet_prints_the_result_alone(train: Run) -> None:
    result = train("--quiet")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.startswith("runs/tiny is trained\n")


def test_a_dry_run_prints_the_plan_and_writes_nothing(train: Run, tmp_path: Path) -> None:
    before = files_in(tmp_path)
    result = train("--dry-run", "--set", "training.steps=null", "--set", "training.epochs=3")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.startswith("plan of tiny.yaml\n")
    assert files_in(tmp_path) == before
    assert not (tmp_path / "runs").exists()
    rows = table(result.stdout)
    symbols, split = len(set(TEXT)), int(len(TEXT) * 0.9)
    weights = 3 * 5 * (symbols + 5 + 2) + 3 * 5 * (5 + 5 + 2) + symbols * (5 + 1)
    windows = -(-((split - 1) // 3) // 11)
    assert rows["text"] == f"{len(TEXT):,} characters: {split:,} train, {len(TEXT) - split:,} validation, 0 test"
    assert rows["vocabulary"] == f"{symbols} symbols"
    assert rows["model"] == f"gru, 2 × 5 units, {weights:,} parameters"
    assert rows["windows per epoch"] == f"{windows} of 3 lanes × 11 steps"
    assert rows["steps"] == f"{3 * windows}, evaluated every 4"
    assert " MB weights, gradients and moments" in rows["memory"]
    assert rows["threads"] == "1, chosen by torch"
    assert re.fullmatch(r"[\d,.]+ ms on cpu, [\d,]+ characters per second", rows["one step"])


def test_set_name_and_device_overrule_the_file(train: Run, tmp_path: Path) -> None:
    settings = ("--set", "model={kind: lstm, hidden_size: 4, num_layers: 1}", "--set", "run.directory=elsewhere")
    result = train(*settings, "--name", "2024", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    kept = Checkpoint.load(tmp_path / "elsewhere/2024/best.safetensors").config
    assert (kept.model.kind, kept.model.hidden_size, kept.model.num_layers) == ("lstm", 4, 1)
    assert kept.training.device == "cpu"
    assert kept.run.name == "2024"
    resolved = yaml.safe_load((tmp_path / "elsewhere/2024/config.yaml").read_text("utf-8"))
    assert resolved == kept.model_dump(mode="json")


def test_a_run_that_diverges_says_what_to_lower_and_keeps_no_broken_weights(train: Run, tmp_path: Path) -> None:
    result = train("--set", "training.learning_rate=1e38", "--set", "training.weight_decay=1", "--quiet")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.startswith("charlm: training diverged at step ")
    assert "training.learning_rate" in result.stderr
    for path in (tmp_path / "runs/tiny").glob("*.safetensors"):
        assert all(np.isfinite(value).all() for value in Checkpoint.load(path).part("model").values())


def test_a_corpus_of_several_files_is_read_in_order(train: Run, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(b"0" * 300)
    (tmp_path / "a.txt").write_bytes(b"1" * 300)
    result = train("--set", "data.path=[b.txt, a.txt]")
    assert result.exit_code == 0, result.stderr
    kept = Checkpoint.load(tmp_path / "runs/tiny/best.safetensors")
    assert kept.corpus.path == ["b.txt", "a.txt"]
    assert kept.vocabulary.symbols == ("0", "1")


def test_a_terminal_shows_a_bar_samples_and_the_result(train: Run, tmp_path: Path) -> None:
    # The fixture lays out the folder; the command runs as a process of its own.
    code, shown = run_on_terminal(tmp_path, "train", "--config", "tiny.yaml", "--name", "[red]x :smile:")
    assert code == 0, shown
    assert "\r" in shown  # the bar is drawn over itself
    bar = r"100% \|[^|]*\| 8/8,? +loss [\d.]+ +[\d.]+ bits/char +[\d,]+ chars/s +\d\d:\d\d<\d\d:\d\d"
    assert re.search(bar, shown)
    assert re.search(r"step 4  epoch .*  validation [\d.]+ \([\d.]+ bits/char\) best", shown)
    assert shown.count("\n    | ") + shown.count("\r    | ") >= 2
    assert "runs/[red]x :smile: is trained" in shown
    assert "best validation loss" in shown
    assert (tmp_path / "runs/[red]x :smile:/best.safetensors").is_file()
