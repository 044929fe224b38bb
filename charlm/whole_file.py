"""A file that is written whole or not at all, whatever happens in between.

The bytes go into a temporary file beside the target, are forced to the disk, and take the
target's name in one step; then the folder is forced to the disk, so that the new name survives a
power cut too (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
"""

import contextlib
import os
import secrets
from pathlib import Path

from charlm.errors import StorageError


def write_whole_file(path: Path, content: bytes) -> None:
    """Put ``content`` into ``path``, replacing what was there in one step.

    A reader sees the old file or the new one, never a part. Raises StorageError, with one of the two
    whole and no temporary file left, when the disk refuses.
    """
    # In the same folder, so that it is a rename and never a copy; random, because process numbers come again.
    temporary = path.with_name(f".charlm-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        _write_through(temporary, content)
        temporary.replace(path)
        _force_to_disk(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise StorageError(
                f"{path}: cannot write {len(content):,} bytes here ({error.strerror or error}). "
                "Free some space or choose another place."
            ) from error
        raise


def _write_through(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _force_to_disk(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
