"""Drives a trainer to its end: shows every step, keeps what it brings, and listens to signals."""

from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import Any

from charlm.checkpoint import Checkpoint
from charlm.cli.progress import Progress
from charlm.cli.signals import Requests
from charlm.cli.writer import Writer, columns
from charlm.errors import DivergenceError
from charlm.sampling import sample
from charlm.training.report import Report, Rollback
from charlm.training.runs import RunDirectory
from charlm.training.trainer import Trainer

Told = Callable[[Mapping[str, Any]], None]
"""Somebody who is told of each evaluation once it is kept."""

_SAMPLE_LENGTH = 160
"""Characters written at each evaluation, to see how far the model has come."""
_ITEMS = 8
"""Separate items that are written instead."""


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
        metrics = report.metrics() | {"sample": sample_of(checkpoint)}
        run.record(metrics)
    if report.best:
        run.save_best(checkpoint)
    if full:
        run.save(checkpoint)
    if evaluated:
        progress.show_sample(metrics["sample"])
    return metrics


def sample_of(checkpoint: Checkpoint) -> str:
    """Return what the model writes now: a stretch of text, or some items."""
    writer = Writer(checkpoint, "", None)
    items = 1 if checkpoint.vocabulary.end is None else _ITEMS
    rows = sample(checkpoint.model(), checkpoint.vocabulary, seed=checkpoint.config.training.seed, num_samples=items)
    return writer.between.join(map(writer.text, columns(islice(rows, _SAMPLE_LENGTH), items)))
