"""What is said after training: made-up curves on both sides of each threshold, and real odd ones."""

import math
import re
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.runs.advice import advice
from charlm.runs.step_report import StepReport

FITTING = {"weights": 100_000, "characters": 100_000}
"""A model that is neither large nor small for its text."""

SOUND = [2.5, 2.0, 1.8, 1.7, 1.65, 1.645, 1.644, 1.643]
"""A loss that falls and settles."""


def history(train: Sequence[float], validation: Sequence[float], rate: float = 0.006) -> list[dict[str, Any]]:
    """Return the lines of a run that was evaluated every 1,000 steps; losses in nats."""
    return [
        StepReport(1000 * number, 1.0, 1, 1.0, train_loss, rate, 1.0, 1.0, 1.0, validation_loss).metrics()
        for number, (train_loss, validation_loss) in enumerate(zip(train, validation, strict=True), start=1)
    ]


def scaled(losses: Sequence[float], factor: float) -> list[float]:
    return [factor * loss for loss in losses]


def said(train: Sequence[float], validation: Sequence[float], **rest: int) -> list[str]:
    return advice(history(train, validation), **{**FITTING, **rest})


def topics(sentences: Sequence[str]) -> list[str]:
    """Return what each sentence is about."""
    marks = {
        "rate": "learning rate was too high",
        "overfitting": "Overfitting since",
        "longer": "still falling",
        "large": "model is large",
        "small": "model is small",
    }
    found = [[topic for topic, mark in marks.items() if mark in sentence] for sentence in sentences]
    assert all(len(names) == 1 for names in found)
    return [names[0] for names in found]


def test_where_all_went_well_nothing_is_said() -> None:
    assert said(SOUND, scaled(SOUND, 1.1)) == []


# The learning rate


def test_a_run_that_was_taken_back_had_too_high_a_rate() -> None:
    assert said(SOUND, scaled(SOUND, 1.1), rollbacks=2) == [
        "Training diverged and was rolled back 2 times, so the learning rate was too high: try half, "
        "training.learning_rate: 0.003."
    ]
    assert "rolled back once," in said(SOUND, scaled(SOUND, 1.1), rollbacks=1)[0]


def test_half_of_the_highest_rate_is_proposed_in_two_figures() -> None:
    lines = history(SOUND, SOUND)
    for line, rate in zip(lines, [0.0001, 0.0119765, *[0.001] * 6], strict=True):
        line["learning_rate"] = rate

    assert "training.learning_rate: 0.006." in advice(lines, **FITTING, rollbacks=1)[0]


def test_rollbacks_without_an_evaluation_are_told_of_as_well() -> None:
    assert advice([], **FITTING, rollbacks=3) == [
        "Training diverged and was rolled back 3 times, so the learning rate was too high: try half of "
        "training.learning_rate."
    ]


@pytest.mark.parametrize(("rise", "expected"), [(1.04, []), (1.06, ["rate"])])
def test_a_rise_of_both_losses_over_two_evaluations_is_a_rate_too_high(rise, expected) -> None:
    losses = [2.5, 2.0, 2.0 * rise, 2.0 * rise, 1.9, 1.895, 1.89, 1.89, 1.89, 1.89]

    assert topics(said(losses, losses)) == expected


def test_a_rise_is_told_in_bits_with_its_steps() -> None:
    losses = [2.5, math.log(2) * 3, 2.3, math.log(2) * 4, 2.0, 2.0, 2.0, 2.0]

    assert said(losses, losses)[0].startswith(
        "The training loss rose from 3.00 bits per character at step 2,000 to 4.00 at step 4,000, so"
    )


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ([2.5, 2.0, 2.4, 1.9, 1.8, 1.8, 1.8, 1.8], [2.5, 2.0, 2.4, 1.9, 1.8, 1.8, 1.8, 1.8]),  # one outlier
        (
            [2.5, 2.0, 2.4, 2.4, 1.8, 1.8, 1.8, 1.8],
            [2.5, 2.0, 1.9, 1.8, 1.8, 1.8, 1.8, 1.8],
        ),  # a harder part of the text
        ([2.5, 2.0, 2.4, 1.9, 2.4, 1.8, 2.3, 1.8], [2.5, 2.0, 2.4, 1.9, 2.4, 1.8, 1.8, 1.8]),  # up and down
    ],
)
def test_a_rise_that_may_be_chance_is_not_blamed_on_the_rate(train, validation) -> None:
    assert "rate" not in topics(said(train, validation))


def test_a_slow_rise_is_measured_from_the_lowest_loss_and_not_from_the_neighbour() -> None:
    losses = [2.5, 2.0, 2.03, 2.06, 2.09, 2.12, 2.15]

    assert topics(said(losses, losses)) == ["rate"]


@pytest.mark.parametrize(("last", "expected"), [(2.01, []), (2.03, ["rate"])])
def test_a_run_that_ends_worse_than_it_began_had_too_high_a_rate(last, expected) -> None:
    sentences = said([2.0, last], [2.0, last])

    assert topics(sentences) == expected
    assert not expected or "ended at 2.93 bits per character, worse than the initial 2.89, so" in sentences[0]


def test_a_loss_near_zero_may_double() -> None:
    losses = [0.004, 0.002, 0.004, 0.005, 0.006, 0.006]

    assert said(losses, losses) == []


any_loss = st.one_of(st.floats(0, 5), st.floats(0, 1e308))


def first_rise(train: Sequence[float], validation: Sequence[float]) -> tuple[int, int] | None:
    """Return the places of the lowest training loss and of the second evaluation above it, one after the other."""
    for here in range(1, len(train) - 1):
        place = min(range(here), key=lambda place: train[place])
        lowest = min(validation[:here])
        if all(
            train[at] - train[place] > 0.01
            and train[at] > 1.05 * train[place]
            and validation[at] - lowest > 0.01
            and validation[at] > 1.05 * lowest
            for at in (here, here + 1)
        ):
            return place, here + 1
    return None


@given(st.lists(st.tuples(st.sampled_from([1.0, 1.04, 1.06, 1.1, 1.2, 2.0]) | any_loss, any_loss), max_size=12))
def test_the_first_rise_is_found(pairs) -> None:
    train, validation = [pair[0] for pair in pairs], [pair[0] + min(pair[1], 0.1) for pair in pairs]
    found, sentences = first_rise(train, validation), said(train, validation)
    if found is None:
        assert not any("loss rose from" in sentence for sentence in sentences)
    else:
        steps = [f"at step {1000 * (place + 1):,}" for place in found]
        assert sentences[0].startswith("The training loss rose from ")
        assert [sentences[0].index(step) > 0 for step in steps] == [True, True]


def test_a_very_long_run_is_read_in_one_pass() -> None:
    losses = [1 + math.exp(-place / 3000) for place in range(20_000)]
    lines = history(losses, losses)
    began = time.perf_counter()
    assert topics(advice(lines, **FITTING)) == []
    assert time.perf_counter() - began < 1  # 0.03 s; half a minute where each is compared with all before it


# The length of the training


def test_overfitting_is_told_with_its_step_and_size() -> None:
    train = [2.5, 2.0, 1.8, 1.6, 1.4]
    validation = [2.5, 2.1, math.log(2) * 2.80, math.log(2) * 2.90, math.log(2) * 3.00]

    assert said(train, validation) == [
        "Overfitting since step 3,000: the validation loss rose by 0.20 to 3.00 bits per character while the training "
        "loss fell. The best checkpoint, of that step, is kept. More text, model.dropout or fewer units "
        "(model.hidden_size) help; training.patience stops training early."
    ]


@pytest.mark.parametrize(
    ("train", "validation", "expected"),
    [
        ([2.5, 2.0, 1.8, 1.6], [2.5, 2.0, 2.022, 2.022], ["overfitting"]),
        ([2.5, 2.0, 1.8, 1.6], [2.5, 2.0, 2.018, 2.018], []),  # a rise as small as noise
        ([2.5, 2.0, 1.8, 1.6], [2.5, 2.0, 1.999, 2.3], []),  # one evaluation after the best
        ([2.5, 2.0, 1.8, 1.6], [2.5, 2.0, 2.3, 2.01], []),  # it came back
        ([2.5, 2.0, 1.8, 1.6], [2.5, 2.0, 2.01, 2.3], []),  # a last outlier
        ([2.5, 2.0, 2.0, 2.0], [2.5, 2.0, 2.05, 2.05], []),  # nothing more was learned from the training text
        ([2.5, 2.0, 1.8], [2.0, 2.1, 2.1], ["overfitting"]),  # the best is the first
        ([2.5, 2.0], [2.0, 2.1], []),
    ],
)
def test_overfitting_is_a_lasting_rise_while_the_training_loss_falls(train, validation, expected) -> None:
    assert topics(said(train, validation)) == expected


def test_noise_in_a_rising_validation_loss_hides_nothing() -> None:
    train = [2.5, 2.0, 1.8, 1.7, 1.6, 1.5, 1.4, 1.3]
    validation = [2.5, 2.0, 1.9, 1.94, 1.91, 1.97, 1.95, 1.99]

    assert "Overfitting since step 3,000:" in said(train, validation)[0]


def test_still_falling_is_told_in_percent_and_bits() -> None:
    losses = [3.0, 2.6, 2.3, 2.1, 2.0, 1.9, 1.8, math.log(2) * 2.5]

    assert said(losses, losses) == [
        f"The validation loss was still falling, by {1 - losses[-1] / 1.9:.1%} to 2.50 bits per character in the last "
        "quarter: train longer, with more training.epochs (or training.steps)."
    ]


@pytest.mark.parametrize(
    ("validation", "expected"),
    [
        ([3.0, 2.6, 2.0, 1.978], ["longer"]),
        ([3.0, 2.6, 2.0, 1.982], []),  # as little as noise
        ([3.0, 2.6, 2.0], []),  # too short to tell
        ([3.0, 2.6, 2.2, 2.1, 2.0, 2.0, 1.8, 1.79], ["longer"]),
        ([3.0, 2.6, 2.2, 2.1, 2.0, 2.0, 1.8, 1.81], ["longer"]),  # the last is the best but for noise
        ([3.0, 2.6, 2.2, 2.1, 2.0, 2.0, 1.8, 1.83], []),  # no longer falling
        ([3.0, 2.6, 2.2, 2.1, 1.9, 2.0, 1.95, 1.89], []),  # what came before was noise above the best so far
        ([3.0, 2.6, 2.2, 2.1, 2.0, 1.9, 1.899, 1.898], []),  # all in the third quarter
    ],
)
def test_still_falling_looks_at_the_last_quarter(validation, expected) -> None:
    assert topics(said(scaled(validation, 0.9), validation)) == expected


def test_the_last_quarter_is_one_of_steps_and_not_of_evaluations() -> None:
    losses = [3.0, 2.6, 2.2, 2.0, 1.99, 1.98, 1.975, 1.97]
    lines = history(losses, losses)
    assert advice(lines, **FITTING) == []

    for line in lines[3:]:
        line["step"] += 10_000  # a pause without evaluations

    assert topics(advice(lines, **FITTING)) == ["longer"]


# The size of the model


@pytest.mark.parametrize(
    ("weights", "factor", "expected"),
    [
        (1_000_001, 1.31, ["large"]),
        (1_000_000, 1.31, []),
        (1_000_001, 1.29, []),
        (5_000, 1.0, []),
        (4_999, 1.04, ["small"]),
        (4_999, 0.9, ["small"]),  # the validation text may be the easier one
        (4_999, 1.06, []),
        (100_000, 1.31, []),
        (100_000, 1.0, []),
    ],
)
def test_a_model_has_the_wrong_size_when_weights_and_losses_agree_on_it(weights, factor, expected) -> None:
    sentences = said(SOUND, scaled(SOUND, factor), weights=weights)

    assert topics(sentences) == expected
    assert not expected or f"{weights:,} weights for 100,000 characters" in sentences[0]


def test_size_is_told_with_both_losses_in_bits() -> None:
    bits = [math.log(2) * bits for bits in (3.0, 2.1, 2.0, 2.0)]

    assert said(bits, bits, weights=1_000) == [
        "The model is small for its text, 1,000 weights for 100,000 characters, and predicts held-out text equally "
        "well (2.00 bits per character in training, 2.00 in validation): try a larger model.hidden_size."
    ]
    assert said(bits, scaled(bits, 1.5), weights=2_000_000) == [
        "The model is large for its text, 2,000,000 weights for 100,000 characters, and memorized it (2.00 bits "
        "per character in training, 3.00 in validation): try more text or a smaller model.hidden_size."
    ]


@pytest.mark.parametrize("weights", [10, 10_000_000])
def test_the_first_few_evaluations_say_nothing_of_the_size(weights) -> None:
    factor = 1.0 if weights == 10 else 1.5

    assert said(SOUND[:3], scaled(SOUND[:3], factor), weights=weights) == []


def test_a_model_that_knows_all_need_not_be_larger() -> None:
    losses = [1.0, 0.01, 0.005, 0.005, 0.005, 0.005]

    assert said(losses, losses, weights=10) == []


# All together


def test_the_most_important_comes_first() -> None:
    train = [2.5, 2.0, 2.4, 2.4, 1.6, 1.5, 1.4, 1.3]
    overfitting = [2.5, 2.0, 2.4, 2.4, 2.3, 2.3, 2.3, 2.3]
    falling = [2.5, 2.0, 2.4, 2.4, 1.6, 1.5, 1.4, 1.3]

    assert topics(said(train, overfitting, weights=2_000_000)) == ["rate", "overfitting", "large"]
    assert topics(said(train, falling, weights=100)) == ["rate", "longer", "small"]


@given(
    st.lists(st.tuples(any_loss, any_loss), max_size=9),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.integers(0, 3),
)
def test_there_are_at_most_three_sentences_whatever_happened(pairs, weights, characters, rollbacks) -> None:
    lines = history([train for train, _ in pairs], [validation for _, validation in pairs])

    sentences = advice(lines, weights, characters, rollbacks)

    assert len(set(topics(sentences))) == len(sentences) <= 3
    assert all(sentence.endswith(".") and re.search(r"(model|training)\.\w+", sentence) for sentence in sentences)


@given(st.lists(st.tuples(*[st.floats(-0.002, 0.002)] * 2), min_size=8, max_size=8))
def test_a_little_noise_on_a_sound_curve_says_nothing(noise) -> None:
    train = [loss * (1 + up) for loss, (up, _) in zip(SOUND, noise, strict=True)]
    validation = [1.1 * loss * (1 + up) for loss, (_, up) in zip(SOUND, noise, strict=True)]

    assert said(train, validation) == []


@pytest.mark.parametrize("length", [0, 1])
def test_without_a_curve_nothing_is_said(length) -> None:
    assert said(SOUND[:length], SOUND[:length], weights=10) == []


@pytest.mark.parametrize("key", ["step", "train_loss", "validation_loss", "learning_rate"])
@pytest.mark.parametrize("value", [None, "1.5", math.nan, math.inf, -1.0, 10**400, [], {}])
def test_odd_lines_are_left_out(key, value) -> None:
    whole = history([2.5, 2.0, 1.8, 1.6, 1.4], [2.5, 2.1, 2.0, 2.1, 2.2])
    expected = advice(whole, **FITTING)
    lacking = {name: number for name, number in whole[0].items() if name != key}

    assert topics(expected) == ["overfitting"]
    assert advice([lacking, whole[0] | {key: value}, *whole, whole[-1] | {key: value}, {}], **FITTING) == expected
