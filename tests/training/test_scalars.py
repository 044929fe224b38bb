"""``charlm train --tensorboard``: what TensorBoard reads back is what ``metrics.jsonl`` says."""

import json
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from tensorboard.summary.writer import event_file_writer  # type: ignore[import-untyped]

from charlm.runs.metrics import METRICS
from charlm.training.scalars import FOLDER
from tests.conftest import TEXT, Run, make_config, train
from tests.harness.interruptions import MOMENTS, Project, untouched
from tests.harness.processes import stderr_without

pytestmark = pytest.mark.slow

NAMES = (
    *("train_loss", "validation_loss", "bits_per_character"),
    *("learning_rate", "gradient_norm", "characters_per_second"),
)
SETTINGS: dict[str, object] = {"training.steps": 12, "training.evaluate_every": 2}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project whose event files sort by age, though one process writes them within one second."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(10**6))
    return Project(tmp_path)


def written(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / METRICS).read_text("utf-8").splitlines()]


def read_back(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Return step and value of every scalar, by name, as TensorBoard shows them."""
    events = EventAccumulator(str(run / FOLDER))
    events.Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def assert_the_same(run: Path) -> None:
    """Hold what TensorBoard reads against the metrics; it keeps 32 bits of each number."""
    found, lines = read_back(run), written(run)
    assert set(found) == set(NAMES)
    for name in NAMES:
        expected = [(line["step"], line[name]) for line in lines if line[name] is not None]
        assert [step for step, _ in found[name]] == [step for step, _ in expected], name
        values = [value for _, value in expected]
        assert [value for _, value in found[name]] == pytest.approx(values, rel=1e-6, abs=1e-12), name


def test_the_scalars_are_those_of_the_metrics(project: Project) -> None:
    project.finished("run", SETTINGS, "--tensorboard")
    assert len(written(project.runs / "run")) == 6
    assert_the_same(project.runs / "run")


def test_without_the_option_there_are_none(project: Project) -> None:
    project.finished("run", SETTINGS)
    assert not (project.runs / "run" / FOLDER).exists()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_resumed_run_tells_no_step_twice(moment: str, project: Project) -> None:
    """Only saved steps count: what a killed process told of later ones is told again, and counts once."""
    changes = SETTINGS | {"run.save_every": 5}
    project.interrupted("run", changes, 7, moment, "--tensorboard")
    project.finished("run", changes, "--resume", "--tensorboard")
    assert [line["step"] for line in written(project.runs / "run")] == [2, 4, 6, 8, 10, 12]
    assert_the_same(project.runs / "run")


def test_a_run_that_is_trained_on_goes_on_in_its_curves(project: Project) -> None:
    project.finished("run", SETTINGS, "--tensorboard")
    project.finished("run", SETTINGS | {"training.steps": 16}, "--resume", "--tensorboard")
    assert written(project.runs / "run")[-1]["step"] == 16
    assert_the_same(project.runs / "run")


def test_a_run_that_began_without_curves_has_all_of_them_when_it_goes_on_with_them(project: Project) -> None:
    project.finished("run", SETTINGS)
    project.finished("run", SETTINGS | {"training.steps": 16}, "--resume", "--tensorboard")
    assert_the_same(project.runs / "run")


def test_the_run_trains_as_without(project: Project) -> None:
    plain, told = project.finished("plain", SETTINGS), project.finished("told", SETTINGS, "--tensorboard")
    assert plain == told


def test_without_tensorboard_it_is_refused_with_the_extra_to_install_and_nothing_is_touched(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8", newline="")
    run, _ = train(make_config(tmp_path / "text.txt", tmp_path / "runs", training={"device": "cpu"}))
    before = untouched(tmp_path)
    options = ["train", "--config", str(run / "config.yaml"), "--quiet", "--tensorboard"]
    lines = [[*options, "--name", "new"], [*options, "--resume", "--set", "training.steps=9"]]
    told = stderr_without("tensorboard", tmp_path, lines)
    refusal = "charlm: TensorBoard is not installed. Install it: pip install tensorboard\nexit 2\n"
    assert told.count(refusal) == 2
    assert untouched(tmp_path) == before


def test_a_plan_writes_no_curves(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8", newline="")
    (tmp_path / "tiny.yaml").write_text(
        "data: {path: text.txt}\ntraining: {batch_size: 2, sequence_length: 9}\n", encoding="utf-8"
    )
    before = untouched(tmp_path)
    result = charlm("train", "--config", "tiny.yaml", "--dry-run", "--tensorboard")
    assert result.exit_code == 0
    assert untouched(tmp_path) == before


def test_a_file_where_the_curves_should_be_is_told_and_the_run_stays(project: Project) -> None:
    project.finished("run", SETTINGS)
    (project.runs / "run" / FOLDER).write_text("in the way", encoding="utf-8")
    result = project.train("run", SETTINGS | {"training.steps": 16}, "--resume", "--tensorboard")
    assert result.exit_code == 74
    assert f"{FOLDER}: cannot write TensorBoard event files" in result.stderr
    assert (project.runs / "run" / FOLDER).read_text(encoding="utf-8") == "in the way"
