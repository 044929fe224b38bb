"""The drawing of a trace: text in rows, a bar for every character and unit beneath it."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.console import Console

from charlm.architectures import ARCHITECTURES
from charlm.cli.trace_view import trace_lines
from charlm.config.settings import ModelConfig
from charlm.inspection.trace import Trace, Unit

BARS = "▁▂▃▄▅▆▇█"
CHARACTERS = st.text(st.sampled_from("ab(\u21b5\u2192\u25cc [:]%\ud55c\uae00\U0001f600"), min_size=1, max_size=60)


def traced(values: dict[str, NDArray[np.float32]]) -> Trace:
    return Trace(np.zeros(len(next(iter(values.values()))), np.uint8), values)


def column(*values: float) -> NDArray[np.float32]:
    """Return the signal [time, layer, unit] of one unit."""
    return np.array(values, np.float32)[:, None, None]


def drawn(trace: Trace, units: list[Unit], characters: str, *, squashed: bool = True, width: int = 80) -> list[str]:
    kind = next(row.kind for row in ARCHITECTURES.values() if set(trace.signals) <= set(row.signal_names))
    model = ModelConfig(kind=kind) if squashed or kind != "rnn" else ModelConfig(kind="rnn", nonlinearity="relu")
    lines = trace_lines(trace, units, characters, model, width)
    return "".join(f"{line.plain}\n" for line in lines).splitlines()


def test_the_text_stands_over_one_bar_a_character_for_each_unit() -> None:
    values = np.zeros((4, 2, 3), np.float32)
    values[:, 0, 2] = [-1, -0.5, 0.5, 1]
    values[:, 1, 0] = [1, 1, -1, -1]
    assert drawn(traced({"hidden": values}), [Unit("hidden", 0, 2), Unit("hidden", 1, 0)], "a\u21b5 b") == [
        "coloured by hidden 0:2:  -1 ▁▂▃▄▅▆▇█ 1",
        "",
        "            a\u21b5 b",
        "hidden 0:2  ▁▃▆█",
        "hidden 1:0  ██▁▁",
        "",
    ]


@given(CHARACTERS, st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_rows_fit_the_screen_join_to_the_text_and_carry_each_units_nearest_bars(
    characters: str, width: int, seed: int
) -> None:
    values = np.random.default_rng(seed).uniform(-1, 1, (len(characters), 2, 12)).astype(np.float32)
    units = [Unit("hidden", 1, 11), Unit("hidden", 0, 3)]
    blocks = drawn(traced({"hidden": values}), units, characters, width=width)[2:]
    rows = [blocks[place : place + 4] for place in range(0, len(blocks), 4)]
    margin = len("hidden 1:11") + 2
    assert "".join(text[margin:] for text, *_ in rows) == characters
    place = 0
    for text, first, second, gap in rows:
        assert gap == ""
        row = text[margin:]
        assert cell_len(row) <= max(width - margin, 10)
        for unit, line in zip(units, (first, second), strict=True):
            assert line[:margin] == str(unit).ljust(margin)
            expected = ""
            for offset, character in enumerate(row):
                level = (float(values[place + offset, unit.layer, unit.index]) + 1) / 2 * 7
                expected += BARS[int(np.floor(level + 0.5))] * cell_len(character)
            assert line[margin:] == expected
        place += len(row)


def test_a_row_is_as_long_as_the_screen_allows() -> None:
    rows = drawn(traced({"hidden": column(*[0.0] * 50)}), [Unit("hidden", 0, 0)], "\ud55c" * 50, width=12 + 21)[2::3]
    assert [len(row.strip()) for row in rows] == [10, 10, 10, 10, 10]  # two cells each: ten in twenty-one cells


@pytest.mark.parametrize(
    ("signal", "squashed", "values", "ends", "bars"),
    [
        ("hidden", True, (0.0, 0.5), ("-1", "1"), "▅▆"),
        ("hidden", False, (0.0, 4.0, 2.0), ("-4", "4"), "▅█▆"),
        ("cell", True, (-5.0, 2.5, 0.0), ("-5", "5"), "▁▆▅"),
        ("cell", True, (0.0, 0.0), ("-1", "1"), "▅▅"),
        ("candidate", False, (-1.0, 1.0), ("-1", "1"), "▁█"),
        ("input", True, (0.0, 1.0, 0.5), ("0", "1"), "▁█▅"),
        ("forget", True, (0.9, 1.0), ("0", "1"), "▇█"),
        ("output", True, (0.0, 0.1), ("0", "1"), "▁▂"),
        ("reset", True, (0.25, 0.75), ("0", "1"), "▃▆"),
        ("update", True, (1.0, 0.0), ("0", "1"), "█▁"),
    ],
)
def test_a_scale_is_the_range_a_signal_can_take_or_else_how_far_it_went(
    signal: str, squashed: bool, values: tuple[float, ...], ends: tuple[str, str], bars: str
) -> None:
    unit = Unit(signal, 0, 0)
    legend, _, _, line, _ = drawn(traced({signal: column(*values)}), [unit], "x" * len(values), squashed=squashed)
    assert legend == f"coloured by {unit}:  {ends[0]} {BARS} {ends[1]}"
    assert line == f"{unit}  {bars}"


def test_each_unit_of_an_open_range_has_a_scale_of_its_own() -> None:
    values = np.array([[[1.0, 100.0]], [[-1.0, -100.0]]], np.float32)
    lines = drawn(traced({"cell": values}), [Unit("cell", 0, 0), Unit("cell", 0, 1)], "ab")
    assert [line[-2:] for line in lines[3:5]] == ["█▁", "█▁"]


def test_characters_are_coloured_by_the_first_unit_low_blue_high_orange() -> None:
    trace = traced({"hidden": np.array([[[-1, 1]], [[0, 1]], [[1, 1]]], np.float32)})
    screen = io.StringIO()
    console = Console(
        file=screen, force_terminal=True, color_system="truecolor", markup=False, width=80, no_color=False
    )
    for line in trace_lines(trace, [Unit("hidden", 0, 0), Unit("hidden", 0, 1)], "abc", ModelConfig(), 80):
        console.print(line)
    text = next(line for line in screen.getvalue().splitlines() if "a" in line and "hidden" not in line)
    backgrounds = [piece.split("m")[0].split("48;2;")[1] for piece in text.split("\x1b[") if "48;2;" in piece]
    assert backgrounds == ["94;152;222", "245;245;245", "240;138;48"]
