"""What happened in training, as values: the trainer yields them, others show and store them."""

import math
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StepReport:
    """One step of training; losses are nats per character."""

    step: int
    """Steps taken so far."""
    epoch: float
    """Passes over the training text so far, such as 1.25."""
    characters: int
    """Predictions trained on so far."""
    loss: float
    """Loss of this step's window."""
    train_loss: float
    """Mean loss since the last evaluation."""
    learning_rate: float
    gradient_norm: float
    """Length of the gradient before clipping."""
    characters_per_second: float
    """Training speed since the last evaluation, evaluation not counted."""
    seconds: float
    """Time since training began, evaluation included."""
    validation_loss: float | None = None
    """Loss on the validation text, where this step was evaluated."""
    best: bool = False
    """Whether that is the lowest so far."""

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
    """Training diverged, went back to the last checkpoint, and goes on from there at half the rate."""

    reason: str
    """What diverged, and at which step."""
    step: int
    """The step it went back to."""
    count: int
    """How often it has happened."""
    rate_factor: float
    """What the schedule's learning rate is multiplied by from now on."""


def bits_per_character(nats: float) -> float:
    """Return a loss in nats as bits: the same surprisal, counted in yes-or-no questions."""
    return nats / math.log(2)


class Meter:
    """Mean loss and speed since the last evaluation; the sums so far go in, so that a resumed run counts on."""

    def __init__(self, nats: float = 0.0, characters: int = 0) -> None:
        self._started = time.perf_counter()
        self._timed = 0
        self.nats = nats
        self.characters = characters
        self.speed = 0.0
        """Characters a second since this meter was made, up to the last `add`."""

    def add(self, loss: float, characters: int) -> None:
        """Count ``characters`` that were trained on with a mean loss of ``loss`` nats."""
        self.nats += loss * characters
        self.characters += characters
        self._timed += characters
        self.speed = self._timed / max(time.perf_counter() - self._started, 1e-9)

    @property
    def loss(self) -> float:
        """Mean loss in nats a character."""
        return self.nats / self.characters
