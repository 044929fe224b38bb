"""Pictures are whole, the same every time, and draw whatever characters and names they are given."""

import io
import logging
import struct
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from charlm.config.settings import ModelConfig
from charlm.inspection.gradient_by_lag import GradientByLag, Saliency
from charlm.inspection.picture import lag_png, saliency_png, trace_png
from charlm.inspection.scale import HIGH, LOW, MIDDLE
from charlm.inspection.trace import Trace, Unit
from tests.conftest import TEXT, Run
from tests.harness.processes import stderr_without

pytestmark = pytest.mark.slow

MODEL = ModelConfig(kind="rnn")
WIDTH = 1792  # pixels
ROW = 40  # pixels of one more row of text
UNITS = [Unit("hidden", 1, 2), Unit("hidden", 0, 0), Unit("hidden", 1, 1)]
AWKWARD = {
    "mathematics": "$a$ $\\frac{1}{$ \\$",
    "markup": "\\ \\\\ _^~#<b>&amp;[red]{x}%d%%",
    "scripts": "\ud55c\uad6d\u314e\u314f\u05d0\u05d1 \u0639\u0631\u0628\u064a\u0915\u094d\u0937 \u0e01\u0e33",
    "signs": "\u21b5\u2192\u2421\u2400\u25cc\ufffd\U0001f600\U0001f468\U0001f1f0\ue000\U000e0001\U0010ffff",
}
awkward = pytest.mark.parametrize("name", AWKWARD)


def chunks(picture: bytes) -> list[tuple[bytes, bytes]]:
    """Return the kind and content of every chunk of a PNG."""
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    found, place = [], 8
    while place < len(picture):
        (length,) = struct.unpack(">I", picture[place : place + 4])
        found.append((picture[place + 4 : place + 8], picture[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def size_of(picture: bytes) -> tuple[int, int]:
    """Return width and height."""
    (kind, header), *_ = chunks(picture)
    assert kind == b"IHDR"
    return struct.unpack(">II", header[:8])


def pixels(picture: bytes) -> NDArray[np.uint8]:
    """Return red, green and blue (height, width, 3)."""
    return (imread(io.BytesIO(picture))[:, :, :3] * 255).round().astype(np.uint8)


def has(picture: bytes, colour: tuple[int, ...]) -> bool:
    """Return whether an area has this colour, but for rounding."""
    near = np.abs(pixels(picture).astype(int) - colour).max(axis=-1) <= 1
    return bool(near.sum() > 200)


def traced(length: int) -> Trace:
    values = np.sin(np.arange(length * 2 * 3) / 5).reshape(length, 2, 3)
    return Trace(np.zeros(length, np.uint8), {"hidden": values.astype(np.float32)})


def of_text(text: str) -> bytes:
    return trace_png(traced(len(text)), UNITS, list(text), MODEL)


def steady(factor: float, lags: int = 20) -> GradientByLag:
    mean = factor ** np.arange(lags + 1.0)
    return GradientByLag(mean, mean / 3)


def connected(text: str) -> Saliency:
    return Saliency(list(text), np.linspace(0, 2, len(text)))


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture):
    """Warnings are errors everywhere; matplotlib also complains by logging, about fonts."""
    with caplog.at_level(logging.WARNING):
        yield
    assert caplog.get_records("call") == []


def test_a_trace_is_as_wide_as_the_others_and_higher_by_each_row_of_text() -> None:
    (_, of_one_row), *others = (size_of(of_text("a" * length)) for length in (1, 80, 81, 170))

    assert others == [(WIDTH, of_one_row), (WIDTH, of_one_row + ROW), (WIDTH, of_one_row + 2 * ROW)]
    assert 300 < of_one_row < 800


@pytest.mark.parametrize("models", [1, 7])
def test_gradients_have_one_size_however_many_models(models: int) -> None:
    picture = lag_png({f"model {place}": steady(0.5 + place / 10) for place in range(models)})

    assert size_of(picture) == (WIDTH, 800)


def test_connections_are_higher_by_each_row_and_each_model() -> None:
    one, longer, two = (
        size_of(saliency_png(found))
        for found in (
            {"one": connected("a" * 80)},
            {"one": connected("a" * 160)},
            {"one": connected("a" * 80), "two": connected("b" * 80)},
        )
    )

    assert {width for width, _ in (one, longer, two)} == {WIDTH}
    assert longer[1] == one[1] + ROW
    assert two[1] == 2 * one[1]


def test_the_same_input_gives_the_same_bytes_and_no_date_or_version_beside_them() -> None:
    drawings = [
        lambda: of_text("The fox\u21b5said"),
        lambda: lag_png({"one": steady(0.5), "two": steady(1.1)}),
        lambda: saliency_png({"one": connected("The fox")}),
    ]
    for draw in drawings:
        picture = draw()
        assert draw() == picture
        assert {kind for kind, _ in chunks(picture)} == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}


def test_characters_are_coloured_by_the_first_unit_low_blue_high_orange() -> None:
    first, second = Unit("hidden", 0, 0), Unit("hidden", 0, 1)
    values = np.zeros((3, 1, 2), np.float32)
    values[:, 0, 0] = [-1, 0, 1]
    trace = Trace(np.zeros(3, np.uint8), {"hidden": values})

    by_first = trace_png(trace, [first, second], list("abc"), MODEL)
    by_second = trace_png(trace, [second, first], list("abc"), MODEL)

    assert [has(by_first, colour) for colour in (LOW, MIDDLE, HIGH)] == [True, True, True]
    assert [has(by_second, colour) for colour in (LOW, MIDDLE, HIGH)] == [False, True, False]


def test_what_a_guess_hangs_on_most_is_orange_and_a_guess_that_hangs_on_nothing_is_white() -> None:
    assert has(saliency_png({"one": connected("abc")}), HIGH)
    assert not has(saliency_png({"dead": Saliency(list("abc"), np.zeros(3))}), HIGH)


def test_every_unit_is_named_beside_its_line() -> None:
    """Both units hold the same, so that nothing but the name can differ."""
    trace = Trace(np.zeros(9, np.uint8), {"hidden": np.ones((9, 1, 4), np.float32)})
    one, other = (trace_png(trace, [UNITS[1], Unit("hidden", 0, index)], ["a"] * 9, MODEL) for index in (2, 3))

    assert one != other


@awkward
def test_any_character_is_drawn(name: str) -> None:
    text = AWKWARD[name]

    assert size_of(of_text(text)) == size_of(of_text("a" * len(text)))


def test_each_character_is_drawn_as_itself_alone() -> None:
    drawn = {saliency_png({"one": connected(character)}) for character in "$\\_{}^%&#~a"}

    assert len(drawn) == 11


@awkward
def test_a_model_may_have_any_name(name: str) -> None:
    assert size_of(lag_png({AWKWARD[name]: steady(0.5)})) == (WIDTH, 800)
    assert size_of(saliency_png({AWKWARD[name]: connected("a")}))[0] == WIDTH


@pytest.mark.parametrize(("name", "other"), [("_hidden", "_hiding"), ("$ab$", "$a b$"), ("a\\$b", "a$b")])
def test_names_are_shown_as_they_are(name: str, other: str) -> None:
    """As mathematics the two of each pair would look the same; a leading underscore would hide them."""
    assert lag_png({name: steady(0.5)}) != lag_png({other: steady(0.5)})
    assert saliency_png({name: connected("a")}) != saliency_png({other: connected("a")})


@pytest.mark.parametrize("length", [60, 250])
def test_a_long_name_leaves_the_chart_its_place(length: int) -> None:
    """Paths can be long; the line keeps most of the picture's width."""
    columns = np.flatnonzero((pixels(lag_png({"x" * length: steady(0.5)})) == (47, 111, 183)).all(axis=-1).any(axis=0))

    assert columns.max() - columns.min() > WIDTH / 2


@pytest.mark.parametrize(
    "found",
    [
        {"zeros": GradientByLag(np.zeros(5), np.zeros(5))},
        {"one lag": GradientByLag(np.array([1.0, 0.5]), np.zeros(2))},
        {"steady": GradientByLag(np.ones(9), np.zeros(9))},
        {"huge": GradientByLag(10.0 ** np.arange(0, 90, 3), 10.0 ** np.arange(0, 90, 3))},
        {"tiny": GradientByLag(10.0 ** -np.arange(0, 240, 3.0), 10.0 ** -np.arange(0, 240, 3.0))},
        {"wide": GradientByLag(np.full(9, 0.5), np.full(9, 5.0)), "short": GradientByLag(np.ones(3), np.ones(3))},
    ],
    ids=lambda found: next(iter(found)),
)
def test_any_gradient_is_drawn(found: dict[str, GradientByLag]) -> None:
    assert size_of(lag_png(found)) == (WIDTH, 800)


def test_a_model_that_lets_nothing_through_does_not_flatten_the_others() -> None:
    dead = GradientByLag(np.array([1.0, *[0.0] * 20]), np.zeros(21))
    picture = pixels(lag_png({"dead": dead, "alive": steady(0.1)}))

    rows = np.flatnonzero((picture == (217, 115, 26)).all(axis=-1).any(axis=1))

    assert rows.max() > 300  # of 800: the line of the living falls through the chart


# As a command


def test_without_matplotlib_a_picture_is_refused_with_the_extra_to_install(
    trained: dict[str, Path], tmp_path: Path
) -> None:
    run = str(trained["gru"])
    lines = [
        ["inspect-hidden", "-c", run, "--text", "fox", "--format", "png", "--output", "a.png"],
        ["inspect-gradients", "-c", run, "--text", "fox", "--format", "png", "--output", "b.png"],
        ["inspect-gradients", "-c", run, "--lags", "5", "--format", "png", "--output", "c.png"],
        ["inspect-gradients", "-c", run, "--lags", "5", "--format", "html", "--output", "d.html"],
        ["inspect-hidden", "-c", run, "--text", "fox", "--output", "e.txt"],
    ]
    told = stderr_without("matplotlib", tmp_path, lines)
    refusal = "charlm: --format png: matplotlib is not installed. Run `pip install matplotlib`.\nexit 2\n"
    assert told == refusal * 3 + "exit 0\n" * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.html", "e.txt"]


def test_inspect_hidden_draws_a_png_of_the_units_that_are_asked_for(charlm: Run, trained: dict[str, Path]) -> None:
    arguments = ("inspect-hidden", "-c", str(trained["lstm"]), "--text", TEXT[:100], "--signal", "cell")
    chosen, liveliest = (
        charlm(*arguments, *units, "--format", "png") for units in (("--unit", "1:3", "--unit", "0:2"), ())
    )
    for result in (chosen, liveliest):
        assert (result.exit_code, result.stderr) == (0, "")
        assert size_of(result.stdout_bytes) == size_of(of_text("a" * 100))
    assert chosen.stdout_bytes != liveliest.stdout_bytes
