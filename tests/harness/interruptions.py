"""Training that is broken off at a chosen moment, and what a run leaves behind as values that can be compared."""

import json
import math
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.cli.app import app
from charlm.cli.progress import Silence
from charlm.config.writing import resolved_yaml
from charlm.runs.directory import METRICS, RunDirectory
from charlm.runs.lookup import BEST, full_checkpoints
from charlm.training.trainer import Trainer
from tests.conftest import TEXT, make_config

Settings = Mapping[str, object]
"""Values by ``section.key``."""
Snapshot = dict[str, object]
"""Everything that a run leaves behind, by name."""

MEASURED = {"seconds", "characters_per_second"}
"""What is another number each time."""


class Project:
    """A folder with a text in which the command line trains tiny models."""

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
        """Train a run as the command does."""
        values = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
        arguments = ["train", "--quiet", "--config", str(self._config), "--name", name, *values, *options]
        return CliRunner().invoke(app, arguments)

    def finished(self, name: str, settings: Settings, *options: str) -> Snapshot:
        """Train a run to its end; return what it leaves behind."""
        result = self.train(name, settings, *options)
        assert result.exit_code == 0, result.output
        return self.left_by(name)

    def left_by(self, name: str) -> Snapshot:
        """Return what a run left behind."""
        return snapshot(self.runs / name)

    def broken_off(self, name: str, settings: Settings, step: int, moment: str, *options: str) -> None:
        """Train a run and break it off at the first such moment from ``step`` on."""
        with broken_off(step, moment):
            result = self.train(name, settings, *options)
        assert result.exit_code in (130, 143), result.output

    def newest(self, name: str) -> Checkpoint:
        """Return a run's last full checkpoint."""
        return Checkpoint.load(full_checkpoints(self.runs / name)[-1])

    def doctor(self, name: str, change: Callable[[Checkpoint], Checkpoint]) -> None:
        """Put something else in the place of a run's last full checkpoint, sealed as if it had been written so."""
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
"""This one breaks nothing off."""

_MOMENTS: dict[str, tuple[type, str, Callable[[Any], int], Callable[[], None]]] = {
    "asked to stop": (Silence, "update", lambda report: report.step, _stop),
    "killed after the step": (Silence, "update", lambda report: report.step, _die),
    "killed after the metrics line": (RunDirectory, "record", lambda metrics: metrics["step"], _die),
    "killed after the best": (RunDirectory, "save_best", lambda checkpoint: checkpoint.progress.step, _die),
    "killed after the checkpoint": (RunDirectory, "save", lambda checkpoint: checkpoint.progress.step, _die),
    ASKED_TO_SAVE: (Silence, "update", lambda report: report.step, _ask_to_save),
}
MOMENTS = tuple(moment for moment in _MOMENTS if moment != ASKED_TO_SAVE)
"""At which training can be broken off, in the order in which they come. Only the first ends with a save."""


@contextmanager
def broken_off(step: int, moment: str) -> Iterator[None]:
    """Break off whatever trains here at the first such moment from ``step`` on."""
    owner, name, step_of, end = _MOMENTS[moment]
    original = getattr(owner, name)

    def first_the_original(self: object, value: object) -> None:
        original(self, value)
        if step_of(value) >= step:
            end()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, first_the_original)
        yield


@contextmanager
def validation_losses(losses: Mapping[int, float], otherwise: float = math.nan) -> Iterator[None]:
    """Let the validation loss be what a test needs it to be, by step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "evaluate", lambda trainer: losses.get(trainer.progress.step + 1, otherwise))
        yield


def broken_and_resumed(
    project: Project, settings: Settings, cuts: Sequence[tuple[int, str]], *options: str
) -> tuple[Snapshot, int]:
    """Train the run ``broken``, break it off and resume it at each cut; return what is left, and the cuts that came.

    A moment that does not come before the end of training breaks nothing off.
    """
    shutil.rmtree(project.runs / "broken", ignore_errors=True)
    came = 0
    for step, moment in cuts:
        with broken_off(step, moment):
            came += project.train("broken", settings, "--resume", *options).exit_code in (130, 143)
    return project.finished("broken", settings, "--resume", *options), came


def snapshot(run: Path) -> Snapshot:
    """Return what a run leaves behind but its name and what is measured: last checkpoint, best, metrics."""
    left: Snapshot = {}
    for place, path in (("last", full_checkpoints(run)[-1]), ("best", run / BEST)):
        checkpoint = Checkpoint.load(path)
        config = checkpoint.config.model_dump(mode="json", exclude={"run": {"name"}})
        progress = checkpoint.progress.model_dump(exclude=MEASURED)
        left |= {f"{place}: {name}": (a.dtype.str, a.shape, a.tobytes()) for name, a in checkpoint.tensors.items()}
        left |= {f"{place}: progress.{name}": value for name, value in progress.items()}
        left |= {f"{place}: config": config, f"{place}: vocabulary": checkpoint.vocabulary.to_json()}
        left |= {f"{place}: corpus": checkpoint.corpus}
    for number, line in enumerate((run / METRICS).read_text("utf-8").splitlines()):
        left |= {f"metrics {number}: {key}": value for key, value in json.loads(line).items() if key not in MEASURED}
    return left


def differences(expected: Snapshot, found: Snapshot) -> list[str]:
    """Return the names of all that is not the same to the last bit."""
    nothing = object()
    return sorted(
        name for name in expected.keys() | found.keys() if expected.get(name, nothing) != found.get(name, nothing)
    )


def untouched(folder: Path, pattern: str = "*") -> dict[Path, tuple[int, int, bytes]]:
    """Return what stays the same in a folder where nothing is written: inodes, times of change, contents."""
    return {
        path: (path.stat().st_ino, path.stat().st_mtime_ns, b"" if path.is_dir() else path.read_bytes())
        for path in folder.rglob(pattern)
    }
