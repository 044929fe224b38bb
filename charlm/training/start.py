"""Starting a training run: with new weights, from its newest checkpoint, or with another model's weights."""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.config.settings import Config
from charlm.errors import CheckpointError, ConfigError
from charlm.runs.directory import RunDirectory, check_space
from charlm.runs.lookup import Resumable, newest_checkpoint, open_checkpoint
from charlm.runs.resume_policy import adapted, check_resume, check_way, check_weights, same_corpus
from charlm.text.corpus import Corpus, read_vocabulary
from charlm.training.fine_tuning import widened
from charlm.training.state import environment
from charlm.training.trainer import Trainer

Note = Callable[[str], object]
"""Called with a sentence for the user."""

_SHOWN = 20
"""Maximum number of new symbols that a message lists."""


@dataclass(frozen=True)
class Start:
    """A trainer before its first step in this process, and its run's folder where that exists."""

    config: Config
    trainer: Trainer
    _run: RunDirectory | None
    _found: Resumable | None
    _fine_tuned: bool
    _held: ExitStack

    @property
    def resumed(self) -> bool:
        """Whether the trainer continues from a checkpoint of its run."""
        return self._found is not None

    def open_run(self) -> RunDirectory:
        """Create the run's folder, or restore it to the checkpoint from which training continues.

        Raises StorageError when writing fails or the disk has too little free space.
        """
        check_space(self.config, len(self.trainer.corpus.vocabulary), self._run.path if self._run else None)
        if self._run:
            run = self._run
            run.rewind(self._found, self.config)
        else:
            run = self._held.enter_context(RunDirectory.create(self.config))
        if self._fine_tuned and not self._found:
            run.save(self.trainer.checkpoint())  # the initial weights, so that a resumed run has them too
        return run


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

    The run's folder is locked until the block ends, and nothing is written before `Start.open_run`. Raises like
    `Corpus.read`, `Trainer`, `check_resume` and `check_weights`.
    """
    with ExitStack() as held:
        run = RunDirectory.reopen(config) if resume else None
        if run:
            held.enter_context(run)
        trainer, found = begin(config, run, allow_change, init_from, note)
        yield Start(config, trainer, run, found, init_from is not None, held)


def begin(
    config: Config, run: RunDirectory | None, allowed: Collection[str], init_from: str | None, note: Note
) -> tuple[Trainer, Resumable | None]:
    """Return a trainer before its first step in this process, and the checkpoint it continues from, if any.

    ``run`` is the folder of a run to resume. Nothing is written.
    """
    if run:
        check_way(run.config(), config)
    found = resumable(run) if run else None
    if run and found:
        return resume(found, run, config, allowed, note)
    if init_from is not None:
        _, source = open_checkpoint(init_from)
        return fine_tune(source, config, note), None
    return Trainer(config, Corpus.read(config.data)), None


def resumable(run: RunDirectory) -> Resumable | None:
    """Return the checkpoint to resume from; None when the run was interrupted before its first full checkpoint.

    Raises CheckpointError when the run had full checkpoints and none is left.
    """
    found = newest_checkpoint(run.path)
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
    """Return a trainer that continues from ``found`` with ``config``; raises like `check_resume`."""
    checkpoint = found.checkpoint
    for problem in found.damaged.values():
        note(f"{problem} Resuming from an older one.")
    for sentence in check_resume(checkpoint.config, config, allowed):
        note(sentence)
    corpus = same_corpus(checkpoint, config)
    if _has_lost_its_best(run, checkpoint):
        note(f"{run.best} is missing or damaged; the weights of step {checkpoint.progress.step:,} replace it.")
        checkpoint = _standing_in(checkpoint)
    trainer = Trainer.resume(adapted(checkpoint, config), corpus)
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
        note(f"the results may differ from those of an uninterrupted run: {'; '.join(others)}.")
    return trainer, replace(found, checkpoint=checkpoint)


def fine_tune(source: Checkpoint, config: Config, note: Note) -> Trainer:
    """Return a trainer of a new run with the weights of ``source``; raises like `check_weights`."""
    check_weights(source.config, config)
    found, known = read_vocabulary(config.data), source.vocabulary
    vocabulary = known.united(found)
    new = sorted(set(vocabulary.symbols) - set(known.symbols))
    unused = len(set(known.symbols) - set(found.symbols))
    shown = f": {' '.join(map(repr, new[:_SHOWN]))}{' …' if len(new) > _SHOWN else ''}" if new else ""
    note(
        f"{len(known):,} symbols keep their weights, {unused:,} of which do not occur in this text; "
        f"{len(new):,} are new and start at the mean of the others{shown}"
    )
    return Trainer.fine_tune(config, Corpus.read(config.data, vocabulary), widened(source, vocabulary))


def _save_every(run: RunDirectory) -> int | None:
    """Return ``run.save_every`` from the config in the run's folder."""
    config = run.config()
    return config.run.save_every if config else None


def _standing_in(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint marked as the best, with its validation loss if it was evaluated at this step."""
    progress = checkpoint.progress
    loss = progress.validation_loss if progress.characters_since_evaluation == 0 else None
    best = {"best_step": progress.step, "best_validation_loss": loss}
    return replace(checkpoint, progress=progress.model_copy(update=best))


def _has_lost_its_best(run: RunDirectory, checkpoint: Checkpoint) -> bool:
    return checkpoint.progress.best_step not in (None, checkpoint.progress.step) and run.best_step() is None
