"""The place that ``--output`` names: it gets the bytes, and stays what it is.

A regular file is replaced atomically and keeps its permissions, or is written in place where replacing it would change
more than its content. A symbolic link stays and its target is written. Devices and pipes are written to. Files of a run
folder are written by `charlm.whole_file`, which replaces links instead of following them.
"""

import contextlib
import errno
import os
import platform
import secrets
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from charlm.errors import StorageError
from charlm.home_folder import from_home
from charlm.text.printable import escaped
from charlm.whole_file import cannot_write, force_to_disk, write_whole_file

_NO_FILES = {stat.S_IFDIR: "a folder", stat.S_IFSOCK: "a socket"}
_NOT_HERE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY})
"""Why a file cannot be replaced although it can be written: its folder is not ours, or it is a mount point."""
_LARGEST_DESCRIPTOR = 2**31 - 1
_MOST_LINKS = 40
"""Maximum number of links that are followed, as in Linux."""


def write_output(path: Path, content: bytes) -> None:
    """Write bytes where ``path`` points; raises StorageError, and BrokenPipeError if a pipe's reader closed it."""
    path = from_home(path)
    try:
        _write(path, content)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise cannot_write(path, len(content), error) from error


def is_taken(path: Path) -> bool:
    """Return whether a regular file or a folder is at ``path``; the process's own streams are not taken."""
    path = from_home(path)
    return _own_descriptor(path) is None and _type_of(path) in (stat.S_IFREG, stat.S_IFDIR)


def is_terminal(path: Path) -> bool:
    """Return whether ``path`` leads to a terminal, as /dev/tty does."""
    path = from_home(path)
    own = _own_descriptor(path)
    if own is not None:
        return os.isatty(own)
    if _type_of(path) != stat.S_IFCHR:  # opening a pipe would wait for its reader
        return False
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY)
    except OSError:
        return False
    with os.fdopen(descriptor, "wb") as file:
        return file.isatty()


def _write(path: Path, content: bytes) -> None:
    own = _own_descriptor(path)
    if own is not None:
        sys.stdout.flush()  # what was printed before comes first if both lead to the same place
        with os.fdopen(os.dup(own), "wb") as file:  # not opened anew: a shell's >> appends
            _pour(file, content)
        return
    if (kind := _NO_FILES.get(_type_of(path))) is not None:
        raise StorageError(f"{path}: cannot write here, because this is {kind}.", "Choose another place.")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY)
    except FileNotFoundError:
        write_whole_file(_target(path), content)
        return
    with os.fdopen(descriptor, "wb") as file:
        old, target = os.fstat(descriptor), _target(path)
        if stat.S_ISREG(old.st_mode):
            if _can_be_replaced(target, old) and _replace(target, old, content):
                return
            file.truncate(0)
        _pour(file, content)


def _own_descriptor(path: Path) -> int | None:
    """Return the number of the descriptor of this process that ``path`` names, such as /dev/stdout; else None."""
    own = [os.path.realpath(folder) for folder in ("/proc/self/fd", "/proc/thread-self/fd", "/dev/fd")]
    place = os.fspath(path)
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(place)
        folder = os.path.realpath(folder)
        if folder in own and name.isascii() and name.isdecimal() and int(name) <= _LARGEST_DESCRIPTOR:
            return int(name)
        try:
            place = os.path.join(folder, os.readlink(os.path.join(folder, name)))
        except (OSError, ValueError):  # not a link, or nothing at all
            return None
    return None


def _target(path: Path) -> Path:
    """Return the path that a symbolic link leads to, whether or not it exists; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _type_of(path: Path) -> int:
    """Return the file type at the end of all links; 0 if there is none or it cannot be found out."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except (OSError, ValueError):
        return 0


def _can_be_replaced(target: Path, old: os.stat_result) -> bool:
    """Return whether a new file can take the place of the opened one.

    Not if it has further names, which would keep the old content; not if it is another user's, since the new one would
    be ours; and not if its name has gone, as that of a deleted file that another process holds open.
    """
    try:
        return old.st_nlink == 1 and old.st_uid == os.geteuid() and os.path.samestat(target.stat(), old)
    except OSError:
        return False


def _replace(target: Path, old: os.stat_result, content: bytes) -> bool:
    """Replace a file atomically and keep its group and permissions; return False where only its content may change."""
    temporary = target.with_name(f".charlm-{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # what was private stays so
        with os.fdopen(descriptor, "wb") as file:
            os.fchown(descriptor, -1, old.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
            _pour(file, content)
        temporary.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno in _NOT_HERE:
            return False
        raise
    return True


def _pour(file: BinaryIO, content: bytes) -> None:
    """Write bytes, to the disk where the file is on one; a terminal gets them escaped."""
    file.write(escaped(content.decode("utf-8", "replace")).encode() if file.isatty() else content)
    file.flush()
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        force_to_disk(file.fileno())
