"""``charlm train``: build the vocabulary, train, evaluate, keep checkpoints; go on after an interruption."""

import json
import os
import re
import shlex
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.config import ConfigOption, SetOption
from charlm.cli.display import facts, is_watched, say, show
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from charlm.checkpoint import Progress as Reached
    from charlm.cli.drive import Told
    from charlm.cli.progress import Progress
    from charlm.config.settings import Config
    from charlm.text.corpus import Corpus
    from charlm.training.runs import RunDirectory
    from charlm.training.scalars import Scalars
    from charlm.training.trainer import Trainer

_ENVIRONMENT = {
    # Turns for which torch's OpenMP threads wait awake for each other. GNU OpenMP's own number lets a machine that is
    # busy with one other program train a hundred times slower; this one costs an idle machine about an eighth.
    "GOMP_SPINCOUNT": "1000",
    # Without it cuDNN's recurrent kernels give other last digits every time (documentation of torch.nn.LSTM).
    "CUBLAS_WORKSPACE_CONFIG": ":4096:2",
}
"""What is read once, when torch is imported; whoever sets it otherwise is heard."""


def train(
    config: ConfigOption,
    settings: SetOption = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the run, instead of the config's run.name.", show_default=False),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from this run's newest checkpoint; begin if there is none.")
    ] = False,
    allow_change: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-change",
            metavar="KEY",
            help="With --resume: let this setting differ, though that makes it another run; repeatable.",
            show_default=False,
        ),
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            "--init-from", metavar="PATH", help="Begin with the weights of this checkpoint or run.", show_default=False
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="auto, cpu, cuda, cuda:N or mps, instead of training.device.", show_default=False),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write the same numbers for TensorBoard too, into the run's folder.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, time one step, write nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and the result.")] = False,
) -> None:
    """Train a model as a config file says."""
    os.environ.update(_ENVIRONMENT | os.environ)
    from charlm.config.reading import read_config
    from charlm.training.drift import check_known
    from charlm.training.runs import RunDirectory, check_space

    if allow_change and not resume:
        raise ConfigError("--allow-change speaks of a run that goes on; use it with --resume.")
    check_known(allow_change or [])
    options = {"run.name": name, "training.device": device}
    given = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in options.items() if value is not None]
    resolved = read_config(config, [*(settings or []), *given])
    if resolved.model.kind == "markov":
        refused = {"--init-from": init_from is not None, "--tensorboard": tensorboard, "--allow-change": allow_change}
        if given := [option for option, there in refused.items() if there]:
            raise ConfigError(
                f"a Markov model is counted in one pass: no weights to begin with, no curve, nothing to go on from. "
                f"Leave {' and '.join(given)} out."
            )
        _count(resolved, config, resume=resume, dry_run=dry_run, quiet=quiet)
        return
    from charlm.cli.beginning import begin

    scalars = _scalars() if tensorboard else None
    with ExitStack() as held:
        run = RunDirectory.reopen(resolved) if resume else None
        if run:
            held.enter_context(run)
        trainer, found = begin(resolved, run, allow_change or [], init_from, _tell)
        if dry_run:
            from charlm.cli.plan import plan

            show(facts(f"plan of {config}", plan(trainer)))
            return
        check_space(resolved, trainer.weights, run.path if run else None)
        if run:
            run.rewind(found, resolved)
        else:
            run = held.enter_context(RunDirectory.create(resolved))
        if init_from is not None and not found:
            run.save(trainer.checkpoint())  # what it begins with, so that --resume never begins with less
        told = [_page(trainer, run)]
        if scalars:
            told.append(held.enter_context(closing(scalars(run.path, run.metrics()))).add)
        if found:
            told[0]({})  # a page that a killed process could not write
        _train(trainer, run, told, quiet)


def _train(trainer: "Trainer", run: "RunDirectory", told: "list[Told]", quiet: bool) -> None:
    from charlm.cli.drive import drive
    from charlm.cli.signals import Requests, exit_code

    if not quiet:
        onwards = f", from step {trainer.progress.step:,}" if trainer.progress.step else ""
        padding = f", {trainer.streams.padding:.0%} of each window is padding" if trainer.streams.padding else ""
        _tell(f"{run.path} on {trainer.device.type}, {trainer.total_steps:,} steps{onwards}{padding}")
    with Requests() as requests:
        drive(trainer, run, _watch(trainer, quiet), requests, told)
    if requests.stop is not None and not trainer.finished:
        numbered = "" if run.path.name == trainer.config.run.name else f" --name {shlex.quote(run.path.name)}"
        saved = f"{requests.stop.name}: {run.path} is saved at step {trainer.progress.step:,}"
        _tell(f"{saved}. The same command with --resume{numbered} goes on from there.")
        raise typer.Exit(exit_code(requests.stop))
    show(facts(f"{run.path} is trained", _outcome(trainer.progress, run, trainer.corpus)))
    for sentence in () if quiet else _advice(trainer, run):
        _tell(sentence)


def _page(trainer: "Trainer", run: "RunDirectory") -> "Told":
    """Return what keeps the run's page up to date."""
    from charlm.cli.run_page import RunPage
    from charlm.training.state import environment

    page = RunPage(run, trainer.config, trainer.corpus, environment(trainer.device))
    return lambda _: page.write(_advice(trainer, run) if trainer.finished else ())


def _advice(trainer: "Trainer", run: "RunDirectory") -> list[str]:
    from charlm.training.advice import advice

    return advice(run.metrics(), trainer.weights, len(trainer.corpus.train), trainer.progress.rollbacks)


def _scalars() -> "type[Scalars]":
    try:
        from charlm.training.scalars import Scalars
    except ModuleNotFoundError as error:
        raise ConfigError("--tensorboard writes with TensorBoard: pip install 'charlm[tensorboard]'.") from error
    return Scalars


def _count(config: "Config", source: "Path", *, resume: bool, dry_run: bool, quiet: bool) -> None:
    """Make a Markov model: counting is one pass, so a run that has one already is done."""
    from charlm.cli import counting
    from charlm.cli.writer import sample_of
    from charlm.text.corpus import Corpus
    from charlm.training.runs import RunDirectory

    if dry_run:
        show(facts(f"plan of {source}", counting.plan(config)))
        return
    with ExitStack() as held:
        run = RunDirectory.reopen(config) if resume else None
        if run:
            held.enter_context(run)
            if counting.check_counted(run, config):
                _tell(f"{run.path} was counted already; there is nothing to go on from.")
                return
        corpus = Corpus.read(config.data)
        if not quiet:
            _tell(f"counting what follows up to {config.model.order} {config.data.unit}s in {len(corpus.train):,}")
        model, checkpoint = counting.count(config, corpus, quiet)
        if run:
            run.rewind(None, config)
        else:
            run = held.enter_context(RunDirectory.create(config))
        counting.keep(run, checkpoint, corpus, sample_of(model, checkpoint))
    show(facts(f"{run.path} is counted", _outcome(checkpoint.progress, run, corpus)))


def _tell(message: str) -> None:
    say(f"charlm: {message}")


def _watch(trainer: "Trainer", quiet: bool) -> "Progress":
    from charlm.cli.progress import Bar, Lines, Silence

    if quiet:
        return Silence()
    return Bar(trainer.progress.step, trainer.total_steps) if is_watched() else Lines(trainer.total_steps)


def _outcome(progress: "Reached", run: "RunDirectory", corpus: "Corpus") -> list[tuple[str, object]]:
    from charlm.training.history import REPORT
    from charlm.training.report import bits_per_character

    best = progress.best_validation_loss or 0.0
    prompt = _prompt(corpus)
    trying = f' --prompt "{prompt}"' if prompt else ""
    return [
        ("best validation loss", f"{best:.4f} nats ({bits_per_character(best):.3f} bits) a character"),
        ("characters seen", f"{progress.characters:,} in {progress.seconds:,.1f} s"),
        ("checkpoint", run.best),
        ("report", run.path / REPORT),
        ("next", f"charlm sample --checkpoint {shlex.quote(str(run.path))}{trying}"),
    ]


def _prompt(corpus: "Corpus") -> str:
    """Return the first letters of the training text's first long word without capitals, to try the model with."""
    words = re.findall(r"\w{4,}", corpus.vocabulary.decode(corpus.train[:1000]))
    return next((word[:3] for word in words if word == word.lower()), "")
