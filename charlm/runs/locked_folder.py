"""A folder into which one process at a time writes, through one descriptor.

Every write goes to the folder that was locked, by its descriptor, not to whatever has its name by then. A folder that
was removed, renamed or replaced in the meantime is noticed before the next write.
"""

import contextlib
import fcntl
import os
import weakref
from io import FileIO
from pathlib import Path
from typing import Self

from charlm.errors import ConfigError, StorageError
from charlm.whole_file import cannot_write, force_folder, force_to_disk, is_temporary, write_whole_file


class LockedFolder:
    """An existing folder, locked until it is closed or the process ends.

    Raises ConfigError when another process has locked it, and StorageError when it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = _locked(path)
        self._release = weakref.finalize(self, os.close, self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unlock the folder."""
        self._release()

    def check(self) -> None:
        """Raise StorageError unless the folder still has its name."""
        with contextlib.suppress(OSError):
            if os.path.samestat(self.path.stat(), os.fstat(self.descriptor)):
                return
        raise StorageError(
            f"{self.path}: this folder was removed, renamed or replaced while the run was writing into it.",
            "If it was moved, resume the run where it is now.",
        )

    def names(self) -> list[str]:
        """Return the names in the folder, without the temporary files of writes."""
        return sorted(name for name in os.listdir(self.descriptor) if not is_temporary(name))

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file, replacing an existing file or link; raises StorageError when writing fails."""
        self.check()
        write_whole_file(self.path / name, content, folder=self.descriptor)

    def append(self, name: str, content: bytes, size: int) -> bool:
        """Append to a regular file of ``size`` bytes, first cutting what an append that failed has left after them.

        Returns False, and writes nothing, where the file is shorter, because something else has changed it. Raises
        StorageError when writing fails.
        """
        self.check()
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            with os.fdopen(os.open(name, flags, 0o666, dir_fd=self.descriptor), "wb", buffering=0) as file:
                if os.fstat(file.fileno()).st_size < size:
                    return False
                file.truncate(size)
                file.seek(size)
                try:
                    _write_all(file, content)
                    force_to_disk(file.fileno())
                except OSError:
                    with contextlib.suppress(OSError):  # else the next append does it
                        file.truncate(size)
                    raise
        except OSError as error:
            raise cannot_write(self.path / name, len(content), error) from error
        return True

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; raises OSError when that fails."""
        self.check()
        os.replace(old, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def remove(self, name: str) -> None:
        """Remove a file; what cannot be removed stays, and the next save tries again."""
        self.check()
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self.descriptor)

    @property
    def can_be_synced(self) -> bool:
        """Whether the file system can flush the folder's entries to disk."""
        try:
            return force_to_disk(self.descriptor)
        except OSError:  # the first write says what is wrong
            return True


def taken(parent: Path, name: str) -> LockedFolder | None:
    """Return a new folder, or one that a killed start left empty; None where there is something else of this name.

    Raises StorageError when it cannot be created.
    """
    path = parent / name
    made = _made(path)
    if not made and (path.is_symlink() or not path.is_dir()):
        return None
    try:
        for folder in (parent, *parent.absolute().parents[:1]):  # a new entry must survive a power failure
            force_folder(folder)
        locked = LockedFolder(path)
    except ConfigError:  # another process has it
        return None
    except (StorageError, OSError) as error:
        if not made:  # it may be another user's
            return None
        with contextlib.suppress(OSError):
            path.rmdir()
        raise error if isinstance(error, StorageError) else _cannot_create(path, error) from error
    with contextlib.suppress(StorageError):
        locked.check()
        if not locked.names():
            return locked
    locked.close()
    return None


def check_link(path: Path) -> None:
    """Raise StorageError for a symbolic link that leads to nothing, such as a disk that is not there at the moment."""
    if path.is_symlink() and not path.exists():
        raise StorageError(
            f"{path}: this link leads to nothing ({path.readlink()}).",
            "Restore what it led to, or choose another run.name.",
            kind="dangling link",
        )


def _made(path: Path) -> bool:
    """Create a folder and those above it; return False where its name is taken."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except FileExistsError as error:
        if path.parent.is_dir():
            return False
        raise _cannot_create(path, error) from error
    except OSError as error:
        raise _cannot_create(path, error) from error
    return True


def _cannot_create(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path}: cannot create the run's folder ({error.strerror}).",
        "Choose another run.directory.",
        kind="no run folder",
    )


def _write_all(file: FileIO, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _locked(path: Path) -> int:
    """Return a file descriptor that keeps the folder locked until it is closed or the process ends."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        problem = f"{path}: cannot open the run's folder ({error.strerror})."
        raise StorageError(problem, "Choose another run.directory.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise run_in_use(path) from error
    except OSError:  # some network file systems have no locks
        pass
    return descriptor


def run_in_use(path: Path) -> ConfigError:
    """Return the error for a run that another process is training."""
    return ConfigError(
        f"{path}: another process is training this run.",
        "Wait until it has finished, or choose another run.name.",
        kind="run in use",
    )
