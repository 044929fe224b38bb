"""Starting a training run: with new weights, from its newest checkpoint, or with another model's weights."""

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from charlm.checkpoint.checkpoint import Checkpoint, step_name
from charlm.config.settings import KEYS, Config
from charlm.errors import CheckpointError, ConfigError
from charlm.models.precision import check_precision, faster_precision
from charlm.runs.directory import RunDirectory
from charlm.runs.lookup import INITIAL, Resumable, newest_checkpoint, open_checkpoint
from charlm.runs.resume_policy import (
    adapted,
    as_recorded,
    changes,
    check_resume,
    check_way,
    check_weights,
    same_corpus,
    with_architecture_of,
)
from charlm.runs.space import check_space
from charlm.split_check import suspect_split
from charlm.text.corpus import Corpus, read_vocabulary
from charlm.training.fine_tuning import widened
from charlm.training.progress import standing_in
from charlm.training.state import environment
from charlm.training.threads import computing_threads
from charlm.training.trainer import Trainer

Note = Callable[[str], object]
"""Called with a sentence for the user."""

_WITHOUT_EFFECT = {"data.path", "training.on_divergence", "training.patience"} | {
    key for key in KEYS if key.startswith("run.")
}
"""Settings that change no step of a run, and no validation loss; the text is the same wherever it is."""
_SHOWN = 20
"""Maximum number of new symbols that a message lists."""


@dataclass(frozen=True)
class Start:
    """A trainer before its first step in this process, and its run's folder where that exists."""

    trainer: Trainer
    _run: RunDirectory | None
    _found: Resumable | None
    _initial: Checkpoint | None
    _resuming: bool
    _note: Note
    _held: ExitStack

    @property
    def resumed(self) -> bool:
        """Whether the trainer continues from a checkpoint of its run."""
        return self._found is not None

    @property
    def hint(self) -> str | None:
        """A sentence on how a new run would be faster on this machine; None where there is none."""
        precision = self.config.training.precision
        return None if self.resumed else faster_precision(self.trainer.device, precision)

    def open_run(self) -> RunDirectory:
        """Create the run's folder, or restore it to the checkpoint from which training continues.

        Raises StorageError when writing fails or the disk has too little free space, and ConfigError where another
        process has begun the same run meanwhile.
        """
        trainer, run = self.trainer, self._run
        config = trainer.config
        check_space(config, len(trainer.corpus.vocabulary), saves_to_come(trainer), run.path if run else None)
        if run:
            run.rewind(self._found, config, self._initial)
        else:
            make = RunDirectory.begin if self._resuming else RunDirectory.create
            run = self._held.enter_context(make(config, self._initial))
        if not run.can_be_synced:
            self._note(f"{run.path}: this file system cannot flush folders; a power failure can lose the last save.")
        return run


def saves_to_come(trainer: Trainer) -> int:
    """Return how many full checkpoints are scheduled until the end of the run, and one for its end."""
    every = trainer.config.run.save_every or trainer.evaluate_every
    return math.ceil(max(trainer.total_steps - trainer.progress.step, 0) / every) + 1


@contextmanager
def prepare_training(
    config: Config,
    *,
    resume: bool = False,
    allow_change: Collection[str] = (),
    init_from: str | None = None,
    note: Note,
) -> Iterator[Start]:
    """Yield a trainer: new, with the weights of ``init_from``, or with ``resume`` from its run's newest checkpoint.

    The run's folder is locked until the block ends, and nothing is written before `Start.open_run`. Until then torch
    computes with ``training.threads``. Raises like `Corpus.read`, `Trainer`, `check_precision`, `check_resume` and
    `check_weights`.
    """
    with ExitStack() as held:
        run = RunDirectory.reopen(config) if resume else None
        if run:
            held.enter_context(run)
        held.enter_context(computing_threads(config.training.threads))
        trainer, found, initial = begin(config, run, allow_change, init_from, note)
        check_precision(trainer.network, trainer.masks, config.training.precision, resumed=run is not None)
        yield Start(trainer, run, found, initial, resume, note, held)


def begin(
    config: Config, run: RunDirectory | None, allowed: Collection[str], init_from: str | None, note: Note
) -> tuple[Trainer, Resumable | None, Checkpoint | None]:
    """Return a trainer before its first step in this process.

    With it, the checkpoint it continues from, and the weights of another model that its run has to keep, if any.
    ``run`` is the folder of a run to resume. Nothing is written.
    """
    if run:
        check_way(run.config(), config)
        found = resumable(run)
        initial = None if found else run.initial()
        if (began := found.checkpoint if found else initial) and (run.path / INITIAL).exists():
            config = with_architecture_of(began.config, config)
        if found:
            return *resume(found, run, config, allowed, note), None
        if initial:
            config = as_recorded(initial.config, config)
            rows, corpus = check_resume(initial.config, config, allowed), same_corpus(initial, config)
            for sentence in rows:
                note(sentence)
            return first_trainer(initial, config, corpus), None, None
    if init_from is None:
        trainer = Trainer(config, Corpus.read(config.data))
        _note_suspect_split(trainer, note)
        return trainer, None, None
    _, source = open_checkpoint(init_from)
    trainer = fine_tune(source, config, note)
    _note_suspect_split(trainer, note)
    return trainer, None, trainer.checkpoint()


def first_trainer(initial: Checkpoint | None, config: Config, corpus: Corpus) -> Trainer:
    """Return the trainer of a run at step 0: with these weights, or with those that the seed gives."""
    return Trainer.fine_tune(config, corpus, initial.part("model")) if initial else Trainer(config, corpus)


def resumable(run: RunDirectory) -> Resumable | None:
    """Return the checkpoint to resume from; None when the run was interrupted before its first full checkpoint.

    Raises CheckpointError when the run had full checkpoints and none is left.
    """
    found = newest_checkpoint(run.path, run.id)
    steps = [metrics["step"] for metrics in run.metrics()]
    if found is None and steps and steps[-1] > (_save_every(run) or steps[0]):
        raise CheckpointError(
            f"{run.path}: this run reached step {steps[-1]:,}, but its full checkpoints are gone.",
            f"Start a new run from its best weights, with another name and init_from={str(run.best)!r}.",
            kind="no whole checkpoint",
            names=(str(run.best),),
        )
    return found


def resume(
    found: Resumable, run: RunDirectory, config: Config, allowed: Collection[str], note: Note
) -> tuple[Trainer, Resumable]:
    """Return a trainer that continues from ``found`` with ``config``; raises like `check_resume` and `same_corpus`.

    Nothing is noted of a run that is then refused.
    """
    checkpoint, config = found.checkpoint, as_recorded(found.checkpoint.config, config)
    notes = [f"{problem} Resuming from an older one." for problem in found.damaged.values()]
    notes += check_resume(checkpoint.config, config, allowed)
    corpus = same_corpus(checkpoint, config)
    aside = _newer_best_of_other_settings(run, checkpoint, config)
    if aside is not None:
        notes.append(f"{run.best} is of step {aside:,}, with other settings; it is kept as {run.name_aside(aside)}.")
    if _has_lost_its_best(run, checkpoint, aside):
        lost = "" if aside is not None else f"{run.best} is missing or damaged; "
        notes.append(f"{lost}the weights of step {checkpoint.progress.step:,} are the best until the next evaluation.")
        checkpoint = replace(checkpoint, progress=standing_in(checkpoint.progress))
    point = rollback_point(checkpoint, run, config, corpus, notes.append)
    trainer = Trainer.resume(adapted(checkpoint, config), corpus, point)
    if trainer.finished and trainer.progress.best_step is None:
        raise ConfigError(
            f"{run.path}: this run has reached step {trainer.progress.step:,} without an evaluation, and these "
            "settings end it there. Continue it with more training.steps or training.epochs."
        )
    here = environment(trainer.device)
    others = [
        f"{name} was {was}, is {here[name]}"
        for name, was in checkpoint.versions.items()
        if name in here and was != here[name]
    ]
    if others:
        notes.append(f"the results may differ from those of an uninterrupted run: {'; '.join(others)}.")
    for sentence in notes:
        note(sentence)
    return trainer, replace(found, checkpoint=checkpoint, sets_best_aside=aside is not None)


def rollback_point(
    checkpoint: Checkpoint, run: RunDirectory, config: Config, corpus: Corpus, note: Note
) -> Checkpoint | None:
    """Return the scheduled checkpoint to which a divergence goes back; None where that is ``checkpoint``."""
    step = checkpoint.progress.rollback_step
    if config.training.on_divergence == "stop" or step in (None, checkpoint.progress.step):
        return None
    try:
        if step == 0 and not (run.path / step_name(0)).is_file():  # runs of formats 1 and 2 may have it
            return first_trainer(run.initial(), config, corpus).checkpoint()
        return adapted(Checkpoint.load(run.path / step_name(step)), config)
    except CheckpointError as error:
        note(f"{error} After a divergence, training goes back to step {checkpoint.progress.step:,} instead.")
        return None


def fine_tune(source: Checkpoint, config: Config, note: Note) -> Trainer:
    """Return a trainer of a new run with the weights of ``source``; raises like `check_weights`.

    The architecture is that of ``source`` where ``config`` was not given one.
    """
    given = config
    if source.config.model.architecture.is_recurrent:
        config = with_architecture_of(source.config, given)
    check_weights(source.config, config)
    found, known = read_vocabulary(config.data), source.vocabulary
    vocabulary = known.united(found)
    new = sorted(set(vocabulary.symbols) - set(known.symbols))
    unused = len(set(known.symbols) - set(found.symbols))
    shown = f": {' '.join(map(repr, new[:_SHOWN]))}{' …' if len(new) > _SHOWN else ''}" if new else ""
    if taken := [f"{change.key} {change.now}" for change in changes(given, config)]:
        note(f"the architecture is that of the weights: {', '.join(taken)}")
    note(
        f"{len(known):,} symbols keep their weights, {unused:,} of which do not occur in this text; "
        f"{len(new):,} are new and start at the mean of the others{shown}"
    )
    return Trainer.fine_tune(config, Corpus.read(config.data, vocabulary), widened(source, vocabulary))


def _note_suspect_split(trainer: Trainer, note: Note) -> None:
    if suspect := suspect_split(trainer.corpus, trainer.config.data):
        note(suspect)


def _save_every(run: RunDirectory) -> int | None:
    """Return ``run.save_every`` from the config in the run's folder."""
    config = run.config()
    return config.run.save_every if config else None


def _newer_best_of_other_settings(run: RunDirectory, checkpoint: Checkpoint, config: Config) -> int | None:
    """Return the step of best weights that the run, continued with other settings, has not reached; None for none."""
    changed = any(change.key not in _WITHOUT_EFFECT for change in changes(checkpoint.config, config))
    best = run.best_step() if changed else None
    return best if best is not None and best > checkpoint.progress.step else None


def _has_lost_its_best(run: RunDirectory, checkpoint: Checkpoint, aside: int | None) -> bool:
    """Return whether the weights of the checkpoint's best step are neither in the run's best nor in itself."""
    elsewhere = checkpoint.progress.best_step not in (None, checkpoint.progress.step)
    return elsewhere and (aside is not None or run.best_step() is None)
