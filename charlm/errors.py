"""Mistakes a user can fix: one small tree, one root, one exit code each.

    CharlmError                      1   any failure charlm can explain
    ├── ConfigError                  2   a setting or an option that cannot be
    ├── TextError                    2   a text that cannot be read or used
    │   └── UnknownCharactersError   2   characters outside the vocabulary
    ├── DivergenceError              3   training diverged
    ├── CheckpointError              4   a checkpoint missing or incompatible
    │   └── DamagedCheckpointError   4   a checkpoint whose bytes are not what was written
    └── StorageError                74   the disk (or the pipe) refused

Every message says where, what is wrong, and what to do about it, in the words of a caller in Python:
"temperature: must be 0 (argmax) or a positive number, got -1." A user interface puts its own words in
their place (`charlm.cli.messages`). Whatever is not in this tree is a bug and keeps its traceback.
"""

from collections.abc import Collection
from typing import ClassVar, Self


class CharlmError(Exception):
    """Root of all mistakes that charlm explains instead of showing a traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(
        self, problem: str, remedy: str = "", *, field: str = "", kind: str = "", names: Collection[str] = ()
    ) -> None:
        whole = f"{field}: {problem}" if field else problem
        gap = " " if remedy and not problem.endswith("\n") else ""
        super().__init__(f"{whole}{gap}{remedy}")
        self.problem = problem
        """What is wrong, and with what."""
        self.remedy = remedy
        """What to do about it, for a caller in Python; empty where the problem says it."""
        self.field = field
        """The argument that is wrong, by its name in Python; empty where it is none."""
        self.kind = kind
        """Which mistake it is, by a short name, so that a user interface can word the remedy in its own terms."""
        self.names = tuple(names)
        """The settings or files that the remedy speaks of."""

    def at(self, place: object) -> Self:
        """Return the same error with a place, such as a file, put before its problem."""
        return type(self)(f"{place}: {self.problem}", self.remedy, field=self.field, kind=self.kind, names=self.names)


class ConfigError(CharlmError):
    """A setting, an option or an argument that cannot be."""

    exit_code = 2


class TextError(CharlmError):
    """A text that is missing, unreadable, too short or otherwise of no use."""

    exit_code = 2


class UnknownCharactersError(TextError):
    """A text holds characters that the vocabulary does not."""


class DivergenceError(CharlmError):
    """Training diverged: the loss or the gradient is no longer a finite number."""

    exit_code = 3


class CheckpointError(CharlmError):
    """A checkpoint is missing, made by something else, or does not fit what is asked of it."""

    exit_code = 4


class DamagedCheckpointError(CheckpointError):
    """A checkpoint's bytes are not what was written; an older one of the run may be whole."""


class StorageError(CharlmError):
    """The disk refused: full, read-only, vanished, or an output that was closed."""

    exit_code = 74
