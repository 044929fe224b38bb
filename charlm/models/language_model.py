"""What sampling and scoring ask of any model of the next character.

The state goes in and comes out: a model remembers nothing between calls, so one model can follow many
texts at once. A model of separate items forgets all that was before when it reads the end that stands before an item.

Letters: B texts side by side, T steps, V symbols.
"""

from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

State = TypeVar("State")
"""What a model knows of the text so far; only the model looks inside."""

Logits = NDArray[np.floating[Any]]
Symbols = NDArray[np.integer[Any]]


class LanguageModel(Protocol[State]):
    """A model that reads symbols and says, after each, how likely every next one is."""

    @property
    def vocabulary_size(self) -> int:
        """Number of symbols V."""

    def start(self, batch_size: int) -> State:
        """Return the state at the beginning of ``batch_size`` texts, before anything was read."""

    def step(self, ids: Symbols, state: State) -> tuple[Logits, State]:
        """Read one symbol of each text, ids (B,); return logits (B, V) of the next, and the new state."""

    def read(self, ids: Symbols, state: State) -> tuple[Logits, State]:
        """Read a stretch of each text, ids (B, T); return logits (B, T, V) after each symbol, and the state."""
