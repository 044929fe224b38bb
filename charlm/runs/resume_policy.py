"""What may change between a run and its continuation, setting by setting.

    free               may change; it is noted
    changes the run    needs ``--allow-change``: what follows is no longer the run that was begun
    settled            never: weights, vocabulary, splits and first random numbers are made with it

The text itself is compared by the hash of its content, so that it may have moved.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.config.reading import KEYS, unknown_key
from charlm.config.settings import Config
from charlm.errors import CheckpointError, ConfigError, UnknownCharactersError
from charlm.text.corpus import Corpus

FREE = frozenset(
    {
        "data.path",
        "training.epochs",
        "training.steps",
        "training.on_divergence",
        "training.patience",
        "training.evaluate_every",
        "training.device",
        "run.name",
        "run.directory",
        "run.save_every",
        "run.keep",
    }
)
CHANGES_THE_RUN = frozenset(
    {
        "model.dropout",
        "training.batch_size",
        "training.sequence_length",
        "training.carry_state",
        "training.learning_rate",
        "training.schedule",
        "training.warmup_fraction",
        "training.weight_decay",
        "training.gradient_clip",
        "training.evaluation_lanes",
        "training.precision",
    }
)
SETTLED = frozenset(
    {
        "data.unit",
        "data.encoding",
        "data.normalization",
        "data.documents",
        "data.minimum_count",
        "data.validation_fraction",
        "data.test_fraction",
        "model.kind",
        "model.hidden_size",
        "model.num_layers",
        "model.embedding_size",
        "model.nonlinearity",
        "model.order",
        "training.seed",
    }
)

_ALONG = " (--init-from takes this one's weights along, if its sizes stay)"
_SCHEDULED = ("training.epochs", "training.steps")
_LANES = ("training.batch_size", "training.sequence_length")
_WEIGHTS = frozenset(
    {key for key in SETTLED if key.startswith("model.")} | {"data.unit", "data.normalization", "data.documents"}
)
"""What two models must share for one to take the other's weights."""


@dataclass(frozen=True)
class Change:
    """A setting that is not what it was."""

    key: str
    was: object
    now: object


def changes(was: Config, now: Config) -> list[Change]:
    """Return every setting that differs, in the order of the config."""
    before, after = was.model_dump(), now.model_dump()
    places = [(key, *key.split(".")) for key in KEYS]
    return [
        Change(key, before[section][name], after[section][name])
        for key, section, name in places
        if before[section][name] != after[section][name]
    ]


def check_known(keys: Collection[str]) -> None:
    """Raise ConfigError for a setting that there is none of."""
    for key in keys:
        if key not in KEYS:
            raise ConfigError(f"--allow-change {unknown_key(key)}")


def check_resume(was: Config, now: Config, allowed: Collection[str]) -> list[str]:
    """Return a note on each setting that changed and may.

    Raises CheckpointError when a settled one did, and ConfigError when one that changes the run did and is not among
    ``allowed``; either way with all that changed.
    """
    found = changes(was, now)
    rows = _rows(found, [f"({_decision(change.key, allowed)})" for change in found])
    table = "\n  ".join(rows)
    if any(change.key in SETTLED for change in found):
        raise CheckpointError(
            f"this run cannot go on with these settings:\n  {table}\nTake back what is settled, or start a run of "
            f"its own with another --name{_ALONG if now.model.kind != 'markov' else ''}."
        )
    needed = [change.key for change in found if change.key in CHANGES_THE_RUN - set(allowed)]
    if needed:
        options = " ".join(f"--allow-change {key}" for key in needed)
        raise ConfigError(f"these settings would make it another run:\n  {table}\nIf that is meant, add {options}.")
    return rows


def check_weights(source: Config, now: Config) -> None:
    """Raise CheckpointError unless a model of ``now`` can take the weights of one of ``source``."""
    if source.model.kind == "markov":
        raise CheckpointError("this is a Markov model: it was counted and has no weights to begin with.")
    found = [change for change in changes(source, now) if change.key in _WEIGHTS]
    if found:
        table = "\n  ".join(_rows(found, [""] * len(found)))
        raise CheckpointError(
            f"a model of this config cannot take these weights:\n  {table}\nSet these as they were, or start afresh."
        )


def adapted(checkpoint: Checkpoint, config: Config) -> Checkpoint:
    """Return the checkpoint with the settings it goes on with.

    Lanes of another shape are read from the beginning of the text, with a fresh state.
    """
    progress, tensors = checkpoint.progress, checkpoint.tensors
    if any(change.key in _LANES for change in changes(checkpoint.config, config)):
        began = {"lanes_began_at_step": progress.step, "lanes_began_at_epoch": progress.epoch}
        progress = progress.model_copy(update=began)
        tensors = {name: value for name, value in tensors.items() if not name.startswith("state.")}
    return replace(checkpoint, config=config, progress=progress, tensors=tensors)


def same_corpus(checkpoint: Checkpoint, config: Config) -> Corpus:
    """Return the text of ``config``, which must be the checkpoint's own; raises CheckpointError when it is another."""
    changed = (
        f"{', '.join(config.data.path)}: this is not the text that the run was begun with. Bring that back, or start a "
        "run of its own with another --name (--init-from takes this one's weights along)."
    )
    try:
        corpus = Corpus.read(config.data, checkpoint.vocabulary)
    except UnknownCharactersError as error:
        raise CheckpointError(changed) from error
    if corpus.sha256 != checkpoint.corpus.sha256:
        raise CheckpointError(changed)
    return corpus


def check_way(was: Config | None, now: Config) -> None:
    """Raise CheckpointError where a run that was counted should be trained, or the other way round."""
    if was is not None and "markov" in (was.model.kind, now.model.kind) and was.model.kind != now.model.kind:
        raise CheckpointError(
            f"this run is of model.kind {was.model.kind} and cannot go on as {now.model.kind}: the one is counted, the "
            "other trained. Start a run of its own with another --name."
        )


def _rows(found: Sequence[Change], decisions: Sequence[str]) -> list[str]:
    """Return a line for each change, in columns."""
    differences = [f"{change.was} → {change.now}" for change in found]
    keys, width = max((len(change.key) for change in found), default=0), max(map(len, differences), default=0)
    lines = zip(found, differences, decisions, strict=True)
    return [f"{change.key:{keys}}  {difference:{width}}  {decision}".rstrip() for change, difference, decision in lines]


def _decision(key: str, allowed: Collection[str]) -> str:
    if key in SETTLED:
        return "settled when the run began"
    if key in CHANGES_THE_RUN:
        return "allowed; from here on it is another run" if key in allowed else "changes the run"
    return "the learning rate is scheduled anew" if key in _SCHEDULED else "may change"
