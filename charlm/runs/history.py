"""Read-only access to runs: their settings and evaluations.

A run in progress can be read, too; invalid lines of its metrics are ignored.
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
from charlm.runs.identity import CONFIG
from charlm.runs.lookup import LATEST, first_bytes
from charlm.runs.metrics import METRICS, Evaluation, metrics_lines
from charlm.runs.resume_policy import Change, changes

REPORT = "report.html"
"""The file of a run with its page."""
UNREAD = "—"
"""Placeholder for a setting that a run's kind of model does not use."""
NAMES = frozenset({"run.name", "run.directory"})
"""Settings that name a run and do not affect its results."""


@dataclass(frozen=True)
class History:
    """A run: its settings, and its evaluations so far."""

    path: Path
    """Its folder."""
    config: Config
    evaluations: tuple[Evaluation, ...]
    """In order of step; empty before the first evaluation."""

    @property
    def name(self) -> str:
        """The folder's name, by which commands refer to the run."""
        return self.path.name or self.path.resolve().name

    @property
    def model(self) -> str:
        """Kind and size of the model, such as "lstm 2 × 128"."""
        return self.config.model.description

    @cached_property
    def best(self) -> Evaluation | None:
        """The first evaluation with the lowest validation loss; None before there is one."""
        known = [evaluation for evaluation in self.evaluations if evaluation.validation_loss is not None]
        return min(known, key=lambda evaluation: evaluation.validation_loss or 0.0, default=None)

    @property
    def last(self) -> Evaluation | None:
        """The newest evaluation."""
        return self.evaluations[-1] if self.evaluations else None

    @property
    def chosen(self) -> list[Change]:
        """All settings that are not at their default, except the text and the names of the run."""
        plain = Config(data=DataConfig(path=self.config.data.path))
        return [change for change in changes(plain, self.config) if change.key not in NAMES]


@dataclass(frozen=True)
class Unreadable:
    """A run's folder that cannot be read."""

    path: Path
    error: CharlmError
    """Why it cannot be read."""


@dataclass(frozen=True)
class Difference:
    """A setting in which runs differ."""

    key: str
    values: tuple[object, ...]
    """One per run."""


def read_history(path: Path) -> History:
    """Read the run in this folder.

    Raises ConfigError when it is not a run's folder or its config is not valid, and StorageError when reading fails.
    """
    if not _is_run(path):
        raise ConfigError(
            f"{path}: not a run's folder: it contains no {CONFIG}.", "Name a run's folder.", kind="not a run"
        )
    try:
        config = read_config(path / CONFIG)
    except ConfigError as error:
        reason = "cannot read this run's config, possibly written by another version of charlm"
        raise error.at(f"{path}: {reason}") from error
    return history_of(path, config)


def history_of(path: Path, config: Config) -> History:
    """Return the history of a run of ``config`` in this folder; raises StorageError when reading fails."""
    evaluations: dict[int, Evaluation] = {}
    for _, metrics in metrics_lines(path):
        with contextlib.suppress(ValidationError):
            evaluation = Evaluation.model_validate(metrics)
            evaluations[evaluation.step] = evaluation
    return History(path, config, tuple(evaluations[step] for step in sorted(evaluations)))


def find_run(name: str, directory: Path) -> Path:
    """Return the folder of a run given by path or by its name in ``directory``; raises ConfigError if there is none."""
    for path in (Path(name), directory / name):
        if name and _is_run(path):
            return path
    names = ""
    with contextlib.suppress(OSError):
        names = ", ".join(path.name for path in _run_folders(directory))
    problem = f"{name}: not a run's folder, and no such run in {directory}/."
    if names:
        raise ConfigError(problem, f"Runs there: {names}.")
    raise ConfigError(f"{problem} There are no runs there.", "Name another folder.", kind="no runs")


def read_runs(directory: Path) -> tuple[list[History], list[Unreadable]]:
    """Return all runs in a directory, least recently trained first, and those that cannot be read.

    Raises ConfigError when the directory cannot be read.
    """
    try:
        folders = _run_folders(directory)
    except OSError as error:
        raise ConfigError(
            f"{directory}/: cannot read this folder of runs ({error.strerror}).",
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
    """Return the name of the run that last saved a checkpoint in this directory; None when there is none."""
    try:
        return first_bytes(directory / LATEST).decode("utf-8").removesuffix("\n") or None
    except (OSError, UnicodeDecodeError):
        return None


def differences(configs: Sequence[Config]) -> list[Difference]:
    """Return all settings in which configs differ, in the order of the config, except the names of the runs.

    Runs whose kind of model does not use a setting have the value `UNREAD`, which does not count as different.
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
    except OSError:  # an invalid name, or no permission
        return False


def _trained_at(run: Path) -> float:
    """Return when a run last wrote its config or metrics, in seconds since the epoch."""
    return max(path.stat().st_mtime for path in (run / CONFIG, run / METRICS) if path.exists())
