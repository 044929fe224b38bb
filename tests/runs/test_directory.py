"""The folder of a run: nothing old is overwritten, the best and the newest are kept and found again."""

import json
from pathlib import Path

import pytest

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.config.reading import read_config
from charlm.errors import CheckpointError, StorageError
from charlm.runs import directory as runs
from charlm.runs.directory import RunDirectory
from charlm.runs.lookup import find_checkpoint, full_checkpoints, latest_run
from tests.conftest import make_config


@pytest.fixture
def config(tmp_path):
    return make_config(tmp_path / "text.txt", tmp_path / "runs", run={"name": "tale", "keep": 2})


@pytest.fixture
def checkpoint(trained) -> Checkpoint:
    return Checkpoint.load(full_checkpoints(trained["lstm"])[-1])


def at_step(checkpoint: Checkpoint, step: int) -> Checkpoint:
    progress = checkpoint.progress.model_copy(update={"step": step})
    return Checkpoint(
        checkpoint.config, checkpoint.vocabulary, progress, checkpoint.corpus, checkpoint.tensors, checkpoint.versions
    )


def test_a_taken_name_gets_a_number_and_the_old_run_is_left_alone(config, checkpoint) -> None:
    first = RunDirectory.create(config)
    first.save_best(checkpoint)
    content = first.best.read_bytes()

    names = [RunDirectory.create(config).path.name for _ in range(2)]

    assert (first.path.name, *names) == ("tale", "tale-2", "tale-3")
    assert first.best.read_bytes() == content


def test_the_folder_holds_the_resolved_config(config) -> None:
    run = RunDirectory.create(config)

    assert read_config(run.path / "config.yaml") == config


def test_metrics_are_one_json_line_each(config) -> None:
    run = RunDirectory.create(config)
    for step in (1, 2, 3):
        run.record({"step": step, "validation_loss": step / 7})

    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": step, "validation_loss": step / 7, "run": run.id} for step in (1, 2, 3)
    ]


def test_only_the_last_few_full_checkpoints_and_the_best_are_kept(config, checkpoint) -> None:
    run = RunDirectory.create(config)
    run.save_best(at_step(checkpoint, 10))
    for step in (10, 20, 100, 30_000):
        run.save(at_step(checkpoint, step))

    assert [path.name for path in full_checkpoints(run.path)] == [
        "step-00000100.safetensors",
        "step-00030000.safetensors",
    ]
    assert Checkpoint.load(run.best).progress.step == 10


def test_an_old_checkpoint_goes_only_after_the_new_one_verifies(config, checkpoint, monkeypatch) -> None:
    run = RunDirectory.create(config)
    for step in (10, 20):
        run.save(at_step(checkpoint, step))

    def damaged(path: Path) -> Checkpoint:
        raise CheckpointError(f"{path}: damaged")

    monkeypatch.setattr(runs.Checkpoint, "load", damaged)
    with pytest.raises(CheckpointError):
        run.save(at_step(checkpoint, 30))

    assert [path.name for path in full_checkpoints(run.path)] == [
        f"step-000000{step}.safetensors" for step in (10, 20, 30)
    ]


def test_latest_is_the_run_that_last_began_to_save(config, checkpoint, tmp_path) -> None:
    first, second = RunDirectory.create(config), RunDirectory.create(config)
    latest = tmp_path / "runs" / "latest"
    assert not latest.exists()

    first.save_best(checkpoint)
    assert find_checkpoint(None, tmp_path / "runs") == first.best
    second.save_best(checkpoint)
    assert find_checkpoint(None, tmp_path / "runs") == second.best
    assert latest.read_text() == "tale-2\n"


def test_a_checkpoint_is_found_by_file_by_folder_and_by_name(config, checkpoint, tmp_path) -> None:
    run = RunDirectory.create(config)
    run.save_best(checkpoint)
    run.save(checkpoint)
    full = full_checkpoints(run.path)[0]

    assert find_checkpoint(str(full)) == full
    assert find_checkpoint(str(run.path)) == run.best
    assert find_checkpoint("tale", tmp_path / "runs") == run.best


def test_what_is_not_there_is_named_with_what_is(config, checkpoint, tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"no latest run in .*There are no runs there"):
        find_checkpoint(None, tmp_path / "runs")
    empty = RunDirectory.create(config)
    with pytest.raises(CheckpointError, match=r"has no best\.safetensors"):
        find_checkpoint(str(empty.path))
    RunDirectory.create(config).save_best(checkpoint)
    with pytest.raises(CheckpointError, match=r"tail: no such checkpoint.*Runs there: tale-2"):
        find_checkpoint("tail", tmp_path / "runs")


def test_the_only_run_is_found_where_none_is_named_the_latest(config, checkpoint, tmp_path) -> None:
    only = RunDirectory.create(config)
    only.save_best(checkpoint)
    runs = tmp_path / "runs"
    (runs / "latest").unlink()
    (runs / ".hidden").mkdir()
    (runs / ".hidden" / "best.safetensors").touch()
    RunDirectory.create(config)  # it has saved nothing yet

    assert find_checkpoint(None, runs) == only.best
    assert latest_run(tmp_path / "runs") == only.path
    with pytest.raises(CheckpointError, match=r"no latest run in .*Runs there: tale, tale-2\. Name a checkpoint\."):
        latest_run(runs, "config.yaml")


def test_of_several_runs_none_is_taken_for_the_latest(config, checkpoint, tmp_path) -> None:
    for _ in range(8):
        RunDirectory.create(config).save_best(checkpoint)
    assert find_checkpoint(None, tmp_path / "runs").parent.name == "tale-8"
    (tmp_path / "runs" / "latest").unlink()

    with pytest.raises(CheckpointError, match=r"Runs there: tale, tale-2, tale-3, tale-4, tale-5 and 3 more\. Name a"):
        find_checkpoint(None, tmp_path / "runs")


@pytest.mark.parametrize(
    ("written", "words"),
    [("gone\n", r"names the run .*gone, which is gone\."), ("\n", r"latest does not name a run\.")],
)
def test_no_other_run_is_taken_for_a_latest_that_is_gone(config, checkpoint, tmp_path, written, words) -> None:
    RunDirectory.create(config).save_best(checkpoint)
    (tmp_path / "runs" / "latest").write_text(written)

    with pytest.raises(CheckpointError, match=rf"{words} Runs there: tale\. Name a checkpoint\."):
        find_checkpoint(None, tmp_path / "runs")


def test_a_folder_that_cannot_be_made_is_said_so(config, tmp_path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")

    with pytest.raises(StorageError, match=r"cannot create the run's folder .* Choose another run\.directory\."):
        RunDirectory.create(config)


def test_metrics_that_cannot_be_written_are_said_so(config) -> None:
    run = RunDirectory.create(config)
    (run.path / "metrics.jsonl").mkdir()

    with pytest.raises(StorageError, match=r"metrics\.jsonl: cannot write"):
        run.record({"step": 1})


def test_a_folder_of_a_runs_name_does_not_stand_in_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (Path("poems"), Path("runs/poems")):
        folder.mkdir(parents=True)
    Path("runs/poems/best.safetensors").touch()
    assert find_checkpoint("poems") == Path("runs/poems/best.safetensors")
    Path("poems/best.safetensors").touch()
    assert find_checkpoint("poems") == Path("poems/best.safetensors")
