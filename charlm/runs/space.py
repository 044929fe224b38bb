"""The disk space that a run needs."""

import shutil
from pathlib import Path

from charlm.checkpoint.layout import sizes
from charlm.config.settings import Config
from charlm.errors import StorageError
from charlm.runs.lookup import LATEST


def checkpoint_sizes(config: Config, vocabulary_size: int) -> tuple[int, int]:
    """Return the approximate sizes in bytes of the best and of a full checkpoint: those of their tensors."""
    weights, optimizer, state = sizes(config, vocabulary_size)
    return weights, weights + optimizer + state


def check_space(config: Config, vocabulary_size: int, saves: int, run: Path | None = None) -> None:
    """Raise StorageError unless the disk has space for all checkpoints that a run of this config keeps.

    ``saves`` is the number of full checkpoints still to come. The space of checkpoints in ``run``, the folder of a
    resumed run, counts as free.
    """
    parent = Path(config.run.directory)
    if (parent / LATEST).is_dir():
        raise StorageError(
            f"{parent / LATEST}: expected a file with the newest run's name, found a folder. Move it away."
        )
    best, full = checkpoint_sizes(config, vocabulary_size)
    kept = saves if config.run.keep is None else min(config.run.keep, saves)
    extra = 2 if config.training.on_divergence == "rollback" else 1
    needed = (kept + extra) * full + 2 * best
    there = sum(path.lstat().st_size for path in run.glob("*.safetensors")) if run else 0
    folder = next(place for place in (parent, *parent.absolute().parents) if place.is_dir())
    try:
        free = shutil.disk_usage(folder).free + there
    except OSError:  # free space is unknown
        return
    if free < needed:
        also = " and the one to roll back to" if extra == 2 else ""
        raise StorageError(
            f"{parent / config.run.name}: this run needs up to {needed / 1e6:,.1f} MB ({kept} full checkpoints, "
            f"one more while it is written{also}, and the best), but {free / 1e6:,.1f} MB are free.",
            "Free some space, lower run.keep, or choose another run.directory.",
            kind="no space",
        )
