"""The protocol of a model of the next character, which sampling and scoring use.

The state is passed in and returned: a model keeps none between calls, so one model can read many texts at
once. A model of separate items resets its state when it reads ``<end>``, which precedes each item.

Letters: B texts in parallel, T steps, V symbols.
"""

from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

State = TypeVar("State")
"""A model's state after the text so far; opaque to callers."""

Logits = NDArray[np.floating[Any]]
Symbols = NDArray[np.integer[Any]]


class LanguageModel(Protocol[State]):
    """A model that reads symbols and returns logits of the next symbol after each."""

    @property
    def vocabulary_size(self) -> int:
        """Number of symbols V."""

    def start(self, batch_size: int) -> State:
        """Return the initial state for ``batch_size`` texts."""

    def step(self, ids: Symbols, state: State) -> tuple[Logits, State]:
        """Read one symbol of each text, ids (B,); return logits (B, V) of the next, and the new state."""

    def read(self, ids: Symbols, state: State) -> tuple[Logits, State]:
        """Read a stretch of each text, ids (B, T); return logits (B, T, V) after each symbol, and the state."""
