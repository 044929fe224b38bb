"""Starting a training run: with new weights, from its newest checkpoint, or with another model's weights."""

import math
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.config.settings import Config
from charlm.models.precision import check_precision, faster_precision
from charlm.runs.directory import RunDirectory
from charlm.runs.lookup import INITIAL, Resumable, open_checkpoint
from charlm.runs.resume_policy import (
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
from charlm.text.findings import Note
from charlm.training.fine_tuning import widened
from charlm.training.resuming import first_trainer, resumable, resume
from charlm.training.threads import computing_threads
from charlm.training.trainer import Trainer

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
        precision = self.trainer.config.training.precision
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

    Until the block ends, the run's folder is locked and torch computes with ``training.threads``. Nothing is written
    before `Start.open_run`. Raises like `Corpus.read`, `Trainer`, `check_precision`, `check_resume` and
    `check_weights`.
    """
    with ExitStack() as held:
        run = RunDirectory.reopen(config) if resume else None
        if run:
            held.enter_context(run)
        held.enter_context(computing_threads(config.training.threads))
        trainer, found, initial = begin(config, run, allow_change, init_from, note)
        check_precision(trainer.network, trainer.masks, config.training.precision, resumed=run is not None)
        for sentence in trainer.corpus.notes:
            note(sentence)
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
