"""Disks that are full, over quota, read-only or gone: one message, and earlier checkpoints stay whole."""

import errno
import json
import os
import re
import resource
import shutil
import signal
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.config.reading import read_config
from charlm.config.writing import resolved_yaml
from charlm.errors import ConfigError
from charlm.runs import directory as runs_module
from charlm.runs.directory import RunDirectory
from charlm.runs.locked_folder import LockedFolder
from charlm.runs.lookup import full_checkpoints, newest_checkpoint
from charlm.text.corpus import Corpus
from charlm.training.trainer import Trainer
from charlm.whole_file import write_whole_file
from tests.conftest import TEXT, Run, make_config
from tests.harness.charlm_process import STEP, CharlmProcess, call_before, pause_at, run_charlm
from tests.harness.handmade import everything_in
from tests.harness.interruptions import Snapshot, differences, snapshot
from tests.harness.invariants import TRAIN, assert_resumes, assert_whole
from tests.harness.processes import run_in_shell
from tests.harness.repetitions import pairs

pytestmark = pytest.mark.slow

RUN = Path("runs/gru")
EVALUATED = (4, 8)
OUTCOMES = (
    "best.safetensors",
    "config.yaml",
    "metrics.jsonl",
    "report.html",
    "run.json",
    "step-00000004.safetensors",
    "step-00000008.safetensors",
)


def lay_out(folder: Path) -> Path:
    """Put a text and a config into ``folder``: eight steps, evaluated and saved at 4 and 8."""
    (folder / "text.txt").write_text(TEXT, encoding="utf-8", newline="")
    config = make_config(Path("text.txt"), Path("runs"), kind="gru", training={"steps": 8, "evaluate_every": 4})
    (folder / "tiny.yaml").write_text(resolved_yaml(config), encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lay_out(tmp_path)


@pytest.fixture
def train(charlm: Run, folder: Path) -> Run:
    """Return a function that trains on the command line, in this process."""
    return lambda *arguments: charlm(*TRAIN, *arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an undisturbed run; tests must not write there."""
    folder = lay_out(tmp_path_factory.mktemp("undisturbed"))
    assert run_charlm(folder, *TRAIN).code == 0
    assert sorted(path.name for path in (folder / RUN).iterdir()) == sorted(OUTCOMES)
    return folder / RUN


@pytest.fixture(scope="module")
def undisturbed(finished: Path) -> Snapshot:
    return snapshot(finished)


def saved(folder: Path) -> list[int]:
    return [Checkpoint.load(path).progress.step for path in full_checkpoints(folder / RUN)]


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_refused(code: int, stderr: str, path: Path, reason: str) -> int:
    """Hold that it ended with one line on ``path``, the reason and a way out; return the bytes that it speaks of."""
    *_, line = stderr.splitlines()
    told = re.fullmatch(
        rf"charlm: {re.escape(str(path))}: cannot write ([\d,]+) bytes here \({re.escape(reason)}\)\. "
        r"Free some space or choose another place\.",
        line,
    )
    assert told is not None, stderr
    assert code == 74
    assert "Traceback" not in stderr
    assert stderr.count("charlm: ") == stderr.startswith(f"charlm: {RUN} on cpu") + 1
    return int(told[1].replace(",", ""))


# A disk that takes only so much, in real processes


def limit_files(size: int) -> None:
    """Let the system take no file that is longer."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


# The config has 0.7 kB, the metrics 0.5, the best 7 and a full checkpoint 20.
@pytest.mark.parametrize(
    ("name", "limit", "step", "left"),
    [
        ("config.yaml", 100, 0, ()),
        ("metrics.jsonl", 100, 1, ("config.yaml", "metrics.jsonl", "run.json")),
        ("best.safetensors", 3_000, 1, ("config.yaml", "metrics.jsonl", "run.json")),
        ("step-00000004.safetensors", 12_000, 1, ("best.safetensors", "config.yaml", "metrics.jsonl", "run.json")),
        ("step-00000008.safetensors", 12_000, 5, OUTCOMES[:-1]),
    ],
)
def test_a_file_too_large_ends_training_with_the_others_whole(
    name: str, limit: int, step: int, left: tuple[str, ...], folder: Path, finished: Path, undisturbed: Snapshot
) -> None:
    limited = partial(limit_files, limit)
    before = [partial(call_before, STEP, step, limited)] if step else [limited]
    ended = run_charlm(folder, *TRAIN, before=before)

    needed = check_refused(ended.code, ended.stderr, RUN / name, os.strerror(errno.EFBIG))
    assert ended.stdout == ""
    # Times and speeds stand in these files, and have more digits or fewer.
    first_line = (finished / name).read_bytes().splitlines(keepends=True)[0] if name == "metrics.jsonl" else None
    assert needed == pytest.approx(len(first_line or (finished / name).read_bytes()), abs=40)
    assert needed > limit
    assert sorted(path.name for path in (folder / RUN).glob("*")) == sorted(left)
    assert_resumes(folder, RUN, undisturbed)


# A disk that refuses one kind of file, at one moment of its writing


class Refusal:
    """Makes the disk refuse the n-th writing of a file, half-way through it, at its force to the disk or its name."""

    def __init__(self, name: str, nth: int, moment: str, code: int, patch: pytest.MonkeyPatch) -> None:
        self._name = name
        self._left = nth
        self._moment = moment
        self._code = code
        self.came = 0
        for how in ("write", "append"):
            original = getattr(LockedFolder, how)
            patch.setattr(LockedFolder, how, self._instead_of(original))
        patch.setattr(runs_module, "write_whole_file", self._write_latest)

    def _instead_of(self, original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda folder, *arguments: self._write(original, folder, *arguments)

    def _write_latest(self, path: Path, content: bytes) -> None:
        def write(folder: Path, name: str, content: bytes) -> None:
            write_whole_file(folder / name, content)

        self._write(write, path.parent, path.name, content)

    def _write(self, write: Callable[..., Any], folder: Any, name: str, *content: object) -> Any:
        if name == self._name:
            self._left -= 1
        if name != self._name or self._left != 0:
            return write(folder, name, *content)
        with pytest.MonkeyPatch.context() as patch:
            self._refuse(patch)
            return write(folder, name, *content)

    def _refuse(self, patch: pytest.MonkeyPatch) -> None:
        opened = os.fdopen

        def open_to_refuse(*arguments: Any, **options: Any) -> Any:
            return HalfWritten(opened(*arguments, **options), self._fail)

        match self._moment:
            case "write":
                patch.setattr(os, "fdopen", open_to_refuse)
            case "fsync":
                patch.setattr(os, "fsync", self._fail)
            case "replace":
                patch.setattr(os, "replace", self._fail)

    def _fail(self, *_: object, **__: object) -> None:
        self.came += 1
        raise OSError(self._code, os.strerror(self._code))


class HalfWritten:
    """A file that accepts half of what is written."""

    def __init__(self, file: Any, fail: Callable[[], None]) -> None:
        self._file = file
        self._fail = fail

    def __enter__(self) -> "HalfWritten":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: bytes) -> None:
        self._file.write(content[: len(content) // 2])
        self._fail()


FILES = {
    "config.yaml": (RUN / "config.yaml", 1, []),
    "the first metrics": (RUN / "metrics.jsonl", 1, []),
    "the second metrics": (RUN / "metrics.jsonl", 2, [4]),
    "the first best": (RUN / "best.safetensors", 1, []),
    "the second best": (RUN / "best.safetensors", 2, [4]),
    "latest": (Path("runs/latest"), 1, []),
    "the first full checkpoint": (RUN / "step-00000004.safetensors", 1, []),
    "the second full checkpoint": (RUN / "step-00000008.safetensors", 1, [4]),
}


REFUSALS = (("write", "ENOSPC"), ("write", "EDQUOT"), ("fsync", "ENOSPC"), ("fsync", "EDQUOT"), ("replace", "EROFS"))


@pytest.mark.parametrize(
    ("file", "refusal"),
    [pair for pair in pairs(list(FILES), REFUSALS) if not ("metrics" in pair[0] and pair[1][0] == "replace")],
)
def test_a_refused_write_ends_training_with_the_others_whole(
    file: str, refusal: tuple[str, str], train: Run, folder: Path, undisturbed: Snapshot
) -> None:
    (path, nth, kept), (moment, reason) = FILES[file], refusal
    code = getattr(errno, reason)
    with pytest.MonkeyPatch.context() as patch:
        refused = Refusal(path.name, nth, moment, code, patch)
        result = train()

    assert refused.came == 1
    check_refused(result.exit_code, result.stderr, path, os.strerror(code))
    assert result.stdout == ""
    del result  # its traceback holds on to the run's folder
    assert saved(folder) == kept
    assert_whole(folder / RUN)
    resumed = train("--resume", "--quiet")
    assert (resumed.exit_code, resumed.stderr) == (0, "")
    assert differences(undisturbed, snapshot(folder / RUN)) == []


def test_the_next_save_deletes_what_could_not_be_deleted(
    train: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink, refused = os.unlink, []

    def refuse_once(name: str, **folder: int) -> None:
        if Path(name).name.startswith("step-") and not refused:
            refused.append(name)
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        unlink(name, **folder)

    monkeypatch.setattr(os, "unlink", refuse_once)
    assert train("--set", "run.save_every=2", "--set", "run.keep=1").exit_code == 0
    assert refused == ["step-00000002.safetensors"]
    assert saved(folder) == [8]


# A folder that vanishes or is not a folder


def vanish(path: Path) -> None:
    shutil.rmtree(path)


def become_a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_bytes(b"")


def become_another_folder(path: Path) -> None:
    """What a second process does that begins the same run after someone removed its folder."""
    shutil.copytree(path, path.with_name("copy"))
    shutil.rmtree(path)
    path.with_name("copy").rename(path)


@pytest.mark.parametrize("change", [vanish, become_a_file, become_another_folder])
@pytest.mark.parametrize("place", [RUN, Path("runs")], ids=str)
@pytest.mark.parametrize("step", [2, 6])
def test_a_run_whose_folder_vanishes_ends_without_it(
    change: Callable[[Path], None], place: Path, step: int, folder: Path
) -> None:
    with CharlmProcess(folder, *TRAIN, before=[pause_at(STEP, step)]) as process:
        process.wait_for_pause()
        change(folder / place)
        before = everything_in(folder)
        process.resume()
        ended = process.wait()

    assert ended.stdout == ""
    *_, line = ended.stderr.splitlines()
    assert line.startswith(f"charlm: {RUN}: this folder was removed, renamed or replaced ")
    assert (ended.code, "Traceback" in ended.stderr) == (74, False)
    assert change is become_another_folder or not (folder / RUN).is_dir()
    assert everything_in(folder) == before


@pytest.mark.parametrize("in_the_way", ["runs", "folder/runs"])
def test_a_file_where_the_runs_should_be_is_named_and_left_alone(in_the_way: str, train: Run, folder: Path) -> None:
    (folder / in_the_way).parent.mkdir(exist_ok=True)
    (folder / in_the_way).write_bytes(b"mine")
    result = train("--set", f"run.directory={in_the_way}", "--quiet")

    assert (result.exit_code, result.stdout) == (74, "")
    assert re.fullmatch(
        rf"charlm: {in_the_way}/gru: cannot create the run's folder \(.*\)\. "
        r"Choose another folder with --set run\.directory=FOLDER\.\n",
        result.stderr,
    )
    assert (folder / in_the_way).read_bytes() == b"mine"


@pytest.mark.parametrize("resume", [(), ("--resume",)])
def test_a_file_in_place_of_the_run_is_kept_and_the_run_renamed(
    resume: tuple[str, ...], train: Run, folder: Path, undisturbed: Snapshot
) -> None:
    (folder / "runs").mkdir()
    (folder / RUN).write_bytes(b"mine")
    result = train("--quiet", *resume)

    assert (result.exit_code, result.stderr) == (0, "")
    assert (folder / RUN).read_bytes() == b"mine"
    assert differences(undisturbed, snapshot(folder / "runs/gru-2")) == []


@pytest.mark.parametrize("name", ["metrics.jsonl", "best.safetensors", "step-00000008.safetensors"])
def test_a_folder_in_place_of_a_file_ends_training(name: str, folder: Path) -> None:
    with CharlmProcess(folder, *TRAIN, before=[pause_at(STEP, 6)]) as process:
        process.wait_for_pause()
        (folder / RUN / name).unlink(missing_ok=True)
        (folder / RUN / name).mkdir()
        (folder / RUN / name / "mine").write_bytes(b"mine")
        process.resume()
        ended = process.wait()

    *_, line = ended.stderr.splitlines()
    assert line.startswith(f"charlm: {RUN / name}: cannot ")
    assert f"({os.strerror(errno.EISDIR)})" in line
    assert (ended.code, ended.stdout, "Traceback" in ended.stderr) == (74, "", False)
    assert (folder / RUN / name / "mine").read_bytes() == b"mine"
    assert [path.name for path in (folder / "runs").rglob(".*")] == []
    assert Checkpoint.load(folder / RUN / "step-00000004.safetensors").is_full


@pytest.mark.parametrize("resume", [(), ("--resume",)])
def test_a_stray_link_among_the_checkpoints_is_no_obstacle(resume: tuple[str, ...], train: Run, folder: Path) -> None:
    assert train("--quiet").exit_code == 0
    (folder / RUN / "copy.safetensors").symlink_to("nowhere")
    result = train("--quiet", *resume, "--set", "training.steps=9")

    assert result.exit_code == 0, result.stderr


# The pointer to the latest run


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "mine").write_bytes(b"mine")


def test_a_folder_called_latest_is_reported_before_training(train: Run, folder: Path) -> None:
    (folder / "runs").mkdir()
    make_folder(folder / "runs/latest")
    result = train()

    assert result.exit_code == 74
    assert result.stderr.splitlines()[-1].startswith("charlm: runs/latest: ")
    assert "Traceback" not in result.stderr
    assert (folder / "runs/latest/mine").read_bytes() == b"mine"
    assert "step 4/8" not in result.stderr
    assert_whole(folder / RUN)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\n", b"x" * 100_000, b"another\n"], ids=["empty", "no text", "long", "another run"]
)
def test_whatever_latest_holds_it_comes_to_name_this_run(content: bytes, train: Run, folder: Path) -> None:
    (folder / "runs").mkdir()
    (folder / "runs/latest").write_bytes(content)

    assert train("--quiet").exit_code == 0
    assert (folder / "runs/latest").read_bytes() == b"gru\n"


@pytest.mark.parametrize("target", ["nowhere", "latest"])
def test_a_link_called_latest_that_leads_nowhere_is_replaced(target: str, train: Run, folder: Path) -> None:
    (folder / "runs").mkdir()
    (folder / "runs/latest").symlink_to(target)

    assert train("--quiet").exit_code == 0
    assert (folder / "runs/latest").read_bytes() == b"gru\n"
    assert not (folder / "runs/latest").is_symlink()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO], ids=errno.errorcode.get)
def test_a_latest_that_cannot_be_read_is_replaced(
    code: int, train: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "runs").mkdir()
    (folder / "runs/latest").write_bytes(b"another\n")
    opened = Path.open

    def refuse(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if path.name == "latest":
            raise OSError(code, os.strerror(code))
        return opened(path, mode, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        result = train("--quiet")

    assert (result.exit_code, result.stderr) == (0, "")
    assert (folder / "runs/latest").read_bytes() == b"gru\n"


# Folders that may not be written into, where that means something


def modes_are_ignored() -> bool:
    """Return whether whoever runs the tests reads and writes what may not be, as root does."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "closed").touch(mode=0o000)
        return os.access(Path(folder, "closed"), os.W_OK)


no_root = pytest.mark.skipif(modes_are_ignored(), reason="root writes where it likes")


@no_root
def test_runs_that_may_not_be_written_into_are_named(train: Run, folder: Path) -> None:
    (folder / "runs").mkdir(mode=0o555)
    result = train("--quiet")

    assert (result.exit_code, result.stdout) == (74, "")
    assert result.stderr.startswith(f"charlm: {RUN}: cannot create the run's folder ({os.strerror(errno.EACCES)}). ")
    assert len(result.stderr.splitlines()) == 1


@no_root
@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_run_whose_folder_is_closed_keeps_its_last_checkpoint(mode: int, folder: Path, undisturbed: Snapshot) -> None:
    with CharlmProcess(folder, *TRAIN, before=[pause_at(STEP, 6)]) as process:
        process.wait_for_pause()
        (folder / RUN).chmod(mode)
        process.resume()
        ended = process.wait()
    (folder / RUN).chmod(0o755)

    *_, line = ended.stderr.splitlines()
    assert line.startswith(f"charlm: {RUN}/metrics.jsonl: cannot ")
    assert os.strerror(errno.EACCES) in line
    assert (ended.code, "Traceback" in ended.stderr) == (74, False)
    assert_resumes(folder, RUN, undisturbed)


@no_root
@pytest.mark.parametrize("mode", [0o555, 0o311, 0o000])
def test_a_closed_folder_is_named_by_resume(mode: int, train: Run, folder: Path) -> None:
    assert train("--quiet").exit_code == 0
    before = files_in(folder / "runs")
    (folder / RUN).chmod(mode)
    result = train("--quiet", "--resume", "--set", "training.steps=9")
    (folder / RUN).chmod(0o755)

    assert result.exit_code == 74
    assert result.stderr.splitlines()[-1].startswith(f"charlm: {RUN}")
    assert os.strerror(errno.EACCES) in result.stderr
    assert files_in(folder / "runs") == before


def test_a_run_that_cannot_be_opened_is_named_by_resume(
    train: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for root: a folder of a disk that has gone bad."""
    assert train("--quiet").exit_code == 0
    opened = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if Path(path) == RUN:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        result = train("--quiet", "--resume", "--set", "training.steps=9")

    assert (result.exit_code, result.stdout) == (74, "")
    assert result.stderr.startswith(f"charlm: {RUN}: ")
    assert os.strerror(errno.EIO) in result.stderr


@no_root
@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_closed_latest_is_replaced(mode: int, train: Run, folder: Path) -> None:
    (folder / "runs").mkdir()
    (folder / "runs/latest").write_bytes(b"another\n")
    (folder / "runs/latest").chmod(mode)

    assert train("--quiet").exit_code == 0
    assert (folder / "runs/latest").read_bytes() == b"gru\n"


# Too little space from the start

WIDE = ("--set", "model.hidden_size=150")


def let_free(space: int, patch: pytest.MonkeyPatch) -> list[Path]:
    """Let every disk have so much free space; return the folders that are asked for."""
    asked: list[Path] = []

    def disk_usage(folder: Path) -> SimpleNamespace:
        asked.append(Path(folder))
        assert Path(folder).is_dir()
        return SimpleNamespace(total=10**12, used=10**12 - space, free=space)

    patch.setattr("charlm.runs.space.shutil.disk_usage", disk_usage)
    return asked


def needed_by(folder: Path, *settings: str, keep: int = 2) -> int:
    """Return the bytes of all that a run keeps at a time: weights, and with two moments each in full checkpoints.

    Two evaluations are to come, and the end: no more than three full checkpoints.
    """
    config = read_config(folder / "tiny.yaml", [setting for setting in settings if setting != "--set"])
    trainer = Trainer(config, Corpus.read(config.data))
    tensors, model = len(list(trainer.network.parameters())), config.model
    parts = {"rnn": 1, "gru": 1, "lstm": 2}[model.kind] * model.num_layers * config.training.batch_size
    full = 12 * trainer.weights + 4 * tensors + 4 * parts * model.hidden_size  # moments, step counts, carried state
    return (min(keep, 3) + 1) * full + 2 * 4 * trainer.weights


@pytest.mark.parametrize("keep", [1, 2, 5, 10**6, None])
def test_too_little_space_is_told_before_anything_is_written(
    keep: int | None, train: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = min(keep or 3, 3)
    needed = needed_by(folder, *WIDE, keep=kept)
    assert needed > 1_000_000
    let_free(needed - 1, monkeypatch)
    before = files_in(folder)
    result = train(*WIDE, "--set", f"run.keep={json.dumps(keep)}")

    assert (result.exit_code, result.stdout) == (74, "")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"charlm: {RUN}: this run needs up to {needed / 1e6:,.1f} MB ({kept} full ")
    assert f"{(needed - 1) / 1e6:,.1f} MB are free" in result.stderr
    for way_out in ("Free some space", "run.keep", "--set run.directory=FOLDER"):
        assert way_out in result.stderr
    assert files_in(folder) == before
    assert not (folder / "runs").exists()


def test_just_enough_space_will_do(train: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = let_free(needed_by(folder), monkeypatch)

    assert train("--set", "run.directory=not/yet/there").exit_code == 0
    assert [path.resolve() for path in asked] == [folder.resolve()]


def test_what_a_run_has_already_counts_when_it_goes_on(
    train: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = ("--resume", "--set", "training.steps=9")
    assert train("--quiet").exit_code == 0
    there = sum(path.stat().st_size for path in (folder / RUN).glob("*.safetensors"))
    before = files_in(folder)
    missing = needed_by(folder) - there

    with monkeypatch.context() as patch:
        let_free(missing - 1, patch)
        refused = train(*longer)
    assert refused.exit_code == 74
    assert files_in(folder) == before

    let_free(missing, monkeypatch)
    assert train(*longer).exit_code == 0
    assert saved(folder) == [8, 9]


def test_what_another_run_of_that_name_has_does_not_count(
    train: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train("--quiet").exit_code == 0
    let_free(needed_by(folder) - 1, monkeypatch)
    before = files_in(folder)

    assert train("--quiet").exit_code == 74
    assert files_in(folder) == before


def test_a_dry_run_needs_no_space(train: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    let_free(0, monkeypatch)
    assert train("--dry-run").exit_code == 0


def test_the_space_that_is_asked_for_is_what_a_run_takes(train: Run, folder: Path) -> None:
    """Within a tenth: names, config and random state come on top, and weigh little beside any real model."""
    assert train(*WIDE, "--quiet").exit_code == 0
    sizes = {path.name: path.stat().st_size for path in (folder / RUN).iterdir()}
    full, best = sizes["step-00000008.safetensors"], sizes["best.safetensors"]

    assert 3 * full + 2 * best == pytest.approx(needed_by(folder, *WIDE), rel=0.1)


def test_a_disk_that_does_not_tell_its_space_is_not_full(train: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("charlm.runs.space.shutil.disk_usage", refuse)
    result = train("--quiet")

    assert (result.exit_code, result.stderr) == (0, "")


# Standard streams on a full disk, or closed

full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


@pytest.mark.parametrize("redirect", [pytest.param("2>/dev/full", marks=full_device), "2>&-"])
def test_training_succeeds_without_standard_error(redirect: str, folder: Path, undisturbed: Snapshot) -> None:
    done = run_in_shell(folder, *TRAIN, redirect=redirect)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{RUN} is trained\n")
    assert differences(undisturbed, snapshot(folder / RUN)) == []


@full_device
@pytest.mark.parametrize("redirect", [">/dev/full", ">/dev/full 2>/dev/full"])
def test_a_result_that_cannot_be_written_leaves_a_whole_run(redirect: str, folder: Path, undisturbed: Snapshot) -> None:
    done = run_in_shell(folder, *TRAIN, "--quiet", redirect=redirect)

    assert done.returncode == 74
    told = f"charlm: standard output: cannot write ({os.strerror(errno.ENOSPC)}). Redirect the output elsewhere.\n"
    assert done.stderr == ("" if "2>" in redirect else told)
    assert differences(undisturbed, snapshot(folder / RUN)) == []


# Two processes, one folder


def test_a_second_process_on_a_run_is_refused(folder: Path, undisturbed: Snapshot) -> None:
    with CharlmProcess(folder, *TRAIN, before=[pause_at(STEP, 6)]) as first:
        first.wait_for_pause()
        before = files_in(folder)
        second = run_charlm(folder, *TRAIN, "--resume")
        assert (second.code, second.stdout) == (2, "")
        assert second.stderr == (
            f"charlm: {RUN}: another process is training this run. Wait until it has ended, or choose another --name.\n"
        )
        assert files_in(folder) == before
        first.resume()
        assert first.wait().code == 0

    assert differences(undisturbed, snapshot(folder / RUN)) == []
    assert run_charlm(folder, *TRAIN, "--resume", "--quiet").code == 0  # it is free again


def test_a_second_process_without_resume_takes_another_name(folder: Path, undisturbed: Snapshot) -> None:
    with CharlmProcess(folder, *TRAIN, before=[pause_at(STEP, 2)]) as first:
        first.wait_for_pause()
        assert run_charlm(folder, *TRAIN).code == 0
        first.resume()
        assert first.wait().code == 0

    for name in ("gru", "gru-2"):
        assert differences(undisturbed, snapshot(folder / "runs" / name)) == []
    assert (folder / "runs/latest").read_bytes() == b"gru\n"  # saved last


def test_a_resumed_run_is_held_too(folder: Path) -> None:
    assert run_charlm(folder, *TRAIN).code == 0
    longer = ("--resume", "--set", "training.steps=12")
    with CharlmProcess(folder, *TRAIN, *longer, before=[pause_at(STEP, 2)]) as first:
        first.wait_for_pause()
        assert run_charlm(folder, *TRAIN, *longer).code == 2
        first.resume()
        assert first.wait().code == 0
    assert saved(folder) == [8, 12]


def test_a_killed_process_holds_nothing(folder: Path, undisturbed: Snapshot) -> None:
    with CharlmProcess(folder, *TRAIN, before=[pause_at(STEP, 6)]) as first:
        first.wait_for_pause()
        assert run_charlm(folder, *TRAIN, "--resume").code == 2
        first.send_signal(signal.SIGKILL)
        assert first.wait().code == -signal.SIGKILL

    assert_resumes(folder, RUN, undisturbed)


def test_a_folder_is_held_until_it_is_closed_or_forgotten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    config = read_config(folder / "tiny.yaml", [])
    with RunDirectory.create(config), pytest.raises(ConfigError, match="another process"):
        RunDirectory.reopen(config)
    again = RunDirectory.reopen(config)
    assert again is not None
    with pytest.raises(ConfigError, match="another process"):
        RunDirectory.reopen(config)
    del again
    last = RunDirectory.reopen(config)
    assert last is not None
    last.close()
    last.close()  # as often as one likes


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_where_the_disk_knows_no_locks_training_goes_on_without(
    code: int, train: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("charlm.runs.locked_folder.fcntl.flock", refuse)
    assert train("--quiet").exit_code == 0
    assert newest_checkpoint(folder / RUN) is not None
