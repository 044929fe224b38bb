"""Checkpoints that older versions wrote are read, sampled, scored and gone on from as they were then.

``tests/frozen`` holds full checkpoints of each format, the text they were trained on, and what came of them when they
were written. The tests only read it. ``python -m tests.checkpoint.test_old_formats`` wrote the files of the newest
format: only where a format gets a new number is it run again, and then it writes beside the old ones. No key of a
frozen format goes or changes its meaning; a later version may add a setting or a key of ``progress`` with a default.
"""

import json
import math
import random
import shutil
from dataclasses import replace
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from charlm.checkpoint.checkpoint import FORMAT, Checkpoint, step_name
from charlm.cli.app import app
from charlm.config.settings import Config
from charlm.config.writing import resolved_yaml
from charlm.evaluation import evaluate
from charlm.runs.identity import IDENTITY, identity_json, read_id
from charlm.runs.step_report import StepReport
from charlm.sampling import SamplingOptions, context, never_written, sample
from charlm.text.corpus import Corpus
from charlm.text.streams import evaluation_streams
from charlm.training.ngram import count
from charlm.training.trainer import Trainer
from tests.harness.handmade import Parts

ROOT = Path(__file__).parents[2]
FROZEN = Path("tests/frozen")
TEXT = FROZEN / "text.txt"
EXPECTED = FROZEN / "expected.json"

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "lstm": {
        "data": {"normalization": "NFD"},
        "model": {"dropout": 0.0, "weight_dropout": 0.2, "locked_dropout": 0.1, "input_dropout": 0.1},
        "training": {"on_divergence": "rollback", "threads": 1},
    },
    "items": {"data": {"documents": "line"}, "model": {"kind": "gru", "dropout": 0.2}},
}
"""What each of today's is for: a vocabulary of jamo, masks and a rollback point; separate items, split at random."""
KINDS = {1: ("rnn", "lstm", "gru"), 2: ("rnn", "lstm", "gru", "items"), 3: tuple(VARIANTS)}
"""The full checkpoints of each format. Of 1 and 2, rnn has an embedding, and gru a symbol for unknown characters."""
MARKOVS = ("format-2-markov.safetensors", "format-3-markov.safetensors")
RUN_ID, ELSEWHERE = "0123456789abcdef", "/texts/text.txt"
"""The run's id and the place of the text that checkpoints of format 3 record."""
ORDER = 3
STEPS, TAKEN, AND_ON = 960, 903, 5
"""Steps of a whole run, how many of them were taken when it was frozen, and how many more are known."""
SAMPLED = 60
CLOSE = 1e-5
BUILD = f"{torch.__version__.partition('+')[0]}{' with MKL' if torch.backends.mkl.is_available() else ''}"
"""Of torch: what its random numbers depend on."""


LAST_FROZEN = 3
"""The newest format of which there are files here."""
ADDED: set[str] = set()
"""Settings and keys of ``progress`` that came after the last format was frozen; each has a default."""


def frozen(kind: str, number: int = LAST_FROZEN) -> Path:
    return FROZEN / f"format-{number}-{kind}.safetensors"


# ---------------------------------------------------------------------------------------------- how it was made


def made_text() -> str:
    """Return a few hundred characters of a dozen kinds, Korean and not, some of them rare."""
    chance = random.Random(4)
    words = ["나무", "가라", "bee", "a", "bad", "다"]
    lines = (" ".join(word if chance.random() < 0.9 else chance.choice(words) for word in words) for _ in range(40))
    return "".join(f"{line}{'?' if chance.random() < 0.05 else '.'}\n" for line in lines)


def config_of(kind: str) -> Config:
    tree: dict[str, dict[str, Any]] = {
        "data": {"path": str(TEXT), "validation_fraction": 0.2},
        "model": {"kind": kind, "hidden_size": 5, "num_layers": 2, "dropout": 0.1},
        "training": {
            "batch_size": 3,
            "sequence_length": 11,
            "steps": STEPS,
            "evaluate_every": 50,
            "evaluation_lanes": 2,
            "learning_rate": 0.02,
            "device": "cpu",
        },
        "run": {"name": f"frozen-{kind}"},
    }
    for section, values in VARIANTS[kind].items():
        tree[section] |= values
    return Config.model_validate(tree)


def made(kind: str, taken: int) -> Checkpoint:
    """Train, with today's charlm, and stop in the midst of a pass; the text must lie there."""
    config = config_of(kind)
    trainer = Trainer(config, Corpus.read(config.data))
    list(islice(trainer.run(), taken))
    return _of_no_machine(trainer.checkpoint(), processor="x86_64")


def _of_no_machine(checkpoint: Checkpoint, **more: str) -> Checkpoint:
    """Return the checkpoint of a run, with the place of its text and the platform of no machine in particular."""
    corpus = checkpoint.corpus.model_copy(update={"files": [ELSEWHERE]})
    versions = checkpoint.versions | {"platform": "Linux"} | more
    return replace(checkpoint, run_id=RUN_ID, corpus=corpus, versions=versions)


def made_by_counting() -> Checkpoint:
    """Count, with today's charlm; the text must lie there."""
    tree = {"data": {"path": str(TEXT), "validation_fraction": 0.2}, "model": {"kind": "markov", "order": ORDER}}
    config = Config.model_validate(tree | {"run": {"name": "frozen-markov"}})
    _, checkpoint = count(config, Corpus.read(config.data))
    return _of_no_machine(checkpoint)


def measured(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what the tests expect of a checkpoint."""
    return {
        "sample": greedy_sample(checkpoint),
        "validation_loss": validation_loss(checkpoint),
        "losses": next_losses(checkpoint),
        "losses_without_dropout": next_losses(without_dropout(checkpoint)),
        "torch": BUILD,
    }


def freeze() -> None:
    """Write all that lies in ``tests/frozen``."""
    FROZEN.mkdir(exist_ok=True)
    TEXT.write_text(made_text(), encoding="utf-8", newline="")
    expected = {name: values for name, values in EXPECTATIONS.items() if not name.startswith(f"format-{LAST_FROZEN}-")}
    for kind in VARIANTS:
        checkpoint = made(kind, TAKEN)
        checkpoint.save(frozen(kind))
        assert smallest_lead(checkpoint) > 100 * CLOSE, "another processor might choose another character"
        expected[frozen(kind).name] = measured(checkpoint)
    counted = made_by_counting()
    counted.save(frozen("markov"))
    expected[frozen("markov").name] = {"sample": greedy_sample(counted), "validation_loss": validation_loss(counted)}
    EXPECTED.write_text(json.dumps(expected, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


# ------------------------------------------------------------------------------------------- what comes of them


def greedy_sample(checkpoint: Checkpoint) -> str:
    rows = sample(checkpoint.model(), checkpoint.vocabulary, options=SamplingOptions(temperature=0))
    ids = (int(row[0]) for row in islice(rows, SAMPLED))
    return checkpoint.vocabulary.decode(list(takewhile(lambda index: index != checkpoint.vocabulary.end, ids)))


def smallest_lead(checkpoint: Checkpoint) -> float:
    """Return by how much, at the least, a character of the greedy sample was likelier than the next."""
    model, lead = checkpoint.model(), math.inf
    ids, state = context(checkpoint.vocabulary, ""), model.start(1)
    for _ in range(SAMPLED):
        logits, state = model.step(ids, state)
        logits[:, never_written(checkpoint.vocabulary)] = -np.inf
        second, first = np.sort(logits[0])[-2:]
        ids, lead = logits.argmax(axis=-1), min(lead, float(first - second))
        if ids[0] == checkpoint.vocabulary.end:
            break
    return lead


def validation_loss(checkpoint: Checkpoint) -> float:
    corpus = Corpus.read(checkpoint.config.data, checkpoint.vocabulary)
    lanes = checkpoint.config.training.evaluation_lanes
    streams = evaluation_streams(corpus.validation, lanes, checkpoint.vocabulary.end)
    return evaluate(checkpoint.model(), checkpoint.vocabulary, streams).nats_per_character


def next_losses(checkpoint: Checkpoint) -> list[float]:
    corpus = Corpus.read(checkpoint.config.data, checkpoint.vocabulary)
    events = islice(Trainer.resume(checkpoint, corpus).run(), AND_ON)
    return [event.loss for event in events if isinstance(event, StepReport)]


def without_dropout(checkpoint: Checkpoint) -> Checkpoint:
    """Silence what other builds of torch draw otherwise."""
    none = dict.fromkeys(("dropout", "weight_dropout", "locked_dropout", "input_dropout"), 0.0)
    model = checkpoint.config.model.model_copy(update=none)
    return replace(checkpoint, config=checkpoint.config.model_copy(update={"model": model}))


# ----------------------------------------------------------------------------------------------------- the laws


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the path of the text mean what it meant."""
    monkeypatch.chdir(ROOT)


EXPECTATIONS: dict[str, dict[str, Any]] = (
    json.loads((ROOT / EXPECTED).read_text("utf-8")) if (ROOT / EXPECTED).exists() else {}
)
every_file = pytest.mark.parametrize("name", EXPECTATIONS)
every_full_file = pytest.mark.parametrize("name", [name for name in EXPECTATIONS if name not in MARKOVS])


def test_every_frozen_file_is_tried_and_all_are_small() -> None:
    files = list(FROZEN.iterdir())

    assert {path.name for path in files} == {*EXPECTATIONS, TEXT.name, EXPECTED.name}
    known = {frozen(kind, number).name for number, kinds in KINDS.items() for kind in kinds}
    assert known | {*MARKOVS} == EXPECTATIONS.keys()
    assert sum(path.stat().st_size for path in files) < 200_000


@every_full_file
def test_it_is_read_and_holds_all_that_training_carries(name: str) -> None:
    checkpoint = Checkpoint.load(FROZEN / name)

    assert checkpoint.is_full
    assert checkpoint.progress.step == TAKEN
    assert {part.partition(".")[0] for part in checkpoint.tensors} == {"model", "optimizer", "state", "rng"}


@every_file
def test_it_is_written_again_as_it_was(name: str) -> None:
    content = (FROZEN / name).read_bytes()
    written = Checkpoint.from_bytes(content).to_bytes()
    then, again = Parts.of(content), Parts.of(written)

    assert again.tree == then.tree
    assert again.body == then.body
    assert Checkpoint.from_bytes(written).config == Checkpoint.from_bytes(content).config
    if name.startswith(f"format-{FORMAT}-"):
        assert changed_outline(again.record, then.record) == ADDED


@every_file
def test_it_writes_the_same_text(name: str) -> None:
    path = str(FROZEN / name)
    result = CliRunner().invoke(app, ["sample", "--checkpoint", path, "--temperature", "0", "--length", str(SAMPLED)])

    assert result.exit_code == 0
    assert len(set(EXPECTATIONS[name]["sample"])) > 3  # no single character again and again
    assert result.stdout == EXPECTATIONS[name]["sample"] == greedy_sample(Checkpoint.load(FROZEN / name))


def text_of(name: str) -> list[str]:
    """Return the options that name the text, which formats 1 and 2 record relative to the working directory."""
    return ["--corpus", str(TEXT)] if name.startswith("format-3-") else []


@every_file
def test_it_scores_its_validation_text_the_same(name: str) -> None:
    result = CliRunner().invoke(app, ["evaluate", "--checkpoint", str(FROZEN / name), *text_of(name), "--json"])

    assert result.exit_code == 0
    expected = EXPECTATIONS[name]["validation_loss"]
    assert json.loads(result.stdout)["nats_per_character"] == pytest.approx(expected, abs=CLOSE)


@every_file
def test_it_reads_its_text_in_another_folder_where_that_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = str((FROZEN / name).absolute())
    here = CliRunner().invoke(app, ["evaluate", "-c", str(FROZEN / name), *text_of(name)])
    shutil.copy(TEXT, tmp_path / "moved.txt")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    lost = CliRunner().invoke(app, ["evaluate", "-c", checkpoint])
    found = CliRunner().invoke(app, ["evaluate", "-c", checkpoint, "--corpus", "../*.txt"])

    assert (lost.exit_code, lost.stdout) == (2, "")
    assert f"{ELSEWHERE if text_of(name) else TEXT}: no such file." in lost.stderr
    assert "--corpus" in lost.stderr
    assert found.exit_code == here.exit_code == 0
    assert found.stdout.splitlines()[1:] == here.stdout.splitlines()[1:]


@every_full_file
def test_it_trains_on_with_the_same_losses(name: str) -> None:
    checkpoint = without_dropout(Checkpoint.load(FROZEN / name))

    assert next_losses(checkpoint) == pytest.approx(EXPECTATIONS[name]["losses_without_dropout"], abs=CLOSE)


@every_full_file
def test_it_drops_the_same_units(name: str) -> None:
    checkpoint = Checkpoint.load(FROZEN / name)
    if EXPECTATIONS[name]["torch"] != BUILD:
        pytest.skip("another build of torch draws other units to drop")

    assert next_losses(checkpoint) == pytest.approx(EXPECTATIONS[name]["losses"], abs=CLOSE)


@every_full_file
def test_a_run_goes_on_from_it(name: str, tmp_path: Path) -> None:
    checkpoint = Checkpoint.load(FROZEN / name)
    run = tmp_path / checkpoint.config.run.name
    run.mkdir()
    shutil.copy(FROZEN / name, run / step_name(TAKEN))
    if checkpoint.run_id:
        (run / IDENTITY).write_bytes(identity_json(checkpoint.run_id))
    (tmp_path / "config.yaml").write_text(resolved_yaml(checkpoint.config), encoding="utf-8")
    options = ["--set", f"run.directory={tmp_path}", "--resume", "--quiet"]
    result = CliRunner().invoke(app, ["train", "--config", str(tmp_path / "config.yaml"), *options])

    assert result.exit_code == 0, result.output
    assert Checkpoint.load(run / step_name(STEPS)).run_id == (checkpoint.run_id or read_id(run))
    ended = Checkpoint.load(run / step_name(STEPS)).progress
    assert ended.step == STEPS
    assert ended.characters > checkpoint.progress.characters
    assert ended.best_validation_loss is not None


def test_a_run_of_format_2_keeps_its_split_and_says_so_from_then_on(tmp_path: Path) -> None:
    """It held out the end of its items. Resumed twice, from its own config and from one without these settings."""
    checkpoint = Checkpoint.load(frozen("items", 2))
    run = tmp_path / "frozen-items"
    run.mkdir()
    shutil.copy(frozen("items", 2), run / step_name(TAKEN))
    lines = resolved_yaml(checkpoint.config).splitlines(keepends=True)
    own = "".join(line for line in lines if line.strip() not in ("split: tail", "newlines: keep"))
    assert own.count("\n") == len(lines) - 2
    (run / "config.yaml").write_text(own, encoding="utf-8")
    then = Corpus.read(checkpoint.config.data, checkpoint.vocabulary)
    for steps, source in ((TAKEN + 10, run / "config.yaml"), (TAKEN + 20, tmp_path / "config.yaml")):
        (tmp_path / "config.yaml").write_text(own, encoding="utf-8")
        options = ["--set", f"run.directory={tmp_path}", "--set", f"training.steps={steps}", "--resume", "--quiet"]
        result = CliRunner().invoke(app, ["train", "--config", str(source), *options])
        assert result.exit_code == 0, result.output
        assert "data." not in result.output
        assert {"  split: tail", "  newlines: keep"} < {*(run / "config.yaml").read_text("utf-8").split("\n")}
        resumed = Checkpoint.load(run / step_name(steps))
        assert (resumed.config.data.split, resumed.config.data.newlines) == ("tail", "keep")
        now = Corpus.read(resumed.config.data, resumed.vocabulary)
        assert (now.validation_start, now.test_start) == (then.validation_start, then.test_start)
        assert now.ids.tolist() == then.ids.tolist()


def outline(tree: Any) -> Any:
    """Return what a tree of JSON is made of: its keys, and the types of its values."""
    if isinstance(tree, dict):
        return {key: outline(value) for key, value in tree.items()}
    return [outline(tree[0])] if isinstance(tree, list) and tree else type(tree).__name__


def changed_outline(today: Any, then: Any, place: str = "") -> set[str]:
    """Return the keys of which only one tree of JSON has a value, or another type of value."""
    if not (isinstance(today, dict) and isinstance(then, dict)):
        return set() if outline(today) == outline(then) else {place}
    found = {f"{place}.{key}".lstrip(".") for key in today.keys() ^ then.keys()}
    both = (changed_outline(today[key], then[key], f"{place}.{key}".lstrip(".")) for key in today.keys() & then.keys())
    return found.union(*both)


def holds(tree: Any, key: str) -> bool:
    """Return whether a tree of JSON has this ``section.key``."""
    name, _, rest = key.partition(".")
    return isinstance(tree, dict) and name in tree and (not rest or holds(tree[name], rest))


@pytest.mark.parametrize("name", MARKOVS)
def test_a_counted_run_is_found_complete(name: str, tmp_path: Path) -> None:
    """Its model is read as that of the run, and there is nothing left to count."""
    checkpoint = Checkpoint.load(FROZEN / name)
    assert (checkpoint.config.model.order, checkpoint.progress.step, checkpoint.is_full) == (ORDER, 1, False)
    run = tmp_path / checkpoint.config.run.name
    run.mkdir()
    shutil.copy(FROZEN / name, run / "best.safetensors")
    if checkpoint.run_id:
        (run / IDENTITY).write_bytes(identity_json(checkpoint.run_id))
    (run / "config.yaml").write_text(resolved_yaml(checkpoint.config), encoding="utf-8")
    options = ["--set", f"run.directory={tmp_path}", "--resume"]
    result = CliRunner().invoke(app, ["train", "--config", str(run / "config.yaml"), *options])

    assert result.exit_code == 0, result.output
    assert (run / "best.safetensors").read_bytes() == (FROZEN / name).read_bytes()
    today, then = Parts.of(made_by_counting().to_bytes()), Parts.of((FROZEN / name).read_bytes())
    assert (today.tree, today.body) == (then.tree, then.body)


@pytest.mark.parametrize("kind", [*VARIANTS, "markov"])
def test_what_is_written_today_has_the_layout_of_its_format(kind: str) -> None:
    """A key more is refused by every charlm that is older; one less is missed by those that read it."""
    written = made_by_counting() if kind == "markov" else made(kind, 53)
    today, then = Parts.of(written.to_bytes()), Parts.of(frozen(kind).read_bytes())

    assert today.record["format"] == then.record["format"] == FORMAT == LAST_FROZEN
    assert changed_outline(today.record, then.record) == ADDED
    assert all(key.startswith(("config.", "progress.")) for key in ADDED)
    assert not any(holds(then.record, key) for key in ADDED)
    assert today.tree == then.tree


def test_the_frozen_text_is_what_the_vocabularies_are_there_for() -> None:
    assert TEXT.read_text("utf-8") == made_text()
    symbols = {kind: Checkpoint.load(frozen(kind, 2)).vocabulary.symbols for kind in KINDS[2]}

    assert any(symbol in symbols["lstm"] for symbol in "\u1100\u1102\u1161")  # jamo
    assert any(symbol in symbols["rnn"] for symbol in "가나다")  # syllables
    assert "<unk>" in symbols["gru"]
    assert "<end>" in symbols["items"]


if __name__ == "__main__":
    freeze()
