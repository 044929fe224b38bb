"""Atomic file writes.

The bytes are written to a temporary file beside the target and flushed to disk, and the file is renamed
to the target; then the folder is flushed, so that the new name survives a power failure (Pillai et al.,
"All File Systems Are Not Created Equal", OSDI 2014). All of it goes through one descriptor of the folder, so that
files cannot end up in another folder that takes its name meanwhile.
"""

import contextlib
import errno
import os
import platform
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from charlm.errors import StorageError

_TEMPORARY = re.compile(r"\.charlm-(?P<host>.*)-(?P<process>[0-9]+)-[0-9a-f]{8}\.tmp")
_CANNOT_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""Answers of a file system that cannot flush, such as some network and FUSE file systems; as SQLite, charlm goes on."""


def write_whole_file(path: Path, content: bytes, *, folder: int | None = None) -> None:
    """Write ``content`` to ``path`` atomically, replacing an existing file or symbolic link.

    ``folder`` is an open descriptor of the path's folder. A reader sees the old file or the new one, never a part.
    Raises StorageError when writing fails; then the old or the new file is complete and no temporary file is left.
    """
    # In the same folder, so that renaming is atomic; with a random part, because process ids are reused.
    temporary = f".charlm-{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        with _open_folder(path.parent, folder) as place:
            try:
                _write_through(temporary, content, place)
                os.replace(temporary, path.name, src_dir_fd=place, dst_dir_fd=place)
                force_to_disk(place)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=place)
                raise
    except OSError as error:
        raise cannot_write(path, len(content), error) from error


def cannot_write(path: Path, size: int, error: OSError) -> StorageError:
    """Return the error that says why so many bytes cannot be written to a file."""
    return StorageError(
        f"{path}: cannot write {size:,} bytes here ({error.strerror or error}).",
        "Free some space or choose another place.",
    )


def is_temporary(name: str) -> bool:
    """Return whether a file of this name is one that `write_whole_file` makes."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_abandoned(folder: Path) -> None:
    """Delete the temporary files that killed processes of this machine left in ``folder``."""
    for path in folder.glob(".charlm-*.tmp"):
        name = _TEMPORARY.fullmatch(path.name)
        if name and name["host"] == platform.node() and not _is_writing(int(name["process"])):
            with contextlib.suppress(OSError):  # what cannot be removed can stay
                path.unlink()


def force_to_disk(descriptor: int) -> bool:
    """Flush a file or the entries of a folder to disk, so that they survive a power failure.

    Returns False where the file system cannot do that; raises OSError when it fails.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in _CANNOT_SYNC:
            return False
        raise
    return True


def force_folder(path: Path) -> None:
    """Flush the entries of the folder at ``path``; raises OSError when it fails."""
    with _open_folder(path, None) as descriptor:
        force_to_disk(descriptor)


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


@contextlib.contextmanager
def _open_folder(path: Path, descriptor: int | None) -> Iterator[int]:
    """Yield the descriptor, or one of the folder at ``path`` that is closed afterwards."""
    if descriptor is not None:
        yield descriptor
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        yield opened
    finally:
        os.close(opened)


def _write_through(name: str, content: bytes, folder: int) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        force_to_disk(file.fileno())
