"""Atomic file writes.

The bytes are written to a temporary file beside the target and flushed to disk, and the file is renamed
to the target; then the folder is flushed, so that the new name survives a power failure (Pillai et al.,
"All File Systems Are Not Created Equal", OSDI 2014).
"""

import contextlib
import os
import platform
import re
import secrets
from pathlib import Path

from charlm.errors import StorageError

_TEMPORARY = re.compile(r"\.charlm-(?P<host>.*)-(?P<process>[0-9]+)-[0-9a-f]{8}\.tmp")


def write_whole_file(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically, replacing an existing file.

    A reader sees the old file or the new one, never a part. Raises StorageError when writing fails; then
    the old or the new file is complete and no temporary file is left.
    """
    # In the same folder, so that renaming is atomic; with a random part, because process ids are reused.
    temporary = path.parent / f".charlm-{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        _write_through(temporary, content)
        temporary.replace(path)
        force_to_disk(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise StorageError(
                f"{path}: cannot write {len(content):,} bytes here ({error.strerror or error}). "
                "Free some space or choose another place."
            ) from error
        raise


def remove_abandoned(folder: Path) -> None:
    """Delete the temporary files that killed processes of this machine left in ``folder``."""
    for path in folder.glob(".charlm-*.tmp"):
        name = _TEMPORARY.fullmatch(path.name)
        if name and name["host"] == platform.node() and not _is_writing(int(name["process"])):
            with contextlib.suppress(OSError):  # what cannot be removed can stay
                path.unlink()


def _is_writing(process: int) -> bool:
    """Return whether a process may still be writing; this one is not."""
    if process == os.getpid():  # in a container the killed process had the same number
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's process
        return True
    return True


def _write_through(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def force_to_disk(folder: Path) -> None:
    """Flush the entries of a folder to disk, so that they survive a power failure; raises OSError on failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
