"""The metrics of each evaluation of a run: a line of JSON in ``metrics.jsonl``."""

import contextlib
import json
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from charlm.errors import StorageError
from charlm.runs.locked_folder import LockedFolder
from charlm.runs.step_report import bits_per_character

METRICS = "metrics.jsonl"
"""The file of a run with a line of JSON for each evaluation."""

_LONGEST_LINE = 1 << 20
"""Maximum length of a line in bytes, which bounds the memory that reading takes."""
_LARGEST = 1e100
"""Larger numbers are ignored: they are not measurements, and their differences might overflow."""


def metrics_lines(run: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return each valid line of a run's ``metrics.jsonl``: its text, and the parsed object, which has a "step".

    Empty before the first evaluation. Reading ends at a line that is longer than any of charlm's. Raises StorageError
    when reading fails.
    """
    return _valid(_raw_lines(run / METRICS))


def _raw_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file with their ends; the last may have none."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would block
            raise StorageError(f"{path}: cannot read this file (not a regular file).")
        with path.open("rb") as file:
            while (line := file.readline(_LONGEST_LINE)) and (line.endswith(b"\n") or len(line) < _LONGEST_LINE):
                yield line
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"{path}: cannot read this file ({error.strerror}).") from error


def _valid(lines: Iterable[bytes]) -> list[tuple[str, dict[str, Any]]]:
    texts = (line.rstrip(b"\n").decode("utf-8", "replace") for line in lines)
    return [(text, metrics) for text in texts if (metrics := _parsed(text)) is not None]


def _parsed(line: str) -> dict[str, Any] | None:
    """Return a line's object; None where it is not one of an evaluation."""
    with contextlib.suppress(ValueError, RecursionError):
        metrics = json.loads(line)
        if isinstance(metrics, dict) and isinstance(metrics.get("step"), int):
            return metrics
    return None


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


class MetricsFile:
    """The ``metrics.jsonl`` of a run that this process writes: appended to, and kept in memory.

    Lines of another run's id are ignored. Raises StorageError when reading fails.
    """

    def __init__(self, folder: LockedFolder, run_id: str | None) -> None:
        self._folder = folder
        self.lines: list[dict[str, Any]] = []
        """The lines, in the file's order."""
        self.evaluations: list[Evaluation] = []
        """The lines that are valid evaluations."""
        raw = list(_raw_lines(folder.path / METRICS))
        self._size = sum(len(line) for line in raw if line.endswith(b"\n"))
        """Of the file without what an append that failed may have left at its end."""
        for _, metrics in _of_run(_valid(raw), run_id):
            self._keep(metrics)

    def append(self, metrics: Mapping[str, Any]) -> None:
        """Append a line, and flush it to disk; raises StorageError when writing fails."""
        line = f"{json.dumps(metrics)}\n".encode()
        if self._folder.append(METRICS, line, self._size):
            self._size += len(line)
        else:  # something else has removed or shortened the file
            whole = "".join(f"{json.dumps(known)}\n" for known in [*self.lines, metrics]).encode()
            self._folder.write(METRICS, whole)
            self._size = len(whole)
        self._keep(dict(metrics))

    def cut(self, step: int, run_id: str | None) -> None:
        """Remove the lines of later steps and of other runs; raises StorageError when writing fails."""
        kept = [pair for pair in _of_run(metrics_lines(self._folder.path), run_id) if pair[1]["step"] <= step]
        content = "".join(f"{line}\n" for line, _ in kept).encode()
        if content or METRICS in self._folder.names():
            self._folder.write(METRICS, content)
        self._size = len(content)
        self.lines, self.evaluations = [], []
        for _, metrics in kept:
            self._keep(metrics)

    def _keep(self, metrics: dict[str, Any]) -> None:
        self.lines.append(metrics)
        with contextlib.suppress(ValidationError):
            self.evaluations.append(Evaluation.model_validate(metrics))


def _of_run(lines: Iterable[tuple[str, dict[str, Any]]], run_id: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the lines that name this run, or none, as before runs had ids."""
    return ((line, metrics) for line, metrics in lines if metrics.get("run", run_id) == run_id)
