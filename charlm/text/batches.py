"""What training and scoring read at each step: a window of every lane.

Letters: B lanes, T steps in a window.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

PADDING = -1
"""The target where there is nothing to guess; such places count nowhere."""


@dataclass(frozen=True)
class Batch:
    """What one step reads, and what it should have predicted."""

    inputs: NDArray[Any]  # (B, T)
    targets: NDArray[Any]  # (B, T), `PADDING` where a lane has no more to read
    fresh: NDArray[np.bool_]  # (B,)
    """Which lanes are at the beginning of their stretch or item, so that the state starts afresh."""

    @cached_property
    def characters(self) -> int:
        """Predictions to make."""
        return int((self.targets != PADDING).sum())


class BatchSource(Protocol):
    """A text, window by window: the window is a function of the step, so whoever resumes needs only that."""

    @property
    def lanes(self) -> int:
        """Number of lanes B."""

    def __len__(self) -> int:
        """Return the number of windows in one pass over the text."""

    @property
    def characters(self) -> int:
        """Predictions made in one pass."""

    @property
    def padding(self) -> float:
        """Share of places at which there is nothing to guess, in the first pass."""

    def at(self, step: int) -> Batch:
        """Return the window that step number ``step``, from 0, reads."""

    def fraction(self, step: int) -> float:
        """Return the passes made after ``step`` steps, such as 1.25."""
