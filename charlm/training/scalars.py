"""A run's numbers for TensorBoard: the scalars of ``metrics.jsonl`` as event files, in the run's folder."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from charlm.errors import StorageError

FOLDER = "tensorboard"
"""Where in a run's folder the event files lie."""
_NAMES = (
    "train_loss",
    "validation_loss",
    "bits_per_character",
    "learning_rate",
    "gradient_norm",
    "characters_per_second",
)


class Scalars:
    """Writes event files of a run: those ``metrics`` first, in the place of all that earlier processes wrote."""

    def __init__(self, run: Path, metrics: Iterable[Mapping[str, Any]]) -> None:
        self._folder = run / FOLDER
        with self._disk():
            self._writer = SummaryWriter(str(self._folder), purge_step=0)
        for line in metrics:
            self.add(line)

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Write the numbers of one evaluation, by step; raises StorageError when the disk refuses."""
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
                f"{self._folder}: cannot write curves for TensorBoard here ({error.strerror or error}). "
                "Free some space, or move away what is there.",
                kind="no curves",
            ) from error
