"""A run's numbers for TensorBoard: the scalars of ``metrics.jsonl`` as event files, in the run's folder."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
"""Where in a run's folder the event files lie."""
_NAMES = ("train_loss", "validation_loss", "bits_per_character", "learning_rate", "gradient_norm")
_SPEED = ("characters_per_second",)


class Scalars:
    """Writes event files of a run: those ``metrics`` first, in the place of all that earlier processes wrote."""

    def __init__(self, run: Path, metrics: Iterable[Mapping[str, Any]]) -> None:
        self._writer = SummaryWriter(str(run / FOLDER), purge_step=0)
        for line in metrics:
            self.add(line)

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Write the numbers of one evaluation, by step, and see that they are on the disk."""
        for name in (*_NAMES, *_SPEED):
            if metrics.get(name) is not None:
                self._writer.add_scalar(name, metrics[name], metrics["step"])
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
