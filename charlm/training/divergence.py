"""Divergence: non-finite numbers, detected before they reach the weights or the disk."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from charlm.checkpoint.checkpoint import not_finite
from charlm.config.settings import TrainingConfig
from charlm.errors import DivergenceError

MOST_ROLLBACKS = 3
"""Maximum number of rollbacks, each of which halves the learning rate; further ones are unlikely to help."""

_REMEMBERED = 5


class DivergenceMonitor:
    """Checks losses, gradients and weights, and keeps the last losses for the message."""

    def __init__(self, training: TrainingConfig) -> None:
        self._training = training
        self._losses: deque[float] = deque(maxlen=_REMEMBERED)

    def check_step(self, step: int, loss: float, norm: float) -> None:
        """Raise DivergenceError unless the step's loss and gradient norm are finite; call before the weight update."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            untouched = "The weights were not changed by this step."
            raise self._error(step, f"loss {loss:.4g}, gradient norm {norm:.4g}", untouched)
        self._losses.append(loss)

    def check_validation(self, step: int, loss: float) -> None:
        """Raise DivergenceError unless the validation loss is finite."""
        if not math.isfinite(loss):
            raise self._error(step, f"validation loss {loss:.4g}", "Nothing was saved.")

    def check_weights(self, step: int, tensors: Mapping[str, Any]) -> None:
        """Raise DivergenceError unless all tensors of a new checkpoint are finite."""
        if name := not_finite(tensors):
            raise self._error(step, f"{name} is not finite", "Nothing was saved.")

    def _error(self, step: int, found: str, state: str) -> DivergenceError:
        before = ", ".join(f"{loss:.4g}" for loss in self._losses) or "none"
        rollback = "" if self._training.on_divergence == "rollback" else ", or set training.on_divergence: rollback"
        return DivergenceError(
            f"training diverged at step {step}: {found}; previous losses: {before}. {state} "
            f"Lower training.learning_rate (now {self._training.learning_rate:g}) or training.gradient_clip{rollback}.",
            "If the run has saved a checkpoint, resume it with a lower training.learning_rate, which allow_change must "
            "name.",
            kind="diverged",
        )
