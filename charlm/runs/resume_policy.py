"""Which settings may change when a run is resumed.

Each setting declares its policy, a `charlm.config.section.OnResume`:

    FREE     may change; the change is reported
    ASK      changes the experiment, so it must be named in ``allow_change``
    FIXED    fixed at start: weights, vocabulary, splits or initial random state depend on it

The text is compared by the digest of its content, so its files may have moved.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.config.mistakes import unknown_key
from charlm.config.section import OnResume
from charlm.config.settings import KEYS, Config, is_read
from charlm.errors import CheckpointError, ConfigError, UnknownCharactersError
from charlm.text.corpus import Corpus

POLICIES = {key: OnResume.of(field) for key, field in KEYS.items()}
"""The policy of each setting, by ``section.key``."""

_SCHEDULED = ("training.epochs", "training.steps")
_LANES = ("training.batch_size", "training.sequence_length")
_WEIGHTS = frozenset(
    {key for key, policy in POLICIES.items() if key.startswith("model.") and policy is OnResume.FIXED}
    | {"data.unit", "data.normalization", "data.documents"}
)
"""Settings that two models must share for one to start with the other's weights."""
_WITH_MEANT_NULL = ("newlines", "split")
"""Settings of section ``data`` for which null means one of the other values."""
_NEW_RUN = "start a run with another name"
_WITH_WEIGHTS = "(init_from starts it with this run's weights"


@dataclass(frozen=True)
class Change:
    """A setting with a changed value."""

    key: str
    was: object
    now: object


def changes(was: Config, now: Config) -> list[Change]:
    """Return all settings that differ, in the order of the config."""
    before, after = was.model_dump(), now.model_dump()
    places = [(key, *key.split(".")) for key in KEYS]
    return [
        Change(key, before[section][name], after[section][name])
        for key, section, name in places
        if before[section][name] != after[section][name]
    ]


def as_recorded(was: Config, now: Config) -> Config:
    """Return ``now`` with settings whose null has a meaning written as in ``was``, where both mean the same.

    A null takes the recorded meaning, because what null means may have changed since the run was started.
    """
    recorded = {
        name: getattr(was.data, name)
        for name in _WITH_MEANT_NULL
        if getattr(now.data, name) is None or getattr(now.data.meant(), name) == getattr(was.data.meant(), name)
    }
    return now.model_copy(update={"data": now.data.model_copy(update=recorded)})


def check_known(keys: Collection[str]) -> None:
    """Raise ConfigError for a key that is not a setting."""
    for key in keys:
        if key not in KEYS:
            raise ConfigError(unknown_key(key, KEYS), field="allow_change")


def check_resume(was: Config, now: Config, allowed: Collection[str]) -> list[str]:
    """Return a line for each changed setting.

    Raises CheckpointError when a changed setting is fixed at start, and ConfigError when one changes the experiment
    and is not among ``allowed``; the error lists all changed settings.
    """
    found = changes(was, now)
    rows = _rows(found, [f"({_decision(change.key, allowed)})" for change in found])
    table = "\n  ".join(rows)
    fixed = [change.key for change in found if POLICIES[change.key] is OnResume.FIXED]
    if fixed:
        trained = now.model.architecture.is_recurrent
        raise CheckpointError(
            f"this run cannot continue with these settings:\n  {table}\n",
            f"Restore what is fixed at start, or {_NEW_RUN}{f' {_WITH_WEIGHTS}, if sizes are equal)' * trained}.",
            kind="fixed at start" if trained else "fixed at start, counted",
            names=fixed,
        )
    needed = [change.key for change in found if POLICIES[change.key] is OnResume.ASK and change.key not in allowed]
    if needed:
        raise ConfigError(
            f"these settings would change the experiment:\n  {table}\n",
            f"To allow this, name them in allow_change: {', '.join(needed)}.",
            kind="changes experiment",
            names=needed,
        )
    return rows


def check_weights(source: Config, now: Config) -> None:
    """Raise CheckpointError unless a model of ``now`` can start with the weights of a model of ``source``."""
    architecture = source.model.architecture
    if not architecture.is_recurrent:
        what = f"{architecture.article} {architecture.name}"
        raise CheckpointError(f"this is {what}, which is counted and has no weights.")
    found = [change for change in changes(source, now) if change.key in _WEIGHTS]
    if found:
        table = "\n  ".join(_rows(found, [""] * len(found)))
        raise CheckpointError(
            f"a model of this config cannot start with these weights:\n  {table}\n"
            "Restore these settings, or start without the weights."
        )


def with_architecture_of(source: Config, now: Config) -> Config:
    """Return ``now`` with the architecture of ``source``, a recurrent model, in all settings that were not written.

    A written default counts as written. Raises ConfigError where what was written does not go with that architecture.
    """
    written, architecture = now.model.model_fields_set, source.model.model_dump()
    kind = now.model.kind if "kind" in written else source.model.kind
    taken = {
        name: value
        for name, value in architecture.items()
        if name not in written and f"model.{name}" in _WEIGHTS and is_read(f"model.{name}", kind)
    }
    tree = now.model_dump(exclude_unset=True)
    return Config.model_validate(tree | {"model": tree.get("model", {}) | taken})


def adapted(checkpoint: Checkpoint, config: Config) -> Checkpoint:
    """Return the checkpoint with the settings of the resumed run.

    When the number of lanes or the window changes, lanes start again at the beginning of the text, with a zero state.
    """
    progress, tensors = checkpoint.progress, checkpoint.tensors
    if any(change.key in _LANES for change in changes(checkpoint.config, config)):
        began = {"lanes_began_at_step": progress.step, "lanes_began_at_epoch": progress.epoch}
        progress = progress.model_copy(update=began)
        tensors = {name: value for name, value in tensors.items() if not name.startswith("state.")}
    return replace(checkpoint, config=config, progress=progress, tensors=tensors)


def same_corpus(checkpoint: Checkpoint, config: Config) -> Corpus:
    """Return the text of ``config``; raises CheckpointError unless it is the text of the checkpoint."""
    another = CheckpointError(
        f"{', '.join(config.data.path)}: this is not the text that the run was started with. data.path may "
        "change, but the text must be the same.",
        f"Restore that text, or {_NEW_RUN} {_WITH_WEIGHTS}).",
        kind="another text",
        names=config.data.path,
    )
    try:
        corpus = Corpus.read(config.data, checkpoint.vocabulary)
    except UnknownCharactersError as error:
        raise another from error
    if corpus.sha256 != checkpoint.corpus.sha256:
        raise another
    return corpus


def check_way(was: Config | None, now: Config) -> None:
    """Raise CheckpointError where a counted run would be resumed by training, or a trained one by counting."""
    if was is not None and was.model.architecture.is_recurrent != now.model.architecture.is_recurrent:
        raise CheckpointError(
            f"this run has model.kind {was.model.kind} and cannot continue as {now.model.kind}: one is counted, the "
            "other trained.",
            f"{_NEW_RUN.capitalize()}.",
            kind="counted or trained",
            names=("model.kind",),
        )


def _rows(found: Sequence[Change], decisions: Sequence[str]) -> list[str]:
    """Return a line for each change, with aligned columns."""
    differences = [f"{change.was} → {change.now}" for change in found]
    keys, width = max((len(change.key) for change in found), default=0), max(map(len, differences), default=0)
    lines = zip(found, differences, decisions, strict=True)
    return [f"{change.key:{keys}}  {difference:{width}}  {decision}".rstrip() for change, difference, decision in lines]


def _decision(key: str, allowed: Collection[str]) -> str:
    if POLICIES[key] is OnResume.FIXED:
        return "fixed at start"
    if POLICIES[key] is OnResume.ASK:
        return "allowed; changes the experiment" if key in allowed else "changes the experiment"
    return "the learning rate is rescheduled" if key in _SCHEDULED else "may change"
