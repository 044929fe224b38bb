"""What a run wrote down at each evaluation: a line of JSON in ``metrics.jsonl``."""

import contextlib
import json
import stat
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from charlm.errors import StorageError
from charlm.runs.step_report import bits_per_character

METRICS = "metrics.jsonl"
"""The file of a run that holds a line of JSON for each evaluation."""

_LONGEST_METRICS = 1 << 28
"""Bytes; a line an evaluation stays far below."""
_LARGEST = 1e100
"""Numbers beyond it measure nothing, and their differences might not be finite."""


def metrics_lines(run: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return each line of a run's ``metrics.jsonl`` that tells of a step, as it is there and what it says.

    None before the first evaluation. Raises StorageError when the disk refuses.
    """
    path = run / METRICS
    try:
        status = path.stat()
        can_be_read = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)  # a pipe would wait for ever
        if not can_be_read or status.st_size > _LONGEST_METRICS:
            raise StorageError(f"{path}: cannot read this file (it is not a regular file, or too long).")
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"{path}: cannot read this file ({error.strerror}).") from error
    lines = []
    for line in text.split("\n"):  # nothing else ends a line: a sample may hold any character
        with contextlib.suppress(ValueError, RecursionError):
            metrics = json.loads(line)
            if isinstance(metrics, dict) and isinstance(metrics.get("step"), int):
                lines.append((line, metrics))
    return lines


def _measured(value: object) -> float | None:
    """Return a number; None for whatever measures nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= _LARGEST else None  # no comparison holds for what is not a number


def _without_lone_surrogates(value: object) -> object:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


Measured = Annotated[float | None, BeforeValidator(_measured)]
Count = Annotated[int, Field(ge=0, le=2**63)]


class Evaluation(BaseModel):
    """One line of ``metrics.jsonl``; None stands for what the line does not tell."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    step: Count
    """Steps taken."""
    characters: Count
    """Predictions trained on."""
    epoch: Measured = None
    """Passes over the training text."""
    train_loss: Measured = None
    """Mean loss since the evaluation before, nats per character."""
    validation_loss: Measured = None
    """Nats per character."""
    learning_rate: Measured = None
    gradient_norm: Measured = None
    """Length of the gradient before clipping."""
    characters_per_second: Measured = None
    seconds: Measured = None
    """Time since training began."""
    sample: Annotated[str | None, BeforeValidator(_without_lone_surrogates)] = None
    """What the model wrote."""

    @property
    def train_bits(self) -> float | None:
        """Mean training loss since the evaluation before, bits per character."""
        return None if self.train_loss is None else bits_per_character(self.train_loss)

    @property
    def validation_bits(self) -> float | None:
        """Validation loss, bits per character."""
        return None if self.validation_loss is None else bits_per_character(self.validation_loss)
