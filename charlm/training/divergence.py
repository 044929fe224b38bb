"""Divergence: numbers that are no longer finite, noticed before they reach the weights or the disk."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from charlm.checkpoint.checkpoint import not_finite
from charlm.config.settings import TrainingConfig
from charlm.errors import DivergenceError

MOST_ROLLBACKS = 3
"""After as many halvings of the rate it is something else that is wrong."""

_REMEMBERED = 5


class DivergenceMonitor:
    """Looks at every number that training goes by, and remembers the last losses for the message."""

    def __init__(self, training: TrainingConfig) -> None:
        self._training = training
        self._losses: deque[float] = deque(maxlen=_REMEMBERED)

    def check_step(self, step: int, loss: float, norm: float) -> None:
        """Raise DivergenceError unless the step's loss and gradient norm are finite; the weights are untouched yet."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            untouched = "The weights were left as they were before this step."
            raise self._error(step, f"loss {loss:.4g}, gradient norm {norm:.4g}", untouched)
        self._losses.append(loss)

    def check_validation(self, step: int, loss: float) -> None:
        """Raise DivergenceError unless the validation loss is finite."""
        if not math.isfinite(loss):
            raise self._error(step, f"validation loss {loss:.4g}", "Nothing of it was saved.")

    def check_weights(self, step: int, tensors: Mapping[str, Any]) -> None:
        """Raise DivergenceError unless all that a checkpoint is about to hold is finite."""
        if name := not_finite(tensors):
            raise self._error(step, f"{name} is not finite", "Nothing of it was saved.")

    def _error(self, step: int, found: str, state: str) -> DivergenceError:
        before = ", ".join(f"{loss:.4g}" for loss in self._losses) or "none"
        rollback = "" if self._training.on_divergence == "rollback" else ", or set training.on_divergence: rollback"
        return DivergenceError(
            f"training diverged at step {step}: {found}; the losses before it: {before}. {state} "
            f"Lower training.learning_rate (now {self._training.learning_rate:g}) or training.gradient_clip{rollback}.",
            "Where the run has saved a checkpoint, resume from it with a lower training.learning_rate, and allow that "
            "setting to change.",
            kind="diverged",
        )
