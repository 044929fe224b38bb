"""Drives a trainer to its end: shows every step, keeps what it brings, and listens to signals."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from charlm.cli.progress import Progress
from charlm.cli.signals import Requests
from charlm.cli.writer import sample_of
from charlm.errors import DivergenceError
from charlm.training.report import Report, Rollback
from charlm.training.runs import RunDirectory
from charlm.training.trainer import Trainer

Told = Callable[[Mapping[str, Any]], None]
"""Somebody who is told of each evaluation once it is kept."""


def drive(
    trainer: Trainer, run: RunDirectory, progress: Progress, requests: Requests, told: Collection[Told] = ()
) -> None:
    """Train until the trainer has finished or a signal asks for the end; either way the last step is saved."""
    try:
        events = trainer.run()
        for event in events:
            if isinstance(event, Rollback):
                progress.show_rollback(event)
                continue
            progress.update(event)
            stopping = requests.stop is not None  # a signal that comes after this line waits for the next step
            try:
                metrics = _keep(trainer, run, progress, event, asked=requests.taken() or stopping)
                for tell in told if metrics else ():
                    tell(metrics)
            except DivergenceError as error:  # what no loss has shown yet; the trainer knows what to do about it
                rollback = events.throw(error)
                if isinstance(rollback, Rollback):
                    progress.show_rollback(rollback)
            if stopping:
                return
    finally:
        progress.close()


def _keep(trainer: Trainer, run: RunDirectory, progress: Progress, report: Report, *, asked: bool) -> dict[str, Any]:
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
        progress.show_sample(metrics["sample"])
    return metrics
