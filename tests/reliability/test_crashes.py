"""A refusal, a crash or a power cut at every single call that a save makes: each file is the old one or the new."""

import errno
import io
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from charlm.checkpoint.checkpoint import Checkpoint, step_name
from charlm.config.settings import Config
from charlm.errors import CheckpointError, DamagedCheckpointError, StorageError
from charlm.runs import directory as runs_module
from charlm.runs.directory import RunDirectory
from charlm.runs.lookup import full_checkpoints, newest_checkpoint
from tests.conftest import make_config
from tests.harness.child import Child, Sender
from tests.harness.repetitions import spread

pytestmark = pytest.mark.slow

REFUSED, FULL = REFUSALS = ("one call is refused", "the disk is full from then on")
ENDED, CUT, CUT_WITH_NAMES = ENDS = (
    "the process ends",
    "the power is cut, and what was not forced to the disk is lost",
    "the power is cut, and names that were not forced to the disk are lost too",
)
LIE = "a wrong byte is written, and nothing said"
NEEDING_SPACE = ("make", "create", "append", "write", "force")
RETURN = "return"
"""What follows the last call."""

ID = "0123456789abcdef"
_EXIT_CODE = 99

open_descriptor, open_file, make, rename, delete = os.open, io.open, os.mkdir, os.replace, os.unlink


class Disk:
    """Counts what the program asks of the disk, and lets one call go wrong."""

    def __init__(self, at: int = 0, how: str = "", attic: Path = Path()) -> None:
        self.calls: list[str] = []
        self.refused: list[str] = []
        self._at = at
        self._how = how
        self._attic = attic
        """Where what a power cut may bring back is kept."""
        self._unforced: dict[int, tuple[int, int]] = {}
        """By inode, each file whose last bytes a power cut may take: a descriptor, and the size that is left."""
        self._names: dict[int, Path] = {}
        """The paths of what was opened, by descriptor."""
        self._undo: list[tuple[int, Callable[[], object]]] = []
        """By the folder's inode, how each name is lost that a power cut may take."""
        self._installed = ExitStack()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Stand between the program and the disk."""
        places: dict[tuple[Any, str], Callable[..., Any]] = {
            (io, "open"): self._open_file,
            (os, "open"): self._open,
            (os, "fsync"): self._force,
            (os, "replace"): self._rename,
            (os, "unlink"): self._delete,
            (os, "mkdir"): self._make,
        }
        with self._installed as stack:
            for (owner, name), function in places.items():
                stack.enter_context(mock.patch.object(owner, name, function))
            yield
        for descriptor, _ in self._unforced.values():
            os.close(descriptor)

    def call(self, verb: str, name: object = "") -> None:
        """Count a call, and let it go wrong if it is the one."""
        wrong = self._is_next(verb)
        shown = Path(str(name)).name
        self.calls.append(f"{verb} {'temporary' if shown.endswith('.tmp') else shown}".strip())
        if not wrong or self._how == LIE:
            return
        if self._how in REFUSALS:
            self.refused.append(self.calls[-1])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._installed.close()
        if self._how in (CUT, CUT_WITH_NAMES):
            for descriptor, size in self._unforced.values():
                os.ftruncate(descriptor, size)
        if self._how == CUT_WITH_NAMES:
            for _, undo in reversed(self._undo):
                undo()
        os._exit(_EXIT_CODE)

    def write(self, file: "_File", data: bytes) -> int:
        """Write to a temporary file; where that goes wrong, half of it first."""
        status = os.fstat(file.fileno())
        if status.st_ino not in self._unforced:
            self._unforced[status.st_ino] = (os.dup(file.fileno()), status.st_size)
        wrong = self._is_next("write")
        if wrong and self._how == LIE:
            data = data[:-1] + bytes([data[-1] ^ 1])
        elif wrong:
            io.FileIO.write(file, data[: len(data) // 2])
        self.call("write", self._names[file.fileno()])
        return io.FileIO.write(file, data)

    def path_of(self, descriptor: int) -> Path:
        """Return the path under which a descriptor was opened."""
        return self._names[descriptor]

    def _is_next(self, verb: str) -> bool:
        number = len(self.calls) + 1
        if self._how == FULL:
            return number >= self._at > 0 and verb in NEEDING_SPACE
        return number == self._at

    def _open_file(self, path: Path | int, mode: str = "r", buffering: int = -1, *rest: Any) -> Any:
        if not isinstance(path, int):
            self.call("read", path)
            return open_file(path, mode, buffering, *rest)
        file = _File(path, mode, self)
        return file if buffering == 0 else io.BufferedWriter(file)

    def _open(self, path: Path | str, flags: int, *rest: Any, dir_fd: int | None = None) -> int:
        place = self._path(path, dir_fd)
        self.call(*(("create", place) if flags & os.O_EXCL else ("append", place) if dir_fd else ("open folder",)))
        descriptor = open_descriptor(path, flags, *rest, dir_fd=dir_fd)
        self._names[descriptor] = place
        return descriptor

    def _path(self, name: Path | str, folder: int | None) -> Path:
        return Path(name) if folder is None else self._names[folder] / name

    def _force(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self.call("force", "folder" if stat.S_ISDIR(status.st_mode) else self._names[descriptor])
        self._undo = [(folder, undo) for folder, undo in self._undo if folder != status.st_ino]
        if status.st_ino in self._unforced:
            os.close(self._unforced.pop(status.st_ino)[0])

    def _rename(self, old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        source, target = self._path(old, src_dir_fd), self._path(new, dst_dir_fd)
        self.call("rename", target)
        spare = self._spare(target)
        rename(source, target)
        self._may_be_lost(target, lambda: (rename(target, source), spare and rename(spare, target)))

    def _delete(self, name: Path | str, *, dir_fd: int | None = None) -> None:
        path = self._path(name, dir_fd)
        self.call("delete", path)
        spare = self._spare(path)
        delete(path)
        self._may_be_lost(path, lambda: spare and rename(spare, path))

    def _make(self, path: Path, *rest: Any) -> None:
        self.call("make", path)
        make(path, *rest)
        self._may_be_lost(path, lambda: shutil.rmtree(path))

    def _spare(self, path: Path) -> Path | None:
        """Keep the file that is about to lose its name, should the name come back."""
        if self._how != CUT_WITH_NAMES or not Path(path).exists():
            return None
        spare = self._attic / str(len(self.calls))
        os.link(path, spare)
        return spare

    def _may_be_lost(self, path: Path, undo: Callable[[], object]) -> None:
        self._undo.append((Path(path).parent.stat().st_ino, undo))


class _File(io.FileIO):
    """A file that is written as the system sees it, below Python's buffer."""

    def __init__(self, descriptor: int, mode: str, disk: Disk) -> None:
        super().__init__(descriptor, mode)
        self._disk = disk

    def write(self, data: Any) -> int:
        return self._disk.write(self, bytes(data))

    def close(self) -> None:
        if not self.closed:
            path = self._disk.path_of(self.fileno())
            super().close()
            self._disk.call("close", path)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch) -> None:
    """Wait for no real disk: this power is never really cut. All runs have one id, so that files can be compared."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(runs_module, "new_id", lambda: ID)


# What is done while it goes wrong


@dataclass(frozen=True)
class Scene:
    """A run as it is before, and what is then done."""

    steps: tuple[int, ...] = (10, 20)
    keep: int = 2
    best: bool = True
    """Whether the new step is."""
    repair: bool = False

    def config(self, folder: Path) -> Config:
        return make_config(folder / "text.txt", folder / "runs", run={"name": "tale", "keep": self.keep})

    def prepare(self, folder: Path, checkpoint: Checkpoint) -> None:
        """Make what is there before: nothing at all for a new run."""
        folder.mkdir()
        if not self.steps:
            return
        with RunDirectory.create(self.config(folder)) as run:
            for step in self.steps:
                save(run, at_step(checkpoint, step))
            if self.repair:
                run.record({"step": 30})
                run.best.unlink()
                content = bytearray((run.path / step_name(20)).read_bytes())
                content[-1] ^= 1
                (run.path / step_name(30)).write_bytes(content)
        (folder / "runs" / "latest").write_text("other\n")

    def act(self, folder: Path, checkpoint: Checkpoint) -> None:
        """Do what may go wrong."""
        config = self.config(folder)
        with RunDirectory.reopen(config) or RunDirectory.create(config) as run:
            if self.repair:
                run.rewind(newest_checkpoint(run.path), config)
            else:
                save(run, at_step(checkpoint, 30, best=self.best))

    def resume(self, folder: Path, checkpoint: Checkpoint) -> None:
        """Do what `charlm train --resume` does afterwards, for one more step."""
        config = self.config(folder)
        with RunDirectory.reopen(config) or RunDirectory.create(config) as run:
            found = newest_checkpoint(run.path)
            run.rewind(found, config)
            assert temporary_files(folder) == []
            step = found.checkpoint.progress.step if found else 0
            assert all(metrics["step"] <= step for metrics in run.metrics())
            if step < 30 and not self.repair:
                save(run, at_step(checkpoint, 30, best=self.best))
            save(run, at_step(checkpoint, 40))


SCENES = {
    "a new run": Scene(steps=()),
    "the best step": Scene(),
    "a step that is not the best": Scene(best=False),
    "the only step that is kept": Scene(steps=(20,), keep=1),
    "a repair": Scene(repair=True),
}


def at_step(checkpoint: Checkpoint, step: int, *, best: bool = True) -> Checkpoint:
    """Return the checkpoint of another step, with other weights."""
    weights = checkpoint.tensors["model.head.bias"] + step
    progress = checkpoint.progress.model_copy(update={"step": step, "best_step": step if best else 1})
    return replace(checkpoint, progress=progress, tensors=checkpoint.tensors | {"model.head.bias": weights})


def save(run: RunDirectory, checkpoint: Checkpoint) -> None:
    """Save an evaluated step as `charlm train` does."""
    run.record({"step": checkpoint.progress.step, "validation_loss": 2.5})
    if checkpoint.progress.best_step == checkpoint.progress.step:
        run.save_best(checkpoint)
    run.save(checkpoint)


def files(folder: Path) -> dict[str, bytes]:
    """Return all that lies there but temporary files."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def temporary_files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


@pytest.fixture
def checkpoint_file(trained) -> Path:
    return full_checkpoints(trained["lstm"])[-1]


@pytest.fixture
def checkpoint(checkpoint_file) -> Checkpoint:
    return Checkpoint.load(checkpoint_file)


@dataclass(frozen=True)
class Rehearsal:
    """A scene without faults: the calls that it made, and the files before it, after it and one step later."""

    name: str
    before: Path
    old: dict[str, bytes]
    new: dict[str, bytes]
    later: dict[str, bytes]
    calls: list[str]

    @property
    def scene(self) -> Scene:
        return SCENES[self.name]

    def mistakes(self, folder: Path) -> Iterator[str]:
        """Say what is neither as it was nor as it should become, and what came or went before its time."""
        found = files(folder)
        for name in self.old.keys() | self.new.keys() | found.keys():
            appended = name.endswith("metrics.jsonl") and self.new[name].startswith(found.get(name, b""))
            whole_line = found.get(name) in (self.old.get(name), self.new.get(name))
            if not whole_line and not (appended and found[name].startswith(self.old.get(name, b""))):
                yield f"{name} is neither the old one nor the new"
        in_order = [f"runs/tale/{name}" for name in ("metrics.jsonl", "best.safetensors", step_name(30))]
        changing = [name for name in in_order if self.old.get(name) != self.new.get(name)]
        done = [found.get(name) == self.new.get(name) for name in changing]
        if not self.scene.repair and done != sorted(done, reverse=True):
            yield f"of {changing} are new: {done}"
        committed = not self.scene.repair and done[-1]
        if not self.scene.repair and not committed and not self.deleted <= found.keys():
            yield "an old checkpoint is gone, and the new one is not there"
        try:
            newest = newest_checkpoint(folder / "runs" / "tale")
        except CheckpointError as error:
            yield str(error)
            return
        step = newest.checkpoint.progress.step if newest else None
        if step != (30 if committed else max(self.scene.steps, default=None)):
            yield f"the newest checkpoint is that of step {step}"
        if newest and newest.damaged and not self.scene.repair:
            yield f"damaged: {newest.damaged}"

    def unfinished(self, folder: Path) -> Iterator[str]:
        """Say what is not as it should become; what was to be deleted may still be there."""
        found = files(folder)
        for name in self.new.keys() | found.keys():
            if found.get(name) != self.new.get(name) and name not in self.deleted:
                yield f"{name} is not the new one"

    def unrepaired(self, folder: Path, checkpoint: Checkpoint) -> Iterator[str]:
        """Resume as after an interruption; yield what differs from an undisturbed run."""
        self.scene.resume(folder, checkpoint)
        found = files(folder)
        for name in self.later.keys() | found.keys():
            if found.get(name) != self.later.get(name):
                yield f"{name} is wrong even a step later"

    @property
    def deleted(self) -> set[str]:
        return {name for name in self.old if name not in self.new}


@contextmanager
def stage(template: Path) -> Iterator[Path]:
    """Lend a copy of the folder, always in the same place, since paths stand in the files."""
    folder, attic = template.with_name("stage"), template.with_name("attic")
    shutil.copytree(template, folder)
    attic.mkdir()
    yield folder
    shutil.rmtree(folder)
    shutil.rmtree(attic)


@pytest.fixture
def rehearsal(tmp_path, checkpoint, request) -> Rehearsal:
    scene, disk = SCENES[request.param], Disk()
    scene.prepare(tmp_path / "stage", checkpoint)
    (tmp_path / "stage").rename(tmp_path / "before")
    with stage(tmp_path / "before") as folder:
        old = files(folder)
        with disk.installed():
            scene.act(folder, checkpoint)
        new = files(folder)
        scene.resume(folder, checkpoint)
        return Rehearsal(request.param, tmp_path / "before", old, new, files(folder), disk.calls)


def play(name: str, folder: Path, checkpoint: Path, at: int, how: str, sender: Sender) -> None:
    """Play a scene, in a process of its own, up to its end at one of the calls."""
    runs_module.new_id = lambda: ID
    loaded, disk = Checkpoint.load(checkpoint), Disk(at, how, folder.with_name("attic"))
    with disk.installed():
        SCENES[name].act(folder, loaded)
        disk.call(RETURN)


# The laws


def chosen(calls: list[str], name: str, how: str) -> list[tuple[int, str]]:
    """Return the calls that go wrong, numbered: all of a save that is refused or loses its names, else a share."""
    numbered = list(enumerate(calls, 1))
    return numbered if name == "the best step" and how in (REFUSED, CUT_WITH_NAMES) else spread(numbered, least=5)


def whole(name: str) -> list[str]:
    """Return the calls that write a file."""
    temporary = [f"{verb} temporary" for verb in ("create", "write", "force", "close")]
    return [*temporary, f"rename {name}", "force folder"]


@pytest.mark.parametrize("rehearsal", ["the best step"], indirect=True)
def test_a_save_asks_of_the_disk_this_and_nothing_else(rehearsal) -> None:
    """So whatever goes wrong below goes wrong at each of these."""
    assert rehearsal.calls == [
        "open folder",  # to hold it
        "read run.json",  # which run it is
        "read metrics.jsonl",
        *(f"{verb} metrics.jsonl" for verb in ("append", "write", "force", "close")),
        *whole("best.safetensors"),
        *("read latest", "open folder", *whole("latest")),
        *whole("step-00000030.safetensors"),
        "read latest",
        "read step-00000030.safetensors",  # to verify it
        "delete step-00000010.safetensors",
    ]


@pytest.mark.parametrize("how", REFUSALS)
@pytest.mark.parametrize("rehearsal", SCENES, indirect=True)
def test_every_file_is_old_or_new_whichever_call_is_refused(rehearsal, how, checkpoint) -> None:
    wrong = []
    for at, _ in chosen(rehearsal.calls, rehearsal.name, how):
        disk, error = Disk(at, how), ""
        with stage(rehearsal.before) as folder:
            try:
                with disk.installed():
                    rehearsal.scene.act(folder, checkpoint)
            except Exception as caught:
                error = f"{type(caught).__name__}: {caught}"  # not the error itself, which would hold the folder
            found = [*rehearsal.mistakes(folder), *(f"{name} is left" for name in temporary_files(folder))]
            first = disk.refused[0] if disk.refused else ""
            expected = CheckpointError if first.startswith("read step-") else StorageError
            if error and not error.startswith(expected.__name__):
                found.append(f"it is told as {error}")
            if not error and not first.endswith(".damaged"):  # a later run may set that aside
                found += rehearsal.unfinished(folder)
            found += rehearsal.unrepaired(folder, checkpoint)
        wrong += [f"{at}, {first}: {mistake}" for mistake in found]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("rehearsal", SCENES, indirect=True)
def test_every_file_is_old_or_new_wherever_the_process_ends(rehearsal, how, checkpoint, checkpoint_file) -> None:
    wrong = []
    for at, call in chosen([*rehearsal.calls, RETURN], rehearsal.name, how):
        with stage(rehearsal.before) as folder:
            with Child(play, rehearsal.name, folder, checkpoint_file, at, how) as child:
                assert child.join() == _EXIT_CODE, child.receive()
            found = list(rehearsal.mistakes(folder))
            found += rehearsal.unfinished(folder) if call == RETURN else ()
            found += rehearsal.unrepaired(folder, checkpoint)
        wrong += [f"{at}, {call}: {mistake}" for mistake in found]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("rehearsal", ["the best step", "the only step that is kept"], indirect=True)
def test_a_checkpoint_that_arrives_damaged_costs_no_old_one(rehearsal, checkpoint) -> None:
    renamed = rehearsal.calls.index(f"rename {step_name(30)}")
    with stage(rehearsal.before) as folder:
        run = folder / "runs" / "tale"
        with Disk(renamed - 2, LIE).installed(), pytest.raises(DamagedCheckpointError, match=step_name(30)):
            rehearsal.scene.act(folder, checkpoint)

        found = newest_checkpoint(run)
        assert found.checkpoint.progress.step == 20
        assert list(found.damaged) == [run / step_name(30)]
        assert [path.name for path in full_checkpoints(run)] == [*map(step_name, rehearsal.scene.steps), step_name(30)]

        rehearsal.scene.resume(folder, checkpoint)
        after = files(folder)
        assert after.pop(f"runs/tale/{step_name(30)}.damaged")
        assert after == rehearsal.later


def run_with(folder: Path, checkpoint: Checkpoint, *steps: int) -> Config:
    """Make a run with full checkpoints of these steps; from now on it keeps one."""
    config = Scene(keep=len(steps)).config(folder)
    with RunDirectory.create(config) as run:
        for step in steps:
            save(run, at_step(checkpoint, step))
    return Scene(keep=1).config(folder)


def steps_of(run: RunDirectory) -> list[int]:
    return [Checkpoint.load(path).progress.step for path in full_checkpoints(run.path)]


def test_a_failed_delete_stops_neither_save_nor_later_deletes(tmp_path, checkpoint) -> None:
    def refuse_the_first(name: str, **folder: int) -> None:
        if name == step_name(10):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        delete(name, **folder)

    with RunDirectory.reopen(run_with(tmp_path, checkpoint, 10, 20, 30)) as run:
        with mock.patch.object(os, "unlink", refuse_the_first):
            save(run, at_step(checkpoint, 40))
        assert steps_of(run) == [10, 40]

        save(run, at_step(checkpoint, 50))
        assert steps_of(run) == [50]


def test_a_new_checkpoint_is_kept_below_a_damaged_higher_number(tmp_path, checkpoint) -> None:
    config = run_with(tmp_path, checkpoint, 20, 30)
    with RunDirectory.reopen(config) as run:
        damaged = run.path / step_name(30)
        damaged.write_bytes(damaged.read_bytes()[:-1])
        (run.path / f"{damaged.name}.damaged").mkdir()  # so that it cannot be set aside
        run.rewind(newest_checkpoint(run.path), config)
        save(run, at_step(checkpoint, 25))

        assert newest_checkpoint(run.path).checkpoint.progress.step == 25
