"""How a checkpoint is found: by file, by run, or the latest of all; and where a run can resume from."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from charlm.checkpoint.checkpoint import Checkpoint, step_of
from charlm.errors import CheckpointError, DamagedCheckpointError

BEST = "best.safetensors"
"""The file of a run that holds the weights at the lowest validation loss."""
LATEST = "latest"
"""The text file beside the runs that holds the newest one's name."""

_LONGEST_NAME = 255
"""Bytes of it that are read."""


@dataclass(frozen=True)
class Resumable:
    """Where a run can resume from."""

    checkpoint: Checkpoint
    """The newest full checkpoint that is whole."""
    damaged: dict[Path, str]
    """Newer ones that are not, and what is wrong with each."""


def find_checkpoint(name: str | None, directory: Path = Path("runs")) -> Path:
    """Return the checkpoint file that ``name`` means: a file, a run's folder, or a run's name.

    A run stands for its best checkpoint, and no name at all for the latest run in ``directory``. Raises
    CheckpointError when there is none.
    """
    if name is None:
        return _best_in(directory / _latest_name(directory))
    given = Path(name)
    if os.path.isfile(given):
        return given
    folders = [run for run in (given, directory / name) if os.path.isdir(run)]
    if folders:  # a folder of that name may stand in the way of the run that is meant
        return _best_in(next((run for run in folders if os.path.isfile(run / BEST)), folders[0]))
    raise CheckpointError(
        f"{name}: no such checkpoint file, run folder or run in {directory}/. {_known_runs(directory)}"
    )


def open_checkpoint(name: str | None, directory: Path = Path("runs")) -> tuple[Path, Checkpoint]:
    """Find, read and verify the checkpoint that ``name`` means; return where it lies too.

    Raises as `find_checkpoint` and `Checkpoint.load` do.
    """
    path = find_checkpoint(name, directory)
    return path, Checkpoint.load(path)


def newest_checkpoint(run: Path) -> Resumable | None:
    """Return the newest whole full checkpoint of a run; None when it has saved none yet.

    Raises CheckpointError when all are damaged, or one is of another format.
    """
    damaged: dict[Path, str] = {}
    for path in reversed(full_checkpoints(run)):
        try:
            checkpoint = Checkpoint.load(path)
        except DamagedCheckpointError as error:
            damaged[path] = str(error)
            continue
        if not checkpoint.is_full:
            damaged[path] = f"{path}: this checkpoint holds only weights, so no run can resume from it."
            continue
        return Resumable(checkpoint, damaged)
    if damaged:
        raise CheckpointError(
            "\n  ".join([f"{run}: none of its full checkpoints is whole.", *damaged.values()]),
            f"Start a new run under another name from its best weights, {run / BEST}.",
            kind="no whole checkpoint",
            names=[str(run / BEST)],
        )
    return None


def full_checkpoints(run: Path) -> list[Path]:
    """Return a run's full checkpoints, oldest first."""
    steps = {path: step_of(path) for path in run.glob("step-*.safetensors")}
    return sorted((path for path, step in steps.items() if step is not None), key=lambda path: steps[path] or 0)


def _latest_name(directory: Path) -> str:
    try:
        name = first_bytes(directory / LATEST).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        name = ""
    if not name or name[0] in ".-" or "/" in name or not name.isprintable():
        raise CheckpointError(
            f"there is no latest run in {directory}/. {_known_runs(directory)}",
            "Train one, or name a checkpoint.",
            kind="no latest run",
        )
    return name


def first_bytes(path: Path) -> bytes:
    """Return the first bytes of a regular file, enough for a run's name; none of anything else."""
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for ever
        return b""
    with path.open("rb") as file:
        return file.read(_LONGEST_NAME)


def _best_in(run: Path) -> Path:
    if not os.path.isfile(run / BEST):
        raise CheckpointError(f"{run}: this run has no {BEST} (yet). Name a checkpoint file, or train the run further.")
    return run / BEST


def _known_runs(directory: Path) -> str:
    names = sorted(path.parent.name for path in directory.glob(f"*/{BEST}"))
    return f"Runs there: {', '.join(names)}." if names else "There are no runs there."
