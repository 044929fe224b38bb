"""A file that is written whole or not at all, whatever happens in between.

The bytes go into a temporary file beside the target, are forced to the disk, and take the
target's name in one step; then the folder is forced to the disk, so that the new name survives a
power cut too (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
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
    """Put ``content`` into ``path``, replacing what was there in one step.

    A reader sees the old file or the new one, never a part. Raises StorageError, with one of the two
    whole and no temporary file left, when the disk refuses.
    """
    # In the same folder, so that it is a rename and never a copy; random, because process numbers come again.
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
    """Delete the temporary files that processes of this machine left in ``folder`` when they were killed."""
    for path in folder.glob(".charlm-*.tmp"):
        name = _TEMPORARY.fullmatch(path.name)
        if name and name["host"] == platform.node() and not _is_writing(int(name["process"])):
            with contextlib.suppress(OSError):  # what cannot be removed can stay
                path.unlink()


def _is_writing(process: int) -> bool:
    """Return whether a process may be in the midst of a file; this one, being here, is not."""
    if process == os.getpid():  # in a container the killed process had the same number
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # someone else's
        return True
    return True


def _write_through(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def force_to_disk(folder: Path) -> None:
    """Return when the names in a folder would survive a power cut; raises OSError when the disk refuses."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
