"""The identity of a run: a random id in ``run.json``, in its checkpoints and in each line of its metrics.

A folder without ``run.json`` is a run's if charlm's formats 1 or 2 left it: a config and a checkpoint.
"""

import json
import re
import secrets
from pathlib import Path

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.config.reading import read_config
from charlm.errors import CharlmError, CheckpointError, StorageError
from charlm.runs.lookup import BEST, first_bytes, full_checkpoints

IDENTITY = "run.json"
"""The file of a run with its id."""
CONFIG = "config.yaml"
"""The file of a run with all its settings."""

_ID = re.compile(r"[0-9a-f]{16}")


def new_id() -> str:
    """Return a random id for a new run."""
    return secrets.token_hex(8)


def identity_json(run_id: str) -> bytes:
    """Return the content of ``run.json``."""
    return f"{json.dumps({'id': run_id})}\n".encode()


def read_id(run: Path) -> str | None:
    """Return the id in a run's folder; None where there is none. Raises StorageError when reading fails."""
    path = run / IDENTITY
    try:
        found = json.loads(first_bytes(path))["id"]
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None
    except OSError as error:
        raise StorageError(f"{path}: cannot read this file ({error.strerror}).") from error
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


def is_older_run(run: Path) -> bool:
    """Return whether charlm left this folder before runs had ids: with a checkpoint, or a config and damaged ones."""
    full = full_checkpoints(run)
    if any(_loads(path) for path in (run / BEST, *full)):
        return True
    try:
        return bool(full) and (run / CONFIG).is_file() and bool(read_config(run / CONFIG))
    except (CharlmError, OSError):
        return False


def _loads(path: Path) -> bool:
    try:
        Checkpoint.load(path)
    except CheckpointError:
        return False
    return True
