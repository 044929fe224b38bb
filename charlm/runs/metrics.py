"""The metrics of each evaluation of a run: a line of JSON in ``metrics.jsonl``."""

import contextlib
import json
import stat
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from charlm.errors import StorageError
from charlm.runs.step_report import bits_per_character

METRICS = "metrics.jsonl"
"""The file of a run with a line of JSON for each evaluation."""

_LONGEST_METRICS = 1 << 28
"""Maximum size of the file, in bytes."""
_LARGEST = 1e100
"""Larger numbers are ignored: they are not measurements, and their differences might overflow."""


def metrics_lines(run: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return each valid line of a run's ``metrics.jsonl``: its text, and the parsed object, which has a "step".

    Empty before the first evaluation. Raises StorageError when reading fails.
    """
    path = run / METRICS
    try:
        status = path.stat()
        can_be_read = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)  # no pipes
        if not can_be_read or status.st_size > _LONGEST_METRICS:
            raise StorageError(f"{path}: cannot read this file (not a regular file, or too large).")
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"{path}: cannot read this file ({error.strerror}).") from error
    lines = []
    for line in text.split("\n"):  # not splitlines(): a sample may contain other line separators
        with contextlib.suppress(ValueError, RecursionError):
            metrics = json.loads(line)
            if isinstance(metrics, dict) and isinstance(metrics.get("step"), int):
                lines.append((line, metrics))
    return lines


def _measured(value: object) -> float | None:
    """Return a finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= _LARGEST else None  # false for NaN


def _without_lone_surrogates(value: object) -> object:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


Measured = Annotated[float | None, BeforeValidator(_measured)]
Count = Annotated[int, Field(ge=0, le=2**63)]


class Evaluation(BaseModel):
    """One line of ``metrics.jsonl``; values that the line does not have are None."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    step: Count
    """Number of steps taken."""
    characters: Count
    """Number of predictions trained on."""
    epoch: Measured = None
    """Number of passes over the training text."""
    train_loss: Measured = None
    """Mean training loss since the previous evaluation, nats per character."""
    validation_loss: Measured = None
    """Validation loss, nats per character."""
    learning_rate: Measured = None
    gradient_norm: Measured = None
    """Global norm of the gradient before clipping."""
    characters_per_second: Measured = None
    seconds: Measured = None
    """Time since the start of training, in seconds."""
    sample: Annotated[str | None, BeforeValidator(_without_lone_surrogates)] = None
    """Text sampled from the model."""

    @property
    def train_bits(self) -> float | None:
        """Mean training loss since the previous evaluation, bits per character."""
        return None if self.train_loss is None else bits_per_character(self.train_loss)

    @property
    def validation_bits(self) -> float | None:
        """Validation loss, bits per character."""
        return None if self.validation_loss is None else bits_per_character(self.validation_loss)
