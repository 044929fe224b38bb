"""``charlm train --resume`` without a config: the run goes on with the settings in its own folder."""

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from signal import SIGINT

import pytest

import charlm as package
from charlm.checkpoint.checkpoint import Checkpoint
from charlm.config.reading import read_config
from charlm.runs.lookup import full_checkpoints
from tests.conftest import lay_out
from tests.harness.charlm_process import STEP, CharlmProcess, pause_at, run_charlm
from tests.harness.interruptions import differences, snapshot
from tests.harness.processes import Outcome

pytestmark = pytest.mark.slow

TRAIN = ("train", "--config", "tiny.yaml")
MARKOV = "data: {path: text.txt}\nmodel: {kind: markov, order: 2}\nrun: {name: counts}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("counts.yaml").write_text(MARKOV, encoding="utf-8")
    return lay_out(tmp_path, model={"dropout": 0.2}, run={"name": "tale"})


def interrupted(folder: Path, *options: str, call: int = 6) -> Outcome:
    """Train until Ctrl-C in the step of this number."""
    with CharlmProcess(folder, *TRAIN, *options, before=[pause_at(STEP, call)]) as process:
        process.wait_for_pause().send_signal(SIGINT)
        process.resume()
        ended = process.wait()
    assert ended.code == 130, ended
    return ended


def succeed(folder: Path, *arguments: str) -> Outcome:
    ended = run_charlm(folder, *arguments)
    assert ended.code == 0, ended
    return ended


def way_on(ended: Outcome) -> Sequence[str]:
    """Return the words of the command that the last message says continues the run."""
    command = shlex.split(ended.stderr.splitlines()[-1].partition("To continue: ")[2])
    assert command[:2] == ["charlm", "train"]
    return command[1:]


def test_a_run_goes_on_by_name_and_as_the_latest_and_ends_as_without_interruption(folder: Path) -> None:
    succeed(folder, *TRAIN, "--name", "whole")
    for name, options in {"named": ("--name", "named"), "latest": ()}.items():
        interrupted(folder, "--name", f"{name}-run")
        Path("tiny.yaml").rename("gone.yaml")
        arguments = [f"{option}-run" if option == name else option for option in options]
        assert succeed(folder, "train", "--resume", "--quiet", *arguments).stderr == ""
        Path("gone.yaml").rename("tiny.yaml")
        assert differences(snapshot(Path("runs/whole")), snapshot(Path(f"runs/{name}-run"))) == []


def test_a_finished_run_is_said_to_be_finished(folder: Path) -> None:
    succeed(folder, *TRAIN)
    finished = "charlm: runs/tale is finished. To train it longer, raise training.epochs (or training.steps)."
    assert succeed(folder, "train", "--resume").stderr.splitlines()[0] == finished
    assert succeed(folder, "train", "--resume", "--quiet").stderr == ""


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ((), "charlm train --resume --name tale"),
        (("--name", "a b'"), "charlm train --resume --name 'a b'\"'\"''"),
        (
            ("--set", "run.directory=my runs", "--device", "cpu"),
            "charlm train --resume --name tale --set 'run.directory=\"my runs\"'",
        ),
        (("--set", "training.learning_rate=0.01", "--tensorboard"), "charlm train --resume --name tale --tensorboard"),
    ],
)
def test_the_command_that_ctrl_c_names_continues_the_run(options: Sequence[str], command: str, folder: Path) -> None:
    if "--tensorboard" in options:
        pytest.importorskip("tensorboard")
    succeed(folder, *TRAIN, *options, "--name", "whole")
    ended = interrupted(folder, *options)
    assert ended.stderr.splitlines()[-1].endswith(f"is saved at step 6. To continue: {command}")
    run = Path(ended.stderr.splitlines()[-1].removeprefix("charlm: SIGINT: ").partition(" is saved")[0])
    resumed = succeed(folder, *way_on(ended), "--quiet")

    assert resumed.stderr == ""
    assert differences(snapshot(run.parent / "whole"), snapshot(run)) == []


def test_a_numbered_run_goes_on_under_its_number(folder: Path) -> None:
    succeed(folder, *TRAIN)
    ended = interrupted(folder)
    assert "runs/tale-2 is saved" in ended.stderr
    first = snapshot(Path("runs/tale"))
    resumed = succeed(folder, *way_on(ended), "--quiet")

    assert "run.name  tale → tale-2  (may change)" in resumed.stderr
    assert differences(first, snapshot(Path("runs/tale-2"))) == []
    assert sorted(path.name for path in Path("runs").iterdir()) == ["latest", "tale", "tale-2"]


def test_a_copied_run_is_resumed_where_it_is_and_its_original_stays_as_it_was(folder: Path) -> None:
    succeed(folder, *TRAIN)
    shutil.copytree("runs/tale", "backup/copy")
    before = {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}
    more = ("--set", "training.steps=12")
    succeed(folder, "train", "--resume", "--set", "run.directory=backup", *more)

    assert {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()} == before
    assert Checkpoint.load(full_checkpoints(Path("backup/copy"))[-1]).progress.step == 12
    config = read_config(Path("backup/copy/config.yaml"))
    assert (config.run.name, config.run.directory, config.training.steps) == ("copy", "backup", 12)


def test_what_changes_on_resume_follows_the_same_policy_as_with_a_config(folder: Path) -> None:
    succeed(folder, *TRAIN)
    longer = run_charlm(folder, "train", "--resume", "--set", "training.epochs=2")
    fixed = run_charlm(folder, "train", "--resume", "--set", "model.hidden_size=9")
    asked = run_charlm(folder, "train", "--resume", "--set", "training.batch_size=2")
    allowed = ("--allow-change", "training.batch_size", "--set", "training.steps=60")

    assert (longer.code, "rescheduled" in longer.stderr) == (0, True)
    assert (fixed.code, "(fixed at start)" in fixed.stderr) == (4, True)
    assert (asked.code, "--allow-change training.batch_size" in asked.stderr) == (2, True)
    assert succeed(folder, "train", "--resume", "--set", "training.batch_size=2", *allowed)


def test_a_dry_run_shows_the_plan_of_the_run_and_writes_nothing(folder: Path) -> None:
    succeed(folder, *TRAIN)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shown = succeed(folder, "train", "--resume", "--dry-run", "--set", "training.steps=12")

    assert shown.stdout.splitlines()[0] == "plan of runs/tale"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_counted_run_is_already_complete(folder: Path) -> None:
    succeed(folder, "train", "--config", "counts.yaml")
    for options in ((), ("--name", "counts")):
        ended = succeed(folder, "train", "--resume", *options)
        assert (ended.stdout, ended.stderr) == (
            "",
            "charlm: runs/counts is already counted; there is nothing to resume.\n",
        )


def test_a_run_killed_before_its_first_save_is_started_again(folder: Path) -> None:
    succeed(folder, *TRAIN, "--name", "whole")
    with CharlmProcess(folder, *TRAIN, before=[pause_at(STEP, 2)]) as process:
        process.wait_for_pause()  # and it is killed
    assert full_checkpoints(Path("runs/tale")) == []
    succeed(folder, "train", "--resume", "--name", "tale")

    assert differences(snapshot(Path("runs/whole")), snapshot(Path("runs/tale"))) == []


def test_python_resumes_by_name_by_folder_and_as_the_latest(folder: Path) -> None:
    config = read_config(Path("tiny.yaml"))
    whole = package.train(config=config, name="whole")
    package.train(config=config)
    full_checkpoints(Path("runs/tale"))[-1].unlink()
    notes: list[str] = []
    assert package.train(resume=True, on_note=notes.append).path == Path("runs/tale")
    assert (notes, differences(snapshot(whole.path), snapshot(Path("runs/tale")))) == ([], [])

    shutil.copytree("runs/tale", "backup/copy")
    assert package.train(resume=True, name="copy", directory="backup", on_note=notes.append).path == Path("backup/copy")
    assert [note.split()[0] for note in notes] == ["run.name", "run.directory"]
    assert package.train(resume=True, name="whole") == whole
    with pytest.raises(package.CheckpointError, match=r"runs/nope: no such run\. Runs there: tale, whole\."):
        package.train(resume=True, name="nope")
    counted = package.train(config="counts.yaml", directory=Path("elsewhere"))
    assert counted.path == Path("elsewhere/counts")
    assert package.train(resume=True, directory="elsewhere") == counted
