"""Events of training, which the trainer yields and its callers display and store."""

import math
import time
from dataclasses import dataclass
from typing import Any

from charlm.checkpoint.checkpoint import Checkpoint


@dataclass(frozen=True)
class StepReport:
    """One step of training; losses in nats per character."""

    step: int
    """Number of steps taken."""
    epoch: float
    """Number of passes over the training text, such as 1.25."""
    characters: int
    """Number of predictions trained on."""
    loss: float
    """Loss of this step's batch."""
    train_loss: float
    """Mean loss since the last evaluation."""
    learning_rate: float
    gradient_norm: float
    """Global norm of the gradient before clipping."""
    characters_per_second: float
    """Training speed since the last evaluation, without evaluation time."""
    seconds: float
    """Time since the start of training, evaluations included."""
    validation_loss: float | None = None
    """Validation loss, if this step was evaluated."""
    best: bool = False
    """Whether it is the lowest validation loss so far."""
    checkpoint: Checkpoint | None = None
    """The full checkpoint of an evaluated or scheduled step."""
    scheduled: bool = False
    """Whether that checkpoint is to be saved."""

    def metrics(self) -> dict[str, Any]:
        """Return the line of ``metrics.jsonl`` for an evaluated step."""
        bits = None if self.validation_loss is None else bits_per_character(self.validation_loss)
        return {
            "step": self.step,
            "epoch": round(self.epoch, 4),
            "characters": self.characters,
            "train_loss": self.train_loss,
            "validation_loss": self.validation_loss,
            "bits_per_character": bits,
            "learning_rate": self.learning_rate,
            "gradient_norm": self.gradient_norm,
            "characters_per_second": round(self.characters_per_second, 1),
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class Rollback:
    """A rollback: training diverged and continues from the last scheduled checkpoint at half the learning rate."""

    reason: str
    """What was not finite, and at which step."""
    checkpoint: Checkpoint
    """That checkpoint."""
    count: int
    """Number of rollbacks so far."""
    rate_factor: float
    """Factor by which the schedule's learning rate is multiplied from now on."""

    @property
    def step(self) -> int:
        """The step of that checkpoint."""
        return self.checkpoint.progress.step


def bits_per_character(nats: float) -> float:
    """Return a loss in nats converted to bits."""
    return nats / math.log(2)


class Meter:
    """Mean loss and speed since the last evaluation; a resumed run passes the sums so far."""

    def __init__(self, nats: float = 0.0, characters: int = 0) -> None:
        self._started = time.perf_counter()
        self._timed = 0
        self.nats = nats
        self.characters = characters
        self.speed = 0.0
        """Characters per second from the creation of this meter to the last `add`."""

    def add(self, loss: float, characters: int) -> None:
        """Add a step on ``characters`` characters with a mean loss of ``loss`` nats."""
        self.nats += loss * characters
        self.characters += characters
        self._timed += characters
        self.speed = self._timed / max(time.perf_counter() - self._started, 1e-9)

    @property
    def loss(self) -> float:
        """Mean loss in nats per character."""
        return self.nats / self.characters
