"""The batch that training and scoring read at each step: one window of every lane.

Letters: B lanes, T steps in a window.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

PADDING = -1
"""The target where nothing is predicted; such positions are left out of every loss and count."""


@dataclass(frozen=True)
class Batch:
    """The inputs of one step and their targets."""

    inputs: NDArray[Any]  # (B, T)
    targets: NDArray[Any]  # (B, T), `PADDING` where a lane has nothing left to read
    fresh: NDArray[np.bool_]  # (B,)
    """Whether each lane is at the beginning of its stretch or item, where the hidden state is reset."""

    @cached_property
    def characters(self) -> int:
        """Number of predictions: targets that are not padding."""
        return int((self.targets != PADDING).sum())


class BatchSource(Protocol):
    """A text, one window per step; a window depends on the step alone, so a resumed run needs no other state."""

    @property
    def lanes(self) -> int:
        """Number of lanes B."""

    def __len__(self) -> int:
        """Return the number of windows in one pass over the text."""

    @property
    def characters(self) -> int:
        """Number of predictions in one pass."""

    @property
    def padding(self) -> float:
        """Share of positions that are padding, in the first pass."""

    def at(self, step: int) -> Batch:
        """Return the window read at ``step``, counted from 0."""

    def fraction(self, step: int) -> float:
        """Return the number of passes completed after ``step`` steps, such as 1.25."""
