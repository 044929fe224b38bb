from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.config.settings import TrainingConfig
from charlm.errors import TextError
from charlm.text import streams as module
from charlm.text.batches import PADDING
from charlm.text.streams import Streams, evaluation_streams, training_streams

sizes = st.tuples(st.integers(2, 60), st.integers(1, 8), st.integers(1, 20)).filter(lambda size: size[1] < size[0])
"""Characters N, lanes B, window T, with a prediction for each lane."""


def numbered(size: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return a text in which each id is its own position."""
    return np.arange(size, dtype=np.uint8)


def drawing(streams: Streams) -> str:
    """Draw the windows of one pass over a text whose ids are its positions, as the module's docstring does."""
    windows = [streams.at(step) for step in range(len(streams))]

    def letters(ids: list[int]) -> str:
        return " ".join("abcdefghijklm"[index] for index in ids)

    lines = ["    text       " + letters(list(range(13))), ""]
    for lane in range(streams.lanes):
        read = "   ".join(letters(window.inputs[lane].tolist()) for window in windows)
        guessed = "   ".join(letters(window.targets[lane].tolist()) for window in windows)
        lines.append(f"    {f'lane {lane}':11}{read:19}{'' if lane else 'targets':12}{guessed}")
    numbers = "   ".join(str(step).center(2 * window.inputs.shape[1] - 1) for step, window in enumerate(windows))
    lines.append(f"    {'window':11}{numbers:31}{numbers}")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def test_the_module_s_drawing_is_what_the_windows_are() -> None:
    assert drawing(Streams(numbered(13), lanes=3, window=3)) in (module.__doc__ or "")


@given(sizes)
def test_windows_abut_and_each_id_is_read_once(size: tuple[int, int, int]) -> None:
    number, lanes, window = size
    streams = Streams(numbered(number), lanes, window)
    length = (number - 1) // lanes
    for lane in range(lanes):
        read = [index for step in range(len(streams)) for index in streams.at(step).inputs[lane].tolist()]
        assert read == list(range(lane * length, (lane + 1) * length))
    assert streams.lanes == lanes
    assert streams.lane_length == length
    assert streams.characters == lanes * length
    assert 0 <= number - 1 - streams.characters < lanes  # what is left unread is less than one step


@given(sizes, st.integers(0, 500))
def test_targets_are_the_inputs_shifted_by_one(size: tuple[int, int, int], step: int) -> None:
    read = Streams(numbered(size[0]), *size[1:]).at(step)
    assert read.targets.tolist() == (read.inputs + 1).tolist()


@given(sizes)
def test_all_windows_but_the_last_of_a_pass_are_full(size: tuple[int, int, int]) -> None:
    number, lanes, window = size
    streams = Streams(numbered(number), lanes, window)
    *full, last = [streams.at(step).inputs.shape for step in range(len(streams))]
    assert full == [(lanes, window)] * len(full)
    assert last[0] == lanes
    assert 1 <= last[1] <= window


@given(sizes, st.integers(0, 500))
def test_the_window_is_a_function_of_the_step_modulo_passes(size: tuple[int, int, int], step: int) -> None:
    streams = Streams(numbered(size[0]), *size[1:])
    now, first = streams.at(step), streams.at(step % len(streams))
    assert now.inputs.tolist() == first.inputs.tolist()
    assert now.targets.tolist() == first.targets.tolist()
    assert now.fresh.tolist() == first.fresh.tolist() == [step % len(streams) == 0] * size[1]  # all lanes together


@given(sizes, st.integers(0, 200))
def test_the_fraction_is_the_share_of_a_lane_that_was_read(size: tuple[int, int, int], step: int) -> None:
    streams = Streams(numbered(size[0]), *size[1:])
    read = sum(streams.at(earlier).inputs.shape[1] for earlier in range(step))
    assert streams.fraction(step) == pytest.approx(float(Fraction(read, streams.lane_length)), rel=1e-12)
    assert streams.fraction(step) < streams.fraction(step + 1)
    assert streams.fraction(step * len(streams)) == step  # whole passes are whole numbers


@given(sizes)
def test_there_is_something_to_guess_at_every_place(size: tuple[int, int, int]) -> None:
    streams = Streams(numbered(size[0]), *size[1:])
    windows = [streams.at(step) for step in range(len(streams))]
    assert not any((window.targets.astype(np.int64) == PADDING).any() for window in windows)
    assert streams.characters == sum(window.characters for window in windows)
    assert [window.characters for window in windows] == [window.inputs.size for window in windows]
    assert streams.padding == 0


def test_a_quarter_pass_is_a_quarter() -> None:
    streams = Streams(numbered(25), lanes=3, window=2)  # lanes of 8 in windows of 2
    assert [streams.fraction(step) for step in (0, 1, 4, 5)] == [0.0, 0.25, 1.0, 1.25]


def test_lanes_are_views_and_keep_the_small_type() -> None:
    ids = numbered(50)
    read = Streams(ids, 4, 5).at(1)
    assert np.shares_memory(ids, read.inputs)
    assert np.shares_memory(ids, read.targets)
    assert read.inputs.dtype == read.targets.dtype == np.uint8


@given(st.integers(0, 30), st.integers(1, 40), st.integers(1, 5))
def test_more_lanes_than_predictions_are_refused(number: int, lanes: int, window: int) -> None:
    if lanes <= number - 1:
        assert len(Streams(numbered(number), lanes, window)) >= 1
        return
    with pytest.raises(TextError, match=f"^a text of {number} characters cannot be read in {lanes} lanes"):
        Streams(numbered(number), lanes, window)


@given(st.integers(2, 60), st.integers(1, 8), st.integers(1, 20))
def test_training_needs_a_whole_window_for_each_lane(number: int, lanes: int, window: int) -> None:
    training = TrainingConfig(batch_size=lanes, sequence_length=window)
    if lanes * window <= number - 1:
        streams = training_streams(numbered(number), training)
        assert streams.at(0).inputs.shape == (lanes, window)
        return
    with pytest.raises(TextError, match="is too short"):
        training_streams(numbered(number), training)


def test_the_product_of_lanes_and_steps_may_be_all_predictions_and_not_one_more() -> None:
    ids = np.zeros(1_201, np.uint8)
    exact = training_streams(ids, TrainingConfig(batch_size=30, sequence_length=40))
    assert (len(exact), exact.characters) == (1, 1_200)
    with pytest.raises(TextError) as caught:
        training_streams(ids[:-1], TrainingConfig(batch_size=30, sequence_length=40))
    message = str(caught.value)
    assert "text of 1,200 characters is too short: 30 lanes of one window of 40 steps need 1,201." in message
    assert "training.batch_size or training.sequence_length until their product is at most 1,199." in message


@given(st.integers(2, 60), st.integers(1, 12))
def test_evaluation_takes_as_many_lanes_as_asked_for_or_as_the_text_allows(number: int, lanes: int) -> None:
    streams = evaluation_streams(numbered(number), lanes)
    assert streams.lanes == min(lanes, number - 1)
    assert streams.at(0).fresh.tolist() == [True] * streams.lanes


@pytest.mark.parametrize("number", [0, 1])
def test_a_text_without_a_prediction_cannot_be_scored(number: int) -> None:
    for lanes in (1, 8):
        with pytest.raises(TextError):
            evaluation_streams(numbered(number), lanes)


@given(st.integers(2, 1_500))
def test_one_lane_makes_every_prediction_in_order(number: int) -> None:
    ids = np.arange(number, dtype=np.uint16)
    streams = evaluation_streams(ids, 1)
    assert (streams.lanes, streams.characters) == (1, number - 1)
    windows = [streams.at(step) for step in range(len(streams))]
    assert [index for window in windows for index in window.inputs[0]] == list(range(number - 1))
    assert [index for window in windows for index in window.targets[0]] == list(range(1, number))
    assert [window.fresh.tolist() for window in windows] == [[True], *[[False]] * (len(windows) - 1)]
