"""``charlm train``: build the vocabulary, train, evaluate and save checkpoints; resume interrupted runs."""

import os
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.config import SetOption
from charlm.cli.display import facts, is_watched, say, show
from charlm.cli.out_of_memory import MemoryGuard
from charlm.cli.outcome import outcome, way_on
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from charlm.config.settings import Config
    from charlm.models.ngram_counts import Counts
    from charlm.training.loop import Observer
    from charlm.training.scalars import Scalars
    from charlm.training.start import Start
    from charlm.training.trainer import Trainer

_ENVIRONMENT = {
    # Iterations for which torch's OpenMP threads spin before they sleep. With GNU OpenMP's default, training is up to
    # a hundred times slower while one other program is running; this value costs an idle machine about an eighth.
    "GOMP_SPINCOUNT": "1000",
    # Without it, cuDNN's recurrent kernels are not deterministic (documentation of torch.nn.LSTM).
    "CUBLAS_WORKSPACE_CONFIG": ":4096:2",
}
"""Defaults for environment variables that are read once, when torch is imported; values already set take precedence."""


def train(
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="The YAML file to read.", show_default=False),
    ] = None,
    settings: SetOption = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the run, instead of the config's run.name.", show_default=False),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue this run from its newest checkpoint; without --config, the run --name or the latest.",
        ),
    ] = False,
    allow_change: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-change",
            metavar="KEY",
            help="With --resume: allow this setting to differ, although it changes the experiment; repeatable.",
            show_default=False,
        ),
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            "--init-from", metavar="PATH", help="Start with the weights of this checkpoint or run.", show_default=False
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="auto, cpu, cuda, cuda:N or mps, instead of training.device.", show_default=False),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write the metrics for TensorBoard, to the run's folder.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, time one step, write nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and the result.")] = False,
) -> None:
    """Train a model as specified by a config file, or resume a run with its own."""
    os.environ.update(_ENVIRONMENT | os.environ)
    from charlm.config.reading import override
    from charlm.runs.resume_policy import check_known

    if allow_change and not resume:
        raise ConfigError("--allow-change needs --resume.")
    check_known(allow_change or [])
    options = {"run.name": name, "training.device": device}
    given = [override(key, value) for key, value in options.items() if value is not None]
    resolved = _settings(config, [*(settings or []), *given], resume=resume)
    source = config or Path(resolved.run.directory, resolved.run.name)
    if not resolved.model.architecture.is_recurrent:
        refused = {"--init-from": init_from is not None, "--tensorboard": tensorboard, "--allow-change": allow_change}
        if given := [option for option, there in refused.items() if there]:
            raise ConfigError(
                f"a Markov model is counted in one pass and does not support {' and '.join(given)}. "
                f"Leave {'it' if len(given) == 1 else 'them'} out."
            )
        with MemoryGuard(lambda: "Lower model.order, or use a shorter text."):
            _count(resolved, source, resume=resume, dry_run=dry_run, quiet=quiet)
        return
    from charlm.cli.progress import reading_shown
    from charlm.library import tensorboard_curves
    from charlm.training.start import prepare_training

    curves = tensorboard_curves() if tensorboard else None
    with ExitStack() as held:
        with reading_shown(quiet) as note:
            prepared = prepare_training(
                resolved, resume=resume, allow_change=allow_change or [], init_from=init_from, note=note
            )
            start = held.enter_context(prepared)
        if start.hint and not quiet:
            _tell(start.hint)
        if dry_run:
            from charlm.training.plan import plan

            show(facts(f"plan of {source}", plan(start.trainer)))
            return
        _train(start, curves, quiet)


def _settings(config: Path | None, overrides: list[str], *, resume: bool) -> "Config":
    """Return the settings of a config file, or those that the run to resume recorded."""
    from charlm.config.reading import overridden_run, read_config
    from charlm.runs.recorded_config import recorded_config

    if config is not None:
        return read_config(config, overrides, prefix="--set ")
    if not resume:
        raise ConfigError("there is nothing to train on. Give --config FILE, or --resume to continue the latest run.")
    run = overridden_run(overrides, prefix="--set ")
    name = run.name if "name" in run.model_fields_set else None
    return recorded_config(name, Path(run.directory), overrides, prefix="--set ")


def _train(start: "Start", curves: "type[Scalars] | None", quiet: bool) -> None:
    from charlm.cli.signals import Requests, exit_code
    from charlm.library import train_run
    from charlm.training.loop import advice_on

    run, trainer = start.open_run(), start.trainer
    if not quiet and trainer.finished:
        _tell(f"{run.path} is finished. To train it longer, raise training.epochs (or training.steps).")
    elif not quiet:
        onwards = f", from step {trainer.progress.step:,}" if trainer.progress.step else ""
        padding = f", {trainer.streams.padding:.0%} of each window is padding" if trainer.streams.padding else ""
        _tell(f"{run.path} on {trainer.device.type}, {trainer.total_steps:,} steps{onwards}{padding}")
    with Requests() as requests:
        train_run(
            start,
            run,
            observer=_watch(trainer, quiet),
            stop=requests.should_stop,
            save_now=requests.pop_save_request,
            curves=curves,
        )
    if requests.stop is not None and not trainer.finished:
        saved = f"{requests.stop.name}: {run.path} is saved at step {trainer.progress.step:,}"
        _tell(f"{saved}. To continue: {way_on(run, *(['--tensorboard'] if curves else []))}")
        raise typer.Exit(exit_code(requests.stop))
    show(facts(f"{run.path} is trained", outcome(trainer.progress, run, trainer.corpus)))
    for sentence in () if quiet else advice_on(trainer, run):
        _tell(sentence)


def _count(config: "Config", source: Path, *, resume: bool, dry_run: bool, quiet: bool) -> None:
    """Count a Markov model; a run that has one already is complete, because counting is one pass."""
    from charlm.cli.progress import reading_shown
    from charlm.library import count_run
    from charlm.runs.directory import RunDirectory
    from charlm.training.ngram import plan, prepare_counting

    with ExitStack() as held:
        if dry_run:
            with reading_shown(quiet) as note:
                rows = plan(config, note)
            show(facts(f"plan of {source}", rows))
            return
        with reading_shown(quiet) as note:
            counting = held.enter_context(prepare_counting(config, resume=resume, note=note))
        if isinstance(counting, RunDirectory):
            _tell(f"{counting.path} is already counted; there is nothing to resume.")
            return
        if not quiet:
            text = f"{len(counting.corpus.train):,}"
            _tell(f"counting what follows up to {config.model.order} {config.data.unit}s in {text}")
        run, checkpoint = count_run(counting, partial(_watch_orders, config.model.order, quiet))
        show(facts(f"{run.path} is counted", outcome(checkpoint.progress, run, counting.corpus)))


def _watch_orders(order: int, quiet: bool, levels: "Iterable[Counts]") -> "Iterable[Counts]":
    from tqdm import tqdm

    return tqdm(levels, total=order + 1, unit="order", file=sys.stderr, disable=quiet or not is_watched())


def _tell(message: str) -> None:
    say(f"charlm: {message}")


def _watch(trainer: "Trainer", quiet: bool) -> "Observer":
    from charlm.cli.progress import Bar, Lines, Silence

    if quiet:
        return Silence()
    return Bar(trainer.progress.step, trainer.total_steps) if is_watched() else Lines(trainer.total_steps)
