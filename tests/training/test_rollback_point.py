"""What decides where a divergence goes back to is in the run's files: interruptions change nothing about it."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from charlm.checkpoint.checkpoint import Checkpoint, step_name
from charlm.runs.locked_folder import LockedFolder
from charlm.runs.lookup import INITIAL, full_checkpoints
from charlm.runs.metrics import METRICS
from charlm.text.corpus import Corpus
from charlm.training.trainer import Trainer
from tests.harness.interruptions import (
    ASKED_TO_SAVE,
    MOMENTS,
    Project,
    Snapshot,
    differences,
    interrupted_and_resumed,
)
from tests.training.test_divergence import at_the_full_rate, poison_loss

DIVERGES = 7
SETTINGS: dict[str, object] = {
    "training.on_divergence": "rollback",
    "training.steps": 12,
    "training.evaluate_every": 4,
    "model.dropout": 0.2,
    "model.weight_dropout": 0.3,
    "model.input_dropout": 0.1,
    "run.keep": 1,
}
POINTS = {None: 4, 3: 6, 50: 0}
"""The step to which the divergence goes back, for each value of ``run.save_every``."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project whose runs diverge once, at the full learning rate."""
    poison_loss(math.nan, at_the_full_rate(DIVERGES), monkeypatch.setattr)
    return Project(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [*MOMENTS, ASKED_TO_SAVE])
@pytest.mark.parametrize("save_every", POINTS)
def test_an_interruption_changes_nothing_about_a_rollback(
    save_every: int | None, moment: str, project: Project
) -> None:
    settings = SETTINGS | {"run.save_every": save_every}
    expected = project.finished("whole", settings)
    assert expected["last: progress.rollbacks"] == 1

    for step in (2, 5, 6, 9):
        found, _ = interrupted_and_resumed(project, settings, [(step, moment)])
        assert differences(expected, found) == [], step


@pytest.mark.parametrize(("step", "moment"), [(2, "asked to stop"), (6, ASKED_TO_SAVE), (6, "killed after the step")])
def test_a_tuned_run_goes_back_to_the_weights_that_it_started_with(step: int, moment: str, project: Project) -> None:
    project.finished("source", {"training.steps": 3})
    settings = SETTINGS | {"run.save_every": 50}
    tuned = ("--init-from", str(project.runs / "source"))
    expected = project.finished("whole", settings, *tuned)
    assert (project.runs / "whole" / INITIAL).is_file()

    found, _ = interrupted_and_resumed(project, settings, [(step, moment)], *tuned)
    assert differences(expected, found) == []


def test_a_tuned_run_killed_before_its_first_save_starts_again_without_being_told_from_what(project: Project) -> None:
    project.finished("source", {"training.steps": 3})
    settings = SETTINGS | {"run.save_every": 50}
    expected = project.finished("whole", settings, "--init-from", str(project.runs / "source"))
    project.interrupted("broken", settings, 2, "killed after the step", "--init-from", str(project.runs / "source"))

    assert differences(expected, project.finished("broken", settings, "--resume")) == []


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_tuned_run_killed_at_its_start_has_its_weights_before_its_config(
    writes: int, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a resume would take the folder for a run that started with the weights of its seed."""
    project.finished("source", {"training.steps": 3})
    tuned = ("--init-from", str(project.runs / "source"))
    expected = project.finished("whole", SETTINGS, *tuned)
    written: list[str] = []

    def write_or_die(folder: LockedFolder, name: str, content: bytes) -> None:
        if len(written) == writes:
            raise KeyboardInterrupt
        written.append(name)
        write(folder, name, content)

    write = LockedFolder.write
    with monkeypatch.context() as patch:
        patch.setattr(LockedFolder, "write", write_or_die)
        assert project.train("broken", SETTINGS, *tuned).exit_code == 130

    left = {path.name for path in (project.runs / "broken").iterdir()}
    assert left - {METRICS} == set(written)
    assert INITIAL in left or "config.yaml" not in left
    assert differences(expected, project.finished("broken", SETTINGS, "--resume", *tuned)) == []


def test_the_rollback_point_is_kept_besides_the_newest(project: Project) -> None:
    settings = SETTINGS | {"run.save_every": 3}
    for step in (4, 5):
        project.interrupted("run", settings, step, "asked to stop", "--resume")
        saved = [path.name for path in full_checkpoints(project.runs / "run")]
        assert saved == [step_name(3), step_name(step)]
        assert project.newest("run").progress.rollback_step == 3


def test_without_rollback_nothing_more_is_kept(project: Project) -> None:
    settings = SETTINGS | {"run.save_every": 3, "training.on_divergence": "stop"}
    project.interrupted("run", settings, 5, "asked to stop", "--resume")
    assert [path.name for path in full_checkpoints(project.runs / "run")] == [step_name(5)]


def test_a_rollback_removes_what_was_saved_and_recorded_after_its_point(project: Project) -> None:
    """Else a kill after it would continue what was given up, and a metrics line would stand there twice."""
    settings = SETTINGS | {"run.save_every": 5, "training.evaluate_every": 2, "run.keep": 9}
    project.interrupted("run", settings, 6, "asked to stop")
    assert [path.name for path in full_checkpoints(project.runs / "run")] == [step_name(5), step_name(6)]
    project.interrupted("run", settings, 7, "killed after the step", "--resume")

    assert [path.name for path in full_checkpoints(project.runs / "run")] == [step_name(5)]
    lines = (project.runs / "run" / METRICS).read_text("utf-8").splitlines()
    assert len(lines) == 3  # of steps 2, 4 and, again, 6


def test_after_a_rollback_the_best_is_what_the_run_says_it_is(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluation after the rollback point, step 5, overwrote the best of step 4, and none that follows is better."""
    losses = {2: 3.0, 4: 2.0, 6: 1.0}

    def evaluate(trainer: Trainer) -> float:
        return losses[trainer.progress.step + 1] if trainer.progress.rollbacks == 0 else 9.0

    monkeypatch.setattr(Trainer, "evaluate", evaluate)
    settings = SETTINGS | {"run.save_every": 5, "training.evaluate_every": 2}
    expected = project.finished("whole", settings)
    assert (expected["last: progress.rollbacks"], expected["last: progress.best_validation_loss"]) == (1, 9.0)
    assert expected["best: progress.step"] == expected["last: progress.best_step"] == 6

    for step, moment in ((6, "asked to stop"), (6, "killed after the best"), (8, "killed after the step")):
        found, _ = interrupted_and_resumed(project, settings, [(step, moment)])
        assert differences(expected, found) == [], (step, moment)


def test_an_older_tuned_run_goes_back_to_its_checkpoint_of_step_0(project: Project) -> None:
    """Before runs kept their initial weights, they saved a full checkpoint at the start."""
    settings = SETTINGS | {"run.save_every": 50}
    project.finished("source", {"training.steps": 3})
    tuned = ("--init-from", str(project.runs / "source"))
    expected = project.finished("whole", settings, *tuned)
    project.interrupted("run", settings, 2, "asked to stop", *tuned)
    run, corpus = project.runs / "run", Corpus.read(project.newest("run").config.data)
    initial = Checkpoint.load(run / INITIAL)
    start = Trainer.fine_tune(initial.config, corpus, initial.part("model")).checkpoint()
    for path in (run / INITIAL, run / "run.json", *full_checkpoints(run)):
        path.unlink()
    replace(start, run_id=None).save(run / step_name(0))

    found, _ = interrupted_and_resumed_from(project, settings, 5)
    assert differences(expected, found) == []


def interrupted_and_resumed_from(project: Project, settings: dict[str, object], step: int) -> tuple[Snapshot, int]:
    project.interrupted("run", settings, step, "asked to stop", "--resume")
    return project.finished("run", settings, "--resume"), 1


def test_a_rollback_point_that_is_damaged_is_told_and_replaced(project: Project) -> None:
    settings = SETTINGS | {"run.save_every": 3}
    project.interrupted("run", settings, 5, "asked to stop")
    (project.runs / "run" / step_name(3)).write_bytes(b"damaged")
    result = project.train("run", settings, "--resume")

    assert result.exit_code == 0
    assert "After a divergence, training goes back to step 5 instead." in result.stderr
    assert "back to step 6, at 0.5" in result.stderr  # the next one that was scheduled


def test_a_checkpoint_of_formats_without_a_rollback_point_is_its_own(project: Project) -> None:
    settings = SETTINGS | {"run.save_every": 50}

    def older(checkpoint: Checkpoint) -> Checkpoint:
        return replace(checkpoint, progress=checkpoint.progress.model_copy(update={"rollback_step": None}))

    project.interrupted("run", settings, 5, "asked to stop")
    project.edit_newest("run", older)
    result = project.train("run", settings, "--resume")

    assert result.exit_code == 0
    assert "back to step 5, at 0.5" in result.stderr
