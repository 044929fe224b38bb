"""The loop keeps what each step brings in one order, asks its caller after each step, and tells its observer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.runs.directory import RunDirectory
from charlm.runs.step_report import StepReport
from charlm.text.corpus import Corpus
from charlm.training.loop import Silence, run_loop
from charlm.training.trainer import Trainer
from tests.conftest import TEXT, make_config


class Recorded(RunDirectory):
    """A run's folder that notes what is written into it, and when."""

    events: list[tuple[str, int]]

    def record(self, metrics: Any) -> None:
        self.events.append(("metrics", metrics["step"]))
        super().record(metrics)

    def save_best(self, checkpoint: Checkpoint) -> None:
        self.events.append(("best", checkpoint.progress.step))
        super().save_best(checkpoint)

    def save(self, checkpoint: Checkpoint) -> None:
        self.events.append(("full", checkpoint.progress.step))
        super().save(checkpoint)


class Watcher(Silence):
    """Notes the steps it is told of, and that it was closed."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.closed = 0

    def update(self, report: StepReport) -> None:
        self.steps.append(report.step)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8", newline="")
    config = make_config(tmp_path / "text.txt", tmp_path / "runs", kind="gru")
    return Trainer(config, Corpus.read(config.data))


def looped(
    trainer: Trainer, watcher: Watcher, callbacks: Callable[[list[tuple[str, int]]], list[Any]], **requests: Any
) -> list[tuple[str, int]]:
    with Recorded.create(trainer.config) as run:
        run.events = []
        run_loop(trainer, run, observer=watcher, callbacks=callbacks(run.events), **requests)
    return run.events


def test_the_full_checkpoint_is_written_last_and_callbacks_follow_it(trainer: Trainer) -> None:
    watcher = Watcher()
    events = looped(trainer, watcher, lambda events: [lambda metrics: events.append(("callback", metrics["step"]))])

    assert events[:4] == [("metrics", 4), ("best", 4), ("full", 4), ("callback", 4)]
    assert [event for event in events if event[0] == "full"] == [("full", 4), ("full", 8)]
    last = [name for name, step in events if step == 8]
    assert last in (["metrics", "best", "full", "callback"], ["metrics", "full", "callback"])
    assert (watcher.steps, watcher.closed) == ([*range(1, 9)], 1)


def test_it_ends_after_the_step_at_which_it_is_asked_to(trainer: Trainer) -> None:
    watcher = Watcher()
    events = looped(trainer, watcher, lambda _: [], stop=lambda: len(watcher.steps) >= 3)

    assert (events, watcher.steps, watcher.closed) == ([("full", 3)], [1, 2, 3], 1)


def test_it_saves_after_each_step_at_which_it_is_asked_to(trainer: Trainer) -> None:
    watcher = Watcher()
    events = looped(trainer, watcher, lambda _: [], save_now=lambda: len(watcher.steps) in (2, 5))

    assert [step for name, step in events if name == "full"] == [2, 4, 5, 8]
    assert [step for name, step in events if name == "metrics"] == [4, 8]


def test_the_observer_is_closed_whatever_ends_the_loop(trainer: Trainer) -> None:
    def fail(metrics: object) -> None:
        raise ZeroDivisionError

    watcher = Watcher()
    with pytest.raises(ZeroDivisionError):
        looped(trainer, watcher, lambda _: [fail])
    assert (watcher.steps, watcher.closed) == ([1, 2, 3, 4], 1)
