"""The training loop: takes steps, saves metrics and checkpoints, and notifies an observer.

The loop knows nothing of signals, terminals or notebooks: its caller passes a predicate that ends it (``stop``), one
that requests a checkpoint (``save_now``), and an observer.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.errors import DivergenceError
from charlm.generation import sample_of
from charlm.runs.advice import advice
from charlm.runs.directory import RunDirectory
from charlm.runs.step_report import Rollback, StepReport
from charlm.training.trainer import Trainer

OnEvaluation = Callable[[Mapping[str, Any]], object]
"""Called with the line of ``metrics.jsonl`` of each evaluation, after it is written."""


class Observer(Protocol):
    """An object that is notified of the progress of training."""

    def update(self, report: StepReport) -> None:
        """Handle one step."""

    def show_sample(self, text: str) -> None:
        """Handle the sample of an evaluation."""

    def show_rollback(self, rollback: Rollback) -> None:
        """Handle a rollback after divergence."""

    def close(self) -> None:
        """Handle the end of training, for whatever reason it ended."""


class Silence:
    """An observer that shows nothing."""

    def update(self, report: StepReport) -> None:
        """Do nothing."""

    def show_sample(self, text: str) -> None:
        """Do nothing."""

    def show_rollback(self, rollback: Rollback) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def never() -> bool:
    """Return False: never stop, or never request a checkpoint."""
    return False


def run_loop(
    trainer: Trainer,
    run: RunDirectory,
    *,
    observer: Observer,
    stop: Callable[[], bool] = never,
    save_now: Callable[[], bool] = never,
    callbacks: Collection[OnEvaluation] = (),
) -> None:
    """Train until the trainer has finished or ``stop()`` is true after a step; in both cases the last step is saved.

    ``save_now()`` is called once per step; where it is true, a full checkpoint is written after the step.
    Raises DivergenceError when training diverges and is not rolled back, and StorageError when writing fails.
    """
    try:
        for event in trainer.run():
            if isinstance(event, Rollback):
                run.roll_back(event.checkpoint)
                observer.show_rollback(event)
                continue
            observer.update(event)
            stopping = stop()  # a later request takes effect after the next step
            asked = save_now() or stopping
            saved = asked or event.scheduled or trainer.finished
            checkpoint = event.checkpoint or (_requested(trainer) if saved else None)
            if checkpoint is None:  # nothing to save, or the next step rolls back and saves
                continue
            metrics = _keep(run, observer, event, checkpoint, full=saved)
            for callback in callbacks if metrics else ():
                callback(metrics)
            if stopping:
                return
    finally:
        observer.close()


def advice_on(trainer: Trainer, run: RunDirectory) -> list[str]:
    """Return sentences on what to try next, from the run's evaluations."""
    return advice(run.metrics(), trainer.weights, len(trainer.corpus.train), trainer.progress.rollbacks)


def _requested(trainer: Trainer) -> Checkpoint | None:
    """Return a full checkpoint; None where a number is not finite, and the next step will roll back."""
    try:
        return trainer.checkpoint()
    except DivergenceError:
        if trainer.config.training.on_divergence == "rollback":
            return None
        raise


def _keep(
    run: RunDirectory, observer: Observer, report: StepReport, checkpoint: Checkpoint, *, full: bool
) -> dict[str, Any]:
    """Write the results of a step, the full checkpoint last as the commit; return the metrics of an evaluated step."""
    evaluated = report.validation_loss is not None
    metrics: dict[str, Any] = {}
    if evaluated:
        metrics = report.metrics() | {"sample": sample_of(checkpoint.model(), checkpoint)}
        run.record(metrics)
    if report.best:
        run.save_best(checkpoint)
    if full:
        run.save(checkpoint)
    if evaluated:
        observer.show_sample(metrics["sample"])
    return metrics
