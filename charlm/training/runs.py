"""The folder a run leaves behind, and how to find a checkpoint in one again.

    runs/
    ├── latest                       a text file: the newest run's name
    └── tales-lstm/
        ├── config.yaml              every setting of the run
        ├── metrics.jsonl            one line an evaluation
        ├── best.safetensors         weights at the lowest validation loss
        └── step-00001200.safetensors    all there is to know, of the last few saves

The order of a save is: metrics line, best, then the full checkpoint, which is the commit; then it is
read back and verified, and only then are older ones deleted.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from charlm.checkpoint import Checkpoint
from charlm.config.settings import Config
from charlm.config.writing import resolved_yaml
from charlm.errors import CheckpointError, StorageError
from charlm.whole_file import write_whole_file

BEST = "best.safetensors"
_LATEST = "latest"


class RunDirectory:
    """One run's folder, and the only thing that writes into it."""

    def __init__(self, path: Path, keep: int) -> None:
        self.path = path
        self._keep = keep

    @classmethod
    def create(cls, config: Config) -> Self:
        """Make a new folder for a run, never an old one again: a taken name gets a number.

        Raises StorageError when the disk refuses.
        """
        parent, name = Path(config.run.directory), config.run.name
        try:
            parent.mkdir(parents=True, exist_ok=True)
            path = _make_new(parent, name)
        except OSError as error:
            raise StorageError(
                f"{parent / name}: cannot make the run's folder ({error.strerror}). "
                "Choose another place with --set run.directory=FOLDER."
            ) from error
        run = cls(path, config.run.keep)
        write_whole_file(path / "config.yaml", resolved_yaml(config).encode())
        return run

    @property
    def best(self) -> Path:
        """Where the weights of the lowest validation loss lie."""
        return self.path / BEST

    def record(self, metrics: Mapping[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``."""
        path = self.path / "metrics.jsonl"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(metrics) + "\n")
        except OSError as error:
            raise StorageError(f"{path}: cannot write this line ({error.strerror}). Free some space.") from error

    def save_best(self, checkpoint: Checkpoint) -> None:
        """Keep these weights as the best so far."""
        checkpoint.weights_only().save(self.best)
        self._point_latest_here()

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep a full checkpoint, verify it, then delete those past ``run.keep``."""
        path = self.path / f"step-{checkpoint.progress.step:08d}.safetensors"
        checkpoint.save(path)
        self._point_latest_here()
        Checkpoint.load(path)
        for old in full_checkpoints(self.path)[: -self._keep]:
            old.unlink(missing_ok=True)

    def _point_latest_here(self) -> None:
        latest = self.path.parent / _LATEST
        if not latest.is_file() or latest.read_text(encoding="utf-8").strip() != self.path.name:
            write_whole_file(latest, f"{self.path.name}\n".encode())


def full_checkpoints(run: Path) -> list[Path]:
    """Return a run's full checkpoints, oldest first."""
    return sorted(run.glob("step-*.safetensors"))


def find_checkpoint(name: str | None, directory: Path = Path("runs")) -> Path:
    """Return the checkpoint file that ``name`` means: a file, a run's folder, or a run's name.

    A run stands for its best checkpoint, and no name at all for the latest run in ``directory``. Raises
    CheckpointError when there is none.
    """
    if name is None:
        return _best_in(directory / _latest_name(directory))
    given = Path(name)
    if given.is_file():
        return given
    for run in (given, directory / name):
        if run.is_dir():
            return _best_in(run)
    raise CheckpointError(
        f"{name}: no such checkpoint file, run folder or run in {directory}/. {_known_runs(directory)}"
    )


def _latest_name(directory: Path) -> str:
    try:
        return (directory / _LATEST).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"there is no latest run in {directory}/. Train one with `charlm train --config FILE`, or name a "
            f"checkpoint with --checkpoint. {_known_runs(directory)}"
        ) from error


def _best_in(run: Path) -> Path:
    if not (run / BEST).is_file():
        raise CheckpointError(f"{run}: this run has no {BEST} (yet). Name a checkpoint file, or let it train on.")
    return run / BEST


def _known_runs(directory: Path) -> str:
    names = sorted(path.parent.name for path in directory.glob(f"*/{BEST}"))
    return f"Runs there: {', '.join(names)}." if names else "There are no runs there."


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
