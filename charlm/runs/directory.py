"""The folder of a run, and the only code that writes into it.

    runs/
    ├── latest                       a text file: the newest run's name
    └── tales-lstm/
        ├── run.json                 the run's random id
        ├── config.yaml              all settings of the run
        ├── metrics.jsonl            one line per evaluation
        ├── report.html              a page with plots of the metrics
        ├── initial.safetensors      the weights that the run started with, if they are another model's
        ├── best.safetensors         weights at the lowest validation loss
        └── step-00001200.safetensors    full checkpoints of the last few saves, and the one to roll back to

A save writes the metrics line, the best weights, then the full checkpoint, which is the commit; it is read back and
verified before older ones are deleted. Resuming relies on the full checkpoint and restores the other files to it. The
folder is locked by one process at a time, and everything is written through the descriptor of the locked folder.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Self

from charlm.checkpoint.checkpoint import Checkpoint, Progress, step_name, step_of
from charlm.config.reading import read_config
from charlm.config.settings import Config
from charlm.config.writing import resolved_yaml
from charlm.errors import CheckpointError, ConfigError, StorageError
from charlm.runs.history import REPORT, History
from charlm.runs.identity import CONFIG, IDENTITY, identity_json, is_older_run, new_id, read_id
from charlm.runs.locked_folder import LockedFolder, check_link, run_in_use, taken
from charlm.runs.lookup import BEST, INITIAL, LATEST, Resumable, first_bytes, full_checkpoints
from charlm.runs.metrics import MetricsFile
from charlm.whole_file import remove_abandoned, write_whole_file


class RunDirectory:
    """The locked folder of one run; use `create`, `begin` or `reopen`."""

    def __init__(self, folder: LockedFolder, keep: int | None) -> None:
        self.path = folder.path
        self.id = read_id(folder.path)
        """The run's random id; None in a run of formats 1 and 2 that was not resumed yet."""
        self._folder = folder
        self._keep = keep
        self._metrics = MetricsFile(folder, self.id)

    @classmethod
    def create(cls, config: Config, initial: Checkpoint | None = None) -> Self:
        """Create a new folder for a run; if the name is taken, a number is appended.

        ``initial`` is the weights of another model that it starts with. Raises StorageError when writing fails.
        """
        name = config.run.name
        names = (name if number == 1 else f"{name}-{number}" for number in count(1))
        folders = (taken(Path(config.run.directory), name) for name in names)
        return cls._begun(next(folder for folder in folders if folder), config, initial)

    @classmethod
    def begin(cls, config: Config, initial: Checkpoint | None = None) -> Self:
        """Create the folder of a run under exactly its name; under another where a file has that name.

        Raises ConfigError where another process has begun this run meanwhile, and StorageError when writing fails.
        """
        parent, name = Path(config.run.directory), config.run.name
        check_link(parent / name)
        if (parent / name).exists() and not (parent / name).is_dir():
            return cls.create(config, initial)
        folder = taken(parent, name)
        if folder is None:
            raise run_in_use(parent / name)
        return cls._begun(folder, config, initial)

    @classmethod
    def reopen(cls, config: Config) -> Self | None:
        """Return the existing folder of a run, unchanged; None when there is none.

        Raises ConfigError when another process has locked it, and for a folder that holds something else.
        """
        path = Path(config.run.directory, config.run.name)
        if not path.is_dir():
            return None
        run = cls(LockedFolder(path), config.run.keep)
        if run.id is None and run._folder.names() and not is_older_run(path):
            run.close()
            raise ConfigError(
                f"{path}: this folder is not a run of charlm's: it has neither id nor checkpoint. It was not changed.",
                "Choose another run.name or run.directory.",
                kind="foreign folder",
            )
        return run

    @classmethod
    def _begun(cls, folder: LockedFolder, config: Config, initial: Checkpoint | None) -> Self:
        run = cls(folder, config.run.keep)
        remove_abandoned(folder.path.parent)
        try:
            run._write_start(config, initial)
        except StorageError:
            for name in (CONFIG, INITIAL, IDENTITY):
                folder.remove(name)
            with contextlib.suppress(OSError):  # free the name of a run that could not start
                folder.path.rmdir()
            folder.close()
            raise
        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unlock the folder."""
        self._folder.close()

    @property
    def best(self) -> Path:
        """The path of the weights with the lowest validation loss."""
        return self.path / BEST

    @property
    def can_be_synced(self) -> bool:
        """Whether what is written here survives a power failure."""
        return self._folder.can_be_synced

    def config(self) -> Config | None:
        """Return the settings in the folder; None where they cannot be read."""
        path = self.path / CONFIG
        try:
            return read_config(path) if path.is_file() else None  # opening a pipe would block
        except (ConfigError, OSError):
            return None

    def initial(self) -> Checkpoint | None:
        """Return the weights of another model that the run started with; None where it started with its own.

        Raises CheckpointError when they are damaged.
        """
        return Checkpoint.load(self.path / INITIAL) if INITIAL in self._folder.names() else None

    def metrics(self) -> list[dict[str, Any]]:
        """Return the valid lines of ``metrics.jsonl``."""
        return self._metrics.lines

    def history(self, config: Config) -> History:
        """Return the run's settings and evaluations so far."""
        return History(self.path, config, tuple(self._metrics.evaluations))

    def record(self, metrics: Mapping[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``; raises StorageError when writing fails."""
        self._metrics.append({**metrics, "run": self.id})

    def save_report(self, page: str) -> None:
        """Write the run's page, replacing the previous one."""
        self._folder.write(REPORT, page.encode())

    def save_best(self, checkpoint: Checkpoint) -> None:
        """Write the weights as the best so far."""
        self._write(BEST, checkpoint.weights_only())
        self._point_latest_here()

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a full checkpoint, verify it, then delete those beyond ``run.keep``."""
        name = step_name(checkpoint.progress.step)
        self._write(name, checkpoint)
        self._point_latest_here()
        Checkpoint.load(self.path / name)
        self._delete_older(checkpoint.progress)

    def rewind(self, found: Resumable | None, config: Config, initial: Checkpoint | None = None) -> None:
        """Restore the folder to the state in which ``found`` was saved (None: to the start of the run).

        Damaged checkpoints are renamed, metrics of later steps and temporary files are deleted, and the best weights
        are written again where this checkpoint has them. A newer best of other settings gets a name of its own.
        """
        for folder in (self.path, self.path.parent):
            remove_abandoned(folder)
        for path in found.damaged if found else ():
            with contextlib.suppress(OSError):
                self._folder.rename(path.name, f"{path.name}.damaged")
        if self.id is None:
            self.id = (found.checkpoint.run_id if found else None) or new_id()
        progress = found.checkpoint.progress if found else Progress()
        self._metrics.cut(progress.step, self.id)
        self._write_start(config, initial)
        if found and found.sets_best_aside:
            self._folder.rename(BEST, self.name_aside(self.best_step() or 0))
        if found:
            self._restore_best(found.checkpoint)
        self._delete_older(progress)

    def roll_back(self, checkpoint: Checkpoint) -> None:
        """Remove what the run wrote after this full checkpoint of its own, to which training has gone back."""
        step = checkpoint.progress.step
        for path in full_checkpoints(self.path):
            if (step_of(path) or 0) > step:
                self._folder.remove(path.name)
        self._metrics.cut(step, self.id)
        self._restore_best(checkpoint)

    def best_step(self) -> int | None:
        """Return the step of the best weights; None when they are missing or damaged."""
        try:
            return Checkpoint.load(self.best).progress.step
        except CheckpointError:
            return None

    def name_aside(self, step: int) -> str:
        """Return the name under which best weights of this step are kept that are not the run's best any more."""
        taken = self._folder.names()
        names = (f"best-step-{step:08d}{'' if number == 1 else f'-{number}'}.safetensors" for number in count(1))
        return next(name for name in names if name not in taken)

    def _restore_best(self, checkpoint: Checkpoint) -> None:
        progress = checkpoint.progress
        if progress.best_step is not None and progress.best_step == progress.step != self.best_step():
            self.save_best(checkpoint)

    def _delete_older(self, progress: Progress) -> None:
        """Delete the full checkpoints beyond ``run.keep``, counted back from this step's."""
        until = [path for path in full_checkpoints(self.path) if (step_of(path) or 0) <= progress.step]
        for old in until[: -self._keep] if self._keep else ():
            if step_of(old) != progress.rollback_step:
                self._folder.remove(old.name)

    def _write_start(self, config: Config, initial: Checkpoint | None) -> None:
        """Write what a run has from its start; the config last, so that a folder with one has all of it."""
        self.id = self.id or new_id()
        if read_id(self.path) != self.id:
            self._folder.write(IDENTITY, identity_json(self.id))
        if initial is not None:
            self._write(INITIAL, initial.weights_only())
        self._folder.write(CONFIG, resolved_yaml(config).encode())

    def _write(self, name: str, checkpoint: Checkpoint) -> None:
        self._folder.write(name, replace(checkpoint, run_id=self.id).to_bytes())

    def _point_latest_here(self) -> None:
        latest, line = self.path.parent / LATEST, f"{self.path.name}\n".encode()
        with contextlib.suppress(OSError):  # an unreadable file is written again
            if first_bytes(latest) == line:
                return
        write_whole_file(latest, line)
