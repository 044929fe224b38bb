"""A run's folder is opened again by one process alone, and made what it was at the checkpoint it goes on from."""

import errno
import fcntl
import gc
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charlm.checkpoint.checkpoint import Checkpoint, step_name
from charlm.config.reading import read_config
from charlm.config.settings import Config
from charlm.errors import ConfigError
from charlm.runs.directory import RunDirectory
from charlm.runs.identity import IDENTITY
from charlm.runs.lookup import BEST, Resumable, full_checkpoints, newest_checkpoint
from charlm.runs.metrics import METRICS
from tests.conftest import make_config
from tests.harness.interruptions import Project, untouched


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_config(tmp_path / "text.txt", tmp_path / "runs", run={"name": "tale", "keep": 2})


@pytest.fixture
def checkpoint(trained: dict[str, Path]) -> Checkpoint:
    return Checkpoint.load(full_checkpoints(trained["lstm"])[-1])


@pytest.fixture
def run(config: Config) -> Iterator[RunDirectory]:
    with RunDirectory.create(config) as run:
        yield run


def at_step(checkpoint: Checkpoint, step: int, best_step: int | None = None) -> Checkpoint:
    """Return the checkpoint as if it were of another step, and that the best, or another one."""
    values = {"step": step, "best_step": best_step or step}
    return replace(checkpoint, progress=checkpoint.progress.model_copy(update=values))


def found_at(checkpoint: Checkpoint, step: int, best_step: int | None = None) -> Resumable:
    return Resumable(at_step(checkpoint, step, best_step), {})


def damage(path: Path) -> bytes:
    """Turn a file's last bit; return what it holds now."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return path.read_bytes()


# One holder


def test_there_is_nothing_to_reopen_where_no_folder_is(config: Config, tmp_path: Path) -> None:
    assert RunDirectory.reopen(config) is None
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "tale").write_text("a file of this name is no run")
    assert RunDirectory.reopen(config) is None
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["runs", "tale"]


def test_reopening_changes_nothing(run: RunDirectory, checkpoint: Checkpoint, config: Config, tmp_path: Path) -> None:
    run.record({"step": 4})
    run.save_best(at_step(checkpoint, 4))
    run.save(at_step(checkpoint, 4))
    (run.path / f".charlm-{platform.node()}-{os.getpid()}-0123abcd.tmp").write_bytes(b"left")
    run.close()
    before = untouched(tmp_path)

    with RunDirectory.reopen(config) as again:
        assert again.path == run.path
        assert [metrics["step"] for metrics in again.metrics()] == [4]
        assert again.best_step() == 4
    assert untouched(tmp_path) == before


def test_a_folder_has_one_holder_at_a_time(run: RunDirectory, config: Config, tmp_path: Path) -> None:
    before = untouched(tmp_path)
    with pytest.raises(ConfigError, match=r"tale: another process is training this run\. .*another run\.name"):
        RunDirectory.reopen(config)
    assert untouched(tmp_path) == before

    run.close()
    with RunDirectory.reopen(config), pytest.raises(ConfigError, match="another process"):
        RunDirectory.reopen(config)
    RunDirectory.reopen(config).close()


def test_a_lock_may_be_released_twice_and_ends_with_its_object(config: Config) -> None:
    run = RunDirectory.create(config)
    run.close()
    run.close()
    held = RunDirectory.reopen(config)
    assert held is not None
    del held
    gc.collect()

    RunDirectory.reopen(config).close()


def test_a_holder_that_fails_lets_go(config: Config) -> None:
    RunDirectory.create(config).close()
    with pytest.raises(ZeroDivisionError), RunDirectory.reopen(config):
        raise ZeroDivisionError

    RunDirectory.reopen(config).close()


HOLD = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_holder_that_is_killed_lets_go(config: Config) -> None:
    with RunDirectory.create(config) as run:
        path = run.path
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match="another process"):
            RunDirectory.reopen(config)
        holder.kill()
        holder.wait()

        RunDirectory.reopen(config).close()


def test_runs_of_other_names_are_held_apart(run: RunDirectory, config: Config) -> None:
    with RunDirectory.create(config) as second:
        assert second.path.name == "tale-2"


def test_the_command_refuses_a_run_that_is_being_trained(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.interrupted("tale", {}, 5, "asked to stop")
    with RunDirectory.reopen(make_config(project.text, project.runs, run={"name": "tale"})):
        before = untouched(tmp_path)
        refused = project.train("tale", {}, "--resume")
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "another process is training this run" in refused.stderr
        assert untouched(tmp_path) == before
        assert project.train("tale", {}).exit_code == 0

    assert sorted(path.name for path in project.runs.iterdir()) == ["latest", "tale", "tale-2"]
    assert project.train("tale", {}, "--resume").exit_code == 0


def test_a_file_system_without_locks_is_no_hindrance(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)

    with RunDirectory.create(config) as run:
        run.record({"step": 1})
    with RunDirectory.reopen(config) as again:
        assert again.metrics() == [{"step": 1, "run": run.id}]


# Metrics


def lines_of(run: RunDirectory) -> list[str]:
    return (run.path / METRICS).read_text("utf-8").splitlines()


def test_metrics_are_cut_back_to_the_step_and_no_further(
    run: RunDirectory, checkpoint: Checkpoint, config: Config
) -> None:
    for step in (3, 6, 9, 12):
        run.record({"step": step, "validation_loss": 1 / step, "more": [step]})
    written = lines_of(run)
    run.rewind(found_at(checkpoint, 9), config)

    assert lines_of(run) == written[:3]
    run.rewind(found_at(checkpoint, 8), config)
    assert lines_of(run) == written[:2]
    assert (run.path / METRICS).read_text("utf-8").endswith("\n")


def test_a_run_that_begins_anew_has_no_metrics_yet(run: RunDirectory, config: Config) -> None:
    run.rewind(None, config)
    assert not (run.path / METRICS).exists()
    run.record({"step": 3})
    run.rewind(None, config)

    assert run.metrics() == lines_of(run) == []


NO_METRICS = [
    b'{"step": 6, "validation_lo',
    b"",
    b"   ",
    b"\0\0\0\0\0\0\0\0",
    b"\xff\xfe\x80",
    b"nonsense",
    b"6",
    b"[6]",
    b"null",
    b'{"validation_loss": 2.5}',
    b'{"step": "6"}',
    b'{"step": 6.5}',
    b'{"step": null}',
    b'{"step": 6} {"step": 6}',
    b"[" * 100_000,
    b'{"step": ' + b"9" * 10_000 + b"}",
]


@pytest.mark.parametrize("line", NO_METRICS, ids=lambda line: repr(line[:24]))
@pytest.mark.parametrize("end", [b"\n", b""], ids=["whole", "torn"])
def test_invalid_metrics_lines_are_dropped_and_others_unchanged(
    end: bytes, line: bytes, run: RunDirectory, checkpoint: Checkpoint, config: Config
) -> None:
    """Lines keep their spelling: nothing is parsed and written out again."""
    good = [b'{"step":3,  "validation_loss": 2.50}', b'{"validation_loss": 1e-2, "step": 5, "step": 5}']
    (run.path / METRICS).write_bytes(good[0] + b"\n" + line + b"\n" + good[1] + b"\n" + line + end)
    run.rewind(found_at(checkpoint, 9), config)

    assert (run.path / METRICS).read_bytes() == b"\n".join(good) + b"\n"


@pytest.mark.parametrize("line", NO_METRICS, ids=lambda line: repr(line[:24]))
def test_a_new_line_never_goes_on_where_another_was_torn(line: bytes, run: RunDirectory) -> None:
    run.record({"step": 3})
    before = (run.path / METRICS).read_bytes()
    (run.path / METRICS).write_bytes(before + line)  # as an append that failed
    run.record({"step": 9, "validation_loss": 0.5})

    expected = json.dumps({"step": 9, "validation_loss": 0.5, "run": run.id})
    assert (run.path / METRICS).read_bytes() == before + expected.encode() + b"\n"
    assert [metrics["step"] for metrics in run.metrics()] == [3, 9]


def test_a_line_that_was_written_is_a_line_that_is_read(run: RunDirectory) -> None:
    metrics: dict[str, Any] = {"step": 7, "loss": 0.1 + 0.2, "none": None, "text": "two\nlines, 한글\u2028"}
    run.record(metrics)
    run.record({"step": 8})

    assert run.metrics() == [metrics | {"run": run.id}, {"step": 8, "run": run.id}]
    assert [json.loads(line) for line in lines_of(run)] == run.metrics()


# The best


def test_the_best_is_written_again_where_the_checkpoint_is_it(
    run: RunDirectory, checkpoint: Checkpoint, config: Config
) -> None:
    best = at_step(checkpoint, 8)
    run.rewind(Resumable(best, {}), config)  # it was missing
    expected = replace(best, run_id=run.id).weights_only().to_bytes()
    assert run.best.read_bytes() == expected

    damage(run.best)
    run.rewind(Resumable(best, {}), config)
    assert run.best.read_bytes() == expected

    run.save_best(at_step(checkpoint, 4))  # the run was killed before the best of step 8 was written
    run.rewind(Resumable(best, {}), config)
    assert run.best.read_bytes() == expected


def test_a_best_that_is_right_already_is_not_written_again(
    run: RunDirectory, checkpoint: Checkpoint, config: Config
) -> None:
    run.save_best(at_step(checkpoint, 8))
    before = untouched(run.path, BEST)
    run.rewind(found_at(checkpoint, 8), config)

    assert untouched(run.path, BEST) == before


@pytest.mark.parametrize("there", [4, 6, 12, None])
def test_a_best_of_another_step_is_left_alone(
    there: int | None, run: RunDirectory, checkpoint: Checkpoint, config: Config
) -> None:
    """It may be that of an evaluation after the checkpoint, which the run will come to again."""
    if there is not None:
        run.save_best(at_step(checkpoint, there))
    before = untouched(run.path, BEST)
    run.rewind(found_at(checkpoint, 8, best_step=6), config)

    assert untouched(run.path, BEST) == before
    assert run.best_step() == there


def test_a_restarted_run_writes_its_best_at_its_first_evaluation(
    run: RunDirectory, checkpoint: Checkpoint, config: Config
) -> None:
    run.save_best(at_step(checkpoint, 4))
    before = untouched(run.path, BEST)
    run.rewind(None, config)

    assert untouched(run.path, BEST) == before


# Settings, damaged files, leftovers


@pytest.mark.parametrize("begun", [True, False])
def test_the_folder_gets_the_settings_that_the_run_goes_on_with(
    begun: bool, run: RunDirectory, checkpoint: Checkpoint, config: Config
) -> None:
    training = config.training.model_copy(update={"learning_rate": 0.25, "steps": 99})
    now = config.model_copy(update={"training": training})
    run.rewind(found_at(checkpoint, 8) if begun else None, now)

    assert read_config(run.path / "config.yaml") == now != config


def test_damaged_checkpoints_are_set_aside_for_good(run: RunDirectory, checkpoint: Checkpoint, config: Config) -> None:
    for step in (4, 8, 12):
        at_step(checkpoint, step).save(run.path / step_name(step))
    contents = {step: damage(run.path / step_name(step)) for step in (8, 12)}
    (run.path / f"{step_name(12)}.damaged").write_bytes(b"an older one")
    found = newest_checkpoint(run.path)
    assert found is not None
    assert [path.name for path in found.damaged] == [step_name(12), step_name(8)]
    run.rewind(found, config)

    assert [path.name for path in full_checkpoints(run.path)] == [step_name(4)]
    for step, content in contents.items():
        assert (run.path / f"{step_name(step)}.damaged").read_bytes() == content
    again = newest_checkpoint(run.path)
    assert again is not None
    assert again.damaged == {}
    run.save(at_step(checkpoint, 12))
    assert [path.name for path in full_checkpoints(run.path)] == [step_name(4), step_name(12)]


def test_a_checkpoint_of_weights_alone_is_set_aside_too(
    run: RunDirectory, checkpoint: Checkpoint, config: Config
) -> None:
    at_step(checkpoint, 4).save(run.path / step_name(4))
    at_step(checkpoint, 8).weights_only().save(run.path / step_name(8))
    found = newest_checkpoint(run.path)
    assert found is not None
    run.rewind(found, config)

    assert found.checkpoint.progress.step == 4
    assert (run.path / f"{step_name(8)}.damaged").is_file()


@pytest.fixture
def living() -> Iterator[int]:
    """The number of a process that is there until the test is over."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.communicate(b"\n")


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def left_by(process: int, host: str = "", digits: str = "0123abcd") -> str:
    return f".charlm-{host or platform.node()}-{process}-{digits}.tmp"


@pytest.mark.parametrize("begun", [True, False])
def test_what_killed_processes_left_is_removed_and_nothing_else(
    begun: bool, run: RunDirectory, checkpoint: Checkpoint, config: Config, living: int, dead: int
) -> None:
    """This process is not in the midst of a file: whoever left one under its number is another and dead."""
    abandoned = {left_by(dead), left_by(dead, digits="ffffffff"), left_by(os.getpid()), left_by(10**30)}
    others = {
        left_by(living),
        left_by(dead, host="another-machine"),
        left_by(dead, digits="0123abc"),
        left_by(dead)[1:],
        f"{left_by(dead)}.bak",
        ".tmp",
        ".charlm.tmp",
        "notes.txt",
    }
    folders = (run.path, run.path.parent)
    for folder in folders:
        for name in abandoned | others:
            (folder / name).write_bytes(b"left")
    run.rewind(found_at(checkpoint, 8) if begun else None, config)

    for folder in folders:
        names = {path.name for path in folder.iterdir()}
        assert names >= others
        assert not names & abandoned


def test_a_leftover_that_cannot_be_removed_keeps_no_others(run: RunDirectory, config: Config, dead: int) -> None:
    """A folder stands for what another user left."""
    fixed = [run.path / left_by(dead, digits=f"{number:08x}") for number in range(5)]
    loose = [run.path / left_by(dead, digits=f"{number:08x}") for number in range(5, 10)]
    for pair in zip(fixed, loose, strict=True):
        pair[0].mkdir()
        pair[1].write_bytes(b"left")
    run.rewind(None, config)

    assert all(path.is_dir() for path in fixed)
    assert not any(path.exists() for path in loose)


def test_rewinding_twice_is_rewinding_once(
    run: RunDirectory, checkpoint: Checkpoint, config: Config, dead: int
) -> None:
    for step in (4, 8, 12):
        run.record({"step": step})
        run.save_best(at_step(checkpoint, step))
        run.save(at_step(checkpoint, step))
    damage(full_checkpoints(run.path)[-1])
    (run.path / left_by(dead)).write_bytes(b"left")

    def go_back() -> dict[str, bytes]:
        run.rewind(newest_checkpoint(run.path), config)
        return {path.name: path.read_bytes() for path in run.path.iterdir()}

    first = go_back()

    assert go_back() == first
    assert sorted(first) == [
        BEST,
        "config.yaml",
        METRICS,
        IDENTITY,
        step_name(8),
        f"{step_name(12)}.damaged",
    ]
    assert [metrics["step"] for metrics in run.metrics()] == [4, 8]
