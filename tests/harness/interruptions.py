"""Training in this process that is interrupted at a chosen moment, and the state of a run as comparable values."""

import json
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from charlm import generation
from charlm.checkpoint.checkpoint import Checkpoint
from charlm.cli.app import app
from charlm.cli.progress import Silence
from charlm.config.writing import resolved_yaml
from charlm.runs.directory import RunDirectory
from charlm.runs.lookup import BEST, full_checkpoints
from charlm.runs.metrics import METRICS
from charlm.training.trainer import Trainer
from tests.conftest import TEXT, make_config

Settings = Mapping[str, object]
"""Values by ``section.key``."""
Snapshot = dict[str, object]
"""Everything that a run has written, by name."""

MEASURED = {"seconds", "characters_per_second", "run"}
"""Values that differ from run to run: what a clock measures, and the random id."""
SAMPLE_LENGTH = 20
"""Characters of the sample at each evaluation, which takes most of a tiny run's time at its usual length."""


class Project:
    """A folder with a text in which the command line trains tiny models.

    Nothing waits for the disk: whatever interrupts training here is an exception, not a power cut.
    """

    def __init__(self, folder: Path, text: str = TEXT) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.text = folder / "text.txt"
        self.text.write_text(text, encoding="utf-8", newline="")
        self._config = folder / "tiny.yaml"
        self._config.write_text(
            resolved_yaml(make_config(self.text, self.runs, training={"device": "cpu"})), encoding="utf-8"
        )

    def train(self, name: str, settings: Settings, *options: str) -> Result:
        """Train a run with the command line."""
        values = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
        arguments = ["train", "--quiet", "--config", str(self._config), "--name", name, *values, *options]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda descriptor: None)
            patch.setattr(generation, "_SAMPLE_LENGTH", SAMPLE_LENGTH)
            return CliRunner().invoke(app, arguments)

    def finished(self, name: str, settings: Settings, *options: str) -> Snapshot:
        """Train a run to its end and return its snapshot."""
        result = self.train(name, settings, *options)
        assert result.exit_code == 0, result.output
        return self.snapshot(name)

    def snapshot(self, name: str) -> Snapshot:
        """Return what a run has written."""
        return snapshot(self.runs / name)

    def interrupted(self, name: str, settings: Settings, step: int, moment: str, *options: str) -> None:
        """Train a run and interrupt it at the first such moment from ``step`` on."""
        with interrupted_at(step, moment):
            result = self.train(name, settings, *options)
        assert result.exit_code in (130, 143), result.output

    def newest(self, name: str) -> Checkpoint:
        """Return a run's last full checkpoint."""
        return Checkpoint.load(full_checkpoints(self.runs / name)[-1])

    def edit_newest(self, name: str, change: Callable[[Checkpoint], Checkpoint]) -> None:
        """Replace a run's last full checkpoint with a changed one that is sealed again."""
        path = full_checkpoints(self.runs / name)[-1]
        changed = change(Checkpoint.load(path))
        path.unlink()
        changed.save(path.with_name(f"step-{changed.progress.step:08d}.safetensors"))


def _stop() -> None:
    signal.raise_signal(signal.SIGTERM)


def _ask_to_save() -> None:
    signal.raise_signal(signal.SIGUSR1)


def _die() -> None:
    raise KeyboardInterrupt


ASKED_TO_SAVE = "asked to save"
"""This one interrupts nothing."""

_MOMENTS: dict[str, tuple[type, str, Callable[[Any], int], Callable[[], None]]] = {
    "asked to stop": (Silence, "update", lambda report: report.step, _stop),
    "killed after the step": (Silence, "update", lambda report: report.step, _die),
    "killed after the metrics line": (RunDirectory, "record", lambda metrics: metrics["step"], _die),
    "killed after the best": (RunDirectory, "save_best", lambda checkpoint: checkpoint.progress.step, _die),
    "killed after the checkpoint": (RunDirectory, "save", lambda checkpoint: checkpoint.progress.step, _die),
    ASKED_TO_SAVE: (Silence, "update", lambda report: report.step, _ask_to_save),
}
MOMENTS = tuple(moment for moment in _MOMENTS if moment != ASKED_TO_SAVE)
"""When training can be interrupted, in the order of a step. Only the first ends with a save."""


@contextmanager
def interrupted_at(step: int, moment: str) -> Iterator[None]:
    """Interrupt training in this block at the first such moment from ``step`` on."""
    owner, name, step_of, end = _MOMENTS[moment]
    original = getattr(owner, name)

    def original_then_end(self: object, value: object) -> None:
        original(self, value)
        if step_of(value) >= step:
            end()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, original_then_end)
        yield


@contextmanager
def validation_losses(losses: Mapping[int, float], otherwise: float = math.nan) -> Iterator[None]:
    """Replace the validation loss, by step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "evaluate", lambda trainer: losses.get(trainer.progress.step + 1, otherwise))
        yield


def interrupted_and_resumed(
    project: Project, settings: Settings, cuts: Sequence[tuple[int, str]], *options: str
) -> tuple[Snapshot, int]:
    """Train the run ``broken``, interrupt and resume it at each cut; return its snapshot and how often that was.

    A moment that does not come before the end of training interrupts nothing.
    """
    shutil.rmtree(project.runs / "broken", ignore_errors=True)
    interruptions = 0
    for step, moment in cuts:
        with interrupted_at(step, moment):
            interruptions += project.train("broken", settings, "--resume", *options).exit_code in (130, 143)
    return project.finished("broken", settings, "--resume", *options), interruptions


def snapshot(run: Path) -> Snapshot:
    """Return last checkpoint, best and metrics of a run, without its name and what a clock measures."""
    values: Snapshot = {}
    for place, path in (("last", full_checkpoints(run)[-1]), ("best", run / BEST)):
        checkpoint = Checkpoint.load(path)
        config = checkpoint.config.model_dump(mode="json", exclude={"run": {"name"}})
        progress = checkpoint.progress.model_dump(exclude=MEASURED)
        values |= {f"{place}: {name}": (a.dtype.str, a.shape, a.tobytes()) for name, a in checkpoint.tensors.items()}
        values |= {f"{place}: progress.{name}": value for name, value in progress.items()}
        values |= {f"{place}: config": config, f"{place}: vocabulary": checkpoint.vocabulary.to_json()}
        values |= {f"{place}: corpus": (checkpoint.corpus.path, checkpoint.corpus.sha256)}
    for number, line in enumerate((run / METRICS).read_text("utf-8").splitlines()):
        metrics = json.loads(line)
        metrics["sample"] = metrics["sample"][:SAMPLE_LENGTH]
        values |= {f"metrics {number}: {key}": value for key, value in metrics.items() if key not in MEASURED}
    return values


def differences(expected: Snapshot, found: Snapshot) -> list[str]:
    """Return the names of all values that are not equal to the last bit."""
    nothing = object()
    return sorted(
        name for name in expected.keys() | found.keys() if expected.get(name, nothing) != found.get(name, nothing)
    )


def untouched(folder: Path, pattern: str = "*") -> dict[Path, tuple[int, int, bytes]]:
    """Return inodes, times of change and contents, which are equal later if nothing was written."""
    return {
        path: (path.stat().st_ino, path.stat().st_mtime_ns, b"" if path.is_dir() else path.read_bytes())
        for path in folder.rglob(pattern)
    }
