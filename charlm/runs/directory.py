"""The folder of a run, and the only code that writes into it.

    runs/
    ├── latest                       a text file: the newest run's name
    └── tales-lstm/
        ├── config.yaml              all settings of the run
        ├── metrics.jsonl            one line per evaluation
        ├── report.html              a page with plots of the metrics
        ├── best.safetensors         weights at the lowest validation loss
        └── step-00001200.safetensors    full checkpoints of the last few saves

A save writes the metrics line, the best weights, then the full checkpoint, which is the commit; it is read back and
verified before older ones are deleted. Resuming relies on the full checkpoint and restores the other files to it. The
folder is locked by one process at a time.
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
    """The locked folder of one run.

    Raises ConfigError when another process has locked it.
    """

    def __init__(self, path: Path, keep: int) -> None:
        self.path = path
        self._keep = keep
        self._release = weakref.finalize(self, os.close, _locked(path))

    @classmethod
    def create(cls, config: Config) -> Self:
        """Create a new folder for a run; if the name is taken, a number is appended.

        Raises StorageError when writing fails.
        """
        parent, name = Path(config.run.directory), config.run.name
        try:
            parent.mkdir(parents=True, exist_ok=True)
            path = _make_new(parent, name)
            for folder in (parent, *parent.absolute().parents[:1]):  # a new entry must survive a power failure
                force_to_disk(folder)
        except OSError as error:
            raise StorageError(
                f"{parent / name}: cannot create the run's folder ({error.strerror}).",
                "Choose another run.directory.",
                kind="no run folder",
            ) from error
        run = cls(path, config.run.keep)
        remove_abandoned(parent)
        try:
            write_whole_file(path / "config.yaml", resolved_yaml(config).encode())
        except StorageError:
            with contextlib.suppress(OSError):  # free the name of a run that could not start
                path.rmdir()
            raise
        return run

    @classmethod
    def reopen(cls, config: Config) -> Self | None:
        """Return the existing folder of a run, unchanged; None when there is none."""
        path = Path(config.run.directory, config.run.name)
        return cls(path, config.run.keep) if path.is_dir() else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unlock the folder."""
        self._release()

    @property
    def best(self) -> Path:
        """The path of the weights with the lowest validation loss."""
        return self.path / BEST

    def config(self) -> Config | None:
        """Return the settings in the folder; None where they cannot be read."""
        path = self.path / "config.yaml"
        try:
            return read_config(path) if path.is_file() else None  # opening a pipe would block
        except (ConfigError, OSError):
            return None

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of ``metrics.jsonl``; invalid lines are ignored."""
        return [metrics for _, metrics in metrics_lines(self.path)]

    def record(self, metrics: Mapping[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``; raises StorageError when writing fails."""
        self._write_metrics([line for line, _ in metrics_lines(self.path)] + [json.dumps(metrics)])

    def save_report(self, page: str) -> None:
        """Write the run's page, replacing the previous one."""
        write_whole_file(self.path / REPORT, page.encode())

    def save_best(self, checkpoint: Checkpoint) -> None:
        """Write the weights as the best so far."""
        checkpoint.weights_only().save(self.best)
        self._point_latest_here()

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a full checkpoint, verify it, then delete those beyond ``run.keep``."""
        path = self.path / step_name(checkpoint.progress.step)
        checkpoint.save(path)
        self._point_latest_here()
        Checkpoint.load(path)
        self._delete_older(checkpoint.progress.step)

    def rewind(self, found: Resumable | None, config: Config) -> None:
        """Restore the folder to the state in which ``found`` was saved (None: to the start of the run).

        Damaged checkpoints are renamed, metrics of later steps and temporary files are deleted, and the best weights
        are written again where this checkpoint has them.
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
        """Delete the full checkpoints beyond ``run.keep``, counted back from this step's."""
        until = [path for path in full_checkpoints(self.path) if (step_of(path) or 0) <= step]
        for old in until[: -self._keep]:
            with contextlib.suppress(OSError):  # the next save tries again
                old.unlink()

    def best_step(self) -> int | None:
        """Return the step of the best weights; None when they are missing or damaged."""
        try:
            return Checkpoint.load(self.best).progress.step
        except CheckpointError:
            return None

    def _write_metrics(self, lines: Sequence[str]) -> None:
        write_whole_file(self.path / METRICS, "".join(f"{line}\n" for line in lines).encode())

    def _point_latest_here(self) -> None:
        latest, line = self.path.parent / LATEST, f"{self.path.name}\n".encode()
        with contextlib.suppress(OSError):  # an unreadable file is written again
            if first_bytes(latest) == line:
                return
        write_whole_file(latest, line)


def checkpoint_sizes(config: Config, vocabulary_size: int) -> tuple[int, int]:
    """Return the approximate sizes in bytes of the best and of a full checkpoint: those of their tensors."""
    weights, optimizer, state = sizes(config, vocabulary_size)
    return weights, weights + optimizer + state


def check_space(config: Config, vocabulary_size: int, run: Path | None = None) -> None:
    """Raise StorageError unless the disk has space for all checkpoints that a run of this config keeps.

    The space of checkpoints in ``run``, the folder of a resumed run, counts as free.
    """
    parent = Path(config.run.directory)
    if (parent / LATEST).is_dir():
        raise StorageError(
            f"{parent / LATEST}: expected a file with the newest run's name, found a folder. Move it away."
        )
    best, full = checkpoint_sizes(config, vocabulary_size)
    needed = (config.run.keep + 1) * full + 2 * best
    there = sum(path.lstat().st_size for path in run.glob("*.safetensors")) if run else 0
    folder = next(place for place in (parent, *parent.absolute().parents) if place.is_dir())
    try:
        free = shutil.disk_usage(folder).free + there
    except OSError:  # free space is unknown
        return
    if free < needed:
        raise StorageError(
            f"{parent / config.run.name}: this run needs up to {needed / 1e6:,.1f} MB ({config.run.keep} full "
            f"checkpoints, one more while it is written, and the best), but {free / 1e6:,.1f} MB are free.",
            "Free some space, lower run.keep, or choose another run.directory.",
            kind="no space",
        )


def _locked(path: Path) -> int:
    """Return a file descriptor that keeps the folder locked until it is closed or the process ends."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        problem = f"{path}: cannot open the run's folder ({error.strerror})."
        raise StorageError(problem, "Choose another run.directory.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConfigError(
            f"{path}: another process is training this run.",
            "Wait until it has finished, or choose another run.name.",
            kind="run in use",
        ) from error
    except OSError:  # some network file systems have no locks
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
