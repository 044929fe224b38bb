"""``charlm train`` of a Markov model: it counts once, and what it leaves is a run as any other."""

import json
import math
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.runs.metrics import METRICS
from tests.conftest import TEXT, Run
from tests.harness.interruptions import untouched

CONFIG = """\
data: {path: text.txt}
model: {kind: markov, order: 3}
run: {name: counts}
"""
RECURRENT = """\
data: {path: text.txt}
model: {kind: gru, hidden_size: 5, num_layers: 1}
training: {batch_size: 3, sequence_length: 11, steps: 4, evaluate_every: 2}
run: {name: counts}
"""
RUN = Path("runs/counts")
KEYS = [
    *("step", "epoch", "characters", "train_loss", "validation_loss", "bits_per_character"),
    *("learning_rate", "gradient_norm", "characters_per_second", "seconds", "sample", "run"),
]


@pytest.fixture
def count(charlm: Run, tmp_path: Path) -> Run:
    """Return a function that counts here, as the config says and options overrule."""
    (tmp_path / "text.txt").write_bytes(TEXT.encode())
    (tmp_path / "markov.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "gru.yaml").write_text(RECURRENT, encoding="utf-8")
    return lambda *options: charlm("train", "--config", "markov.yaml", *options)


def succeed(run: Run, *options: str) -> str:
    """Return what a command that must succeed printed."""
    result = run(*options)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / METRICS).read_text("utf-8").splitlines()]


def table(stdout: str) -> dict[str, str]:
    """Return the rows below a table's title."""
    rows = (re.split(r"\s{2,}", row.strip(), maxsplit=1) for row in stdout.splitlines()[1:])
    return {row[0]: row[1] for row in rows}


def test_a_run_leaves_what_any_run_leaves_but_full_checkpoints(count: Run) -> None:
    succeed(count)
    files = sorted(path.name for path in RUN.iterdir())
    assert files == ["best.safetensors", "config.yaml", "metrics.jsonl", "report.html", "run.json"]
    assert Path("runs/latest").read_text("utf-8") == "counts\n"
    assert "<html" in (RUN / "report.html").read_text("utf-8")


def test_the_checkpoint_holds_the_model_and_how_it_came_about(count: Run, charlm: Run) -> None:
    succeed(count)
    checkpoint = Checkpoint.load(RUN / "best.safetensors")
    assert checkpoint.model().order == checkpoint.config.model.order == 3  # type: ignore[attr-defined]
    train = int(len(TEXT) * 0.9)
    assert (checkpoint.progress.step, checkpoint.progress.best_step) == (1, 1)
    assert (checkpoint.progress.epoch, checkpoint.progress.characters) == (1.0, train)
    assert not checkpoint.is_full
    symbols = checkpoint.vocabulary.symbols
    singles = Counter(TEXT[:train])
    part = checkpoint.part("model")
    assert {symbols[index] for index in part["symbols.0"].tolist()} == set(singles)
    assert part["counts.0"].tolist() == [singles[symbols[index]] for index in part["symbols.0"].tolist()]
    pairs = Counter(pairwise(TEXT[:train]))
    assert sorted(part["counts.1"].tolist()) == sorted(pairs.values())
    assert succeed(charlm, "sample", "--seed", "1", "--length", "30")


def test_one_line_of_metrics_tells_what_there_is_to_tell(count: Run, charlm: Run) -> None:
    succeed(count)
    (line,) = metrics(RUN)
    assert list(line) == KEYS
    assert [line[key] for key in ("train_loss", "learning_rate", "gradient_norm")] == [None] * 3
    assert (line["step"], line["epoch"], line["characters"]) == (1, 1.0, int(len(TEXT) * 0.9))
    assert line["bits_per_character"] == pytest.approx(line["validation_loss"] / math.log(2), abs=1e-4)
    assert len(line["sample"]) == 160
    assert set(line["sample"]) <= set(TEXT)
    score = json.loads(succeed(charlm, "evaluate", "--json"))
    assert score["nats_per_character"] == pytest.approx(line["validation_loss"], abs=1e-12)


@pytest.mark.parametrize("order", [0, 1, 7])
def test_the_loss_in_the_metrics_is_that_of_the_order(order: int, count: Run, charlm: Run) -> None:
    succeed(count, f"--set=model.order={order}", f"--name=order-{order}")
    baselines = json.loads(succeed(charlm, "evaluate", "--baselines", "--json"))
    (line,) = metrics(Path(f"runs/order-{order}"))
    assert line["validation_loss"] / math.log(2) == pytest.approx(baselines["bits_per_character"], abs=1e-9)
    if order in (0, 1):
        assert line["validation_loss"] / math.log(2) == pytest.approx(baselines["baselines"][f"Markov {order}"])
    if order == 0:
        assert line["validation_loss"] / math.log(2) > 4  # it knows nothing but how frequent each is
    if order == 7:
        assert line["validation_loss"] / math.log(2) < 1  # the text repeats itself


def test_the_result_says_how_good_it_is_and_what_to_type_next(count: Run) -> None:
    result = count()
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "runs/counts is counted"
    shown = table(result.stdout)
    (line,) = metrics(RUN)
    best = f"{line['validation_loss']:.4f} nats ({line['bits_per_character']:.3f} bits) per character"
    assert shown["best validation loss"] == best
    assert shown["characters seen"].startswith(f"{int(len(TEXT) * 0.9):,} in ")
    assert shown["checkpoint"] == "runs/counts/best.safetensors"
    assert shown["report"] == "runs/counts/report.html"
    assert shown["next"].startswith("charlm sample --checkpoint runs/counts --prompt ")


def test_off_a_terminal_a_line_says_what_is_counted_unless_it_is_to_be_quiet(count: Run) -> None:
    loud, quiet = count(), count("--quiet")
    assert loud.exit_code == quiet.exit_code == 0
    assert re.fullmatch(
        rf"charlm: counting what follows up to \d characters in {int(len(TEXT) * 0.9):,}\n", loud.stderr
    )
    assert quiet.stderr == ""
    assert quiet.stdout.splitlines()[0] == "runs/counts-2 is counted"


def test_counting_twice_gives_the_same_model(count: Run) -> None:
    succeed(count)
    succeed(count)
    first, second = (Checkpoint.load(Path(f"runs/{name}/best.safetensors")) for name in ("counts", "counts-2"))
    assert {name: value.tobytes() for name, value in first.tensors.items()} == {
        name: value.tobytes() for name, value in second.tensors.items()
    }
    assert metrics(RUN)[0]["sample"] == metrics(Path("runs/counts-2"))[0]["sample"]


# ------------------------------------------------------------------------------------------------------ going on


def test_a_run_that_is_counted_stays_as_it_is(count: Run) -> None:
    succeed(count)
    before = untouched(Path("runs"))
    for _ in range(2):
        result = count("--resume")
        assert result.exit_code == 0
        assert result.stderr == "charlm: runs/counts is already counted; there is nothing to resume.\n"
    assert untouched(Path("runs")) == before


def test_resuming_what_is_not_there_begins_it(count: Run) -> None:
    assert succeed(count, "--resume").splitlines()[0] == "runs/counts is counted"
    assert len(metrics(RUN)) == 1


@pytest.mark.parametrize("damage", ["gone", "cut", "flipped"])
def test_a_run_whose_model_is_damaged_is_counted_anew_in_its_place(damage: str, count: Run) -> None:
    succeed(count)
    best = RUN / "best.safetensors"
    whole = Checkpoint.load(best)
    if damage == "gone":
        best.unlink()
    else:
        content = bytearray(best.read_bytes())
        best.write_bytes(content[:-1] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    assert succeed(count, "--resume").splitlines()[0] == "runs/counts is counted"
    assert sorted(path.name for path in Path("runs").iterdir()) == ["counts", "latest"]
    again = Checkpoint.load(best)
    assert {k: v.tobytes() for k, v in again.tensors.items()} == {k: v.tobytes() for k, v in whole.tensors.items()}
    assert len(metrics(RUN)) == 1
    assert count("--resume").stderr.endswith("nothing to resume.\n")


@pytest.mark.parametrize(
    ("change", "key"), [("model.order=4", "model.order"), ("data.validation_fraction=0.2", "data.validation_fraction")]
)
def test_other_settings_are_another_run(change: str, key: str, count: Run) -> None:
    succeed(count)
    before = untouched(Path("runs"))
    result = count("--resume", "--set", change)
    assert result.exit_code == 4
    assert result.stderr.startswith("charlm: this run cannot continue with these settings:")
    assert key in result.stderr
    assert untouched(Path("runs")) == before


def test_a_text_that_has_changed_is_not_said_to_be_counted(count: Run) -> None:
    succeed(count)
    Path("text.txt").write_bytes(TEXT.replace("fox", "box").encode())
    before = untouched(Path("runs"))
    result = count("--resume")
    assert result.exit_code == 4
    assert "text.txt" in result.stderr
    assert untouched(Path("runs")) == before


def test_a_counted_run_does_not_go_on_as_a_recurrent_one(count: Run, charlm: Run) -> None:
    succeed(count)
    before = untouched(Path("runs"))
    result = charlm("train", "--config", "gru.yaml", "--resume", "--quiet")
    assert result.exit_code == 4
    assert "markov" in result.stderr
    assert untouched(Path("runs")) == before


@pytest.mark.parametrize("best", ["whole", "gone"])
def test_a_recurrent_run_does_not_go_on_as_a_counted_one(best: str, count: Run, charlm: Run) -> None:
    succeed(charlm, "train", "--config", "gru.yaml", "--quiet")
    if best == "gone":
        (RUN / "best.safetensors").unlink()
    before = untouched(Path("runs"))
    result = count("--resume")
    assert result.exit_code == 4
    assert untouched(Path("runs")) == before


# ------------------------------------------------------------------------------------------- plans, and refusals


def test_a_dry_run_says_what_would_be_counted_and_writes_nothing(count: Run, tmp_path: Path) -> None:
    before = untouched(tmp_path)
    stdout = succeed(count, "--dry-run")
    assert stdout.splitlines()[0] == "plan of markov.yaml"
    train = int(len(TEXT) * 0.9)
    shown = table(stdout)
    assert shown["text"] == f"{len(TEXT)} characters: {train} train, {len(TEXT) - train} validation, 0 test"
    assert shown["vocabulary"] == f"{len(set(TEXT))} symbols"
    assert "up to 3 characters" in shown["model"]
    assert untouched(tmp_path) == before


def test_a_dry_run_of_what_is_counted_changes_nothing(count: Run) -> None:
    succeed(count)
    before = untouched(Path("runs"))
    succeed(count, "--dry-run", "--resume")
    assert untouched(Path("runs")) == before


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--init-from", "other"], 2, ["Markov"]),
        (["--tensorboard"], 2, ["Markov"]),
        (["--device", "cuda"], 2, ["training", "device"]),
        (["--set", "training.steps=5"], 2, ["steps", "default"]),
        (["--set", "training.batch_size=5", "--set", "training.epochs=3"], 2, ["batch_size", "epochs"]),
        (["--set", "model.hidden_size=7"], 2, ["hidden_size", "rnn, lstm, gru"]),
        (["--set", "model.dropout=0.5"], 2, ["dropout"]),
        (["--set", "model.order=33"], 2, ["order"]),
        (["--set", "model.order=-1"], 2, ["order"]),
        (["--allow-change", "model.order"], 2, ["--resume"]),
        (["--set", "data.path=gone.txt"], 2, ["gone.txt"]),
        (["--set", "run.directory=text.txt"], 74, ["text.txt"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0].startswith("--") else None,
)
def test_what_counting_does_not_read_is_refused(
    options: list[str], code: int, words: list[str], count: Run, tmp_path: Path
) -> None:
    before = untouched(tmp_path)
    result = count(*options)
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("charlm: ")
    assert [word for word in words if word not in result.stderr] == [], result.stderr
    assert untouched(tmp_path) == before


def test_the_seed_is_read(count: Run) -> None:
    succeed(count)
    succeed(count, "--set", "training.seed=2", "--name", "other")
    assert metrics(RUN)[0]["sample"] != metrics(Path("runs/other"))[0]["sample"]


def test_order_is_read_by_markov_alone(count: Run, charlm: Run) -> None:
    result = charlm("train", "--config", "gru.yaml", "--set", "model.order=2")
    assert result.exit_code == 2
    assert "markov" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "--device", "cuda"],
        ["evaluate", "--device", "cuda"],
        ["sample", "--clamp", "0:1=0.5"],
        ["inspect-hidden", "--text", "fox"],
        ["inspect-hidden", "--find", "quotes"],
        ["inspect-gradients", "--text", "fox"],
        ["inspect-gradients", "--lags", "5"],
    ],
    ids=" ".join,
)
def test_what_a_markov_model_does_not_have_is_told_in_a_sentence(arguments: list[str], count: Run, charlm: Run) -> None:
    succeed(count)
    result = charlm(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("charlm: ")
    assert "Markov model" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_recurrent_model_cannot_begin_with_counts(count: Run, charlm: Run) -> None:
    succeed(count)
    before = untouched(Path("runs"))
    result = charlm("train", "--config", "gru.yaml", "--init-from", "counts", "--name", "new")
    assert result.exit_code == 4
    assert "is counted" in result.stderr
    assert untouched(Path("runs")) == before


def test_several_texts_and_bytes_are_counted_too(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abab" * 20, encoding="utf-8")
    (tmp_path / "b.bin").write_bytes(bytes(range(256)) * 3)
    (tmp_path / "markov.yaml").write_text(
        "data: {path: [a.txt, b.bin], unit: byte}\nmodel: {kind: markov, order: 1}\n", encoding="utf-8"
    )
    stdout = succeed(charlm, "train", "--config", "markov.yaml")
    assert "is counted" in stdout
    assert len(Checkpoint.load(Path("runs/run/best.safetensors")).vocabulary) == 256
