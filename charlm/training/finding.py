"""How a checkpoint is found again: by file, by run, or the latest of all."""

from pathlib import Path

from charlm.errors import CheckpointError

BEST = "best.safetensors"
"""The file of a run that holds the weights at the lowest validation loss."""
LATEST = "latest"
"""The text file beside the runs that holds the newest one's name."""


def find_checkpoint(name: str | None, directory: Path = Path("runs")) -> Path:
    """Return the checkpoint file that ``name`` means: a file, a run's folder, or a run's name.

    A run stands for its best checkpoint, and no name at all for the latest run in ``directory``. Raises
    CheckpointError when there is none.
    """
    if name is None:
        return _best_in(directory / _latest_name(directory))
    given = Path(name)
    if given.is_file():
        return given
    for run in (given, directory / name):
        if run.is_dir():
            return _best_in(run)
    raise CheckpointError(
        f"{name}: no such checkpoint file, run folder or run in {directory}/. {_known_runs(directory)}"
    )


def _latest_name(directory: Path) -> str:
    try:
        return (directory / LATEST).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"there is no latest run in {directory}/. Train one with `charlm train --config FILE`, or name a "
            f"checkpoint with --checkpoint. {_known_runs(directory)}"
        ) from error


def _best_in(run: Path) -> Path:
    if not (run / BEST).is_file():
        raise CheckpointError(f"{run}: this run has no {BEST} (yet). Name a checkpoint file, or let it train on.")
    return run / BEST


def _known_runs(directory: Path) -> str:
    names = sorted(path.parent.name for path in directory.glob(f"*/{BEST}"))
    return f"Runs there: {', '.join(names)}." if names else "There are no runs there."
