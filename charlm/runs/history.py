"""Runs, read without changing anything: their settings and how training went.

A run that is under way is read as any other; whatever of its metrics is not usable is left out.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from charlm.config.reading import read_config
from charlm.config.settings import KEYS, Config, DataConfig, is_read
from charlm.errors import CharlmError, ConfigError, StorageError
from charlm.runs.lookup import LATEST, first_bytes
from charlm.runs.metrics import METRICS, Evaluation, metrics_lines
from charlm.runs.resume_policy import Change, changes

CONFIG = "config.yaml"
"""The file of a run that holds every setting."""
REPORT = "report.html"
"""The file of a run that is its page."""
UNREAD = "—"
"""Stands for the value of a setting that a run's kind of model does not read."""
NAMES = frozenset({"run.name", "run.directory"})
"""Settings that say what a run is called, not what it is."""


@dataclass(frozen=True)
class History:
    """A run: its settings, and its evaluations so far."""

    path: Path
    """Its folder."""
    config: Config
    evaluations: tuple[Evaluation, ...]
    """By step; none before the first evaluation."""

    @property
    def name(self) -> str:
        """The folder's name, which is what commands call the run."""
        return self.path.name or self.path.resolve().name

    @property
    def model(self) -> str:
        """Kind and size in a few words, such as lstm 2 × 128."""
        return self.config.model.description

    @cached_property
    def best(self) -> Evaluation | None:
        """The evaluation with the lowest validation loss, the first of equals; None before there is one."""
        known = [evaluation for evaluation in self.evaluations if evaluation.validation_loss is not None]
        return min(known, key=lambda evaluation: evaluation.validation_loss or 0.0, default=None)

    @property
    def last(self) -> Evaluation | None:
        """The newest evaluation."""
        return self.evaluations[-1] if self.evaluations else None

    def course(self, name: str) -> list[tuple[int, float]]:
        """Return an attribute of the evaluations over the characters seen, where it is known."""
        pairs = [(evaluation.characters, getattr(evaluation, name)) for evaluation in self.evaluations]
        return [(characters, value) for characters, value in pairs if value is not None]

    @property
    def chosen(self) -> list[Change]:
        """Every setting that is not at its default; the text and the names of the run have none."""
        plain = Config(data=DataConfig(path=self.config.data.path))
        return [change for change in changes(plain, self.config) if change.key not in NAMES]


@dataclass(frozen=True)
class Unreadable:
    """A run's folder that cannot be read."""

    path: Path
    error: CharlmError
    """What is wrong with it."""


@dataclass(frozen=True)
class Difference:
    """A setting in which runs differ."""

    key: str
    values: tuple[object, ...]
    """One a run."""


def read_history(path: Path) -> History:
    """Read the run in this folder.

    Raises ConfigError when it is not a run's folder, or this charlm cannot read its config, and StorageError when the
    disk refuses.
    """
    if not _is_run(path):
        raise ConfigError(
            f"{path}: there is no {CONFIG} here, so this is not a run's folder.", "Name one.", kind="not a run"
        )
    try:
        config = read_config(path / CONFIG)
    except ConfigError as error:
        reason = "this run's config cannot be read; perhaps another version of charlm wrote it"
        raise error.at(f"{path}: {reason}") from error
    return history_of(path, config)


def history_of(path: Path, config: Config) -> History:
    """Return how a run of ``config`` in this folder went so far; raises StorageError when the disk refuses."""
    evaluations: dict[int, Evaluation] = {}
    for _, metrics in metrics_lines(path):
        with contextlib.suppress(ValidationError):
            evaluation = Evaluation.model_validate(metrics)
            evaluations[evaluation.step] = evaluation
    return History(path, config, tuple(evaluations[step] for step in sorted(evaluations)))


def find_run(name: str, directory: Path) -> Path:
    """Return the folder that ``name`` means: a path, or a run's name in ``directory``; raises ConfigError."""
    for path in (Path(name), directory / name):
        if name and _is_run(path):
            return path
    names = ""
    with contextlib.suppress(OSError):
        names = ", ".join(path.name for path in _run_folders(directory))
    problem = f"{name}: no such run in {directory}/, and not a run's folder."
    if names:
        raise ConfigError(problem, f"Runs there: {names}.")
    raise ConfigError(f"{problem} There are no runs there.", "Name another folder.", kind="no runs")


def read_runs(directory: Path) -> tuple[list[History], list[Unreadable]]:
    """Read all runs in a directory, the one that was trained on longest ago first, and tell which cannot be read.

    Raises ConfigError when there is no such directory.
    """
    try:
        folders = _run_folders(directory)
    except OSError as error:
        raise ConfigError(
            f"{directory}/: cannot look for runs in this folder ({error.strerror}).",
            "Train one, or name another folder.",
            kind="no folder of runs",
        ) from error
    histories, unreadable = [], []
    for path in folders:
        try:
            histories.append(read_history(path))
        except (ConfigError, StorageError) as error:
            unreadable.append(Unreadable(path, error))
    return sorted(histories, key=lambda history: (_trained_at(history.path), history.name)), unreadable


def latest_name(directory: Path) -> str | None:
    """Return the name of the run that last saved a checkpoint in this directory; None when none is named."""
    try:
        return first_bytes(directory / LATEST).decode("utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def differences(configs: Sequence[Config]) -> list[Difference]:
    """Return every setting in which configs differ, in the order of the config; what they are called does not count.

    Only runs whose kind of model reads a setting can differ in it; the others have it as `UNREAD`.
    """
    trees = [config.model_dump() for config in configs]
    rows = []
    for key in KEYS:
        section, _, name = key.partition(".")
        values = [
            tree[section][name] if is_read(key, config.model.kind) else UNREAD
            for config, tree in zip(configs, trees, strict=True)
        ]
        known = [value for value in values if value is not UNREAD]
        if key not in NAMES and any(value != known[0] for value in known):
            rows.append(Difference(key, tuple(values)))
    return rows


def _run_folders(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if not path.name.startswith(".") and _is_run(path))


def _is_run(path: Path) -> bool:
    try:
        return (path / CONFIG).is_file()
    except OSError:  # a name that no folder can have, or one that is not ours to look into
        return False


def _trained_at(run: Path) -> float:
    """Return when a run last wrote its config or its metrics, in seconds."""
    return max(path.stat().st_mtime for path in (run / CONFIG, run / METRICS) if path.exists())
