"""The folder of a run, and the only code that writes into it.

    runs/
    ├── latest                       a text file: the newest run's name
    └── tales-lstm/
        ├── config.yaml              every setting of the run
        ├── metrics.jsonl            one line an evaluation
        ├── report.html              the same as a page, for people
        ├── best.safetensors         weights at the lowest validation loss
        └── step-00001200.safetensors    all there is to know, of the last few saves

The order of a save is: metrics line, best, then the full checkpoint, which is the commit; then it is
read back and verified, and only then are older ones deleted. Whoever resumes trusts the full checkpoint and
repairs what comes before it. One process at a time holds the folder.
"""

import contextlib
import fcntl
import json
import os
import shutil
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from charlm.checkpoint.checkpoint import Checkpoint, Progress, step_name, step_of
from charlm.checkpoint.layout import sizes
from charlm.config.reading import read_config
from charlm.config.settings import Config
from charlm.config.writing import resolved_yaml
from charlm.errors import CheckpointError, ConfigError, StorageError
from charlm.runs.history import REPORT
from charlm.runs.lookup import BEST, LATEST, Resumable, first_bytes, full_checkpoints
from charlm.runs.metrics import METRICS, metrics_lines
from charlm.whole_file import force_to_disk, remove_abandoned, write_whole_file


class RunDirectory:
    """One run's folder, and the only thing that writes into it.

    Raises ConfigError when another process holds it.
    """

    def __init__(self, path: Path, keep: int) -> None:
        self.path = path
        self._keep = keep
        self._release = weakref.finalize(self, os.close, _locked(path))

    @classmethod
    def create(cls, config: Config) -> Self:
        """Make a new folder for a run, never an old one again: a taken name gets a number.

        Raises StorageError when the disk refuses.
        """
        parent, name = Path(config.run.directory), config.run.name
        try:
            parent.mkdir(parents=True, exist_ok=True)
            path = _make_new(parent, name)
            for folder in (parent, *parent.absolute().parents[:1]):  # a new folder's name must survive a power cut too
                force_to_disk(folder)
        except OSError as error:
            raise StorageError(
                f"{parent / name}: cannot make the run's folder ({error.strerror}).",
                "Choose another run.directory.",
                kind="no run folder",
            ) from error
        run = cls(path, config.run.keep)
        remove_abandoned(parent)
        try:
            write_whole_file(path / "config.yaml", resolved_yaml(config).encode())
        except StorageError:
            with contextlib.suppress(OSError):  # what could not begin leaves its name to the next
                path.rmdir()
            raise
        return run

    @classmethod
    def reopen(cls, config: Config) -> Self | None:
        """Return the folder that a run of this name left, with nothing changed in it; None when there is none."""
        path = Path(config.run.directory, config.run.name)
        return cls(path, config.run.keep) if path.is_dir() else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes have the folder."""
        self._release()

    @property
    def best(self) -> Path:
        """Where the weights of the lowest validation loss lie."""
        return self.path / BEST

    def config(self) -> Config | None:
        """Return the settings that lie in the folder; None where they cannot be read."""
        path = self.path / "config.yaml"
        try:
            return read_config(path) if path.is_file() else None  # a pipe would wait for ever
        except (ConfigError, OSError):
            return None

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of ``metrics.jsonl``; whatever is not such a line is left out."""
        return [metrics for _, metrics in metrics_lines(self.path)]

    def record(self, metrics: Mapping[str, Any]) -> None:
        """Add one line to ``metrics.jsonl``; raises StorageError when the disk refuses."""
        self._write_metrics([line for line, _ in metrics_lines(self.path)] + [json.dumps(metrics)])

    def save_report(self, page: str) -> None:
        """Put the run's page in the place of the one before."""
        write_whole_file(self.path / REPORT, page.encode())

    def save_best(self, checkpoint: Checkpoint) -> None:
        """Keep these weights as the best so far."""
        checkpoint.weights_only().save(self.best)
        self._point_latest_here()

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep a full checkpoint, verify it, then delete those past ``run.keep``."""
        path = self.path / step_name(checkpoint.progress.step)
        checkpoint.save(path)
        self._point_latest_here()
        Checkpoint.load(path)
        self._delete_older(checkpoint.progress.step)

    def rewind(self, found: Resumable | None, config: Config) -> None:
        """Make the folder what it was when that checkpoint was saved (None: when the run began), to go on from there.

        Damaged files are set aside under another name, metrics of later steps and what killed processes left are
        dropped, and the best is written again where this checkpoint is it.
        """
        for folder in (self.path, self.path.parent):
            remove_abandoned(folder)
        for path in found.damaged if found else ():
            with contextlib.suppress(OSError):
                path.replace(f"{path}.damaged")
        progress = found.checkpoint.progress if found else Progress()
        lines = [line for line, metrics in metrics_lines(self.path) if metrics["step"] <= progress.step]
        if lines or (self.path / METRICS).exists():
            self._write_metrics(lines)
        write_whole_file(self.path / "config.yaml", resolved_yaml(config).encode())
        if found and progress.best_step == progress.step != self.best_step():
            self.save_best(found.checkpoint)
        self._delete_older(progress.step)

    def _delete_older(self, step: int) -> None:
        """Delete the full checkpoints that are past ``run.keep``, counted back from this step's."""
        until = [path for path in full_checkpoints(self.path) if (step_of(path) or 0) <= step]
        for old in until[: -self._keep]:
            with contextlib.suppress(OSError):  # the next save tries again
                old.unlink()

    def best_step(self) -> int | None:
        """Return the step of the best weights that lie here; None when there are none, or they are damaged."""
        try:
            return Checkpoint.load(self.best).progress.step
        except CheckpointError:
            return None

    def _write_metrics(self, lines: Sequence[str]) -> None:
        write_whole_file(self.path / METRICS, "".join(f"{line}\n" for line in lines).encode())

    def _point_latest_here(self) -> None:
        latest, line = self.path.parent / LATEST, f"{self.path.name}\n".encode()
        with contextlib.suppress(OSError):  # what cannot be read is written anew
            if first_bytes(latest) == line:
                return
        write_whole_file(latest, line)


def checkpoint_sizes(config: Config, vocabulary_size: int) -> tuple[int, int]:
    """Return about how many bytes the best and a full checkpoint of a network take: their tensors."""
    weights, optimizer, state = sizes(config, vocabulary_size)
    return weights, weights + optimizer + state


def check_space(config: Config, vocabulary_size: int, run: Path | None = None) -> None:
    """Raise StorageError unless the disk has room for all that a run of this config keeps at a time.

    The files in the folder ``run``, of a run that goes on, make room for the new ones.
    """
    parent = Path(config.run.directory)
    if (parent / LATEST).is_dir():
        raise StorageError(
            f"{parent / LATEST}: the newest run's name belongs here, but this is a folder. Move it away."
        )
    best, full = checkpoint_sizes(config, vocabulary_size)
    needed = (config.run.keep + 1) * full + 2 * best
    there = sum(path.lstat().st_size for path in run.glob("*.safetensors")) if run else 0
    folder = next(place for place in (parent, *parent.absolute().parents) if place.is_dir())
    try:
        free = shutil.disk_usage(folder).free + there
    except OSError:  # a disk that does not tell its room may have it
        return
    if free < needed:
        raise StorageError(
            f"{parent / config.run.name}: this run keeps up to {needed / 1e6:,.1f} MB ({config.run.keep} full "
            f"checkpoints, one more while it is written, and the best), and {free / 1e6:,.1f} MB are free.",
            "Free some space, lower run.keep, or choose another run.directory.",
            kind="no space",
        )


def _locked(path: Path) -> int:
    """Return a descriptor that holds the folder for this process until it is closed, or the process dies."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise StorageError(f"{path}: cannot open the run's folder ({error.strerror}). Choose another place.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConfigError(
            f"{path}: another process is training this run.",
            "Wait until it has ended, or choose another run.name.",
            kind="run in use",
        ) from error
    except OSError:  # some network file systems know no locks
        pass
    return descriptor


def _make_new(parent: Path, name: str) -> Path:
    number = 1
    while True:
        path = parent / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path
