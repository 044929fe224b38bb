"""Finding a checkpoint: by file, by run, or of the latest run; and the one from which a run can resume."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from charlm.checkpoint.checkpoint import Checkpoint, step_of
from charlm.errors import CheckpointError, DamagedCheckpointError
from charlm.home_folder import from_home

BEST = "best.safetensors"
"""The file of a run with the weights at the lowest validation loss."""
INITIAL = "initial.safetensors"
"""The file of a run with the weights of another model that it started with."""
LATEST = "latest"
"""The text file beside the runs with the name of the newest."""

_LONGEST_NAME = 255
"""Maximum length of that name, in bytes."""
_SHOWN = 5
"""Maximum number of runs that a message lists."""


@dataclass(frozen=True)
class Resumable:
    """The checkpoint from which a run can resume."""

    checkpoint: Checkpoint
    """The newest full checkpoint that is not damaged."""
    damaged: dict[Path, str]
    """Newer checkpoints that are damaged or of another run, and the problem of each."""
    sets_best_aside: bool = False
    """Whether a best newer than this checkpoint is not this run's any more, because settings have changed."""


def find_checkpoint(name: str | None, directory: Path = Path("runs")) -> Path:
    """Return the path of a checkpoint given by file, run folder, or name of a run in ``directory``.

    Of a run, it is the best checkpoint; for None, that of the latest run in ``directory``. Raises CheckpointError when
    there is none.
    """
    if name is None:
        return _best_in(latest_run(directory))
    given = from_home(name)
    if os.path.isfile(given):
        return given
    folders = [run for run in (given, directory / name) if os.path.isdir(run)]
    if folders:  # prefer a run over another folder of the same name
        return _best_in(next((run for run in folders if os.path.isfile(run / BEST)), folders[0]))
    raise CheckpointError(
        f"{name}: no such checkpoint file, run folder or run in {directory}/. {known_runs(directory)}"
    )


def latest_run(directory: Path, holding: str = BEST) -> Path:
    """Return the folder of the latest run in ``directory``: the one that ``latest`` names, else the only one there.

    A folder that contains the file ``holding`` is a run. Raises CheckpointError when there is no run, when there are
    several and no ``latest``, and when ``latest`` names none of them: then another run is not what was asked for.
    """
    name, runs = _latest_name(directory), _runs(directory, holding)
    if name is not None and os.path.isdir(directory / name):
        return directory / name
    if name is not None:
        problem = f"{directory / LATEST} names the run {directory / name}, which is gone."
    elif os.path.lexists(directory / LATEST):
        problem = f"{directory / LATEST} does not name a run."
    elif len(runs) == 1:  # a run that was copied without its neighbours
        return runs[0]
    else:
        problem = f"there is no latest run in {directory}/."
    raise CheckpointError(
        f"{problem} {known_runs(directory, holding)}",
        "Name a checkpoint." if runs else "Train one, or name a checkpoint.",
        kind="several runs" if runs else "no latest run",
    )


def open_checkpoint(name: str | None, directory: Path = Path("runs")) -> tuple[Path, Checkpoint]:
    """Find, read and verify a checkpoint; return its path and the checkpoint.

    Raises like `find_checkpoint` and `Checkpoint.load`.
    """
    path = find_checkpoint(name, directory)
    return path, Checkpoint.load(path)


def newest_checkpoint(run: Path, run_id: str | None = None) -> Resumable | None:
    """Return the newest undamaged full checkpoint of a run; None when it has saved none yet.

    With ``run_id``, checkpoints of another run are passed over.

    Raises CheckpointError when none is left, or one has an unsupported format.
    """
    damaged: dict[Path, str] = {}
    for path in reversed(full_checkpoints(run)):
        try:
            checkpoint = Checkpoint.load(path)
        except DamagedCheckpointError as error:
            damaged[path] = str(error)
            continue
        if not checkpoint.is_full:
            damaged[path] = f"{path}: this checkpoint contains only weights, so a run cannot resume from it."
            continue
        if None not in (run_id, checkpoint.run_id) and checkpoint.run_id != run_id:
            damaged[path] = f"{path}: this checkpoint is of another run, {checkpoint.run_id}, not of {run_id}."
            continue
        return Resumable(checkpoint, damaged)
    if damaged:
        raise CheckpointError(
            "\n  ".join([f"{run}: all of its full checkpoints are damaged or of another run.", *damaged.values()]),
            f"Start a new run under another name from its best weights, {run / BEST}.",
            kind="no whole checkpoint",
            names=[str(run / BEST)],
        )
    return None


def full_checkpoints(run: Path) -> list[Path]:
    """Return a run's full checkpoints, oldest first."""
    steps = {path: step_of(path) for path in run.glob("step-*.safetensors")}
    return sorted((path for path, step in steps.items() if step is not None), key=lambda path: steps[path] or 0)


def _latest_name(directory: Path) -> str | None:
    """Return the name in the file ``latest``; None where there is no such file, or it contains no name of a run."""
    try:
        name = first_bytes(directory / LATEST).decode("utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return name if name.strip() and name[0] not in ".-" and "/" not in name and name.isprintable() else None


def first_bytes(path: Path) -> bytes:
    """Return the first bytes of a regular file, enough for a run's name; empty for anything else."""
    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would block
        return b""
    with path.open("rb") as file:
        return file.read(_LONGEST_NAME)


def _best_in(run: Path) -> Path:
    if not os.path.isfile(run / BEST):
        raise CheckpointError(f"{run}: this run has no {BEST} yet. Name a checkpoint file, or train the run further.")
    return run / BEST


def known_runs(directory: Path, holding: str = BEST) -> str:
    """Return a sentence that names the first few runs in ``directory``: folders that contain the file ``holding``."""
    names = [run.name for run in _runs(directory, holding)]
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"Runs there: {', '.join(names[:_SHOWN])}{more}." if names else "There are no runs there."


def _runs(directory: Path, holding: str) -> list[Path]:
    """Return the folders of runs, by name."""
    folders = sorted(path.parent for path in directory.glob(f"*/{holding}") if os.path.isfile(path))
    return [run for run in folders if not run.name.startswith(".")]
