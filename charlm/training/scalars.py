"""TensorBoard event files in the run's folder, with the scalars of ``metrics.jsonl``."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from charlm.errors import StorageError

FOLDER = "tensorboard"
"""The subfolder of a run's folder for event files."""
_NAMES = (
    "train_loss",
    "validation_loss",
    "bits_per_character",
    "learning_rate",
    "gradient_norm",
    "characters_per_second",
)


class Scalars:
    """Writer of a run's event files; starts with ``metrics``, which replace what earlier processes wrote."""

    def __init__(self, run: Path, metrics: Iterable[Mapping[str, Any]]) -> None:
        self._folder = run / FOLDER
        with self._disk():
            self._writer = SummaryWriter(str(self._folder), purge_step=0)
        for line in metrics:
            self.add(line)

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Write the scalars of one evaluation; raises StorageError when writing fails."""
        with self._disk():
            for name in _NAMES:
                if metrics.get(name) is not None:
                    self._writer.add_scalar(name, metrics[name], metrics["step"])
            self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        with self._disk():
            self._writer.close()

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"{self._folder}: cannot write TensorBoard event files ({error.strerror or error}). "
                "Free some space, or move away what is there.",
                kind="no curves",
            ) from error
