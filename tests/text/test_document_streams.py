"""Each item is read once a pass, whole, in order, and from a fresh state, whatever the lanes."""

from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charlm.config.settings import TrainingConfig
from charlm.errors import TextError
from charlm.text import document_streams as module
from charlm.text.batches import PADDING, Batch
from charlm.text.document_streams import DocumentStreams
from charlm.text.streams import EVALUATION_WINDOW, evaluation_streams, training_streams

END = 0


@dataclass
class Text:
    """Items whose every character is another one, so that none can be taken for another."""

    lengths: list[int]
    lanes: int
    window: int
    seed: int | None

    @property
    def items(self) -> list[list[int]]:
        stops = list(accumulate(self.lengths))
        return [list(range(1 + stop - length, 1 + stop)) for stop, length in zip(stops, self.lengths, strict=True)]

    @property
    def ids(self) -> np.ndarray:
        return np.array([END, *(index for item in self.items for index in [*item, END])], np.uint16)

    def streams(self) -> DocumentStreams:
        return DocumentStreams(self.ids, END, self.lanes, self.window, shuffled_by=self.seed)


lengths = st.lists(st.integers(0, 13), min_size=1, max_size=14)
texts = lengths.flatmap(
    lambda found: st.builds(
        Text,
        st.just(found),
        st.integers(1, len(found)),
        st.integers(1, 7),
        st.none() | st.integers(0, 2**63 - 1),
    )
)
planted = Text([2, 5, 1, 3], 2, 4, None)


def windows_of(streams: DocumentStreams, number: int = 0) -> list[Batch]:
    return [streams.at(number * len(streams) + index) for index in range(len(streams))]


def stretches(windows: list[Batch], lane: int) -> list[tuple[list[int], list[int]]]:
    """Return what a lane reads and guesses from one fresh state to the next, without padding."""
    found: list[tuple[list[int], list[int]]] = []
    for window in windows:
        targets = window.targets[lane].tolist()
        real = len(targets) - targets.count(PADDING)
        assert PADDING not in targets[:real]  # padding stands behind everything else
        if not real:
            continue
        if window.fresh[lane]:
            found.append(([], []))
        found[-1][0].extend(window.inputs[lane, :real].tolist())
        found[-1][1].extend(targets[:real])
    return found


# The laws


@given(texts, st.integers(0, 3))
@example(planted, 0)
@example(Text([0], 1, 1, None), 0)
@example(Text([0, 0, 9, 0], 4, 3, 5), 1)
@example(Text([13] + [0] * 6, 4, 2, None), 0)
@example(Text([0] * 6 + [13], 4, 2, None), 0)
def test_every_item_is_read_whole_and_once_a_pass_from_a_fresh_state(text: Text, number: int) -> None:
    windows = windows_of(text.streams(), number)
    lanes = [stretches(windows, lane) for lane in range(text.lanes)]
    assert all(lanes)  # each has an item
    read = sorted((stretch for lane in lanes for stretch in lane), key=str)
    assert read == sorted((([END, *item], [*item, END]) for item in text.items), key=str)


@given(texts)
def test_lanes_read_runs_of_items_and_without_shuffling_in_their_order(text: Text) -> None:
    for number in range(2):
        windows = windows_of(text.streams(), number)
        lanes = [[guessed[:-1] for _, guessed in stretches(windows, lane)] for lane in range(text.lanes)]
        if text.seed is not None:
            lanes = [sorted(lane) for lane in lanes]
        if text.seed is None or 0 not in text.lengths:  # empty items are all alike
            assert [item for lane in lanes for item in lane] == text.items


@given(texts, st.integers(0, 400))
def test_windows_are_as_wide_as_their_longest_lane_and_never_wider_than_asked_for(text: Text, step: int) -> None:
    window = text.streams().at(step)
    real = (window.targets != PADDING).sum(axis=1)
    assert window.inputs.shape == window.targets.shape == (text.lanes, real.max())
    assert 1 <= real.max() <= text.window
    assert window.fresh.shape == (text.lanes,)
    assert window.inputs.dtype == np.uint16
    assert window.characters == real.sum()
    assert ((window.inputs >= 0) & (window.inputs <= sum(text.lengths))).all()


@given(texts)
def test_an_item_goes_on_in_the_very_next_window_until_it_ends(text: Text) -> None:
    windows = windows_of(text.streams())
    for now, then in pairwise(windows):
        for lane in range(text.lanes):
            guessed = [index for index in now.targets[lane].tolist() if index != PADDING]
            goes_on = bool(guessed) and guessed[-1] != END
            if goes_on:
                assert len(guessed) == text.window  # no item is broken before its window is full
                assert then.inputs[lane, 0] == guessed[-1]
            assert bool(then.fresh[lane]) != goes_on
    assert windows[0].fresh.all()


@given(texts, st.integers(0, 2))
def test_what_is_counted_is_what_is_read(text: Text, number: int) -> None:
    streams = text.streams()
    windows = windows_of(streams, number)
    places = sum(window.targets.size for window in windows)
    padding = sum(int((window.targets == PADDING).sum()) for window in windows)
    assert streams.lanes == text.lanes
    assert streams.characters == sum(window.characters for window in windows) == places - padding
    assert streams.characters == len(text.ids) - 1
    if number == 0:
        assert streams.padding == pytest.approx(padding / places, abs=1e-12)
    assert (streams.at(number * len(streams)).fresh).all()


@given(texts, st.lists(st.integers(0, 300), min_size=1, max_size=5))
def test_a_window_is_a_function_of_seed_and_step_alone(text: Text, steps: list[int]) -> None:
    streams = text.streams()
    for step in steps:  # in whatever order they are asked for
        now, new = streams.at(step), text.streams().at(step)
        np.testing.assert_array_equal(now.inputs, new.inputs)
        np.testing.assert_array_equal(now.targets, new.targets)
        np.testing.assert_array_equal(now.fresh, new.fresh)
        assert streams.fraction(step) == pytest.approx(step / len(streams))


def orders(seed: int | None, numbers: range, lane: int = 0) -> list[list[int]]:
    """Return in which order a lane of twelve items reads them in some passes."""
    streams = Text([1] * 24, 2, 3, seed).streams()
    return [[guessed[0] for _, guessed in stretches(windows_of(streams, number), lane)] for number in numbers]


def test_each_pass_has_an_order_of_its_own_and_so_has_each_seed() -> None:
    first = orders(1, range(5))
    assert all(sorted(order) == list(range(1, 13)) for order in first)
    assert len(set(map(tuple, [*first, sorted(first[0])]))) == 6
    assert not any(order in first for order in orders(2, range(5)))
    assert orders(1, range(5), lane=1) != [[index + 12 for index in order] for order in first]
    assert orders(None, range(3)) == [list(range(1, 13))] * 3


@given(texts)
def test_lanes_are_about_as_long_as_each_other(text: Text) -> None:
    """No lane is longer than an even share and one item more."""
    windows = [-(-(length + 1) // text.window) for length in text.lengths]
    assert max(windows) <= len(text.streams()) < sum(windows) / text.lanes + max(windows)


def test_many_equal_items_are_shared_out_evenly() -> None:
    streams = Text([3] * 1_000, 8, 4, 1).streams()
    assert len(streams) == 125
    assert streams.padding == 0


@given(st.integers(0, 5), st.integers(1, 9))
def test_fewer_items_than_lanes_are_refused(items: int, lanes: int) -> None:
    text = Text([2] * items, lanes, 4, None)
    if items >= lanes:
        assert text.streams().lanes == lanes
        return
    with pytest.raises(TextError, match=rf"^a text of {items} items cannot be read in {lanes} lanes; each needs one\."):
        text.streams()


@pytest.mark.parametrize("ids", [[], [END], [1, 2, 3]], ids=["nothing", "an end alone", "no end"])
def test_a_text_without_an_item_is_refused(ids: list[int]) -> None:
    with pytest.raises(TextError, match=r"^a text of 0 items"):
        DocumentStreams(np.array(ids, np.uint8), END, 1, 4)
    with pytest.raises(TextError, match=r"^a text of 0 items"):
        evaluation_streams(np.array(ids, np.uint8), 8, END)


# As they are asked for


def test_training_reads_the_items_in_another_order_each_pass_by_its_seed() -> None:
    text = Text([3] * 20, 2, 5, 7)
    training = TrainingConfig(batch_size=2, sequence_length=5, seed=7)
    found, expected = training_streams(text.ids, training, END), text.streams()
    for step in range(3 * len(expected)):
        np.testing.assert_array_equal(found.at(step).targets, expected.at(step).targets)
    wide = training_streams(text.ids, TrainingConfig(batch_size=20, sequence_length=512), END)
    assert wide.at(0).inputs.shape == (20, 4)  # a window of 512 steps need not be filled


@given(lengths, st.integers(1, 20))
def test_scoring_takes_as_many_lanes_as_asked_for_or_as_there_are_items(found: list[int], lanes: int) -> None:
    streams = evaluation_streams(Text(found, 1, 1, None).ids, lanes, END)
    assert streams.lanes == min(lanes, len(found))
    expected = Text(found, streams.lanes, EVALUATION_WINDOW, None).streams()
    assert len(streams) == len(expected)
    np.testing.assert_array_equal(streams.at(0).inputs, expected.at(0).inputs)


# The drawing


def drawing(streams: DocumentStreams) -> str:
    """Draw the windows of one pass as the module's docstring does."""
    windows = [streams.at(step) for step in range(len(streams))]

    def shown(row: np.ndarray, real: np.ndarray) -> str:
        return " ".join("▸abcdefghijk"[index] if here else "·" for index, here in zip(row, real, strict=True))

    lines = []
    for lane in range(streams.lanes):
        real = [window.targets[lane] != PADDING for window in windows]
        read = "   ".join(shown(window.inputs[lane], here) for window, here in zip(windows, real, strict=True))
        guessed = "   ".join(shown(window.targets[lane], here) for window, here in zip(windows, real, strict=True))
        lines.append(f"    {f'lane {lane}':11}{read:26}{'' if lane else 'targets':12}{guessed}")
    numbers = "   ".join(str(step).center(2 * window.inputs.shape[1] - 1) for step, window in enumerate(windows))
    lines.append(f"    {'window':11}{numbers:38}{numbers}")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def test_the_module_s_drawing_is_what_the_windows_are() -> None:
    document = module.__doc__ or ""
    text = " ".join("▸abcdefghijk"[index] for index in planted.ids)
    assert f"    text       {text}\n" in document
    assert drawing(planted.streams()) in document
