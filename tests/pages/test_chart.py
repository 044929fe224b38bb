"""The layout of charts: values stand where the axes say, nothing leaves the field, and no peak is thinned away."""

import itertools
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.pages.chart import Chart, Curve, Level, Mark, chart
from charlm.pages.formatting import compact, duration, readable, setting
from charlm.pages.thinning import Points, thinned

VALUES = st.floats(-1e100, 1e100) | st.floats(0, 10) | st.just(0.0)
COURSES = st.lists(st.tuples(st.integers(0, 2**63), VALUES), max_size=30)


def curve(*values: float, name: str = "one", label: str = "one") -> Curve:
    return Curve(name, "words", [(place * 100.0, value) for place, value in enumerate(values, 1)], "line-0", label)


def corners(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](\S+?) ([^LMh]+)", path)]


def value_at(drawn: Chart, y: float) -> float:
    """Return the value that stands at a height, read from the two outermost ticks."""
    (low, high) = drawn.up[0], drawn.up[-1]
    share = (y - low.at) / (high.at - low.at)
    return float(low.text) + share * (float(high.text) - float(low.text))


def test_a_curve_stands_where_the_ticks_say() -> None:
    values = [4.1, 3.3, 2.6, 2.2, 2.35]
    drawn = chart("bits", [curve(*values)], [Level("near", 2.9, "")])

    (x, y) = zip(*corners(drawn.lines[0].path), strict=True)
    assert [value_at(drawn, height) for height in y] == pytest.approx(values, abs=2e-3)
    assert x == pytest.approx([20, 40, 60, 80, 100])
    assert [(tick.at, tick.text) for tick in drawn.across] == [
        (0, "0"),
        (20, "100"),
        (40, "200"),
        (60, "300"),
        (80, "400"),
        (100, "500"),
    ]
    level = float(re.findall(r"^M0 (\S+)H100$", drawn.lines[1].path)[0])
    assert value_at(drawn, level) == pytest.approx(2.9, abs=2e-3)
    assert [(label.text, label.left) for label in drawn.labels] == [("near", 100), ("one", 100)]


def test_a_scale_begins_at_its_floor_and_goes_below_only_where_the_curve_does() -> None:
    assert chart("a", [curve(3, 5)], floor=0.0).up[0].text == "0"
    assert value_at(chart("a", [curve(3, 5)], floor=0.0), 100) == pytest.approx(0, abs=0.01)
    assert value_at(chart("a", [curve(-3, 5)], floor=0.0), 100) < -3
    assert value_at(chart("a", [curve(3, 5)]), 100) > 2.5


def test_a_level_far_away_is_named_at_the_edge_and_does_not_squeeze_the_curves() -> None:
    curves = [curve(3.0, 2.4, 2.2, 2.1)]
    alone = chart("bits", curves)
    drawn = chart("bits", curves, [Level("uniform", 9.0, ""), Level("oracle", 0.5, "")])

    assert [line.path for line in drawn.lines[1:]] == ["", ""]
    assert corners(drawn.lines[0].path) == corners(alone.lines[0].path)
    assert [label.text for label in drawn.labels] == ["↑ uniform", "one", "↓ oracle"]


def test_a_few_values_far_above_are_cut_at_the_edge_and_told() -> None:
    drawn = chart("bits", [curve(40.0, *(2 + 1 / place for place in range(1, 40)))])

    path = corners(drawn.lines[0].path)
    assert path[0][1] == 0
    assert path[1][1] > 0
    assert drawn.note == "Values up to 40 are drawn at the upper edge."
    assert chart("bits", [curve(4, 3, 2)]).note == ""


@pytest.mark.parametrize("count", [0, 1, 299, 300, 301, 10_000])
def test_thinning_keeps_the_ends_the_lowest_and_the_highest_in_order(count: int) -> None:
    points = [(float(place), math.sin(place * 7.7) * place) for place in range(count)]
    kept = thinned(points)

    assert len(kept) <= 302
    assert sorted(kept) == list(kept)
    assert set(kept) <= set(points)
    if points:
        assert (kept[0], kept[-1]) == (points[0], points[-1])
        for extreme in (min, max):
            assert extreme(points, key=lambda point: point[1]) in kept
    if count <= 300:
        assert list(kept) == points


def test_a_spike_of_one_point_in_ten_thousand_is_drawn() -> None:
    values = [1.0] * 10_000
    values[6789] = 1.5
    heights = [y for _, y in corners(chart("norm", [curve(*values)], floor=0.0).lines[0].path)]

    assert min(heights) < 10
    assert sorted(heights)[1] > 30


def test_labels_of_one_column_stand_apart_in_the_order_of_their_values() -> None:
    curves = [curve(3.0, 2.0 + place / 1000, label=str(place)) for place in range(5)]
    short = Curve("short", "", [(50.0, 2.9), (100.0, 2.0)], "line-5", "short")
    labels = chart("bits", [*curves, short]).labels

    column = [label for label in labels if label.left == 100]
    assert [label.text for label in column] == ["4", "3", "2", "1", "0"]
    assert all(after.top - before.top >= 6.49 for before, after in itertools.pairwise(column))
    (own,) = [label for label in labels if label.text == "short"]
    assert own.left == 50


def test_many_labels_share_what_height_there_is() -> None:
    labels = chart("bits", [curve(3.0, 2.0, label=str(place)) for place in range(60)]).labels

    assert len({label.top for label in labels}) == 60
    assert 0 <= labels[0].top <= labels[-1].top <= 100


def test_a_mark_stands_on_its_point_with_its_words_where_there_is_room() -> None:
    points = curve(3, 2, 2.5, 2.6)
    for x, y, side in ((100.0, 3.0, ""), (400.0, 2.6, "left")):
        drawn = chart("bits", [points], mark=Mark((x, y), "best"))
        assert drawn.mark is not None
        assert (drawn.mark.text, drawn.mark.look) == ("best", side)
        assert (drawn.mark.at, drawn.mark_height) in corners(drawn.lines[0].path)


@given(st.lists(COURSES, max_size=4), st.lists(VALUES, max_size=3), st.sampled_from([0.0, math.inf]))
def test_whatever_is_measured_stays_in_the_field(courses: list[Points], levels: list[float], floor: float) -> None:
    curves = [Curve("c", "w", points, "line-0", "c") for points in courses]
    drawn = chart("any", curves, [Level("l", value, "w") for value in levels], floor=floor)

    places = [
        place for line in drawn.lines if line.look != "level" for corner in corners(line.path) for place in corner
    ]
    places += [word.at for word in (*drawn.up, *drawn.across)]
    places += [place for label in drawn.labels for place in (label.left, label.top)]
    assert all(-1e-9 <= place <= 100 + 1e-9 for place in places)
    assert len(drawn.lines) == sum(map(bool, courses)) + len(levels)
    assert 1 <= len(drawn.up) <= 12
    assert len({tick.text for tick in drawn.up}) == len(drawn.up) or max(map(abs, [0.0, *levels])) > 1e6 or courses


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 0.002], ["0.0000", "0.0005", "0.0010", "0.0015", "0.0020"]),
        ([0, 52_000], ["0", "20k", "40k"]),
        ([0, 4], ["0", "1", "2", "3", "4"]),
        ([0, 0.5], ["0.0", "0.2", "0.4"]),
        ([0, 3e-7], ["0", "1e-07", "2e-07", "3e-07"]),
    ],
)
def test_ticks_have_as_many_digits_as_tell_them_apart(values: list[float], ticks: list[str]) -> None:
    assert [tick.text for tick in chart("any", [curve(*values)], floor=0.0).up] == ticks


# Words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1k"),
        (1234, "1.23k"),
        (999_999, "1M"),
        (1.5e6, "1.5M"),
        (2e9, "2G"),
        (3e12, "3T"),
    ],
)
def test_counts_are_told_in_three_digits(number: float, words: str) -> None:
    assert compact(number) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (59.4, "59.4 s"),
        (59.96, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 0 min"),
        (4000, "1 h 6 min"),
        (1e7, "2,777 h 46 min"),
    ],
)
def test_times_are_told_in_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "null"), (True, "true"), (0.002, "0.002"), (("a", "b\x1b"), "a, b␛"), ("NFC", "NFC"), (7, "7")],
)
def test_settings_are_shown_as_a_config_has_them(value: object, words: str) -> None:
    assert setting(value) == words


def test_controls_are_marked_and_letters_are_left_alone() -> None:
    kept = "a\n\tb é e\u0301 한 \u1112\u1161\u11ab\u3000\u00a0😀 א"

    assert readable(kept) == kept
    assert readable("\x00\x1b\x7f\u202e\u2067\u2028\ud800\r") == "␀␛␡����␍"
