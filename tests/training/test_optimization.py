"""Learning rates, decay and clipping."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from charlm.config.settings import TrainingConfig
from charlm.training.optimization import clip_gradient, learning_rate, make_optimizer, plateau_factor

SCHEDULES = ["constant", "cosine", "plateau"]


def settings_of(**values: object) -> TrainingConfig:
    return TrainingConfig.model_validate({"learning_rate": 0.5, "warmup_fraction": 0.2} | values)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_rises_evenly_to_its_highest(schedule) -> None:
    rates = [learning_rate(settings_of(schedule=schedule), step, 50) for step in range(10)]

    assert rates == pytest.approx([0.05 * step for step in range(1, 11)])


def test_a_constant_rate_stays() -> None:
    training = settings_of(schedule="constant")

    assert {learning_rate(training, step, 50) for step in range(10, 50)} == {0.5}


def test_a_cosine_rate_halves_half_way_and_ends_near_zero() -> None:
    training = settings_of(schedule="cosine")

    assert learning_rate(training, 30, 50) == pytest.approx(0.25)
    assert learning_rate(training, 20, 50) == pytest.approx(0.5 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert 0 < learning_rate(training, 49, 50) < 0.001


@given(st.sampled_from(SCHEDULES), st.integers(1, 500), st.floats(0, 1), st.data())
def test_no_rate_is_negative_or_past_the_highest(schedule, total, warmup, data) -> None:
    training = settings_of(schedule=schedule, warmup_fraction=warmup)
    step = data.draw(st.integers(0, total - 1))

    assert 0 <= learning_rate(training, step, total) <= 0.5


def test_the_plateau_schedule_halves_the_rate_each_time_the_loss_has_stalled_twice() -> None:
    training, factor, factors = settings_of(schedule="plateau", warmup_fraction=0.0), 1.0, []
    for without_better in (0, 1, 2, 3, 4, 0, 1):
        factor = plateau_factor(training, factor, without_better)
        factors.append(factor)

    assert factors == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.25]
    assert learning_rate(training, 10, 50, factor) == pytest.approx(0.125)
    assert plateau_factor(settings_of(schedule="cosine"), 1.0, 2) == 1.0


def test_decay_shrinks_matrices_and_leaves_biases() -> None:
    layer = nn.Linear(3, 2)
    before = {name: weight.detach().clone() for name, weight in layer.named_parameters()}
    optimizer = make_optimizer(layer, settings_of(weight_decay=0.5))
    for weight in layer.parameters():
        weight.grad = torch.zeros_like(weight)

    optimizer.step()

    torch.testing.assert_close(layer.weight, before["weight"] * (1 - 0.5 * 0.5))
    torch.testing.assert_close(layer.bias, before["bias"])


def test_a_gradient_is_scaled_down_to_the_longest_allowed_and_never_up() -> None:
    weight = nn.Parameter(torch.zeros(2))
    for longest, expected in ((1.0, 1.0), (10.0, 5.0), (None, 5.0)):
        weight.grad = torch.tensor([3.0, 4.0])
        assert clip_gradient([weight], longest) == 5.0
        assert float(weight.grad.norm()) == pytest.approx(expected, rel=1e-5)
