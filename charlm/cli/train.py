"""``charlm train``: build the vocabulary, train, evaluate, keep checkpoints."""

import json
import os
import re
import shlex
import sys
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.config import ConfigOption, SetOption
from charlm.cli.display import facts, say, show

if TYPE_CHECKING:
    from charlm.checkpoint import Checkpoint
    from charlm.cli.progress import Progress
    from charlm.training.report import Report
    from charlm.training.runs import RunDirectory
    from charlm.training.trainer import Trainer

_SAMPLE_LENGTH = 160
"""Characters written at each evaluation, to see how far the model has come."""

_SPINS = "1000"
"""Turns for which torch's OpenMP threads wait awake for each other. GNU OpenMP's own number lets a machine that is
busy with one other program train a hundred times slower; this one costs an idle machine about an eighth."""


def train(
    config: ConfigOption,
    settings: SetOption = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the run, instead of the config's run.name.", show_default=False),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="auto, cpu, cuda, cuda:N or mps, instead of training.device.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, time one step, write nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")] = False,
) -> None:
    """Train a model as a config file says."""
    os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)  # read once, when torch is imported
    from charlm.config.reading import read_config
    from charlm.text.corpus import Corpus
    from charlm.training.runs import RunDirectory
    from charlm.training.trainer import Trainer

    options = {"run.name": name, "training.device": device}
    given = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in options.items() if value is not None]
    resolved = read_config(config, [*(settings or []), *given])
    trainer = Trainer(resolved, Corpus.read(resolved.data))
    if dry_run:
        from charlm.cli.plan import plan

        show(facts(f"plan of {config}", plan(trainer)))
        return
    run = RunDirectory.create(resolved)
    if not quiet:
        say(f"charlm: {run.path} on {trainer.device.type}, {trainer.total_steps:,} steps")
    _train(trainer, run, _watch(trainer, quiet))
    show(facts(f"{run.path} is trained", _results(trainer, run)))


def _train(trainer: "Trainer", run: "RunDirectory", progress: "Progress") -> None:
    """Drive the trainer to its end, showing every step and keeping what evaluations bring."""
    save_every = trainer.config.run.save_every
    try:
        for report in trainer.run():
            progress.update(report)
            evaluated = report.validation_loss is not None
            due = evaluated if save_every is None else report.step % save_every == 0
            full = due or trainer.finished
            if evaluated or full:
                checkpoint = trainer.checkpoint()
                _keep(run, checkpoint, report, full=full)
                if evaluated:
                    progress.show_sample(_sample(checkpoint))
    finally:
        progress.close()


def _keep(run: "RunDirectory", checkpoint: "Checkpoint", report: "Report", *, full: bool) -> None:
    """Write what this step brings, in the order that makes the full checkpoint the commit."""
    if report.validation_loss is not None:
        run.record(report.metrics())
    if report.best:
        run.save_best(checkpoint)
    if full:
        run.save(checkpoint)


def _sample(checkpoint: "Checkpoint") -> str:
    from charlm.sampling import sample

    rows = sample(checkpoint.model(), checkpoint.vocabulary, seed=checkpoint.config.training.seed)
    return checkpoint.vocabulary.decode([int(row[0]) for row in islice(rows, _SAMPLE_LENGTH)])


def _watch(trainer: "Trainer", quiet: bool) -> "Progress":
    from charlm.cli.progress import Bar, Lines, Silence

    if quiet:
        return Silence()
    return Bar(trainer.total_steps) if sys.stderr.isatty() else Lines(trainer.total_steps)


def _results(trainer: "Trainer", run: "RunDirectory") -> list[tuple[str, object]]:
    from charlm.training.report import bits_per_character

    progress = trainer.progress
    best = progress.best_validation_loss or 0.0
    return [
        ("best validation loss", f"{best:.4f} nats ({bits_per_character(best):.3f} bits) a character"),
        ("characters seen", f"{progress.characters:,} in {progress.seconds:,.1f} s"),
        ("checkpoint", run.best),
        ("next", f'charlm sample --checkpoint {shlex.quote(str(run.path))} --prompt "{_prompt(trainer)}"'),
    ]


def _prompt(trainer: "Trainer") -> str:
    """Return the first letters of the training text's first long word without capitals, to try the model with."""
    corpus = trainer.corpus
    words = re.findall(r"\w{4,}", corpus.vocabulary.decode(corpus.train[:1000]))
    return next((word[:3] for word in words if word == word.lower()), "")
