"""A run that was interrupted and resumed equals an uninterrupted one to the last bit.

Everything goes through the command line and through files. What is compared is everything that a run
writes except its name and what a clock measures.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charlm.checkpoint.checkpoint import Checkpoint, Progress
from charlm.errors import ConfigError
from charlm.models.masks import MaskSource
from charlm.models.network import RecurrentNetwork
from charlm.models.precision import check_precision
from charlm.runs.lookup import BEST, full_checkpoints
from charlm.runs.metrics import METRICS
from tests.conftest import make_config
from tests.harness.interruptions import (
    ASKED_TO_SAVE,
    MOMENTS,
    Project,
    Settings,
    Snapshot,
    differences,
    interrupted_and_resumed,
    interrupted_at,
    untouched,
    validation_losses,
)
from tests.harness.repetitions import pairs, repetitions, spread

CELLS: dict[str, dict[str, object]] = {
    "tanh": {"model.kind": "rnn", "model.nonlinearity": "tanh"},
    "relu": {"model.kind": "rnn", "model.nonlinearity": "relu"},
    "lstm": {"model.kind": "lstm"},
    "gru": {"model.kind": "gru"},
}
STEPS = 11
BASE: dict[str, object] = {"model.dropout": 0.3, "training.steps": STEPS, "training.evaluate_every": 4}
PASSES: dict[str, object] = {
    "training.sequence_length": 53,
    "training.evaluate_every": None,
    "training.steps": None,
    "training.epochs": 3,
}
"""Five windows each, the last of them short."""
WEIGHTS = "last: model.head.weight"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


pytestmark = pytest.mark.slow


def check(project: Project, changes: Settings, *cuts: tuple[int, str]) -> Snapshot:
    """Assert that an interrupted run equals an uninterrupted one; return the snapshot of both."""
    expected = project.finished("whole", changes)
    found, interruptions = interrupted_and_resumed(project, changes, cuts)
    assert interruptions == len(cuts)
    assert differences(expected, found) == []
    return found


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_at_every_depth_goes_on_exactly(cell: str, layers: int, project: Project) -> None:
    check(project, BASE | CELLS[cell] | {"model.num_layers": layers}, (6, "asked to stop"))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau"])
def test_every_schedule_goes_on_exactly_in_and_after_its_warm_up(schedule: str, project: Project) -> None:
    changes = BASE | {"training.schedule": schedule, "training.warmup_fraction": 0.4, "training.evaluate_every": 1}
    with validation_losses({1: 3.0, 2: 2.9}, otherwise=3.1):
        left = check(project, changes, (2, "asked to stop"), (7, "asked to stop"))

    rates = [value for name, value in left.items() if name.endswith("learning_rate")]
    assert len(set(rates[:4])) == 4  # it rose
    assert left["last: progress.rate_factor"] == (1 / 16 if schedule == "plateau" else 1.0)


OTHER_WAYS: dict[str, dict[str, object]] = {
    "no state carried": {"training.carry_state": False},
    "embedding": {"model.embedding_size": 5},
    "bytes": {"data.unit": "byte"},
    "jamo": {"data.normalization": "NFD"},
    "rare characters unknown": {"data.minimum_count": 20},
    "no clipping": {"training.gradient_clip": None},
    "passes": PASSES,
    "evaluated more often than saved": {"training.evaluate_every": 2, "run.save_every": 5},
    "saved more often than evaluated": {"training.evaluate_every": 9, "run.save_every": 2},
    "rollback armed": {"training.on_divergence": "rollback"},
    "weights dropped": {"model.weight_dropout": 0.4},
    "units locked out": {"model.dropout": 0.0, "model.locked_dropout": 0.4},
    "symbols dropped": {"model.input_dropout": 0.2},
    "all dropped, in items": {
        "data.documents": "line",
        "model.dropout": 0.0,
        "model.weight_dropout": 0.4,
        "model.locked_dropout": 0.4,
        "model.input_dropout": 0.2,
    },
}


@pytest.mark.parametrize("kind", ["rnn", "lstm"])
@pytest.mark.parametrize("way", OTHER_WAYS)
def test_every_way_of_training_goes_on_exactly(way: str, kind: str, project: Project) -> None:
    check(project, BASE | {"model.kind": kind} | OTHER_WAYS[way], (7, "asked to stop"))


@pytest.mark.parametrize("cell", CELLS)
def test_a_large_vocabulary_goes_on_exactly(cell: str, tmp_path: Path) -> None:
    """Past 256 symbols, the columns of a window's own symbols are gathered, and ids are two bytes wide."""
    project = Project(tmp_path, "".join(map(chr, range(0xAC00, 0xAC00 + 300))) * 3)

    check(project, BASE | CELLS[cell], (5, "asked to stop"))

    assert len(project.newest("broken").vocabulary) == 300


def test_bfloat16_goes_on_exactly(project: Project) -> None:
    model = make_config(project.text, project.runs).model
    masks = MaskSource(model, 9, seed=1, device=torch.device("cpu"))
    try:
        check_precision(RecurrentNetwork(model, 9), masks, "bfloat16")
    except ConfigError:
        pytest.skip("this machine cannot train with bfloat16")

    check(project, BASE | {"training.precision": "bfloat16"}, (6, "asked to stop"))


def test_any_step_is_as_good_as_any_other_to_be_interrupted_at(project: Project) -> None:
    expected = project.finished("whole", BASE)
    for step in spread(range(1, STEPS), least=3):
        found, interruptions = interrupted_and_resumed(project, BASE, [(step, "asked to stop")])
        assert interruptions == 1
        assert differences(expected, found) == [], step


@pytest.mark.parametrize("cell", spread(["lstm", "tanh", "relu", "gru"], least=1))
def test_one_step_at_a_time_is_as_good_as_all_in_one_go(cell: str, project: Project) -> None:
    check(project, BASE | CELLS[cell], *[(step, "asked to stop") for step in range(1, STEPS)])


@pytest.mark.parametrize("moment", ["asked to stop", "killed after the step"])
@pytest.mark.parametrize("step", [4, 5, 6])
def test_an_epoch_can_be_interrupted_at_and_around_its_end(step: int, moment: str, project: Project) -> None:
    """The fifth step is the last of a pass and the sixth the first of the next, where the state starts fresh."""
    left = check(project, BASE | PASSES | {"run.save_every": 2}, (step, moment))

    assert left["last: progress.step"] == 15
    assert left["last: progress.epoch"] == 3.0


RISE_AND_FALL = {3: 3.0, 6: 2.5, 9: 2.9, 11: 2.2}
"""Validation losses by step: two that are the best so far, one that is none, and a last one that is."""


@pytest.fixture(scope="module", params=[None, 2])
def rise_and_fall(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Project, Settings, Snapshot]:
    """An uninterrupted run that is saved at each evaluation, or in a rhythm of its own."""
    project = Project(tmp_path_factory.mktemp("rise_and_fall"))
    changes = BASE | {"training.evaluate_every": 3, "run.save_every": request.param}
    with validation_losses(RISE_AND_FALL):
        return project, changes, project.finished("whole", changes)


@pytest.mark.parametrize(("step", "moment"), pairs([1, 3, 5, 6, 9, 10], MOMENTS))
def test_no_moment_of_a_step_is_a_bad_one(
    step: int, moment: str, rise_and_fall: tuple[Project, Settings, Snapshot]
) -> None:
    """The first step, right after a best, between evaluations, right after one that was no best, the last but one."""
    project, changes, expected = rise_and_fall
    with validation_losses(RISE_AND_FALL):
        found, interruptions = interrupted_and_resumed(project, changes, [(step, moment)])

    assert interruptions == 1
    assert differences(expected, found) == []


@pytest.mark.parametrize("moment", MOMENTS[1:])
def test_the_last_step_may_be_killed_too(moment: str, rise_and_fall: tuple[Project, Settings, Snapshot]) -> None:
    project, changes, expected = rise_and_fall
    with validation_losses(RISE_AND_FALL):
        found, interruptions = interrupted_and_resumed(project, changes, [(STEPS, moment)])

    assert interruptions == 1
    assert differences(expected, found) == []
    assert found["best: progress.step"] == STEPS


@pytest.fixture
def whole(project: Project) -> Snapshot:
    return project.finished("whole", BASE)


@settings(max_examples=repetitions(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.tuples(st.integers(1, STEPS), st.sampled_from(MOMENTS)), min_size=2, max_size=4))
def test_a_run_may_be_interrupted_again_and_again(
    cuts: list[tuple[int, str]], whole: Snapshot, project: Project
) -> None:
    found, _ = interrupted_and_resumed(project, BASE, cuts)

    assert differences(whole, found) == []


def test_a_save_that_was_asked_for_changes_nothing(project: Project) -> None:
    expected = project.finished("whole", BASE)
    with interrupted_at(1, ASKED_TO_SAVE):
        found = project.finished("saved", BASE)

    assert differences(expected, found) == []
    assert [path.name for path in full_checkpoints(project.runs / "saved")] == [
        "step-00000010.safetensors",
        "step-00000011.safetensors",
    ]


STALLED = BASE | {
    "training.steps": 24,
    "training.evaluate_every": 2,
    "training.patience": 4,
    "training.schedule": "plateau",
    "training.warmup_fraction": 0.0,
}
FALL_AND_STALL = {2: 3.0, 4: 2.5}
"""Validation losses by step. Step 4 is the best; at step 8 the rate is halved; at step 12 patience is at its end."""


@pytest.fixture(scope="module")
def stalled_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Snapshot]:
    """A run that is interrupted between two evaluations that bring no better, and what an uninterrupted one leaves."""
    project = Project(tmp_path_factory.mktemp("stalled"))
    with validation_losses(FALL_AND_STALL, otherwise=2.8):
        expected = project.finished("whole", STALLED)
        project.interrupted("broken", STALLED, 9, "asked to stop")
    shutil.copytree(project.runs / "broken", project.folder / "interrupted")
    return project, expected


@pytest.fixture
def stalled(stalled_runs: tuple[Project, Snapshot]) -> tuple[Project, Snapshot]:
    """The same, with the run as the interruption left it."""
    project, _ = stalled_runs
    shutil.rmtree(project.runs / "broken")
    shutil.copytree(project.folder / "interrupted", project.runs / "broken")
    return stalled_runs


def resumed_after(project: Project, change: Callable[[Checkpoint], Checkpoint]) -> Snapshot:
    """Resume the stalled run from a checkpoint that was changed."""
    project.edit_newest("broken", change)
    with validation_losses(FALL_AND_STALL, otherwise=2.8):
        return project.finished("broken", STALLED, "--resume")


def without_tensors(prefix: str) -> Callable[[Checkpoint], Checkpoint]:
    return lambda checkpoint: replace(
        checkpoint, tensors={name: value for name, value in checkpoint.tensors.items() if not name.startswith(prefix)}
    )


def with_zeros(suffix: str) -> Callable[[Checkpoint], Checkpoint]:
    """Every moment must be there in a full checkpoint, so that to forget them means zeros."""
    return lambda checkpoint: replace(
        checkpoint,
        tensors={
            name: np.zeros_like(value) if name.endswith(suffix) else value for name, value in checkpoint.tensors.items()
        },
    )


def with_another_random_state(checkpoint: Checkpoint) -> Checkpoint:
    another = torch.Generator().manual_seed(99).get_state().numpy()
    return replace(checkpoint, tensors=checkpoint.tensors | {"rng.cpu": another})


def with_progress(**values: object) -> Callable[[Checkpoint], Checkpoint]:
    return lambda checkpoint: replace(checkpoint, progress=checkpoint.progress.model_copy(update=values))


FORGOTTEN: dict[str, tuple[Callable[[Checkpoint], Checkpoint], str]] = {
    "hidden state": (without_tensors("state."), WEIGHTS),
    "cell state": (with_zeros("state.1"), WEIGHTS),
    "random state": (with_another_random_state, WEIGHTS),
    "first moments": (with_zeros(".exp_avg"), WEIGHTS),
    "second moments": (with_zeros(".exp_avg_sq"), WEIGHTS),
    "optimizer's step": (with_zeros(".step"), WEIGHTS),
    "step": (with_progress(step=8), WEIGHTS),
    "characters": (with_progress(characters=0), "last: progress.characters"),
    "best_validation_loss": (with_progress(best_validation_loss=None), "best: model.head.weight"),
    "best_step": (with_progress(best_step=None), "last: progress.best_step"),
    "evaluations_without_better": (with_progress(evaluations_without_better=0), "last: progress.step"),
    "nats_since_evaluation": (with_progress(nats_since_evaluation=0.0), "metrics 4: train_loss"),
    "characters_since_evaluation": (with_progress(characters_since_evaluation=0), "metrics 4: train_loss"),
    "rate_factor": (with_progress(rate_factor=1.0), "metrics 4: learning_rate"),
    "rollbacks": (with_progress(rollbacks=1), "last: progress.rollbacks"),
    "lanes_began_at_step": (with_progress(lanes_began_at_step=2), WEIGHTS),
    "lanes_began_at_epoch": (with_progress(lanes_began_at_epoch=1.0), "metrics 4: epoch"),
}
"""What a checkpoint might forget, one thing at a time, and where that would show."""
WRITTEN_ONLY = {"seconds", "epoch", "train_loss", "validation_loss"}
"""The progress that training never reads: the clock, and what the next step or evaluation finds anew."""
READ_AT_DIVERGENCE = {"rollback_step"}
"""The progress that only a divergence reads: see `test_divergence`."""


def test_nothing_forgotten_makes_no_difference(stalled: tuple[Project, Snapshot]) -> None:
    """What the negative controls below are held against."""
    project, expected = stalled
    found = resumed_after(project, lambda checkpoint: checkpoint)

    assert differences(expected, found) == []
    assert found["last: progress.step"] == 12
    assert found["metrics 4: learning_rate"] == 0.001


@pytest.mark.parametrize("what", FORGOTTEN)
def test_whatever_is_forgotten_makes_another_run(what: str, stalled: tuple[Project, Snapshot]) -> None:
    project, expected = stalled
    forget, where = FORGOTTEN[what]

    assert where in differences(expected, resumed_after(project, forget))


def test_every_number_of_the_progress_is_known_to_be_read_or_not(stalled: tuple[Project, Snapshot]) -> None:
    assert set(Progress.model_fields) == WRITTEN_ONLY | READ_AT_DIVERGENCE | (
        FORGOTTEN.keys() & Progress.model_fields.keys()
    )

    project, expected = stalled
    assert differences(expected, resumed_after(project, with_progress(**dict.fromkeys(WRITTEN_ONLY, 77.0)))) == []


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_how_many_steps_there_are_in_all_is_part_of_the_schedule(schedule: str, project: Project) -> None:
    """A longer run, stopped where the shorter one ends, has the same weights only if nothing is scheduled."""
    changes = BASE | {"training.schedule": schedule, "training.warmup_fraction": 0.0}
    project.finished("whole", changes)
    project.interrupted("broken", changes, 6, "asked to stop")
    project.interrupted("broken", changes | {"training.steps": 3 * STEPS}, STEPS, "asked to stop", "--resume")

    whole, broken = project.newest("whole"), project.newest("broken")
    assert whole.progress.step == broken.progress.step == STEPS
    same = np.array_equal(whole.tensors["model.head.weight"], broken.tensors["model.head.weight"])
    assert same == (schedule == "constant")


def test_resuming_a_finished_run_prints_its_result_again(project: Project) -> None:
    first = project.train("tale", BASE)
    before = untouched(project.folder, "*.safetensors")
    content = (project.runs / "tale" / METRICS).read_bytes()
    again = project.train("tale", BASE, "--resume")

    assert again.exit_code == 0
    assert again.stdout == first.stdout
    assert again.stderr == ""
    assert untouched(project.folder, "*.safetensors") == before
    assert (project.runs / "tale" / METRICS).read_bytes() == content


def test_a_run_out_of_patience_resumes_only_with_more_patience(project: Project) -> None:
    """More patience makes it the run that it would have been with that patience from the beginning."""
    more = STALLED | {"training.patience": 6}
    with validation_losses(FALL_AND_STALL, otherwise=2.8):
        expected = project.finished("whole", more)
        project.finished("tale", STALLED)
        before = untouched(project.folder, "*.safetensors")
        same = project.finished("tale", STALLED, "--resume")
        assert untouched(project.folder, "*.safetensors") == before
        found = project.finished("tale", more, "--resume")

    assert same["last: progress.step"] == 12
    assert found["last: progress.step"] == 16
    assert differences(expected, found) == ["best: config"]  # it was found with less


def test_without_a_run_it_begins_one_of_exactly_this_name(project: Project) -> None:
    resumed = project.finished("tale", BASE, "--resume")

    assert sorted(path.name for path in project.runs.iterdir()) == ["latest", "tale"]
    assert differences(project.finished("whole", BASE), resumed) == []


@pytest.mark.parametrize("moment", ["killed after the step", "killed after the metrics line", "killed after the best"])
@pytest.mark.parametrize("step", [1, 4, 8])
def test_a_run_killed_before_its_first_save_restarts_in_place(step: int, moment: str, project: Project) -> None:
    changes = BASE | {"run.save_every": 100}
    expected = project.finished("whole", changes)
    project.interrupted("tale", changes, step, moment)
    assert full_checkpoints(project.runs / "tale") == []
    found = project.finished("tale", changes, "--resume")

    assert sorted(path.name for path in project.runs.iterdir()) == ["latest", "tale", "whole"]
    assert differences(expected, found) == []


def test_the_save_interval_may_change_before_the_first_save(project: Project) -> None:
    """That two evaluations left no checkpoint is as it should be in a run that was to be saved later."""
    project.interrupted("tale", BASE | {"run.save_every": 100}, 9, "killed after the step")
    found = project.finished("tale", BASE, "--resume")

    assert differences(project.finished("whole", BASE), found) == []


def test_a_run_whose_full_checkpoints_are_gone_is_refused(project: Project) -> None:
    project.finished("tale", BASE)
    for path in full_checkpoints(project.runs / "tale"):
        path.unlink()
    before = untouched(project.folder)
    result = project.train("tale", BASE, "--resume")

    assert result.exit_code == 4
    assert re.search(r"reached step 11, but its full checkpoints are gone", result.stderr)
    assert f"--init-from {project.runs / 'tale' / BEST}" in result.stderr
    assert untouched(project.folder) == before


def test_resuming_from_an_older_checkpoint_ends_the_same(project: Project) -> None:
    expected = project.finished("whole", BASE)
    project.interrupted("tale", BASE, 9, "asked to stop")
    newest = full_checkpoints(project.runs / "tale")[-1]
    content = newest.read_bytes()
    newest.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    result = project.train("tale", BASE, "--resume")

    assert result.exit_code == 0
    assert "step-00000009.safetensors" in result.stderr
    assert "Resuming from an older one" in result.stderr
    assert newest.with_name(newest.name + ".damaged").read_bytes()[:-1] == content[:-1]
    assert differences(expected, project.snapshot("tale")) == []


@pytest.mark.parametrize(
    ("key", "less", "more"), [("training.steps", 8, 16), ("training.epochs", 1, 2)], ids=["steps", "epochs"]
)
def test_a_longer_run_simply_goes_on_with_a_note(key: str, less: int, more: int, project: Project) -> None:
    """With a constant rate it is, to the last bit, the run that was long from the beginning."""
    changes = BASE | {"training.schedule": "constant", "training.warmup_fraction": 0.0}
    changes |= PASSES if key == "training.epochs" else {}
    expected = project.finished("whole", changes | {key: more})
    project.finished("tale", changes | {key: less})
    result = project.train("tale", changes | {key: more}, "--resume")

    assert result.exit_code == 0
    assert re.fullmatch(rf"charlm: {key} +{less} → {more} +\(the learning rate is rescheduled\)\n", result.stderr)
    assert set(differences(expected, project.snapshot("tale"))) <= {"best: config"}  # it may be from before


@pytest.mark.parametrize("state", ["absent", "empty", "interrupted", "finished"])
def test_a_dry_run_of_a_resumed_run_writes_nothing(state: str, project: Project) -> None:
    if state == "empty":
        project.interrupted("tale", BASE, 1, "killed after the step")
    if state == "interrupted":
        project.interrupted("tale", BASE, 6, "killed after the step")
    if state == "finished":
        project.finished("tale", BASE)
    before = untouched(project.folder)
    result = project.train("tale", BASE | {"training.steps": STEPS + 1}, "--resume", "--dry-run")

    assert result.exit_code == 0
    assert result.stdout.startswith("plan of ")
    assert re.search(r"^ +steps +12, evaluated every 4 *$", result.stdout, re.MULTILINE)
    assert untouched(project.folder) == before


def test_another_environment_is_told_in_one_note(project: Project) -> None:
    project.interrupted("tale", BASE, 6, "asked to stop")
    here = project.newest("tale").versions
    elsewhere = here | {"threads": "64", "device": "cuda:3", "torch": "2.10.0"}
    project.edit_newest("tale", lambda checkpoint: replace(checkpoint, versions=elsewhere))
    result = project.train("tale", BASE, "--resume")

    assert result.exit_code == 0
    assert result.stderr.count("\n") == 1
    for name in ("threads", "device", "torch"):
        assert f"{name} was {elsewhere[name]}, is {here[name]}" in result.stderr
    assert project.newest("tale").versions == here


def test_an_unchanged_environment_is_not_mentioned(project: Project) -> None:
    project.interrupted("tale", BASE, 6, "asked to stop")

    assert project.train("tale", BASE, "--resume").stderr == ""


def test_a_run_that_is_called_trained_has_a_best(project: Project) -> None:
    """Shortened to where it was interrupted, before its first evaluation, it has none yet to show."""
    project.interrupted("tale", BASE, 3, "asked to stop")
    result = project.train("tale", BASE | {"training.steps": 3}, "--resume")

    assert result.exit_code != 0 or (project.runs / "tale" / BEST).is_file()


def test_a_finished_run_without_a_best_shows_its_replacement(project: Project) -> None:
    with validation_losses({4: 2.5, 8: 2.7}, otherwise=2.625):
        project.finished("tale", BASE)
        (project.runs / "tale" / BEST).unlink()
        result = project.train("tale", BASE, "--resume")

    assert result.exit_code == 0
    assert "the weights of step 11 are the best until the next evaluation" in result.stderr
    assert Checkpoint.load(project.runs / "tale" / BEST).progress.step == STEPS
    assert "2.6250 nats" in result.stdout
