"""Processes killed at any moment: a save is whole or absent, and a killed run ends as an undisturbed one."""

import json
import math
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch

from charlm import generation
from charlm.checkpoint.checkpoint import Checkpoint, Progress
from charlm.checkpoint.corpus_identity import CorpusIdentity
from charlm.cli.app import main
from charlm.config.settings import Config
from charlm.config.writing import resolved_yaml
from charlm.models.network import RecurrentNetwork
from charlm.models.recurrent import tensor_shapes
from charlm.runs.directory import RunDirectory
from charlm.runs.lookup import full_checkpoints, newest_checkpoint
from charlm.text.vocabulary import Vocabulary
from charlm.training.trainer import Trainer
from tests.conftest import TEXT, make_config
from tests.harness.child import Child, Sender
from tests.harness.interruptions import SAMPLE_LENGTH, differences, snapshot
from tests.harness.repetitions import repetitions, spread

pytestmark = pytest.mark.slow

SAVE_KILLS = repetitions(300)
PLAIN_KILLS = repetitions(60)


def temporary_files(*folders: Path) -> list[str]:
    return [path.name for folder in folders for path in folder.glob(".*")]


# Saving, over and over


def wide_config(folder: Path) -> Config:
    model = {"hidden_size": 160, "num_layers": 1}
    return make_config(folder / "text.txt", folder / "runs", model=model, run={"name": "wide"})


def wide_checkpoint(config: Config) -> Checkpoint:
    """Return a full checkpoint of random weights: 1.7 MB, enough to be killed in the middle of."""
    vocabulary, draw = Vocabulary.of_text(TEXT), np.random.default_rng(1)
    shapes = {f"model.{name}": shape for name, shape in tensor_shapes(config.model, len(vocabulary)).items()}
    for name in list(shapes):
        moments = name.replace("model.", "optimizer.", 1)
        shapes |= {f"{moments}.exp_avg": shapes[name], f"{moments}.exp_avg_sq": shapes[name], f"{moments}.step": ()}
    tensors = {name: np.asarray(draw.standard_normal(shape), np.float32) for name, shape in shapes.items()}
    tensors["rng.cpu"] = np.arange(5056, dtype=np.uint8)
    return Checkpoint(config, vocabulary, Progress(), CorpusIdentity(path=["text.txt"], sha256=""), tensors, {})


def at_step(checkpoint: Checkpoint, step: int) -> Checkpoint:
    """Return the checkpoint of another step, which its weights know too."""
    mark = np.full_like(checkpoint.tensors["model.head.bias"], step)
    progress = checkpoint.progress.model_copy(update={"step": step, "best_step": step})
    return replace(checkpoint, progress=progress, tensors=checkpoint.tensors | {"model.head.bias": mark})


def save_for_ever(folder: Path, sender: Sender) -> None:
    """Go on from the newest checkpoint, as `charlm train --resume` does, and save every step as it does."""
    config = wide_config(folder)
    checkpoint = wide_checkpoint(config)
    sender.send("begun")
    run = RunDirectory.reopen(config) or RunDirectory.create(config)
    found = newest_checkpoint(run.path)
    run.rewind(found, config)
    step = found.checkpoint.progress.step if found else 0
    while True:
        step += 1
        now = at_step(checkpoint, step)
        run.record({"step": step, "validation_loss": 1 / step})
        run.save_best(now)
        run.save(now)
        sender.send(str(step))


def save_plainly_for_ever(folder: Path, sender: Sender) -> None:
    """Save the same tensors as most programs do."""
    checkpoint = wide_checkpoint(wide_config(folder))
    tensors = {name: torch.from_numpy(value) for name, value in checkpoint.tensors.items()}
    step = torch.load(folder / "checkpoint.pt")["step"] if (folder / "checkpoint.pt").exists() else 0
    while True:
        step += 1
        torch.save({"step": step, "tensors": tensors}, folder / "checkpoint.pt")
        sender.send(str(step))


def seconds_a_save(saving: Callable[..., None], folder: Path) -> float:
    """Return how long one save takes here and now."""
    folder.mkdir()
    with Child(saving, folder) as child:
        times = [time.monotonic() for _ in islice(iter(child.receive, None), 12)]
    return median(later - earlier for earlier, later in pairwise(times))


def kill_while_saving(saving: Callable[..., None], folder: Path, after: int, seconds: float) -> str:
    """Start saving and kill it so long after so many words; return the last word it said."""
    with Child(saving, folder) as child:
        for _ in range(after):
            child.receive()
        child.join(seconds)
        assert child.kill(), child.last_message
        return child.last_message


def test_no_kill_during_a_save_costs_a_checkpoint(tmp_path) -> None:
    whole = seconds_a_save(save_for_ever, tmp_path / "timed")
    draw, places, newest = random.Random(1), Counter[str](), 0
    delays = [1.2 * whole * (kill + draw.random()) / SAVE_KILLS for kill in range(SAVE_KILLS)]
    draw.shuffle(delays)
    folder = tmp_path / "killed"
    folder.mkdir()
    config = wide_config(folder)
    run = Path(config.run.directory, config.run.name)

    for delay in delays:
        word = kill_while_saving(save_for_ever, folder, draw.randint(1, 2), delay)
        saved = newest if word == "begun" else int(word)
        found = newest_checkpoint(run)
        newest = found.checkpoint.progress.step if found else 0
        assert newest in (saved, saved + 1)  # never back, and never further than what was under way
        if found is None:
            continue
        assert found.damaged == {}
        assert len(full_checkpoints(run)) <= 3
        assert set(found.checkpoint.tensors["model.head.bias"]) == {newest}
        best = Checkpoint.load(run / "best.safetensors")
        assert best.progress.step in (newest, newest + 1)
        assert set(best.tensors["model.head.bias"]) == {best.progress.step}
        metrics = (run / "metrics.jsonl").read_text()
        steps = [json.loads(line)["step"] for line in metrics.splitlines()]
        assert metrics.endswith("\n")
        assert steps == list(range(1, newest + 1)) + [newest + 1] * (steps[-1] > newest)
        places["between metrics and full checkpoint"] += steps[-1] > newest
        places["between best and full checkpoint"] += best.progress.step > newest
        places["after the full checkpoint, in the same save"] += newest > saved
        if temporary_files(run, run.parent):
            places["inside a file"] += 1
            with RunDirectory.reopen(config) as reopened:
                reopened.rewind(found, config)
            assert temporary_files(run, run.parent) == []

    sys.stdout.write(
        f"\n{SAVE_KILLS} kills, {newest} saves of {whole * 1000:.0f} ms, all whole; landed {dict(places)}\n"
    )
    assert places["inside a file"] >= SAVE_KILLS // 60  # hundreds on a slow disk, some on one in memory
    assert places["between metrics and full checkpoint"] >= SAVE_KILLS // 30
    assert sorted(path.name for path in run.parent.iterdir()) == ["latest", "wide"]


def test_the_same_kills_cost_torch_save_its_checkpoint(tmp_path) -> None:
    """Without this, the test above might kill only where nothing can break."""
    whole = seconds_a_save(save_plainly_for_ever, tmp_path / "timed")
    draw, states = random.Random(1), Counter[str]()
    folder = tmp_path / "killed"
    folder.mkdir()

    for _ in range(PLAIN_KILLS):
        kill_while_saving(save_plainly_for_ever, folder, draw.randint(1, 2), draw.uniform(0, 1.2 * whole))
        try:
            torch.load(folder / "checkpoint.pt")
            states["whole"] += 1
        except (RuntimeError, EOFError, OSError):
            states["unreadable"] += 1
            (folder / "checkpoint.pt").unlink()

    sys.stdout.write(f"\n{PLAIN_KILLS} kills of a plain torch.save, {whole * 1000:.0f} ms each; left {dict(states)}\n")
    assert states["unreadable"] >= max(PLAIN_KILLS // 4, 1)


# The whole of `charlm train`

Moment = tuple[str, int]
"""A place in the program, such as save/rename, and for which time this process comes by."""

ANYWHERE = "anywhere"
MOMENTS: list[Moment] = [
    ("force", 1),  # the folder is made, its config.yaml is not
    ("step/forward", 1),  # the first step of all
    ("rewind/force", 1),
    ("evaluation/forward", 1),
    ("record/force", 1),
    ("best/force", 1),
    ("best/rename", 1),
    ("best/rename", 2),  # of the latest run's name, or of the next best
    ("save/force", 1),
    ("save/rename", 1),
    ("save/force", 2),  # the new name may not be on the disk yet
    ("step/forward", 1),  # the first step after a checkpoint
    ("save/delete", 1),
]
"""When runs are killed, in this order; random moments come on top."""
RANDOM_KILLS = repetitions(12)
"""Of each run."""

RUNS: dict[str, dict[str, dict[str, object]]] = {
    "rnn, 1 layer": {
        "model": {"nonlinearity": "relu"},
        "training": {"schedule": "constant", "warmup_fraction": 0.3, "evaluate_every": 7},
        "run": {"save_every": 5},
    },
    "rnn, 2 layers": {
        "training": {
            "schedule": "plateau",
            "learning_rate": 0.3,
            "evaluate_every": 5,
            "on_divergence": "rollback",
        },
        "run": {"save_every": 3, "keep": 1},
    },
    "lstm, 1 layer": {
        "model": {"embedding_size": 5},
        "training": {"schedule": "plateau", "learning_rate": 0.2, "evaluate_every": 4},
        "run": {"save_every": 6, "keep": 3},
    },
    "lstm, 2 layers": {
        "training": {"schedule": "cosine", "evaluate_every": 6, "on_divergence": "rollback"},
        "run": {"save_every": 4},
    },
    "gru, 1 layer": {
        "training": {"schedule": "cosine", "warmup_fraction": 0.0, "evaluate_every": 9, "carry_state": False},
        "run": {"save_every": 4, "keep": 1},
    },
    "gru, 2 layers": {
        "training": {"schedule": "constant", "gradient_clip": None, "evaluate_every": 5},
        "run": {"save_every": None},
    },
}
STEPS = max(repetitions(120), 40)
DIVERGES = 10
"""The steps that are taken when a run that can go back diverges: some kills come before, some after."""


class Marks:
    """Says at which place the program is, whenever that changes; at one moment, stops it to wait for its death."""

    def __init__(self, sender: Sender, last: Moment | None) -> None:
        self._sender = sender
        self._last = last
        self._places: list[str] = []
        self._times = Counter[str]()

    def put(self, owner: Any, name: str, place: str) -> None:
        """Let ``owner.name`` be known as ``place`` from now on."""
        function = getattr(owner, name)

        @wraps(function)
        def marked(*arguments: Any, **options: Any) -> Any:
            self._places.append(place)
            self._say()
            try:
                return function(*arguments, **options)
            finally:
                self._places.pop()
                self._say()

        setattr(owner, name, marked)

    def _say(self) -> None:
        here = "/".join(self._places) or "elsewhere"
        self._sender.send(here)
        self._times.update((here, ANYWHERE))
        if self._last in ((here, self._times[here]), (ANYWHERE, self._times[ANYWHERE])):
            while True:
                signal.pause()


def diverging_once(train_step: Callable[..., tuple[float, float]]) -> Callable[..., tuple[float, float]]:
    """Return a training step that diverges in the midst of a run that can go back, until it has gone back."""

    @wraps(train_step)
    def diverging(trainer: Trainer, *arguments: Any) -> tuple[float, float]:
        progress = trainer.progress
        rolls_back = trainer.config.training.on_divergence == "rollback"
        if rolls_back and (progress.step, progress.rollbacks) == (DIVERGES, 0):
            with torch.no_grad():
                trainer.network.head.bias.fill_(math.nan)
        return train_step(trainer, *arguments)

    return diverging


def train(folder: Path, last: Moment | None, sender: Sender) -> None:
    """Run `charlm train --resume` as a shell would, but for marks."""
    os.chdir(folder)
    marks = Marks(sender, last)
    marks.put(Trainer, "train_step", "step")
    marks.put(Trainer, "evaluate", "evaluation")
    marks.put(RecurrentNetwork, "forward", "forward")
    marks.put(RunDirectory, "rewind", "rewind")
    marks.put(RunDirectory, "record", "record")
    marks.put(RunDirectory, "save_best", "best")
    marks.put(RunDirectory, "save", "save")
    marks.put(os, "fsync", "force")
    marks.put(os, "replace", "rename")
    marks.put(os, "unlink", "delete")
    generation._SAMPLE_LENGTH = SAMPLE_LENGTH
    Trainer.train_step = diverging_once(Trainer.train_step)
    sys.argv = ["charlm", "train", "--config", "run.yaml", "--resume"]
    with Path("output").open("a", encoding="utf-8") as sys.stdout:
        sys.stderr = sys.stdout
        main()


def made(folder: Path, kind: str, layers: int, **sections: dict[str, object]) -> Path:
    """Return a new folder with a text and the config of a run."""
    folder.mkdir()
    (folder / "text.txt").write_text(TEXT, encoding="utf-8", newline="")
    model = {"hidden_size": 7, "num_layers": layers, "dropout": 0.2}
    sections["model"] = model | sections.get("model", {})
    sections["training"] = {"steps": STEPS} | sections["training"]
    config = make_config(Path("text.txt"), Path("runs"), kind=kind, **sections)
    (folder / "run.yaml").write_text(resolved_yaml(config), encoding="utf-8")
    return folder


def finished(folder: Path) -> tuple[Path, int]:
    """Train to the end; return the run's folder, and how many words that took."""
    with Child(train, folder, None) as child:
        words = sum(1 for _ in iter(child.receive, None))
        assert child.join() == 0, (child.last_message, output(folder))
    return run_of(folder), words


def killed(folder: Path, moment: Moment, after: int | None = None, seconds: float = 0.0) -> str:
    """Train until the moment, or until so long after so many words if that comes first; return where it was killed."""
    with Child(train, folder, moment) as child:
        times = Counter[str]()
        for word in iter(child.receive, None):
            times.update((word, ANYWHERE))
            if moment == (word, times[word]) or after == times[ANYWHERE]:
                break
        if after is not None:
            child.join(seconds)
        assert child.kill(), (child.last_message, output(folder))
        return child.last_message


def run_of(folder: Path) -> Path:
    [run] = [path for path in (folder / "runs").iterdir() if path.is_dir()]
    return run


def output(folder: Path) -> str:
    return (folder / "output").read_text(encoding="utf-8")[-2000:]


def same_as(expected: Path, found: Path) -> None:
    """Assert that two runs have written the same, but for times."""
    assert differences(snapshot(expected), snapshot(found)) == []
    for one, other in ((expected, found), (expected.parent, found.parent)):
        assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in other.iterdir())
    assert (expected / "config.yaml").read_bytes() == (found / "config.yaml").read_bytes()


def moments_of(name: str) -> list[Moment]:
    """Return when this run is killed: at all moments, or at its share of them between the first step and a delete."""
    places = range(len(MOMENTS))
    share = places[list(RUNS).index(name) :: len(RUNS)]
    chosen = places if spread(MOMENTS) == MOMENTS else sorted({1, *share, places[-1]})
    return [MOMENTS[place] for place in chosen]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_killed_repeatedly_equals_an_undisturbed_run(tmp_path, name) -> None:
    kind, layers = name.split(", ")
    folders = [made(tmp_path / word, kind, int(layers[0]), **RUNS[name]) for word in ("undisturbed", "killed")]
    undisturbed, words = finished(folders[0])
    folder, draw = folders[1], random.Random(name)
    places = Counter[str]()

    for moment in moments_of(name):
        place = killed(folder, moment)
        assert place == moment[0]
        places[place if full_checkpoints(run_of(folder)) else f"{place} before any checkpoint"] += 1
    for _ in range(RANDOM_KILLS):
        after = draw.randint(1, words // 20)
        places[killed(folder, (ANYWHERE, after + 20), after, draw.uniform(0, 0.003))] += 1

    progress = newest_checkpoint(run_of(folder)).checkpoint.progress
    newest, rolls_back = progress.step, "on_divergence" in RUNS[name]["training"]
    sys.stdout.write(f"\n{name}: {places.total()} kills before step {newest} of {STEPS}: {dict(places)}\n")
    assert newest < STEPS
    assert progress.rollbacks == rolls_back
    assert places["step/forward before any checkpoint"] >= 1
    same_as(undisturbed, finished(folder)[0])


@pytest.mark.parametrize("moment", [("save/rename", 2), ("save/force", 4), ("save/delete", 1)])
def test_a_run_killed_in_its_last_save_is_cleaned_up(tmp_path, moment) -> None:
    sections = {"training": {"steps": 6, "evaluate_every": 3}, "run": {"keep": 1}}
    folders = [made(tmp_path / word, "gru", 1, **sections) for word in ("undisturbed", "killed")]

    assert killed(folders[1], moment) == moment[0]

    same_as(finished(folders[0])[0], finished(folders[1])[0])


@pytest.mark.parametrize("again", [[], [("rewind/force", 3)]], ids=["once", "and once more, while it begins again"])
def test_a_run_killed_before_its_first_checkpoint_restarts(tmp_path, again) -> None:
    sections = {"training": {"steps": 10, "evaluate_every": 3}, "run": {"save_every": 50}}
    often = sections | {"run": {"save_every": 2}}
    folder = made(tmp_path / "killed", "rnn", 1, **sections)
    killed(folder, ("step/forward", 8))
    undisturbed, _ = finished(made(tmp_path / "undisturbed", "rnn", 1, **often))
    shutil.copy(tmp_path / "undisturbed" / "run.yaml", folder)

    for moment in again:
        killed(folder, moment)

    same_as(undisturbed, finished(folder)[0])
