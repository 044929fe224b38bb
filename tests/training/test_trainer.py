"""Truncated BPTT as the trainer does it: what is carried, cut, shifted, clipped, evaluated and stopped."""

import math
from itertools import islice

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from charlm.config.settings import Config
from charlm.errors import DivergenceError, TextError
from charlm.evaluation import evaluate
from charlm.text.corpus import Corpus
from charlm.training.trainer import Trainer
from tests.conftest import TEXT, make_config

KINDS = ["rnn", "lstm", "gru"]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8", newline="")
    return path


def trainer_of(text, kind="lstm", **sections) -> Trainer:
    config = make_config(text, text.parent / "runs", kind=kind, **sections)
    return Trainer(config, Corpus.read(config.data))


def weights_of(trainer: Trainer) -> dict[str, np.ndarray]:
    return trainer.network.tensors()


def assert_same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_carried_state_lets_windows_of_one_step_learn_what_memory_alone_can_know(kind, tmp_path) -> None:
    """In aabaab… the letter after an a depends on the one before it. A memoryless guesser stays above 2/3·ln 2."""
    text = tmp_path / "aab.txt"
    text.write_text("aab" * 400, newline="")
    training = {"batch_size": 4, "sequence_length": 1, "steps": 400, "learning_rate": 0.02, "evaluate_every": 400}
    floor = 2 / 3 * math.log(2)

    def loss(carry_state: bool) -> float:
        config = {"training": training | {"carry_state": carry_state}, "model": {"hidden_size": 12, "num_layers": 1}}
        reports = list(trainer_of(text, kind, **config).run())
        return reports[-1].train_loss if reports[-1].step < 50 else reports[-1].loss

    assert loss(carry_state=True) < 0.6 * floor
    assert loss(carry_state=False) > 0.95 * floor


def test_the_state_starts_fresh_when_the_text_starts_again(text) -> None:
    trainer = trainer_of(text, training={"epochs": 2, "steps": None})
    windows = len(trainer.streams)
    first_pass = list(islice(trainer.run(), windows))
    fresh = trainer_of(text)
    fresh.network.load_tensors(weights_of(trainer))

    second_pass = next(trainer.run())
    expected, _ = fresh.train_step(fresh.streams.at(0), 0.0)

    assert len(first_pass) == windows
    assert second_pass.loss == pytest.approx(expected, abs=1e-7)


def test_the_gradient_is_cut_at_the_windows_edge_and_reaches_back_to_its_beginning(text) -> None:
    """A step's gradient is that of its own window from the carried numbers, taken as constants."""
    trainer = trainer_of(text, model={"num_layers": 1}, training={"gradient_clip": None})
    reports = trainer.run()
    next(reports)
    before = weights_of(trainer)
    carried = trainer._state
    assert isinstance(carried, tuple)
    assert all(not part.requires_grad and part.grad_fn is None for part in carried)
    window = trainer.streams.at(1)
    oracle = trainer_of(text, model={"num_layers": 1})
    oracle.network.load_tensors(before)
    logits, _ = oracle.network(torch.from_numpy(window.inputs.astype(np.int64)), carried)
    cross_entropy(logits.flatten(0, 1), torch.from_numpy(window.targets.astype(np.int64)).flatten()).backward()
    squares = sum(float(w.grad.square().sum()) for w in oracle.network.parameters() if w.grad is not None)

    report = next(reports)

    assert report.gradient_norm == pytest.approx(math.sqrt(squares), rel=1e-5)


def test_targets_are_the_next_characters(text) -> None:
    """A network that always names the next character of the text has no loss; any other shift would have."""
    trainer = trainer_of(text)
    window = trainer.streams.at(2)
    corpus = trainer.corpus.train.astype(np.int64)
    length = trainer.streams.lane_length
    for lane, row in enumerate(window.targets):
        start = lane * length + 2 * 11 + 1
        np.testing.assert_array_equal(row, corpus[start : start + len(row)])


def test_the_gradient_is_clipped_to_the_global_norm(text) -> None:
    trainer = trainer_of(text, training={"gradient_clip": 0.01})

    _, norm = trainer.train_step(trainer.streams.at(0), 0.0)
    squares = sum(float(w.grad.square().sum()) for w in trainer.network.parameters() if w.grad is not None)

    assert norm > 0.1
    assert math.sqrt(squares) == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_touches_neither_training_nor_any_random_state(kind, text) -> None:
    """With dropout on, a run that is evaluated after every step ends as one evaluated only at its end."""
    model = {"dropout": 0.4}
    often = trainer_of(text, kind, model=model, training={"evaluate_every": 1})
    seldom = trainer_of(text, kind, model=model, training={"evaluate_every": 8})

    torch.manual_seed(1)
    often_losses = [report.loss for report in often.run()]
    torch.manual_seed(1)
    seldom_losses = [report.loss for report in seldom.run()]

    assert often_losses == seldom_losses
    assert_same(weights_of(often), weights_of(seldom))


def test_dropout_is_off_in_validation_and_on_again_in_training(text) -> None:
    trainer = trainer_of(text, model={"dropout": 0.5})

    assert trainer.evaluate() == trainer.evaluate()
    trainer.train_step(trainer.streams.at(0), 0.0)
    assert trainer.network.training


@pytest.mark.parametrize("kind", KINDS)
def test_validation_loss_is_what_numpy_computes_from_the_checkpoint(kind, text) -> None:
    trainer = trainer_of(text, kind)
    report = list(trainer.run())[-1]
    checkpoint = trainer.checkpoint()

    score = evaluate(checkpoint.model(), checkpoint.vocabulary, trainer.validation_streams)

    assert report.validation_loss == pytest.approx(score.nats_per_character, abs=1e-5)


def test_validation_carries_its_state_from_window_to_window(text) -> None:
    """The loss of one long lane is the same however it is cut, and that of a fresh state at each cut is not."""
    trainer = trainer_of(text, training={"evaluation_lanes": 1, "steps": 30}, data={"validation_fraction": 0.5})
    list(trainer.run())
    whole = trainer.evaluate()

    trainer.validation_streams._window = 5
    assert trainer.evaluate() == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau"])
def test_interrupted_and_resumed_training_is_training_uninterrupted(kind, schedule, text) -> None:
    sections = {"model": {"dropout": 0.3}, "training": {"schedule": schedule, "evaluate_every": 2, "steps": 9}}
    whole = trainer_of(text, kind, **sections)
    expected = list(whole.run())
    first = trainer_of(text, kind, **sections)
    begun = list(islice(first.run(), 5))

    second = Trainer.resume(first.checkpoint(), first.corpus)
    finished = list(second.run())

    assert [report.loss for report in begun + finished] == [report.loss for report in expected]
    assert finished[-1].validation_loss == expected[-1].validation_loss
    whole_tensors, resumed_tensors = whole.checkpoint().tensors, second.checkpoint().tensors
    assert_same(whole_tensors, resumed_tensors)


@pytest.mark.parametrize("lost", ["state", "rng", "optimizer", "step"])
def test_each_part_of_the_training_state_is_needed(lost, text) -> None:
    """The negative control: leave one part out and the rest of the run is another."""
    sections = {"model": {"dropout": 0.3}, "training": {"steps": 9}}
    whole = trainer_of(text, **sections)
    expected = [report.loss for report in whole.run()][5:]
    first = trainer_of(text, **sections)
    list(islice(first.run(), 5))
    resumed = Trainer.resume(first.checkpoint(), first.corpus)
    if lost == "state":
        resumed._state = None
    elif lost == "rng":
        torch.manual_seed(99)
    elif lost == "optimizer":
        resumed.optimizer.state.clear()
    else:
        resumed.progress = resumed.progress.model_copy(update={"step": 4})

    assert [report.loss for report in resumed.run()][-4:] != expected


def test_the_same_seed_trains_the_same_model_and_another_seed_another(text) -> None:
    def loss(seed: int) -> float:
        return list(trainer_of(text, training={"seed": seed}).run())[-1].loss

    assert loss(4) == loss(4) != loss(5)


def test_reports_count_steps_characters_and_passes(text) -> None:
    trainer = trainer_of(text, training={"epochs": 2, "steps": None, "evaluate_every": None})
    reports = list(trainer.run())
    windows = len(trainer.streams)

    assert [report.step for report in reports] == list(range(1, 2 * windows + 1))
    assert reports[-1].characters == 2 * trainer.streams.characters
    assert reports[windows - 1].epoch == 1.0
    assert [report.step for report in reports if report.validation_loss is not None] == [windows, 2 * windows]
    assert all(np.diff([report.seconds for report in reports]) > 0)


def test_the_last_step_is_always_evaluated(text) -> None:
    reports = list(trainer_of(text, training={"steps": 7, "evaluate_every": 5}).run())

    assert [report.step for report in reports if report.validation_loss is not None] == [5, 7]


def test_train_loss_is_the_mean_over_characters_since_the_last_evaluation(text) -> None:
    trainer = trainer_of(text, training={"epochs": 1, "steps": None})
    reports = list(trainer.run())
    sizes = np.diff([0, *(report.characters for report in reports)])
    after = [index for index, report in enumerate(reports) if report.validation_loss is not None]
    last = slice(after[-2] + 1 if len(after) > 1 else 0, None)

    expected = np.average([report.loss for report in reports[last]], weights=sizes[last])
    assert len(set(sizes)) > 1
    assert reports[-1].train_loss == pytest.approx(expected)


def test_patience_ends_a_run_that_gets_no_better(text) -> None:
    training = {"steps": 50, "evaluate_every": 1, "learning_rate": 1e-12, "patience": 3, "schedule": "constant"}
    trainer = trainer_of(text, training=training)
    trainer.progress = trainer.progress.model_copy(update={"best_validation_loss": 0.0})

    reports = list(trainer.run())

    assert len(reports) == 3
    assert trainer.finished
    assert reports[-1].validation_loss is not None


def test_the_best_loss_is_the_lowest_and_marks_its_report(text) -> None:
    trainer = trainer_of(text, training={"steps": 30, "evaluate_every": 3, "learning_rate": 0.1})
    lowest = math.inf
    for report in trainer.run():
        if report.validation_loss is not None:
            assert report.best == (report.validation_loss < lowest)
            lowest = min(lowest, report.validation_loss)
    assert trainer.progress.best_validation_loss == lowest


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_divergence_is_noticed_before_the_weights_are_touched(poison, text) -> None:
    trainer = trainer_of(text)
    with torch.no_grad():
        trainer.network.head.bias[0] = poison
    before = weights_of(trainer)

    with pytest.raises(DivergenceError, match="step 1"):
        next(trainer.run())

    assert_same(before, weights_of(trainer))


def test_a_text_shorter_than_its_lanes_is_refused_with_the_numbers(text) -> None:
    with pytest.raises(TextError, match="40 lanes of one window of 64 steps need 2,561"):
        trainer_of(text, training={"batch_size": 40, "sequence_length": 64})


DROPPED = [{"weight_dropout": 0.4}, {"locked_dropout": 0.4}, {"input_dropout": 0.4}]


@pytest.mark.parametrize("dropped", DROPPED, ids=lambda model: next(iter(model)))
def test_each_step_has_masks_of_its_own_whenever_it_is_taken(dropped, text) -> None:
    """The same window from the same weights: another loss at another step, the same when it goes back to a step."""
    trainer = trainer_of(text, model=dropped, training={"carry_state": False})
    before = torch.get_rng_state()

    def loss_at(step: int) -> float:
        trainer.progress = trainer.progress.model_copy(update={"step": step})
        return trainer.train_step(trainer.streams.at(0), rate=0.0)[0]

    losses = [loss_at(step) for step in (0, 1, 2, 1, 0)]

    assert len(set(losses[:3])) == 3
    assert losses[3:] == [losses[1], losses[0]]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dropped", DROPPED, ids=lambda model: next(iter(model)))
def test_another_seed_has_other_masks(dropped, text) -> None:
    def losses(seed: int, weights: dict[str, np.ndarray] | None = None) -> tuple[float, dict[str, np.ndarray]]:
        trainer = trainer_of(text, model=dropped, training={"seed": seed})
        if weights is not None:
            trainer.network.load_tensors(weights)
        return trainer.train_step(trainer.streams.at(0), 0.0)[0], weights_of(trainer)

    one, weights = losses(1)

    assert losses(1, weights)[0] == one != losses(2, weights)[0]


@pytest.mark.parametrize("dropped", DROPPED, ids=lambda model: next(iter(model)))
def test_nothing_is_dropped_in_validation(dropped, text) -> None:
    assert trainer_of(text, model=dropped).evaluate() == trainer_of(text).evaluate()


def test_the_checkpoint_is_a_copy_that_training_leaves_alone(text) -> None:
    trainer = trainer_of(text)
    reports = trainer.run()
    next(reports)
    checkpoint = trainer.checkpoint()
    before = {name: values.copy() for name, values in checkpoint.tensors.items()}

    next(reports)

    assert_same(before, checkpoint.tensors)


def test_config_of_a_trainer_is_what_its_checkpoint_carries(text) -> None:
    trainer = trainer_of(text)
    checkpoint = trainer.checkpoint()

    assert isinstance(checkpoint.config, Config)
    assert checkpoint.config == trainer.config
    assert checkpoint.corpus.sha256 == trainer.corpus.sha256
    assert {"charlm", "torch", "numpy", "device", "threads"} <= checkpoint.versions.keys()
