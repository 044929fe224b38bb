"""The progress of training after one more step, and after going back."""

from dataclasses import replace
from typing import NamedTuple

from charlm.checkpoint.checkpoint import Checkpoint, Progress
from charlm.config.settings import TrainingConfig
from charlm.runs.step_report import Meter
from charlm.training.optimization import plateau_factor


class Taken(NamedTuple):
    """What one step took."""

    passes: float
    """Passes over the training text since the current lanes began."""
    characters: int
    """Predictions of this step."""
    seconds: float
    """Time since the start of training."""


def after_step(
    before: Progress, taken: Taken, meter: Meter, validation_loss: float | None, training: TrainingConfig
) -> tuple[Progress, bool]:
    """Return the progress after a step, and whether it has the lowest validation loss so far.

    ``meter`` holds the losses since the previous evaluation; ``validation_loss`` is None where none was measured.
    """
    step = before.step + 1
    changes: dict[str, float | None] = {
        "step": step,
        "epoch": before.lanes_began_at_epoch + taken.passes,
        "characters": before.characters + taken.characters,
        "seconds": taken.seconds,
        "nats_since_evaluation": meter.nats,
        "characters_since_evaluation": meter.characters,
    }
    best = False
    if validation_loss is not None:
        best = before.best_validation_loss is None or validation_loss < before.best_validation_loss
        without = 0 if best else before.evaluations_without_better + 1
        changes |= {
            "train_loss": meter.loss,
            "validation_loss": validation_loss,
            "best_validation_loss": validation_loss if best else before.best_validation_loss,
            "best_step": step if best else before.best_step,
            "evaluations_without_better": without,
            "nats_since_evaluation": 0.0,
            "characters_since_evaluation": 0,
            "rate_factor": plateau_factor(training, before.rate_factor, without),
        }
    return before.model_copy(update=changes), best


def standing_in(progress: Progress) -> Progress:
    """Return the progress with its own step as the best, with the validation loss if it was evaluated there."""
    loss = progress.validation_loss if progress.characters_since_evaluation == 0 else None
    return progress.model_copy(update={"best_step": progress.step, "best_validation_loss": loss})


def with_known_best(point: Checkpoint, now: Progress) -> Checkpoint:
    """Return a rollback point, as the best itself where its best weights have been overwritten since, up to ``now``."""
    overwritten = point.progress.best_step not in (None, point.progress.step, now.best_step)
    return replace(point, progress=standing_in(point.progress)) if overwritten else point
