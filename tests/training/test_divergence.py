"""Training that diverges: detected at once, never saved, and rolled back where that is set."""

import json
import math
import os
import pty
import re
import termios
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from charlm.checkpoint.checkpoint import Checkpoint, not_finite
from charlm.cli.messages import message
from charlm.cli.progress import Silence
from charlm.cli.signals import Requests
from charlm.config.settings import Config
from charlm.config.writing import resolved_yaml
from charlm.errors import DivergenceError
from charlm.runs.directory import RunDirectory
from charlm.runs.lookup import full_checkpoints
from charlm.runs.resume_policy import adapted
from charlm.runs.step_report import Rollback, StepReport
from charlm.text.corpus import Corpus
from charlm.training import trainer as training
from charlm.training import validation
from charlm.training.divergence import MOST_ROLLBACKS
from charlm.training.loop import run_loop
from charlm.training.state import pack
from charlm.training.trainer import Trainer
from tests.conftest import TEXT, Run, make_config
from tests.harness.charlm_process import CharlmProcess, read_all
from tests.harness.processes import SIZE
from tests.harness.repetitions import repetitions

pytestmark = pytest.mark.slow

ROLLBACK = ("--set", "training.on_divergence=rollback")
STEPS = 12
EVALUATED = (4, 8, 12)

Patch = Callable[[Any, str, Any], None]
When = Callable[[Trainer], bool]
"""Whether the step that the trainer is about to take goes wrong."""


def config_of(folder: Path, **sections: dict[str, object]) -> Config:
    """Return the config of a run of twelve steps, evaluated and saved at 4, 8 and 12."""
    (folder / "text.txt").write_text(TEXT, encoding="utf-8", newline="")
    given = {
        "model": {"dropout": 0.2},
        "training": {"steps": STEPS, "evaluate_every": 4},
        "run": {"name": "tiny", "keep": 9},
    }
    merged = {name: {**given.get(name, {}), **sections.get(name, {})} for name in given | sections}
    return make_config(folder / "text.txt", folder / "runs", **merged)


def trainer_of(folder: Path, **sections: dict[str, object]) -> Trainer:
    config = config_of(folder, **sections)
    return Trainer(config, Corpus.read(config.data))


def rolling(**values: object) -> dict[str, object]:
    """Return training settings that roll back."""
    return {"on_divergence": "rollback", **values}


# Steps that go wrong


def at_steps(*steps: int) -> When:
    return lambda trainer: trainer.progress.step + 1 in steps


def at_the_full_rate(step: int) -> When:
    return partial(_is_at_the_full_rate, step)


def _is_at_the_full_rate(step: int, trainer: Trainer) -> bool:
    return trainer.progress.step + 1 == step and trainer.progress.rate_factor == 1.0


def poison_loss(value: float, when: When, patch: Patch) -> None:
    """Let the loss be that, though its gradient is finite."""
    true = training.cross_entropy

    def poisoned(logits: Tensor, targets: Tensor, **options: str) -> Tensor:
        return true(logits, targets, **options) + value

    _during_steps(when, lambda _: _replaced(training, "cross_entropy", poisoned), patch)


def poison_gradient(value: float, when: When, patch: Patch) -> None:
    """Let one layer's gradient be that, though the loss is finite."""

    def poisoned(trainer: Trainer) -> Callable[[], None]:
        weight = trainer.network.head.weight
        return weight.register_hook(lambda gradient: torch.full_like(gradient, value)).remove

    _during_steps(when, poisoned, patch)


def poison_validation(value: float, when: When, patch: Patch) -> None:
    """Let the network's answers to the validation text be that."""
    true = Trainer.evaluate

    def evaluate(trainer: Trainer) -> float:
        poisoned = partial(_replaced, validation, "cross_entropy", lambda *_, **__: torch.tensor(value))
        undo = poisoned() if when(trainer) else _nothing
        try:
            return true(trainer)
        finally:
            undo()

    patch(Trainer, "evaluate", evaluate)


def _during_steps(when: When, begin: Callable[[Trainer], Callable[[], None]], patch: Patch) -> None:
    true = Trainer.train_step

    def train_step(trainer: Trainer, window: Any, rate: float) -> tuple[float, float]:
        end = begin(trainer) if when(trainer) else _nothing
        try:
            return true(trainer, window, rate)
        finally:
            end()

    patch(Trainer, "train_step", train_step)


def _replaced(owner: object, name: str, value: object) -> Callable[[], None]:
    true = getattr(owner, name)
    setattr(owner, name, value)
    return partial(setattr, owner, name, true)


def _nothing() -> None:
    pass


POISONS: dict[str, tuple[Callable[[float, When, Patch], None], float, str]] = {
    "the loss is no number": (poison_loss, math.nan, "loss nan"),
    "the loss is infinite": (poison_loss, math.inf, "loss inf"),
    "the loss is infinite downwards": (poison_loss, -math.inf, "loss -inf"),
    "a gradient is no number": (poison_gradient, math.nan, "gradient norm nan"),
    "a gradient is infinite": (poison_gradient, -math.inf, "gradient norm inf"),
    "a gradient is longer than a float": (poison_gradient, 1e30, "gradient norm inf"),
}
each_poison = pytest.mark.parametrize("poison", POISONS)


# What must not happen to them


def numbers(trainer: Trainer) -> dict[str, bytes]:
    """Return every number that training goes by, but the random state, which a step that fails has drawn from."""
    tensors = pack(trainer.network, trainer.optimizer, trainer._state, trainer.device)
    return {name: value.tobytes() for name, value in tensors.items() if name != "rng.cpu"}


def exactly(tensors: dict[str, Any]) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in tensors.items()}


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_finite(folder: Path) -> None:
    """Hold that no file of any run in ``folder`` holds a number that is none, without trusting charlm's own look."""
    for path in folder.rglob("*.safetensors"):
        assert not_finite(safetensors.numpy.load_file(path)) is None, path
        assert all(np.isfinite(value).all() for value in safetensors.numpy.load_file(path).values()), path
        with safetensors.safe_open(path, "numpy") as file:
            strict_json(file.metadata()["charlm"])
    for path in folder.rglob("metrics.jsonl"):
        for line in path.read_text("utf-8").splitlines():
            strict_json(line)


def strict_json(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


def steps_recorded(run: Path) -> list[int]:
    return [strict_json(line)["step"] for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]


class Watcher(Silence):
    """Remembers the reports and rollbacks, in their order."""

    def __init__(self) -> None:
        self.events: list[StepReport | Rollback] = []

    def update(self, report: StepReport) -> None:
        self.events.append(report)

    def show_rollback(self, rollback: Rollback) -> None:
        self.events.append(rollback)

    @property
    def rollbacks(self) -> list[Rollback]:
        return [event for event in self.events if isinstance(event, Rollback)]


def driven(trainer: Trainer) -> Watcher:
    """Train as the command does; return what it showed."""
    watched = Watcher()
    with RunDirectory.create(trainer.config) as run, Requests() as requests:
        run_loop(trainer, run, observer=watched, stop=requests.should_stop, save_now=requests.pop_save_request)
    return watched


# Stop


@pytest.mark.parametrize("step", [1, 3, 4, 7, 12])
@each_poison
def test_a_diverging_step_changes_no_weights_moments_or_files(
    poison: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps are the first, some that are evaluated and some that are not, and the last."""
    install, value, found = POISONS[poison]
    trainer, runs = trainer_of(tmp_path), tmp_path / "runs"
    before: list[object] = []

    def just_before(trainer: Trainer) -> bool:
        if trainer.progress.step + 1 == step:
            before.append((numbers(trainer), files_in(runs), trainer.progress))
            return True
        return False

    install(value, just_before, monkeypatch.setattr)
    with pytest.raises(DivergenceError, match=rf"^training diverged at step {step}: .*{found}") as caught:
        driven(trainer)

    assert caught.value.exit_code == 3
    assert [(numbers(trainer), files_in(runs), trainer.progress)] == before
    check_finite(runs)


@pytest.mark.parametrize("step", EVALUATED)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_validation_loss_that_is_not_finite_is_divergence(
    value: float, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_validation(value, at_steps(step), monkeypatch.setattr)
    with pytest.raises(DivergenceError, match=rf"^training diverged at step {step}: validation loss {value:g}; "):
        driven(trainer_of(tmp_path))

    kept = [evaluated for evaluated in EVALUATED if evaluated < step]
    run = tmp_path / "runs/tiny"
    assert [Checkpoint.load(path).progress.step for path in full_checkpoints(run)] == kept
    assert (run / "best.safetensors").exists() == (run / "metrics.jsonl").exists() == bool(kept)
    assert not kept or steps_recorded(run) == kept
    check_finite(tmp_path / "runs")


@pytest.mark.parametrize(("step", "remembered"), [(1, 0), (3, 2), (10, 5)])
def test_the_message_tells_the_last_losses_and_what_to_try(
    step: int, remembered: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_gradient(math.nan, at_steps(step), monkeypatch.setattr)
    reports: list[StepReport | Rollback] = []
    with pytest.raises(DivergenceError) as caught:
        taken(trainer_of(tmp_path, training={"learning_rate": 0.0125}), reports)
    text = str(caught.value)

    assert len(reports) == step - 1
    losses = [f"{report.loss:.4g}" for report in reports[-remembered:]] if remembered else ["none"]
    assert f"; previous losses: {', '.join(losses)}. " in text
    for way_out in (
        "training.learning_rate (now 0.0125)",
        "training.gradient_clip",
        "training.on_divergence: rollback",
        "resume it with a lower training.learning_rate",
    ):
        assert way_out in text
    assert "--resume --set training.learning_rate=RATE --allow-change training.learning_rate" in message(caught.value)


@pytest.fixture
def command(charlm: Run, tmp_path: Path) -> Run:
    """Return a function that trains on the command line."""
    (tmp_path / "tiny.yaml").write_text(resolved_yaml(config_of(tmp_path)), encoding="utf-8")
    return lambda *arguments: charlm("train", "--config", "tiny.yaml", *arguments)


def test_a_user_who_does_as_the_message_says_comes_to_the_end(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_fast(trainer: Trainer) -> bool:
        return trainer.progress.step + 1 == 7 and trainer.config.training.learning_rate > 0.001

    poison_loss(math.nan, too_fast, monkeypatch.setattr)
    stopped = command("--quiet")
    assert (stopped.exit_code, stopped.stdout) == (3, "")
    assert len(stopped.stderr.splitlines()) == 1
    advice = re.search("`(--resume .*RATE .*?)`", stopped.stderr)
    assert advice is not None

    resumed = command(*advice[1].replace("RATE", "0.001").split())

    assert resumed.exit_code == 0, resumed.stderr
    assert "from step 4" in resumed.stderr
    assert steps_recorded(tmp_path / "runs/tiny") == list(EVALUATED)
    check_finite(tmp_path / "runs")


PLACES = ("model.rnn.weight_hh_l1", "model.head.bias", "optimizer.rnn.bias_ih_l0.exp_avg_sq", "state.0", "state.1")


def poison_number(trainer: Trainer, place: str, value: float) -> None:
    """Put that number into one of the tensors that a checkpoint holds."""
    room, _, name = place.partition(".")
    weights = dict(trainer.network.named_parameters())
    if room == "model":
        tensor = weights[name].data
    elif room == "optimizer":
        weight, _, moment = name.rpartition(".")
        tensor = trainer.optimizer.state[weights[weight]][moment]
    else:
        tensor = trainer._state[int(name)]
    tensor.view(-1)[-1] = value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", PLACES)
def test_a_number_that_is_not_finite_comes_into_no_checkpoint(place: str, value: float, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    assert len(list(islice(trainer.run(), 2))) == 2
    assert place in trainer.checkpoint().tensors
    poison_number(trainer, place, value)

    with pytest.raises(DivergenceError, match=rf"^training diverged at step 2: {place} is not finite; ") as caught:
        trainer.checkpoint()

    assert caught.value.exit_code == 3


def poison_after(step: int, place: str, patch: Patch, when: When = lambda _: True) -> None:
    """Let a step leave a number behind that is not finite, which neither its loss nor its gradient shows."""
    true = Trainer.train_step

    def train_step(trainer: Trainer, window: Any, rate: float) -> tuple[float, float]:
        result = true(trainer, window, rate)
        if trainer.progress.step + 1 == step and when(trainer):
            poison_number(trainer, place, math.inf)
        return result

    patch(Trainer, "train_step", train_step)


EACH_THIRD: dict[str, dict[str, object]] = {"run": {"save_every": 3}}
"""Saves at steps that are not evaluated."""


@pytest.mark.parametrize("place", PLACES)
def test_a_save_of_numbers_that_are_not_finite_changes_no_file(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(tmp_path, **EACH_THIRD)
    poison_after(6, place, monkeypatch.setattr)
    with pytest.raises(DivergenceError, match=rf"at step 6: {place} is not finite"):
        driven(trainer)

    run = tmp_path / "runs/tiny"
    assert [path.name for path in full_checkpoints(run)] == ["step-00000003.safetensors"]
    assert steps_recorded(run) == [4]
    check_finite(run)


# Rollback


def taken(trainer: Trainer, into: list[StepReport | Rollback]) -> None:
    """Train and keep a checkpoint at each evaluation, as the command does; put all events into a list."""
    for event in trainer.run():
        into.append(event)
        if isinstance(event, StepReport) and event.validation_loss is not None:
            trainer.checkpoint()


class Visits:
    """Goes wrong at the first given step, once; then at the second, once; and so on."""

    def __init__(self, *steps: int) -> None:
        self._left = list(steps)

    def __call__(self, trainer: Trainer) -> bool:
        if self._left and trainer.progress.step + 1 == self._left[0]:
            del self._left[0]
            return True
        return False


@each_poison
def test_every_rollback_restores_every_number(poison: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times to the same checkpoint, with steps in between, which leave it alone."""
    install, value, found = POISONS[poison]
    install(value, Visits(6, 7, 6), monkeypatch.setattr)
    trainer = trainer_of(tmp_path, training=rolling())
    kept: dict[str, bytes] = {}
    losses: dict[int, list[float]] = {5: [], 6: []}
    rollbacks = []
    for event in trainer.run():
        if isinstance(event, Rollback):
            rollbacks.append(event)
            now = pack(trainer.network, trainer.optimizer, trainer._state, trainer.device)
            assert exactly(now) == kept  # the random state too
            assert trainer.progress.step == event.step == 4
        elif event.step == 4:
            kept = exactly(trainer.checkpoint().tensors)
        elif event.step in losses:
            losses[event.step].append(event.loss)

    assert [(event.count, event.rate_factor) for event in rollbacks] == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert [found in event.reason for event in rollbacks] == [True] * 3
    assert len(losses[5]) == 4
    assert len(set(losses[5])) == 1  # the same window, weights, state and dropout
    assert len(set(losses[6])) == len(losses[6]) == 2  # after a step at another rate
    assert trainer.finished


SCHEDULES: dict[str, dict[str, object]] = {
    "constant": {"schedule": "constant", "warmup_fraction": 0},
    "cosine": {"schedule": "cosine", "warmup_fraction": 0},
    "plateau": {"schedule": "plateau", "warmup_fraction": 0},
    "constant after a warm-up": {"schedule": "constant", "warmup_fraction": 0.75},
    "cosine after a warm-up": {"schedule": "cosine", "warmup_fraction": 0.75},
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_rollback_halves_the_rate_of_every_schedule(
    schedule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = [report.learning_rate for report in trainer_of(tmp_path, training=SCHEDULES[schedule]).run()]
    assert len(full) == STEPS
    poison_gradient(math.inf, Visits(2, 7, 10), monkeypatch.setattr)
    trainer = trainer_of(tmp_path, training=rolling(**SCHEDULES[schedule]))
    factor, checked = 1.0, []
    for event in trainer.run():
        if isinstance(event, Rollback):
            factor /= 2
            assert event.rate_factor == factor
            continue
        assert event.learning_rate == full[event.step - 1] * factor
        assert {group["lr"] for group in trainer.optimizer.param_groups} == {event.learning_rate}
        checked.append((event.step, factor))
        if event.validation_loss is not None:
            trainer.checkpoint()

    assert checked == [
        (1, 1.0),
        *((step, 0.5) for step in range(1, 7)),
        *((step, 0.25) for step in range(5, 10)),
        *((step, 0.125) for step in range(9, 13)),
    ]


def test_a_rollback_and_a_plateau_both_halve_the_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison_loss(math.nan, Visits(7), monkeypatch.setattr)
    poison_validation(9.0, lambda _: True, monkeypatch.setattr)  # never better than the first time
    trainer = trainer_of(tmp_path, training=rolling(schedule="plateau", warmup_fraction=0, evaluate_every=2))
    events: list[StepReport | Rollback] = []
    taken(trainer, events)

    rates = [event.learning_rate / 0.002 for event in events if isinstance(event, StepReport)]
    assert rates == [*[1.0] * 6, *[0.25] * 4, *[0.125] * 2]


def test_a_rollback_to_the_start_equals_a_start_at_half_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = [report.loss for report in trainer_of(tmp_path, training={"learning_rate": 0.001}).run()]
    poison_loss(math.nan, at_the_full_rate(3), monkeypatch.setattr)
    trainer = trainer_of(tmp_path, training=rolling(learning_rate=0.002))

    events = list(trainer.run())

    assert isinstance(events[2], Rollback)
    assert events[2].step == 0
    assert [report.loss for report in events[3:]] == slow


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_a_rollback_equals_resuming_at_half_the_rate(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: dict[str, object] = {"kind": kind}
    first = trainer_of(tmp_path, model=model, training={"learning_rate": 0.004})
    assert len(list(islice(first.run(), 4))) == 4
    slower = config_of(tmp_path, model=model, training={"learning_rate": 0.002})
    resumed = Trainer.resume(adapted(first.checkpoint(), slower), first.corpus)
    expected = [report.loss for report in resumed.run()]

    poison_validation(math.nan, at_the_full_rate(8), monkeypatch.setattr)
    trainer = trainer_of(tmp_path, model=model, training=rolling(learning_rate=0.004))
    watched = driven(trainer)

    assert [event.step for event in watched.rollbacks] == [4]
    back = watched.events.index(watched.rollbacks[0])
    assert [report.loss for report in watched.events[back + 1 :]] == expected
    last = trainer.checkpoint()
    assert exactly(last.part("model")) == exactly(resumed.checkpoint().part("model"))
    assert (last.progress.rollbacks, last.progress.rate_factor) == (1, 0.5)
    check_finite(tmp_path / "runs")


@pytest.mark.parametrize("step", [1, 2, 6, 8, 12])
@each_poison
def test_a_run_that_diverges_only_at_the_full_rate_finishes(
    poison: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install, value, _ = POISONS[poison]
    install(value, at_the_full_rate(step), monkeypatch.setattr)
    trainer = trainer_of(tmp_path, training=rolling())
    watched = driven(trainer)

    run = tmp_path / "runs/tiny"
    assert trainer.finished
    assert [rollback.count for rollback in watched.rollbacks] == [1]
    assert steps_recorded(run) == list(EVALUATED)  # none twice
    assert [Checkpoint.load(path).progress.step for path in full_checkpoints(run)] == list(EVALUATED)
    assert trainer.progress.characters == sum_of_characters(tmp_path)
    check_finite(tmp_path / "runs")


def sum_of_characters(folder: Path) -> int:
    """Return how many characters a run reads that never goes back."""
    trainer = trainer_of(folder)
    return sum(trainer.streams.at(step).targets.size for step in range(STEPS))


# So strong a decay multiplies the weights by minus two thousand in every step, and by minus a thousand at half the
# rate: 2000^12 is more than a float32 can hold, 1000^12 is not.
RUNAWAY: dict[str, object] = {
    "learning_rate": 1.0,
    "weight_decay": 2000.0,
    "schedule": "constant",
    "warmup_fraction": 0,
    "evaluate_every": STEPS,
}


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_a_real_divergence_at_the_full_rate_finishes_at_half(kind: str, tmp_path: Path) -> None:
    model: dict[str, object] = {"kind": kind, "num_layers": 1}
    with pytest.raises(DivergenceError):
        driven(trainer_of(tmp_path, model=model, training=RUNAWAY))
    watched = driven(trainer_of(tmp_path, model=model, training=rolling(**RUNAWAY)))

    assert [(rollback.step, rollback.rate_factor) for rollback in watched.rollbacks] == [(0, 0.5)]
    check_finite(tmp_path / "runs")
    assert steps_recorded(tmp_path / "runs/tiny-2") == [STEPS]


def test_a_real_divergence_at_any_rate_stops_after_three(command: Run, tmp_path: Path) -> None:
    hopeless = ("--set", "training.learning_rate=1e38", "--set", "training.weight_decay=1")
    result = command(*ROLLBACK, *hopeless, "--quiet")

    assert (result.exit_code, result.stdout) == (3, "")
    assert re.findall("this is rollback (.) of 3", result.stderr) == ["1", "2", "3"]
    assert "Traceback" not in result.stderr
    check_finite(tmp_path / "runs")


def test_the_fourth_divergence_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison_loss(math.inf, at_steps(6), monkeypatch.setattr)
    trainer = trainer_of(tmp_path, training=rolling())
    watched = Watcher()
    with (
        RunDirectory.create(trainer.config) as run,
        Requests() as requests,
        pytest.raises(DivergenceError, match="at step 6: loss inf") as caught,
    ):
        run_loop(trainer, run, observer=watched, stop=requests.should_stop, save_now=requests.pop_save_request)

    assert caught.value.exit_code == 3
    assert [rollback.count for rollback in watched.rollbacks] == list(range(1, MOST_ROLLBACKS + 1))
    assert [path.name for path in full_checkpoints(run.path)] == ["step-00000004.safetensors"]
    assert steps_recorded(run.path) == [4]
    check_finite(run.path)


def test_the_last_message_does_not_advise_what_is_done_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison_loss(math.inf, at_steps(6), monkeypatch.setattr)
    with pytest.raises(DivergenceError) as caught:
        driven(trainer_of(tmp_path, training=rolling()))

    assert "training.on_divergence: rollback" not in str(caught.value)


def test_divergence_that_only_a_save_finds_is_rolled_back_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison_after(6, "model.head.bias", monkeypatch.setattr, at_the_full_rate(6))
    watched = driven(trainer_of(tmp_path, training=rolling(), **EACH_THIRD))

    assert [(rollback.step, rollback.count) for rollback in watched.rollbacks] == [(3, 1)]
    assert steps_recorded(tmp_path / "runs/tiny") == list(EVALUATED)
    check_finite(tmp_path / "runs")


# Loudly, and for good


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_a_rollback_is_a_warning_even_when_quiet(
    quiet: tuple[str, ...], command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_loss(math.nan, at_the_full_rate(7), monkeypatch.setattr)
    result = command(*ROLLBACK, *quiet)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].endswith("runs/tiny is trained")
    warnings = [line for line in result.stderr.splitlines() if "WARNING" in line]
    assert all(line.startswith("charlm: WARNING: ") for line in warnings)
    reason, back = warnings
    assert "diverged at step 7: loss nan" in reason
    assert "back to step 4, at 0.5 × the learning rate; this is rollback 1 of 3." in back
    assert not quiet or result.stderr.splitlines() == warnings


def test_a_rollback_is_a_warning_on_a_terminal(command: Run, tmp_path: Path) -> None:
    # The fixture lays out the folder; the command runs as a process of its own.
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, SIZE)
    before = [partial(poison_loss, math.nan, at_the_full_rate(7), setattr)]
    with CharlmProcess(tmp_path, "train", "--config", "tiny.yaml", *ROLLBACK, before=before, stderr=theirs) as process:
        ended = process.wait()
        shown = read_all(ours).decode()
    os.close(ours)

    assert ended.code == 0
    lines = re.split(r"[\r\n]+", shown)
    warnings = [line for line in lines if "WARNING" in line]
    assert len(warnings) == 2
    assert all(line.startswith("charlm: WARNING: ") for line in warnings)
    assert any("| 12/12" in line for line in lines)
    assert "the learning rate was too high" in lines[-2]


def test_rollbacks_are_counted_over_interruptions(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_loss(math.nan, at_the_full_rate(6), monkeypatch.setattr)
    poison_gradient(math.nan, at_steps(15), monkeypatch.setattr)
    constant = ("--set", "training.schedule=constant", "--set", "training.warmup_fraction=0")
    assert command(*ROLLBACK, *constant, "--quiet").exit_code == 0
    longer = command(*ROLLBACK, *constant, "--quiet", "--resume", "--set", "training.steps=16")

    assert (longer.exit_code, longer.stdout) == (3, "")
    assert re.findall("this is rollback (.*)", longer.stderr) == ["2 of 3.", "3 of 3."]
    assert re.findall("at (.*) × the learning rate", longer.stderr) == ["0.25", "0.125"]
    kept = Checkpoint.load(full_checkpoints(tmp_path / "runs/tiny")[-1]).progress
    assert (kept.step, kept.rollbacks, kept.rate_factor) == (12, 1, 0.5)
    lines = (tmp_path / "runs/tiny/metrics.jsonl").read_text("utf-8").splitlines()
    assert [strict_json(line)["learning_rate"] for line in lines] == [0.002, 0.001, 0.001]
    check_finite(tmp_path / "runs")


@settings(max_examples=repetitions(25))
@given(
    visits=st.lists(st.integers(1, STEPS), max_size=5),
    poison=st.sampled_from(sorted(POISONS)),
    evaluate_every=st.integers(1, 6),
    save_every=st.none() | st.integers(1, 6),
)
def test_any_divergences_leave_finite_files_and_each_step_once(
    visits: list[int],
    poison: str,
    evaluate_every: int,
    save_every: int | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("diverging")
    install, value, _ = POISONS[poison]
    with pytest.MonkeyPatch.context() as patch:
        wrong = Visits(*visits)
        install(value, wrong, patch.setattr)
        trainer = trainer_of(
            folder, training=rolling(evaluate_every=evaluate_every), run={"save_every": save_every, "keep": 2}
        )
        watched = Watcher()
        with RunDirectory.create(trainer.config) as run, Requests() as requests:
            try:
                run_loop(trainer, run, observer=watched, stop=requests.should_stop, save_now=requests.pop_save_request)
            except DivergenceError:
                assert len(watched.rollbacks) == MOST_ROLLBACKS
            else:
                assert trainer.progress.rollbacks == len(watched.rollbacks) <= MOST_ROLLBACKS
                assert steps_recorded(run.path) == [
                    step for step in range(1, STEPS + 1) if step % evaluate_every == 0 or step == STEPS
                ]
    check_finite(folder)
    for path in full_checkpoints(run.path):
        Checkpoint.load(path)
