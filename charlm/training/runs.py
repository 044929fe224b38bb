"""The folder a run leaves behind.

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
from charlm.errors import StorageError
from charlm.training.finding import BEST, LATEST
from charlm.whole_file import write_whole_file


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
        latest = self.path.parent / LATEST
        if not latest.is_file() or latest.read_text(encoding="utf-8").strip() != self.path.name:
            write_whole_file(latest, f"{self.path.name}\n".encode())


def full_checkpoints(run: Path) -> list[Path]:
    """Return a run's full checkpoints, oldest first."""
    return sorted(run.glob("step-*.safetensors"))


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
