"""``--output`` goes where it points and destroys nothing: links, devices, pipes, permissions, other names of a file."""

import errno
import io
import os
import socket
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.cli.output_file import is_taken, write_output
from charlm.errors import StorageError
from tests.conftest import Run
from tests.harness.processes import COMMAND, ENVIRONMENT

NULL, FULL = os.makedev(1, 3), os.makedev(1, 7)
OLD, NEW = b"old and longer than the new one\n", b"new\n"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def written(path: Path) -> dict[str, Any]:
    """Return what must stay of a file when its content is replaced."""
    status = path.lstat()
    return {"mode": status.st_mode, "links": status.st_nlink, "owner": (status.st_uid, status.st_gid)}


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def make_device(path: Path, number: int) -> None:
    """Make a device of the test's own: a defect must not destroy the machine's."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, number)
        path.open("wb").close()
    except PermissionError:
        pytest.skip("this process may not make devices here")


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Make a function of ``os`` fail with this error where it makes or renames a temporary file."""
    original: Callable[..., Any] = getattr(os, name)

    def refusing(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path).endswith(".tmp"):
            raise OSError(number, os.strerror(number), path)
        return original(path, *arguments, **options)

    monkeypatch.setattr(os, name, refusing)


def read_in_background(path: Path) -> tuple[threading.Thread, list[bytes]]:
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()), daemon=True)
    reader.start()
    return reader, found


def test_a_new_file_is_made(tmp_path: Path) -> None:
    write_output(tmp_path / "new", NEW)
    assert (tmp_path / "new").read_bytes() == NEW


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o755, 0o4711])
def test_a_replaced_file_keeps_its_permissions(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    path.chmod(mode)
    before = written(path)
    write_output(path, NEW)

    assert path.read_bytes() == NEW
    assert written(path) == before
    assert names_in(tmp_path) == ["file"]


def test_a_private_file_is_private_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    path.chmod(0o600)
    seen = []
    for name in ("fchown", "fsync"):  # the first call on the new file, and the last
        original: Callable[..., Any] = getattr(os, name)

        def recording(descriptor: int, *rest: Any, original: Callable[..., Any] = original) -> Any:
            seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
            return original(descriptor, *rest)

        monkeypatch.setattr(os, name, recording)
    write_output(path, NEW)

    assert seen == [0o600, 0o600]


@pytest.mark.parametrize("relative", [True, False], ids=["relative", "absolute"])
def test_a_link_stays_and_its_target_is_replaced(relative: bool, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there/target", tmp_path / "link"
    target.write_bytes(OLD)
    target.chmod(0o600)
    link.symlink_to("there/target" if relative else target)
    inode = target.stat().st_ino
    write_output(link, NEW)

    assert link.is_symlink()
    assert target.read_bytes() == NEW
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert target.stat().st_ino != inode  # replaced, so that no reader sees a part
    assert names_in(tmp_path / "there") == ["target"]


def test_a_link_to_nowhere_gets_its_target(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/target")
    write_output(tmp_path / "link", NEW)

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there/target").read_bytes() == NEW


def test_a_link_into_a_missing_folder_or_to_itself_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "nowhere").symlink_to("missing/target")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("nowhere", "loop"):
        with pytest.raises(StorageError, match="cannot write 4 bytes here"):
            write_output(tmp_path / name, NEW)
        assert (tmp_path / name).is_symlink()


def test_all_names_of_a_file_get_the_new_content(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_bytes(OLD)
    other.hardlink_to(path)
    write_output(path, NEW)

    assert other.read_bytes() == path.read_bytes() == NEW
    assert other.samefile(path)


@as_root
def test_another_users_file_stays_theirs(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    os.chown(path, 65534, 65534)
    before = written(path)
    write_output(path, NEW)

    assert path.read_bytes() == NEW
    assert written(path) == before


@as_root
def test_a_replaced_file_keeps_its_group(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    os.chown(path, -1, 65534)
    path.chmod(0o2640)
    before, inode = written(path), path.stat().st_ino
    write_output(path, NEW)

    assert written(path) == before
    assert path.stat().st_ino != inode


@pytest.mark.parametrize(
    ("name", "number"),
    [("open", errno.EACCES), ("open", errno.EROFS), ("rename", errno.EBUSY), ("rename", errno.EPERM)],
    ids=["locked folder", "read-only folder", "mount point", "immutable name"],
)
def test_where_the_folder_cannot_be_written_the_file_can(
    name: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    refuse(monkeypatch, name, number)
    if name == "rename":
        refuse(monkeypatch, "replace", number)
    write_output(path, NEW)

    assert path.read_bytes() == NEW
    assert names_in(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into any folder")
def test_a_file_in_a_locked_folder_is_written(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir()
    path = tmp_path / "locked/file"
    path.write_bytes(OLD)
    path.parent.chmod(0o555)
    write_output(path, NEW)

    assert path.read_bytes() == NEW


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write any file")
def test_a_read_only_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    path.chmod(0o444)
    with pytest.raises(StorageError, match="Permission denied"):
        write_output(path, NEW)
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("call", ["fsync", "fchmod"])
def test_a_failed_replacement_leaves_the_old_file(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(StorageError, match=r"file: cannot write 4 bytes here \(No space left on device\)"):
        write_output(path, NEW)
    assert path.read_bytes() == OLD
    assert names_in(tmp_path) == ["file"]


def test_a_file_system_that_cannot_sync_takes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)

    def unable(_: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", unable)
    write_output(path, NEW)
    assert path.read_bytes() == NEW


def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    device, link = tmp_path / "device", tmp_path / "link"
    make_device(device, NULL)
    link.symlink_to("device")
    before = written(device)
    for path in (device, link):
        write_output(path, NEW)

        assert stat.S_ISCHR(device.stat().st_mode)
        assert written(device) == before
        assert link.readlink() == Path("device")


def test_a_full_device_is_an_error_in_words(tmp_path: Path) -> None:
    make_device(tmp_path / "full", FULL)
    with pytest.raises(StorageError, match=r"full: cannot write 4 bytes here \(No space left on device\)"):
        write_output(tmp_path / "full", NEW)


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader, found = read_in_background(pipe)
    content = NEW * 50_000  # more than a pipe holds
    write_output(pipe, content)
    reader.join(30)

    assert found == [content]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_folder_and_a_socket_are_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the names of sockets are short
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        StorageError, match=r"folder: cannot write here, because this is a folder\. Choose another place\."
    ):
        write_output(Path("folder"), NEW)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("plug")
        with pytest.raises(StorageError, match=r"plug: cannot write here, because this is a socket\."):
            write_output(Path("plug"), NEW)
    assert sorted(names_in(tmp_path)) == ["folder", "plug"]


@pytest.mark.parametrize(
    "name", ["x" * 300, "x/" * 3000, "file/below", "/dev/fd/999", f"/dev/fd/{10**21}", "/dev/fd/x"]
)
def test_a_name_that_no_file_can_have_is_an_error_in_words(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    assert not is_taken(tmp_path / name)
    with pytest.raises(StorageError, match="cannot write"):
        write_output(tmp_path / name, NEW)


# ------------------------------------------------------------------------------------------ the command's own streams


def from_shell(folder: Path, script: str, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run ``script`` in bash with the command as its arguments."""
    return subprocess.run(
        ["bash", "-c", script, "bash", *COMMAND, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["/dev/fd/1", "/proc/self/fd/1", "/proc/thread-self/fd/1", "stdout", "link"])
def test_standard_output_by_its_name_appends_as_the_shell_opened_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")  # as /dev/stdout, which a defect would destroy
    (tmp_path / "link").symlink_to("stdout")
    log = tmp_path / "log"
    log.write_bytes(OLD)
    log.chmod(0o600)
    before = (written(log), log.stat().st_ino)
    script = '{ "$@"; echo after; } >> log'
    child = from_shell(tmp_path, script, "config", "init", "--output", name)

    assert child.returncode == 0, child.stderr
    content = log.read_bytes()
    assert content.startswith(OLD + b"# A charlm config.")
    assert content.endswith(b"\nafter\n")
    assert (written(log), log.stat().st_ino) == before
    assert (tmp_path / "link").is_symlink()


def test_what_was_printed_before_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "log").open("w", encoding="utf-8") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        stream.write("before\n")
        write_output(Path(f"/proc/self/fd/{stream.fileno()}"), NEW)
        stream.write("after\n")
    assert (tmp_path / "log").read_bytes() == b"before\n" + NEW + b"after\n"


def test_a_deleted_file_that_a_process_holds_open_gets_the_content(tmp_path: Path) -> None:
    with (tmp_path / "held").open("wb") as held, subprocess.Popen(["sleep", "60"], stdout=held) as holder:
        (tmp_path / "held").unlink()
        path = Path(f"/proc/{holder.pid}/fd/1")
        write_output(path, NEW)
        content = path.read_bytes()
        holder.kill()

    assert content == NEW
    assert names_in(tmp_path) == []


@pytest.mark.slow
def test_a_process_substitution_is_a_place_to_write_to(tmp_path: Path) -> None:
    child = from_shell(tmp_path, '"$@" --output >(cat > copy); wait $!', "config", "init")

    assert child.returncode == 0, child.stderr
    assert (tmp_path / "copy").read_bytes().startswith(b"# A charlm config.")


@pytest.mark.slow
def test_a_reader_of_the_output_that_goes_away_ends_the_command_quietly(
    trained: dict[str, Path], tmp_path: Path
) -> None:
    arguments = (
        "-c",
        str(trained["lstm"]),
        "--text",
        "The fox " * 9000,
        "--format",
        "csv",
        "--output",
        "/proc/self/fd/1",
    )
    child = from_shell(tmp_path, '"$@" | head -c 7; exit ${PIPESTATUS[0]}', "inspect-hidden", *arguments)

    assert (child.returncode, child.stdout, child.stderr) == (0, b"positio", b"")


# -------------------------------------------------------------------------------------------------------- commands


def test_a_trace_into_a_device_leaves_the_device(charlm: Run, trained: dict[str, Path], tmp_path: Path) -> None:
    make_device(tmp_path / "device", NULL)
    result = charlm("inspect-hidden", "-c", str(trained["lstm"]), "--text", "The", "--output", "device")

    assert result.exit_code == 0, result.stderr
    assert stat.S_ISCHR((tmp_path / "device").stat().st_mode)


def test_an_archive_goes_through_a_link_and_a_pipe(charlm: Run, trained: dict[str, Path], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    reader, found = read_in_background(tmp_path / "pipe")
    arguments = ("inspect-hidden", "-c", str(trained["lstm"]), "--text", "The", "--format", "npz", "--output", "link")
    assert charlm(*arguments).exit_code == 0
    reader.join(30)

    assert np.load(io.BytesIO(found[0]))["hidden"].shape == (3, 2, 7)


def test_a_starter_goes_through_a_link_to_nowhere_and_into_a_pipe(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("new.yaml")
    assert charlm("config", "init", "--output", "link").exit_code == 0
    assert (tmp_path / "new.yaml").read_bytes().startswith(b"# A charlm config.")
    assert charlm("config", "init", "--output", "link").exit_code == 2  # it is a file now
    os.mkfifo(tmp_path / "pipe")
    reader, found = read_in_background(tmp_path / "pipe")
    assert charlm("config", "init", "--output", "pipe").exit_code == 0
    reader.join(30)
    assert found[0] == (tmp_path / "new.yaml").read_bytes()
