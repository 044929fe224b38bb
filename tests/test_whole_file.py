import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from charlm.errors import StorageError
from charlm.whole_file import write_whole_file

OLD, NEW = b"old " * 5000, b"the new content, longer " * 9000


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return a file with old bytes, alone in its folder."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(OLD)
    return path


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0)
    os.umask(before)
    yield os.umask
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("content", [b"", b"\x00\r\n\xff\x1a", "é\n".encode(), bytes(range(256)) * 20_000])
def test_the_bytes_land_as_they_are(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "Märchen 1.bin"
    write_whole_file(path, content)
    assert path.read_bytes() == content
    assert names(tmp_path) == [path.name]


def test_an_old_file_is_replaced_and_nothing_else_is_left(target: Path) -> None:
    (target.parent / "other").write_bytes(b"other")
    for content in (NEW, OLD, b""):
        write_whole_file(target, content)
        assert target.read_bytes() == content
    assert names(target.parent) == ["model.safetensors", "other"]
    assert (target.parent / "other").read_bytes() == b"other"


def test_a_path_relative_to_the_working_folder_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_whole_file(Path("config.yaml"), NEW)
    assert (tmp_path / "config.yaml").read_bytes() == NEW


def test_who_reads_the_old_file_goes_on_reading_it(target: Path) -> None:
    with target.open("rb") as reader:
        start = reader.read(100)
        write_whole_file(target, NEW)
        assert start + reader.read() == OLD
    assert target.read_bytes() == NEW


@pytest.mark.parametrize("content", [b"short", NEW], ids=["less than a buffer", "many buffers"])
def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_return(
    target: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watch_fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            assert os.path.samestat(os.fstat(descriptor), target.parent.stat())
            assert target.read_bytes() == content
            events.append("folder to disk")
        else:
            assert os.fstat(descriptor).st_size == len(content)  # nothing waits in a buffer of Python's
            assert target.read_bytes() == OLD
            events.append("bytes to disk")
        fsync(descriptor)

    def watch_replace(source: str, other: str, **folders: int) -> None:
        assert (target.parent / source).read_bytes() == content
        assert (target.parent / other) == target
        assert len(set(folders.values())) == 1  # another folder may be another disk
        assert target.read_bytes() == OLD
        events.append("name")
        replace(source, other, **folders)

    monkeypatch.setattr(os, "fsync", watch_fsync)
    monkeypatch.setattr(os, "replace", watch_replace)
    write_whole_file(target, content)
    assert events == ["bytes to disk", "name", "folder to disk"]


def fail(monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException) -> None:
    """Make one step of a write fail: the write itself, the force to the disk, the new name, the folder's force."""
    fsync, opened = os.fsync, os.fdopen

    def refuse(*arguments: object, **options: object) -> None:
        raise error

    def refuse_for(folder: bool) -> Callable[[int], None]:
        return lambda descriptor: (refuse if stat.S_ISDIR(os.fstat(descriptor).st_mode) == folder else fsync)(
            descriptor
        )

    def open_then_refuse(*arguments: Any, **options: Any) -> Any:
        opened(*arguments, **options).close()
        refuse()

    match step:
        case "write":
            monkeypatch.setattr(os, "fdopen", open_then_refuse)
        case "fsync":
            monkeypatch.setattr(os, "fsync", refuse_for(folder=False))
        case "replace":
            monkeypatch.setattr(os, "replace", refuse)
        case "fsync of the folder":
            monkeypatch.setattr(os, "fsync", refuse_for(folder=True))


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_refuses_leaves_the_old_file_and_no_temporary_one(
    target: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    with monkeypatch.context() as patch:
        fail(patch, step, OSError(code, os.strerror(code)))
        with pytest.raises(StorageError) as caught:
            write_whole_file(target, NEW)
    assert str(target) in str(caught.value)
    assert os.strerror(code) in str(caught.value)
    assert caught.value.exit_code == 74
    assert target.read_bytes() == OLD
    assert names(target.parent) == [target.name]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_disk_that_refuses_a_first_file_leaves_no_file_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with monkeypatch.context() as patch:
        fail(patch, step, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        with pytest.raises(StorageError):
            write_whole_file(tmp_path / "new", NEW)
    assert names(tmp_path) == []


def test_a_refusal_after_the_new_name_is_told_and_leaves_a_whole_file(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail(patch, "fsync of the folder", OSError(errno.EIO, os.strerror(errno.EIO)))
        with pytest.raises(StorageError, match=target.name):
            write_whole_file(target, NEW)
    assert target.read_bytes() in (OLD, NEW)
    assert names(target.parent) == [target.name]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), MemoryError()])
def test_an_interrupt_in_the_middle_goes_through_and_leaves_nothing_behind(
    target: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    with monkeypatch.context() as patch:
        fail(patch, step, error)
        with pytest.raises(type(error)) as caught:
            write_whole_file(target, NEW)
    assert caught.value is error
    assert target.read_bytes() == OLD
    assert names(target.parent) == [target.name]


def test_a_write_after_a_refused_one_succeeds(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        fail(patch, "fsync", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        with pytest.raises(StorageError):
            write_whole_file(target, NEW)
    write_whole_file(target, NEW)
    assert target.read_bytes() == NEW


@pytest.mark.parametrize("name", ["missing/model", "missing/deeper/model", "a file/model", "n" * 300, "a folder"])
def test_a_place_that_takes_no_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").write_bytes(OLD)
    (tmp_path / "a folder").mkdir()
    with pytest.raises(StorageError) as caught:
        write_whole_file(tmp_path / name, NEW)
    assert str(tmp_path / name) in str(caught.value)
    assert names(tmp_path) == ["a file", "a folder"]
    assert names(tmp_path / "a folder") == []
    assert (tmp_path / "a file").read_bytes() == OLD


def test_a_name_as_long_as_the_disk_allows_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * os.pathconf(tmp_path, "PC_NAME_MAX"))
    path.write_bytes(OLD)  # the disk does allow it
    write_whole_file(path, NEW)
    assert path.read_bytes() == NEW


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664), (0o000, 0o666)])
def test_permissions_follow_the_umask(tmp_path: Path, umask: Callable[[int], int], mask: int, mode: int) -> None:
    umask(mask)
    write_whole_file(tmp_path / "model", NEW)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == mode


def test_what_a_killed_process_left_is_no_obstacle(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # in a container every process may have the same number, so the temporary name may well be taken
    seen: set[Path] = set()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: seen.update(target.parent.iterdir()))
        write_whole_file(target, OLD)
    [temporary] = seen - {target}
    temporary.write_bytes(NEW[:100])
    write_whole_file(target, NEW)
    assert target.read_bytes() == NEW


WRITER = """
import os, resource, signal, sys
from pathlib import Path
from charlm.errors import CharlmError
from charlm.whole_file import write_whole_file

how, path, size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
if how == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))
elif how == "fsync":
    os.fsync = die
elif how == "replace":
    os.replace = die
try:
    write_whole_file(path, b"n" * size)
except CharlmError as error:
    sys.exit(str(error))
"""


def write_elsewhere(how: str, path: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", WRITER, how, str(path), "300000"]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("how", ["fsync", "replace"])
def test_a_kill_in_the_middle_leaves_the_old_file_whole(target: Path, how: str) -> None:
    assert write_elsewhere(how, target).returncode == -signal.SIGKILL
    assert target.read_bytes() == OLD
    write_whole_file(target, NEW)
    assert target.read_bytes() == NEW


def test_a_system_that_takes_only_half_of_the_bytes_leaves_the_old_file(target: Path) -> None:
    done = write_elsewhere("limit", target)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{target}: cannot write 300,000 bytes here ({os.strerror(errno.EFBIG)})")
    assert target.read_bytes() == OLD
    assert names(target.parent) == [target.name]


def test_another_process_writes_the_whole_file(target: Path) -> None:
    done = write_elsewhere("quietly", target)
    assert (done.returncode, done.stderr) == (0, "")
    assert target.read_bytes() == b"n" * 300_000


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_folder_is_no_place_for_a_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match="cannot write 1 bytes here"):
        write_whole_file(Path(name), b"x")
    assert list(tmp_path.iterdir()) == []
