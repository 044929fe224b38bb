"""Exceptions for errors that a user can fix, and their exit codes.

    CharlmError                      1   base class
    ├── ConfigError                  2   invalid setting, option or argument
    ├── TextError                    2   a text that cannot be read or used
    │   └── UnknownCharactersError   2   characters outside the vocabulary
    ├── DivergenceError              3   training diverged
    ├── CheckpointError              4   missing or incompatible checkpoint
    │   └── DamagedCheckpointError   4   checkpoint with changed or missing bytes
    └── StorageError                74   reading or writing failed

Every message states the place, the problem and the remedy, in terms of the Python interface:
"temperature: must be 0 (argmax) or a positive number, got -1." A user interface can replace them
(`charlm.cli.messages`). Any other exception is a bug and is shown with its traceback.
"""

from collections.abc import Collection
from typing import ClassVar, Self


class CharlmError(Exception):
    """Base class of all errors that charlm reports without a traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(
        self, problem: str, remedy: str = "", *, field: str = "", kind: str = "", names: Collection[str] = ()
    ) -> None:
        whole = f"{field}: {problem}" if field else problem
        gap = " " if remedy and not problem.endswith("\n") else ""
        super().__init__(f"{whole}{gap}{remedy}")
        self.problem = problem
        """The place and the problem."""
        self.remedy = remedy
        """What to do about it, for a caller in Python; empty where the problem already says it."""
        self.field = field
        """The name of the invalid Python argument; empty if there is none."""
        self.kind = kind
        """A short identifier of the error, by which a user interface can choose its own remedy."""
        self.names = tuple(names)
        """The settings or files that the remedy refers to."""

    def at(self, place: object) -> Self:
        """Return a copy of the error with a place, such as a file, before its problem."""
        return type(self)(f"{place}: {self.problem}", self.remedy, field=self.field, kind=self.kind, names=self.names)


class ConfigError(CharlmError):
    """A setting, an option or an argument is invalid."""

    exit_code = 2


class TextError(CharlmError):
    """A text is missing, unreadable, too short or otherwise unusable."""

    exit_code = 2


class UnknownCharactersError(TextError):
    """A text contains characters outside the vocabulary."""


class DivergenceError(CharlmError):
    """Training diverged: the loss, the gradient or a weight is not finite."""

    exit_code = 3


class CheckpointError(CharlmError):
    """A checkpoint is missing, not written by charlm, or incompatible with the request."""

    exit_code = 4


class DamagedCheckpointError(CheckpointError):
    """A checkpoint is missing bytes or has changed since it was written; an older one of the run may be intact."""


class StorageError(CharlmError):
    """Reading or writing failed: the disk is full, read-only or gone, or the output was closed."""

    exit_code = 74
