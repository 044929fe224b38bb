"""The settings that a run's folder records, with which the run goes on without another config."""

import os
from collections.abc import Sequence
from pathlib import Path

from charlm.config.reading import override, read_config
from charlm.config.settings import Config
from charlm.errors import CheckpointError, ConfigError
from charlm.runs.identity import CONFIG
from charlm.runs.lookup import known_runs, latest_run


def recorded_config(name: str | None, directory: Path, overrides: Sequence[str] = (), prefix: str = "") -> Config:
    """Return the settings of the run of this name in ``directory``, or of the latest, after applying overrides.

    ``run.name`` and ``run.directory`` are those of the folder, which may have been copied, renamed or moved.
    ``overrides`` and ``prefix`` are as for `read_config`. Raises CheckpointError when there is no such run, and
    ConfigError when its config is missing or an override is invalid.
    """
    run = _latest_run(directory) if name is None else directory / name
    if not os.path.isdir(run):
        raise _no_run(f"{run}: no such run. {known_runs(directory, CONFIG)}")
    if not os.path.isfile(run / CONFIG):
        raise ConfigError(
            f"{run}: this folder contains no {CONFIG}, so the run's settings are not known.",
            "Give its config.",
            kind="no recorded config",
        )
    try:
        read_config(run / CONFIG)
    except ConfigError as error:
        raise ConfigError(
            f"{run}: cannot read this run's settings: {error.problem}\n",
            "Give its config.",
            kind="no recorded config",
        ) from error
    here = [override("run.name", run.name), override("run.directory", str(directory))]
    return read_config(run / CONFIG, [*overrides, *here], prefix)


def _latest_run(directory: Path) -> Path:
    try:
        return latest_run(directory, CONFIG)
    except CheckpointError as error:
        raise _no_run(error.problem) from error


def _no_run(problem: str) -> CheckpointError:
    return CheckpointError(problem, "Name a run, or give a config to start one.", kind="no run to resume")
