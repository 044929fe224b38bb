"""A ``~`` at the start of a path: the home folder, where the shell has not put it in its place."""

import contextlib
from pathlib import Path


def from_home(path: str | Path) -> Path:
    """Return a path with a leading ``~`` or ``~user`` expanded; as it is where there is no such home folder."""
    if str(path).startswith("~"):  # asked of the string: of ./~ a Path keeps ~
        with contextlib.suppress(RuntimeError):
            return Path(path).expanduser()
    return Path(path)
