"""The Python interface: `train` and `load`, and the `Run` and `Model` that they return.

    run = charlm.train("my.txt")
    model = run.model()                                       # or charlm.load("runs/quickstart")
    model.generate("The fox", length=200, temperature=0.8, seed=1)
    model.score("a text").bits_per_character
    model.trace("a text")["hidden"]                           # [time, layer, unit]

Nothing here prints, sets signal handlers or changes the environment. Training imports torch; the rest does not.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.config.reading import read_config
from charlm.config.settings import Config, RunConfig
from charlm.errors import ConfigError
from charlm.model import Model
from charlm.pages.run_page import RunPage
from charlm.runs.directory import RunDirectory
from charlm.runs.history import read_history
from charlm.runs.lookup import open_checkpoint
from charlm.runs.metrics import Evaluation
from charlm.runs.recorded_config import recorded_config
from charlm.runs.resume_policy import check_known
from charlm.training.ngram import Counting, Watch, prepare_counting

if TYPE_CHECKING:
    from charlm.training.loop import Observer, OnEvaluation
    from charlm.training.scalars import Scalars
    from charlm.training.start import Start


@dataclass(frozen=True)
class Run:
    """A training run: a folder, whose files are read at each access."""

    path: Path
    """The run's folder."""

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """The evaluations, by step; losses are in nats per character."""
        return read_history(self.path).evaluations

    @property
    def best(self) -> Evaluation | None:
        """The evaluation with the lowest validation loss; None before there is one."""
        return read_history(self.path).best

    def model(self) -> Model:
        """Return the model with the lowest validation loss; raises CheckpointError when there is none."""
        return load(self.path)


def load(name: str | Path | None = None, directory: str | Path = "runs") -> Model:
    """Return the model of a checkpoint file, of a run's folder, or of the run of this name in ``directory``.

    Of a run, the best checkpoint is read; without a name, that of the latest run in ``directory``. Raises
    CheckpointError when there is none, and DamagedCheckpointError when it is damaged.
    """
    path, checkpoint = open_checkpoint(None if name is None else str(name), Path(directory))
    return Model(checkpoint, path)


def train(
    *texts: str | Path,
    config: Config | str | Path | None = None,
    name: str | None = None,
    directory: str | Path | None = None,
    resume: bool = False,
    allow_change: Collection[str] = (),
    init_from: str | Path | None = None,
    tensorboard: bool = False,
    on_evaluation: Callable[[Evaluation], object] | None = None,
    on_note: Callable[[str], object] | None = None,
) -> Run:
    """Train a model as ``charlm train`` does, and return its run.

    ``texts`` are files or globs and replace ``data.path``. ``config`` is a `Config` or the path of a YAML file; without
    one every setting is at its default. ``name`` replaces ``run.name``, ``directory`` replaces ``run.directory``. With
    ``resume`` the run continues from its newest checkpoint, and settings in ``allow_change`` may differ; without texts
    and config it is the run of this ``name`` or the latest run in ``directory``, with the settings in its folder.
    ``init_from`` names a checkpoint or run whose weights a new run starts with, and whose architecture it takes where
    the config sets none. ``tensorboard`` also writes the metrics for TensorBoard. ``on_evaluation`` is called after
    each evaluation, and ``on_note`` with sentences such as which settings differ. In a notebook a progress bar is
    shown; otherwise nothing is printed.

    After KeyboardInterrupt the step is finished and saved, and the exception is raised again; ``resume`` continues
    from there. Raises ConfigError, TextError, CheckpointError, DivergenceError and StorageError.
    """
    check_known(allow_change)
    if resume and config is None and not texts:
        resolved = recorded_config(name, Path(directory or RunConfig.default("directory")))
    else:
        resolved = _resolved(texts, config, name, directory)
    if not resolved.model.architecture.is_recurrent:
        _refuse_for_counting(allow_change=allow_change, init_from=init_from, tensorboard=tensorboard)
        return _count_here(resolved, resume, on_evaluation, on_note or _ignore)
    from charlm.training.start import prepare_training

    source, note = None if init_from is None else str(init_from), on_note or _ignore
    curves = tensorboard_curves() if tensorboard else None
    with prepare_training(resolved, resume=resume, allow_change=allow_change, init_from=source, note=note) as start:
        return _train_here(start, curves, on_evaluation, note)


def _train_here(
    start: "Start",
    curves: "type[Scalars] | None",
    on_evaluation: Callable[[Evaluation], object] | None,
    note: Callable[[str], object],
) -> Run:
    """Train a prepared run, with a progress bar in a notebook; KeyboardInterrupt takes effect between steps."""
    from charlm.training.background import finish_steps
    from charlm.training.notebook import observer_here

    if start.hint:
        note(start.hint)
    run = start.open_run()
    observer = observer_here(start.trainer.progress.step, start.trainer.total_steps)
    callbacks: list[OnEvaluation] = []
    if on_evaluation is not None:
        callbacks.append(lambda metrics: on_evaluation(Evaluation.model_validate(metrics)))

    def work(stop: Callable[[], bool]) -> None:
        train_run(start, run, observer=observer, stop=stop, curves=curves, callbacks=callbacks)

    finish_steps(work)
    return Run(run.path)


def _count_here(
    config: Config,
    resume: bool,
    on_evaluation: Callable[[Evaluation], object] | None,
    note: Callable[[str], object],
) -> Run:
    """Count a Markov model, unless the run that is resumed has one already."""
    with prepare_counting(config, resume=resume, note=note) as counting:
        if isinstance(counting, RunDirectory):
            return Run(counting.path)
        run = Run(count_run(counting)[0].path)
    if on_evaluation is not None:
        for evaluation in run.evaluations:
            on_evaluation(evaluation)
    return run


def _refuse_for_counting(**arguments: object) -> None:
    """Raise ConfigError for arguments of `train` that need a network."""
    for name, value in arguments.items():
        if value:
            raise ConfigError(
                "a Markov model is counted in one pass, without weights to start with, curves or checkpoints.",
                "Leave this argument out.",
                field=name,
            )


def train_run(
    start: "Start",
    run: RunDirectory,
    *,
    observer: "Observer",
    stop: Callable[[], bool],
    save_now: Callable[[], bool] = lambda: False,
    curves: "type[Scalars] | None" = None,
    callbacks: "Collection[OnEvaluation]" = (),
) -> None:
    """Train a prepared run to its end, and keep its page and ``curves`` up to date; raises like `run_loop`."""
    from charlm.training.loop import advice_on, run_loop
    from charlm.training.state import environment

    trainer = start.trainer
    page = RunPage(run, trainer.config, trainer.corpus, environment(trainer.device))

    def write_page(_: Mapping[str, Any]) -> None:
        page.write(advice_on(trainer, run) if trainer.finished else (), training=not trainer.finished)

    with ExitStack() as files:
        files.callback(page.settle)
        kept: list[OnEvaluation] = [write_page]
        if curves is not None:
            kept.append(files.enter_context(closing(curves(run.path, run.metrics()))).add)
        if start.resumed:
            write_page({})  # a killed process may have left an older one
        run_loop(trainer, run, observer=observer, stop=stop, save_now=save_now, callbacks=[*kept, *callbacks])


def count_run(counting: Counting, watch: Watch = iter) -> tuple[RunDirectory, Checkpoint]:
    """Count a prepared run, and write it with its page; raises StorageError when writing fails."""
    run, checkpoint = counting.run(watch)
    RunPage(run, counting.config, counting.corpus, checkpoint.versions).write()
    return run, checkpoint


def tensorboard_curves() -> "type[Scalars]":
    """Return the writer of TensorBoard event files; raises ConfigError where TensorBoard is not installed."""
    try:
        from charlm.training.scalars import Scalars
    except ModuleNotFoundError as error:
        raise ConfigError("TensorBoard is not installed. Install it: pip install tensorboard") from error
    return Scalars


def _resolved(
    texts: Sequence[str | Path], config: Config | str | Path | None, name: str | None, directory: str | Path | None
) -> Config:
    """Return the config for the arguments of `train`; raises ConfigError when it is incomplete or invalid."""
    resolved = config if isinstance(config, Config) or config is None else read_config(Path(config))
    path = tuple(map(str, texts))
    if resolved is None:
        if not path:
            raise ConfigError(
                "there is nothing to train on.",
                "Give the path of a text or a config, or resume=True to continue a run.",
            )
        resolved = Config.model_validate({"data": {"path": path}})
    changes: dict[str, dict[str, object]] = {}
    if path:
        changes["data"] = {"path": path}
    run = {"name": name, "directory": None if directory is None else str(directory)}
    changes["run"] = {key: value for key, value in run.items() if value is not None}
    tree = resolved.model_dump(exclude_unset=True)  # a setting that was not written stays so
    return Config.model_validate(tree | {part: tree.get(part, {}) | values for part, values in changes.items()})


def _ignore(_: str) -> None:
    """Do nothing."""
