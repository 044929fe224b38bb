"""Resuming a training run from its newest checkpoint."""

from collections.abc import Collection
from dataclasses import replace

from charlm.checkpoint.checkpoint import Checkpoint, step_name
from charlm.config.settings import KEYS, Config
from charlm.errors import CheckpointError, ConfigError
from charlm.runs.directory import RunDirectory
from charlm.runs.lookup import Resumable, newest_checkpoint
from charlm.runs.resume_policy import adapted, as_recorded, changes, check_resume, same_corpus
from charlm.text.corpus import Corpus
from charlm.text.findings import Note
from charlm.training.progress import standing_in
from charlm.training.state import environment
from charlm.training.trainer import Trainer

_WITHOUT_EFFECT = {"data.path", "training.on_divergence", "training.patience"} | {
    key for key in KEYS if key.startswith("run.")
}
"""Settings that change no step of a run, and no validation loss; the text is the same wherever it is."""


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
