"""A run knows itself: its id, its folder, and who else has either."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from charlm.checkpoint.checkpoint import Checkpoint, step_name
from charlm.config.settings import Config
from charlm.config.writing import resolved_yaml
from charlm.errors import ConfigError, StorageError
from charlm.runs.directory import RunDirectory
from charlm.runs.identity import IDENTITY, read_id
from charlm.runs.lookup import BEST, Resumable, find_checkpoint, full_checkpoints, newest_checkpoint
from charlm.runs.metrics import METRICS
from tests.conftest import make_config
from tests.harness.interruptions import Project, differences, untouched

SETTINGS: dict[str, object] = {}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_config(tmp_path / "text.txt", tmp_path / "runs", run={"name": "tale"})


@pytest.fixture
def checkpoint(trained: dict[str, Path]) -> Checkpoint:
    return Checkpoint.load(full_checkpoints(trained["lstm"])[-1])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def at_step(checkpoint: Checkpoint, step: int) -> Checkpoint:
    return replace(checkpoint, progress=checkpoint.progress.model_copy(update={"step": step, "best_step": step}))


# The id


def test_a_run_has_one_id_in_all_its_files_but_the_config(project: Project) -> None:
    project.finished("run", SETTINGS)
    run = project.runs / "run"
    run_id = read_id(run)

    assert run_id
    assert len(run_id) == 16
    assert json.loads((run / IDENTITY).read_text()) == {"id": run_id}
    assert {json.loads(line)["run"] for line in (run / METRICS).read_text("utf-8").splitlines()} == {run_id}
    assert {Checkpoint.load(path).run_id for path in run.glob("*.safetensors")} == {run_id}
    assert run_id not in (run / "config.yaml").read_text("utf-8")


def test_runs_differ_in_their_ids_and_a_resumed_run_keeps_its_own(project: Project) -> None:
    for name in ("one", "two"):
        project.interrupted(name, SETTINGS, 4, "asked to stop")
    before = [read_id(project.runs / name) for name in ("one", "two")]
    project.finished("one", SETTINGS, "--resume")

    assert before[0] != before[1]
    assert read_id(project.runs / "one") == before[0]


def test_a_counted_run_has_an_id_too(project: Project) -> None:
    result = project.train("run", {"model": {"kind": "markov", "order": 2}, "training": {"evaluation_lanes": 2}})
    assert result.exit_code == 0, result.stderr
    assert Checkpoint.load(project.runs / "run" / BEST).run_id == read_id(project.runs / "run") is not None


def older(project: Project, name: str) -> Path:
    """Make of a run one that has no id, as those of formats 1 and 2."""
    run = project.runs / name
    (run / IDENTITY).unlink()
    lines = [json.loads(line) for line in (run / METRICS).read_text("utf-8").splitlines()]
    for metrics in lines:
        del metrics["run"]
    (run / METRICS).write_text("".join(f"{json.dumps(metrics)}\n" for metrics in lines), "utf-8")
    for path in run.glob("*.safetensors"):
        replace(Checkpoint.load(path), run_id=None).save(path)
    return run


def test_a_run_without_an_id_gets_one_at_its_first_resume(project: Project) -> None:
    expected = project.finished("whole", SETTINGS)
    project.interrupted("run", SETTINGS, 5, "asked to stop")
    run = older(project, "run")

    assert differences(expected, project.finished("run", SETTINGS, "--resume")) == []
    assert read_id(run) == project.newest("run").run_id is not None


@pytest.mark.parametrize("content", [b"", b"nonsense", b"[]", b'{"id": 5}', b'{"id": "0"}', b'{"id": "' + b"x" * 999])
def test_a_damaged_id_is_restored_from_the_checkpoint(content: bytes, project: Project) -> None:
    project.interrupted("run", SETTINGS, 5, "asked to stop")
    run_id = read_id(project.runs / "run")
    (project.runs / "run" / IDENTITY).write_bytes(content)
    project.finished("run", SETTINGS, "--resume")

    assert read_id(project.runs / "run") == run_id


def test_metrics_of_another_run_are_no_part_of_this_one(project: Project) -> None:
    expected = project.finished("whole", SETTINGS)
    project.interrupted("run", SETTINGS, 5, "asked to stop")
    metrics = project.runs / "run" / METRICS
    strange = json.dumps({"step": 1, "validation_loss": 9.0, "run": "0" * 16})
    metrics.write_text(f"{strange}\n{metrics.read_text('utf-8')}", "utf-8")

    assert differences(expected, project.finished("run", SETTINGS, "--resume")) == []


# The folder


FOREIGN = {
    "config.yaml": b"services: {web: {image: nginx}}\n",
    "metrics.jsonl": b'{"step": 1, "accuracy": 0.9}\n',
    "report.html": b"<h1>mine</h1>",
    "best.safetensors": b"\x08\0\0\0\0\0\0\0{}      ",
}


def foreign(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(FOREIGN.get(name, b"mine"))


@pytest.mark.parametrize("names", [tuple(FOREIGN), *((name,) for name in FOREIGN), ("notes.txt",)], ids=" ".join)
def test_a_folder_that_is_no_run_is_not_resumed(names: tuple[str, ...], project: Project) -> None:
    foreign(project.runs / "tales", *names)
    before = untouched(project.folder)
    result = project.train("tales", SETTINGS, "--resume")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "tales: this folder is not a run of charlm's: it has neither id nor checkpoint. It was" in result.stderr
    assert untouched(project.folder) == before


def test_a_config_alone_makes_no_run(project: Project, config: Config) -> None:
    """Someone may keep a config of charlm's, by that name, beside other things."""
    foreign(project.runs / "tale", "notes.txt")
    (project.runs / "tale" / "config.yaml").write_text(resolved_yaml(config), "utf-8")

    with pytest.raises(ConfigError, match="not a run of charlm's"):
        RunDirectory.reopen(config)


@pytest.mark.parametrize("resume", [(), ("--resume",)])
@pytest.mark.parametrize("left", [(), (".charlm-host-99999999-0123abcd.tmp",)])
def test_what_a_killed_start_left_is_taken(left: tuple[str, ...], resume: tuple[str, ...], project: Project) -> None:
    foreign(project.runs / "run", *left)
    project.finished("run", SETTINGS, *resume)

    assert [path.name for path in sorted(project.runs.iterdir())] == ["latest", "run"]


def test_a_folder_with_anything_else_keeps_its_name_from_a_new_run(project: Project) -> None:
    foreign(project.runs / "run", "notes.txt")
    project.train("run", SETTINGS)

    assert [path.name for path in (project.runs / "run").iterdir()] == ["notes.txt"]
    assert (project.runs / "run-2" / IDENTITY).is_file()


def test_a_link_to_an_empty_folder_is_not_taken(config: Config, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/tale").symlink_to("../elsewhere")
    with RunDirectory.create(config) as run:
        assert run.path.name == "tale-2"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_of_two_that_begin_one_run_one_is_refused(config: Config) -> None:
    with RunDirectory.begin(config) as first:
        before = untouched(first.path)
        with pytest.raises(ConfigError, match="another process is training this run"):
            RunDirectory.begin(config)
        assert untouched(first.path) == before
    with pytest.raises(ConfigError, match="another process is training this run"):
        RunDirectory.begin(config)  # it has ended meanwhile, but it was there


def test_a_new_run_does_not_wait_for_one_that_is_about_to_begin(config: Config, tmp_path: Path) -> None:
    with RunDirectory.begin(config), RunDirectory.create(config) as other:
        assert other.path == tmp_path / "runs/tale-2"


def test_a_start_that_fails_frees_its_name(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("charlm.runs.directory.resolved_yaml", lambda config: "x")
        patch.setattr(os, "replace", refuse)
        with pytest.raises(StorageError, match="cannot write"):
            RunDirectory.create(config)
    assert list((tmp_path / "runs").iterdir()) == []


# Writes go to the folder that was locked


def move(path: Path) -> None:
    path.rename(path.with_name("moved"))


def replace_by_another(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.mkdir()


@pytest.mark.parametrize("change", [shutil.rmtree, move, replace_by_another])
def test_a_folder_that_is_not_the_locked_one_is_not_written_into(
    change: Callable[[Path], None], config: Config, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with RunDirectory.create(config) as run:
        change(run.path)
        before = untouched(tmp_path)
        for write in (
            lambda: run.record({"step": 1}),
            lambda: run.save_best(checkpoint),
            lambda: run.save(checkpoint),
            lambda: run.save_report(""),
            lambda: run.rewind(None, config),
            lambda: run.roll_back(checkpoint),
        ):
            with pytest.raises(StorageError, match="removed, renamed or replaced"):
                write()
        assert untouched(tmp_path) == before


@pytest.mark.parametrize("name", [METRICS, BEST, "report.html", "config.yaml", IDENTITY, step_name(8)])
def test_a_link_in_a_run_is_replaced_and_what_it_leads_to_stays(
    name: str, config: Config, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    with RunDirectory.create(config) as run:
        (run.path / name).unlink(missing_ok=True)
        (run.path / name).symlink_to(precious)
        run.id = None if name == IDENTITY else run.id
        run.rewind(Resumable(at_step(checkpoint, 4), {}), config)
        run.record({"step": 8})
        run.save_best(at_step(checkpoint, 8))
        run.save(at_step(checkpoint, 8))
        run.save_report("<p>")

    assert precious.read_bytes() == b"precious"
    assert not (tmp_path / "runs/tale" / name).is_symlink()


def test_a_link_that_comes_in_mid_run_is_not_followed_by_an_append(config: Config, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    with RunDirectory.create(config) as run:
        run.record({"step": 1})
        (run.path / METRICS).unlink()
        (run.path / METRICS).symlink_to(precious)
        with pytest.raises(StorageError, match=os.strerror(errno.ELOOP)):
            run.record({"step": 2})
    assert precious.read_bytes() == b"precious"


# File systems that cannot flush


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_disk_that_cannot_flush_is_told_once_and_written_to(
    code: int, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    expected = project.finished("whole", SETTINGS)
    setattr_ = pytest.MonkeyPatch.setattr
    monkeypatch.setattr(
        pytest.MonkeyPatch,
        "setattr",
        lambda patch, owner, name, value, **rest: setattr_(
            patch, owner, name, cannot if (owner, name) == (os, "fsync") else value, **rest
        ),
    )
    result = project.train("run", SETTINGS)

    assert result.exit_code == 0
    assert result.stderr.count("cannot flush folders; a power failure can lose the last save.") == 1
    assert differences(expected, project.snapshot("run")) == []


def test_a_disk_that_fails_to_flush_is_an_error_all_the_same(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(StorageError):
        RunDirectory.create(config)


# What was the best with other settings


def test_a_newer_best_of_other_settings_is_set_aside_and_told(project: Project) -> None:
    settings = {"training.steps": 12, "training.evaluate_every": 2, "run.save_every": 5}
    project.interrupted("run", settings, 8, "killed after the best")
    run = project.runs / "run"
    best = Checkpoint.load(run / BEST)
    assert best.progress.step == 8
    changed = settings | {"training.learning_rate": 0.0001}
    result = project.train("run", changed, "--resume", "--allow-change", "training.learning_rate")

    assert result.exit_code == 0
    assert "is of step 8, with other settings; it is kept as best-step-00000008.safetensors." in result.stderr
    assert Checkpoint.load(run / "best-step-00000008.safetensors").tensors.keys() == best.tensors.keys()
    now = Checkpoint.load(run / BEST).progress
    assert (now.step, now.step) == (project.newest("run").progress.best_step, now.best_step)


def test_a_newer_best_of_the_same_settings_stays(project: Project) -> None:
    settings = {"training.steps": 12, "training.evaluate_every": 2, "run.save_every": 5}
    expected = project.finished("whole", settings)
    project.interrupted("run", settings, 8, "killed after the best")

    assert differences(expected, project.finished("run", settings, "--resume")) == []
    assert sorted(path.name for path in (project.runs / "run").glob("best*")) == [BEST]


def test_a_text_that_has_moved_is_no_other_setting(project: Project) -> None:
    settings = {"training.steps": 12, "training.evaluate_every": 2, "run.save_every": 5}
    expected = project.finished("whole", settings)
    project.interrupted("run", settings, 8, "killed after the best")
    moved = project.text.rename(project.text.with_name("moved.txt"))
    found = project.finished("run", settings | {"data.path": str(moved)}, "--resume")

    assert {name.partition(": ")[2] for name in differences(expected, found)} <= {"config", "corpus"}
    assert sorted(path.name for path in (project.runs / "run").glob("best*")) == [BEST]


# Names


def test_a_link_that_leads_to_nothing_is_named_as_such(project: Project) -> None:
    project.runs.mkdir()
    (project.runs / "run").symlink_to("/nowhere/at/all")
    result = project.train("run", SETTINGS, "--resume")

    assert result.exit_code == 74
    assert "runs/run: this link leads to nothing (/nowhere/at/all). Restore" in result.stderr


@pytest.mark.parametrize("name", [" pad ", "한글 이름", "a b"])
def test_the_latest_run_is_found_whatever_its_name(name: str, project: Project) -> None:
    project.finished(name, SETTINGS)
    assert find_checkpoint(None, project.runs) == project.runs / name / BEST


# Long histories


def test_an_append_writes_one_line_whatever_there_is(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunDirectory.create(config) as run:
        for step in range(1, 100):
            run.record({"step": step, "characters": step})
        written: list[int] = []
        fdopen = os.fdopen

        def watched(*arguments: object, **options: object) -> object:
            file = fdopen(*arguments, **options)
            written.append(file.seek(0, 2))
            return file

        monkeypatch.setattr(os, "fdopen", watched)
        size = (run.path / METRICS).stat().st_size
        run.record({"step": 100, "characters": 100})
        assert written == [size]
        assert [evaluation.step for evaluation in run.history(config).evaluations] == list(range(1, 101))


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:50])])
def test_metrics_that_something_else_removes_or_cuts_are_written_again(
    change: Callable[[Path], object], config: Config
) -> None:
    with RunDirectory.create(config) as run:
        for step in (1, 2):
            run.record({"step": step})
        change(run.path / METRICS)
        for step in (3, 4):
            run.record({"step": step})
        lines = (run.path / METRICS).read_text("utf-8").splitlines()

    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]


def test_metrics_of_any_size_are_read_and_resumed(config: Config, checkpoint: Checkpoint) -> None:
    """What lies after a line longer than any of charlm's is not read, so that memory stays bounded."""
    line = json.dumps({"step": 1, "characters": 1, "sample": "x" * 500_000})
    with RunDirectory.create(config) as run:
        with (run.path / METRICS).open("w") as file:
            file.writelines(f"{line}\n" for _ in range(600))  # 300 MB
        run.rewind(Resumable(at_step(checkpoint, 4), {}), config)
        run.record({"step": 5})
    assert newest_checkpoint(run.path) is None
