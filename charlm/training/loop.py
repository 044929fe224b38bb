"""The training loop: take steps, keep what they bring, and tell an observer.

The loop knows nothing of signals, terminals or notebooks. Whoever calls it passes what may end it (``stop``), what may
ask for a checkpoint (``save_now``), and an observer.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from charlm.errors import DivergenceError
from charlm.generation import sample_of
from charlm.runs.advice import advice
from charlm.runs.directory import RunDirectory
from charlm.runs.step_report import Rollback, StepReport
from charlm.training.trainer import Trainer

OnEvaluation = Callable[[Mapping[str, Any]], object]
"""Called with the line of ``metrics.jsonl`` of each evaluation, once it is kept."""


class Observer(Protocol):
    """Is told what happens in training, as it happens."""

    def update(self, report: StepReport) -> None:
        """Take notice of one step."""

    def show_sample(self, text: str) -> None:
        """Take notice of what the model writes now."""

    def show_rollback(self, rollback: Rollback) -> None:
        """Take notice that training diverged and was rolled back."""

    def close(self) -> None:
        """Take notice of the end, whatever the reason."""


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
    """Return False: nothing asks for the end, or for a checkpoint."""
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
    """Train until the trainer has finished or ``stop()`` is true after a step; either way the last step is saved.

    ``save_now()`` is asked once a step; a full checkpoint is written after a step where it is true.
    Raises DivergenceError when training diverges and is not rolled back, and StorageError when the disk refuses.
    """
    try:
        events = trainer.run()
        for event in events:
            if isinstance(event, Rollback):
                observer.show_rollback(event)
                continue
            observer.update(event)
            stopping = stop()  # a request that comes after this line waits for the next step
            try:
                metrics = _keep(trainer, run, observer, event, asked=save_now() or stopping)
                for callback in callbacks if metrics else ():
                    callback(metrics)
            except DivergenceError as error:  # what no loss has shown yet; the trainer knows what to do about it
                rollback = events.throw(error)
                if isinstance(rollback, Rollback):
                    observer.show_rollback(rollback)
            if stopping:
                return
    finally:
        observer.close()


def advice_on(trainer: Trainer, run: RunDirectory) -> list[str]:
    """Return what the run's evaluations advise to try next, in sentences."""
    return advice(run.metrics(), trainer.weights, len(trainer.corpus.train), trainer.progress.rollbacks)


def _keep(
    trainer: Trainer, run: RunDirectory, observer: Observer, report: StepReport, *, asked: bool
) -> dict[str, Any]:
    """Write what this step brings, in the order that makes the full checkpoint the commit; return its metrics."""
    save_every = trainer.config.run.save_every
    evaluated = report.validation_loss is not None
    due = evaluated if save_every is None else report.step % save_every == 0
    full = due or asked or trainer.finished
    if not (evaluated or full):
        return {}
    checkpoint = trainer.checkpoint()
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
