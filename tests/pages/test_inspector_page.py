"""The inspector page, opened in a browser: what it shows is what the trace holds, and nothing in a text runs."""

import base64
import csv
import io
import json
import re
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import expect

from charlm.config.settings import ModelConfig
from charlm.inspection.gates import GATES, saturation
from charlm.inspection.guesses import Guesses, guesses
from charlm.inspection.scale import HIGH, LOW, MIDDLE
from charlm.inspection.similarity import similarity_order
from charlm.inspection.trace import Trace, Unit, trace
from charlm.models.recurrent import RecurrentModel, tensor_shapes
from charlm.pages.inspector import inspector_page
from charlm.pages.quantization import rounded
from charlm.text.vocabulary import Vocabulary
from tests.conftest import TEXT, make_config, train
from tests.harness.browser import Window, window

READ = TEXT[:400]
SIGNALS = ("hidden", "cell", "input", "forget", "candidate", "output")


@dataclass(frozen=True)
class Made:
    """A page, and what it was made from."""

    trace: Trace
    guesses: Guesses
    vocabulary: Vocabulary
    model: ModelConfig
    title: str = "a run"

    def html(self) -> str:
        return inspector_page(self.title, self.trace, self.guesses, self.vocabulary, self.model)

    def written(self, folder: Path) -> Path:
        path = folder / "page.html"
        path.write_text(self.html(), encoding="utf-8", newline="")
        return path


def made(model: RecurrentModel, vocabulary: Vocabulary, text: str, title: str = "a run", **kept: Any) -> Made:
    ids = vocabulary.encode(text)
    return Made(trace(model, ids, **kept), guesses(model, ids, 5), vocabulary, model.config, title)


def lively(vocabulary: Vocabulary, seed: int = 0, scale: float = 2.0, **settings: Any) -> RecurrentModel:
    """Return a model that was never trained but whose units use their whole range."""
    config = ModelConfig(**{"kind": "lstm", "hidden_size": 11, "num_layers": 2} | settings)
    chance = np.random.default_rng(seed)
    tensors = {}
    for name, shape in tensor_shapes(config, len(vocabulary)).items():
        spread = scale / np.sqrt(shape[-1]) if name.endswith("hh_l0") else scale
        tensors[name] = (chance.normal(size=shape) * spread).astype(np.float32)
    return RecurrentModel(config, len(vocabulary), tensors)


@pytest.fixture(scope="module")
def lstm(tmp_path_factory) -> Made:
    """A page of an LSTM that has learned the small text."""
    folder = tmp_path_factory.mktemp("inspector")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8", newline="")
    training = {"batch_size": 4, "sequence_length": 32, "steps": 120, "evaluate_every": 120, "learning_rate": 0.02}
    config = make_config(folder / "text.txt", folder / "runs", model={"hidden_size": 16}, training=training)
    _, checkpoint = train(config)
    return made(checkpoint.model(), checkpoint.vocabulary, READ, "small LSTM", signals=SIGNALS)


@pytest.fixture(scope="module")
def path(lstm, tmp_path_factory) -> Path:
    return lstm.written(tmp_path_factory.mktemp("page"))


Opens = Callable[..., AbstractContextManager[Window]]


@pytest.fixture
def opened(browser, path) -> Opens:
    """Return a function that opens the LSTM's page."""
    return lambda fragment="", **settings: window(browser, path, fragment, **settings)


def course(page: Window, unit: Unit) -> NDArray[np.float64]:
    """Return a unit over time as the page has it."""
    which = {"signal": unit.signal, "layer": unit.layer, "unit": unit.index}
    values = page.look("Array.from(charlm.characters, (_, place) => charlm.valueOf(argument, place))", which)
    return np.array(values, dtype=np.float64)


def stated_error(html: str, signal: str) -> float:
    found = re.search(rf'<th scope="row">{signal}</th>.*?<td class="error">([\d.]+)</td>', html)
    assert found
    return float(found[1])


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


def colour(share: float) -> str:
    """Return the colour at a share, 0 to 1, of a scale."""
    end = LOW if share < 0.5 else HIGH
    mixed = [middle + (to - middle) * abs(2 * share - 1) for middle, to in zip(MIDDLE, end, strict=True)]
    return "rgb({}, {}, {})".format(*(int(value + 0.5) for value in mixed))


# ---- the file -------------------------------------------------------------------------------------------------------


def test_the_same_input_gives_the_same_bytes(lstm) -> None:
    assert lstm.html() == lstm.html()


def test_nothing_in_the_file_points_outside(lstm) -> None:
    html = lstm.html()

    assert re.findall(r"""\b(?:src|href|action|srcset)\s*=\s*(\S+?)>""", html.partition("<script")[0]) == ['"data:,"']
    assert "@import" not in html
    assert set(re.findall(r"https?://[\w./]+", html)) <= {"http://www.w3.org/2000/svg"}, "a name, not an address"
    assert "default-src 'none'" in html


@pytest.mark.parametrize("signal", SIGNALS)
def test_numbers_are_rounded_within_the_error_that_the_page_states(lstm, signal) -> None:
    html, rows = lstm.html(), lstm.trace.signals[signal]
    whole = rounded(signal, rows, lstm.model)
    packed = re.search(rf'id="signal-{signal}">([^<]*)<', html)
    assert packed

    levels = np.frombuffer(zlib.decompress(base64.b64decode(packed[1])), np.int8).reshape(whole.levels.shape)
    found = np.stack([whole.values(layer) for layer in range(len(levels))]).transpose(2, 0, 1)

    assert np.array_equal(levels, whole.levels)
    assert np.abs(found - rows).max() <= stated_error(html, signal) <= np.max(whole.high - whole.low) / 254 / 2 + 1e-6


def test_what_nothing_bounds_is_scaled_unit_by_unit() -> None:
    """One unit that counts upwards must not leave the others without levels."""
    rows = np.stack([np.linspace(0, 900, 50), np.linspace(-0.5, 0.25, 50)], axis=1)[:, None].astype(np.float32)

    whole = rounded("cell", rows, ModelConfig(kind="lstm"))

    assert whole.high.tolist() == [[900, 0.5]]
    assert np.abs(whole.values(0)[1] - rows[:, 0, 1]).max() <= 0.5 / 254


def test_what_is_no_number_stays_none() -> None:
    rows = np.array([[[1.0, 2.0]], [[np.inf, np.nan]], [[-4.0, 0.0]]], np.float32)

    whole = rounded("hidden", rows, ModelConfig(kind="rnn", nonlinearity="relu"))

    assert np.isfinite(whole.values(0)).tolist() == [[True, False, True], [True, False, True]]
    assert whole.high.tolist() == [[4, 2]]
    assert whole.error <= 4 / 254


def test_two_thousand_characters_of_512_units_stay_under_1_3_mb_a_signal() -> None:
    """A trained LSTM takes 1.03 to 1.24 MB; this one is untrained, with gates about as restless."""
    vocabulary = Vocabulary.of_text(TEXT)
    model = lively(vocabulary, hidden_size=256, scale=3.0)
    text = "".join(np.random.default_rng(1).choice(vocabulary.symbols, 2000))

    html = made(model, vocabulary, text, signals=["hidden", "cell", "forget"]).html()

    sizes = {name: len(data) for name, data in re.findall(r'id="signal-(\w+)">([^<]+)<', html)}
    assert sizes.keys() == {"hidden", "cell", "forget"}
    assert max(sizes.values()) < 1_300_000


# ---- numbers on the page --------------------------------------------------------------------------------------------


def test_the_browser_has_the_numbers_of_the_trace(opened, lstm) -> None:
    with opened() as page:
        for signal in SIGNALS:
            bound = stated_error(lstm.html(), signal)
            for unit in (Unit(signal, layer, index) for layer in (0, 1) for index in (0, 7, 15)):
                assert np.abs(course(page, unit) - lstm.trace.over_time(unit)).max() <= bound + 1e-12, unit


def test_the_text_is_coloured_by_the_chosen_unit(opened, lstm) -> None:
    with opened("#signal=forget&layer=1&unit=5") as page:
        colours = page.each("#text span", "node.style.backgroundColor")
        marks = page.each("#text span", "node.textContent")

    levels = rounded("forget", lstm.trace.signals["forget"], lstm.model).levels[1, 5]
    seen = [place for place, shade in enumerate(colours) if shade]
    assert len(seen) > 200
    assert [colours[place] for place in seen] == [colour((int(levels[place]) + 127) / 254) for place in seen]
    assert marks == lstm.vocabulary.marks(lstm.trace.ids)


def test_lines_end_where_the_text_breaks_them(opened) -> None:
    with opened() as page:
        tops = page.each("#text span", "node.offsetTop")
        shown = page.page.inner_text("#text")

    first = READ.index("\n")
    assert tops[first] < tops[first + 1]
    assert shown.startswith('The fox said "come in" (twice).↵\nNobody laughed; 3 boats→lay still.↵\nThe fox')


def test_guesses_and_surprisal_are_the_models_own(opened, lstm) -> None:
    marks = ["␣" if mark == " " else mark for mark in lstm.vocabulary.marks(range(len(lstm.vocabulary)))]
    with opened() as page:
        for place in (0, 57, 398):
            page.look(f"charlm.change({{ cursor: {place} }})")
            page.look("charlm.state")
            rows = page.page.locator("#expected tr")
            assert rows.locator(".mark").all_text_contents() == [marks[i] for i in lstm.guesses.symbols[place]]
            percents = [text.removesuffix(" %") for text in rows.locator(".percent").all_inner_texts()]
            percents = [0.05 if text.startswith("<") else number(text) for text in percents]
            assert np.allclose(percents, lstm.guesses.probabilities[place] * 100, atol=0.051)
            came = [row.get_attribute("class") == "came" for row in rows.all()]
            assert came == (lstm.guesses.symbols[place] == lstm.trace.ids[place + 1]).tolist()
            bits = lstm.guesses.surprisal[place + 1]
            assert f"{bits:.2f} bits of surprisal" in page.page.inner_text("#came")
            assert f"{100 * 2 ** -float(bits):.2f} %" in page.page.inner_text("#came")
        surprisal = page.look("[...charlm.surprisal]")
        page.look("charlm.change({ cursor: charlm.characters.length - 1 })")
        assert page.look("document.getElementById('came').textContent") == "End of the text."

    assert surprisal[0] is None or np.isnan(surprisal[0])
    assert np.array_equal(np.array(surprisal[1:], np.float32), lstm.guesses.surprisal[1:])


def test_guesses_stand_beneath_the_character_that_they_were_made_for(opened, lstm) -> None:
    marks = ["␣" if mark == " " else mark for mark in lstm.vocabulary.marks(range(len(lstm.vocabulary)))]
    with opened("#cursor=3") as page:
        rows = page.each("#strip tr", "[...node.cells].map((c) => c.textContent)")

    assert "".join(rows[0]).startswith("The fox said")
    assert rows[1][0] == "", "nothing foretold the first"
    for place in range(1, 20):
        assert [row[place] for row in rows[1:]] == [marks[index] for index in lstm.guesses.symbols[place - 1]]


def test_surprisal_colours_the_text_too(opened, lstm) -> None:
    with opened() as page:
        page.page.check("input[value=surprisal]")
        title = page.look("document.getElementById('reading-title').textContent")
        shades = page.each("#text span", "node.style.backgroundColor")

    assert title == "The text, coloured by surprisal"
    shares = np.clip(lstm.guesses.surprisal[1:200] / np.log2(len(lstm.vocabulary)), 0, 1)
    red = 245 + (0xDD - 245) * np.round(shares * 100) / 100
    assert np.ptp(shares) > 0.8
    assert np.abs([int(re.findall(r"\d+", shade)[0]) for shade in shades[1:200]] - red).max() <= 1


def test_a_step_of_the_cell_is_shown_with_its_terms(opened, lstm) -> None:
    unit = Unit("cell", 1, 3)
    with opened("#layer=1&unit=3&cursor=20") as page:
        said = page.page.inner_text("#sum")

    values = {name: lstm.trace.over_time(Unit(name, 1, 3)) for name in SIGNALS}
    numbers = [number(value) for value in re.findall(r"−?\d+\.\d+", said)]
    before = lstm.trace.over_time(unit)[19]
    terms = [values["forget"][20], before, values["input"][20], values["candidate"][20], values["cell"][20]]
    terms += [values["output"][20], np.tanh(values["cell"][20]), values["hidden"][20]]
    assert np.allclose(numbers, terms, atol=0.01 + stated_error(lstm.html(), "cell"))


# ---- the pointer and the keys ---------------------------------------------------------------------------------------


def test_hovering_shows_the_number_and_leaving_takes_it_away(opened, lstm) -> None:
    unit = Unit("hidden", 0, 9)
    with opened("#layer=0&unit=9") as page:
        page.page.hover("#text span >> nth=40")
        expect(page.page.locator("#tip")).to_be_visible()
        tip = page.page.inner_text("#tip")
        expect(page.page.locator("#place")).to_contain_text("Position 40 of 400")
        page.page.hover("h1")
        expect(page.page.locator("#tip")).to_be_hidden()
        expect(page.page.locator("#place")).to_contain_text("Position 0 of 400")

    shown = re.search(r"hidden 0:9 = (−?[\d.]+)", tip)
    assert shown
    assert abs(number(shown[1]) - lstm.trace.over_time(unit)[40]) <= stated_error(lstm.html(), "hidden") + 0.0005
    assert f"{lstm.guesses.surprisal[40]:.2f} bits" in tip


def test_a_click_moves_the_cursor_and_tells_those_who_listen(opened) -> None:
    with opened("#layer=0&unit=9") as page:
        page.page.click("#text span >> nth=33")
        expect(page.page.locator("#text .cursor")).to_have_text(READ[33])
        expect(page.page.locator("#live")).to_contain_text("Position 33: ")
        expect(page.page.locator("#live")).to_contain_text("hidden 0:9 = ")
        assert page.look("charlm.state.cursor") == 33


def test_keys_move_cursor_unit_signal_layer_and_colour(opened) -> None:
    with opened("#layer=0&unit=9") as page:
        page.page.focus("#text")
        press = page.page.keyboard.press
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowDown", "ArrowDown", "ArrowUp", "s", "l", "c"):
            press(key)
        state = page.look("charlm.state")
        assert (state["cursor"], state["unit"], state["signal"], state["layer"]) == (1, 10, "cell", 1)
        assert state["colour"] == "surprisal"
        press("End")
        assert page.look("charlm.state.cursor") == READ.index("\n")
        press("Home")
        assert page.look("charlm.state.cursor") == 0
        press("Control+End")
        assert page.look("charlm.state.cursor") == 399
        press("l")
        for _ in range(10):
            press("ArrowUp")
        press("ArrowUp")
        assert page.look("charlm.state.unit") == 15, "units go round"
        assert page.page.input_value("#unit") == "15"


def test_letters_are_letters_in_fields_and_can_be_switched_off(opened) -> None:
    with opened() as page:
        page.page.keyboard.press("/")
        page.page.keyboard.type("sl?")
        assert page.page.input_value("#find") == "sl?"
        assert page.look("charlm.state.signal") == "hidden"
        page.page.keyboard.press("Escape")
        page.page.keyboard.press("?")
        expect(page.page.locator("#help")).to_be_visible()
        page.page.uncheck("#letters")
        page.page.keyboard.press("Escape")
        expect(page.page.locator("#help")).to_be_hidden()
        page.page.focus("#text")
        page.page.keyboard.press("s")
        assert page.look("charlm.state.signal") == "hidden"


def test_controls_switch_signal_layer_and_unit(opened, lstm) -> None:
    with opened("#layer=0&unit=9") as page:
        page.page.select_option("#signal", "output")
        page.page.select_option("#layer", "1")
        page.page.fill("#unit", "12")
        expect(page.page.locator("#coloured-by")).to_have_text("output 1:12")
        page.page.click("#unit-after")
        page.page.click("#unit-after")
        page.page.click("#unit-before")
        expect(page.page.locator("#coloured-by")).to_have_text("output 1:13")
        page.page.fill("#unit", "99")
        expect(page.page.locator("#coloured-by")).to_have_text("output 1:13")
        shown = number(page.page.inner_text("#held .current dd"))
        expect(page.page.locator("#signal-words")).to_contain_text("The output gate decides")

    assert abs(shown - lstm.trace.over_time(Unit("output", 1, 13))[0]) <= 0.003


def test_every_control_has_a_name(opened) -> None:
    nameless = """[...document.querySelectorAll('input, select, button, [tabindex]')].filter((control) =>
        !control.labels?.length && !control.getAttribute('aria-label') && !control.textContent.trim())"""
    with opened("#select=5-9&find=o") as page:
        page.page.wait_for_selector("#highest .context")
        assert page.look(f"{nameless}.length") == 0


# ---- search by expression -------------------------------------------------------------------------------------------


def test_matches_are_marked_counted_and_walked_through(opened, lstm) -> None:
    unit = Unit("hidden", 1, 4)
    expected = [match.span() for match in re.finditer('"[^"]*"', READ)]
    inside = np.zeros(len(READ), bool)
    for start, end in expected:
        inside[start:end] = True
    with opened("#layer=1&unit=4") as page:
        page.page.fill("#find", '"[^"]*"')
        expect(page.page.locator("#found")).to_contain_text(f"{len(expected)} matches")
        said = page.page.inner_text("#found")
        marked = page.each("#text span", "node.classList.contains('match')")
        page.page.press("#find", "Enter")
        assert page.look("charlm.state.cursor") == expected[0][0]
        page.page.click("#match-after")
        expect(page.page.locator("#found")).to_contain_text(f"2 of {len(expected)} matches")
        page.page.focus("#text")
        page.page.keyboard.press("n")
        page.page.keyboard.press("p")
        page.page.keyboard.press("p")
        page.page.keyboard.press("p")
        assert page.look("charlm.state.cursor") == expected[-1][0], "the first is before the last"

    means = [number(value) for value in re.findall(r"(−?[\d.]+) (?:inside|outside)", said)]
    values = lstm.trace.over_time(unit)
    assert marked == inside.tolist()
    assert np.allclose(means, [values[inside].mean(), values[~inside].mean()], atol=0.005)


def test_an_expression_that_finds_nothing_is_told_in_words(opened) -> None:
    told = {
        "(": "Not a regular expression: unterminated group.",
        "[z-a]": "Not a regular expression: range out of order in character class.",
        "q": "No match.",
        "q*": "All matches are empty, so there is nothing to mark.",
    }
    with opened() as page:
        for pattern, words in told.items():
            page.page.fill("#find", pattern)
            expect(page.page.locator("#found")).to_have_text(words)
            assert page.look("document.querySelectorAll('.match').length") == 0


def test_case_can_be_ignored_and_lines_have_ends(opened) -> None:
    with opened() as page:
        page.page.fill("#find", "^the")
        expect(page.page.locator("#found")).to_have_text("No match.")
        page.page.check("#fold")
        expect(page.page.locator("#found")).to_contain_text(f"{READ.count(chr(10) + 'The') + 1} matches")


# ---- search by activation -------------------------------------------------------------------------------------------


def on_units(values: NDArray[np.float32], stretch: tuple[int, int], limit: float, gate: bool, apart: bool) -> set[int]:
    """Return the units of (T, H) that are on throughout a stretch; above the limit +1 − unit, below −1 − unit."""
    start, end = stretch
    found = set()
    for unit in range(values.shape[1]):
        for side in (1,) if gate else (1, -1):
            on = values[:, unit] * side > limit
            around = [on[place] for place in (start - 1, end) if 0 <= place < len(on)]
            if on[start:end].all() and not (apart and any(around)):
                found.add(unit if side > 0 else -1 - unit)
    return found


def drag(page: Window, start: int, end: int) -> None:
    """Drag over places start to end - 1 with the mouse."""
    first, last = (page.page.locator(f"#text span >> nth={place}").bounding_box() for place in (start, end - 1))
    assert first
    assert last
    page.page.mouse.move(first["x"] + 1, first["y"] + 5)
    page.page.mouse.down()
    page.page.mouse.move(last["x"] + last["width"] - 1, last["y"] + 5, steps=4)
    page.page.mouse.up()


def test_dragging_selects_a_stretch_and_a_click_gives_it_up(opened) -> None:
    with opened() as page:
        drag(page, 4, 9)
        assert page.look("charlm.state.select") == [4, 9]
        assert page.look("document.querySelectorAll('#text .selected').length") == 5
        page.page.click("#text span >> nth=20")
        assert page.look("charlm.state.select") is None
        assert page.look("charlm.state.cursor") == 20


def test_shift_and_arrows_select_in_both_directions(opened) -> None:
    with opened("#cursor=10") as page:
        page.page.focus("#text")
        for key, stretch in [("Right", [10, 12]), ("Right", [10, 13]), ("Left", [10, 12]), ("Left", [10, 11])]:
            page.page.keyboard.press(f"Shift+Arrow{key}")
            assert page.look("charlm.state.select") == stretch
        page.page.keyboard.press("Shift+ArrowLeft")
        page.page.keyboard.press("Shift+ArrowLeft")
        assert page.look("charlm.state.select") == [8, 11]
        page.page.keyboard.press("Escape")
        assert page.look("charlm.state.select") is None


@pytest.mark.parametrize(("signal", "gate"), [("hidden", False), ("output", True)])
@pytest.mark.parametrize("apart", [True, False])
def test_the_units_that_are_on_there_and_off_around_are_listed(opened, lstm, signal, gate, apart) -> None:
    values = rounded(signal, lstm.trace.signals[signal], lstm.model).values(1).T
    limit = 0.9 if gate else 0.3
    stretch = max(
        ((start, start + size) for start in range(1, 300) for size in (2, 3)),
        key=lambda stretch: len(on_units(values, stretch, limit, gate, apart)),
    )
    expected = on_units(values, stretch, limit, gate, apart)
    assert expected

    with opened(f"#signal={signal}&layer=1&select={stretch[0]}-{stretch[1] - 1}&apart={apart:d}") as page:
        page.page.wait_for_selector("#answer-units button")
        listed = page.page.locator("#answer-units button").all_inner_texts()
        said = page.page.inner_text("#elsewhere-words")
        places = page.page.locator("#elsewhere .context").all()
        found = [(place.locator(".figure").inner_text(), place.locator(".note").inner_text()) for place in places]
        if found:
            places[0].click()
            cursor = page.look("charlm.state.cursor")

    units = [text.split() for text in listed]
    means = {int(unit): number(mean) for unit, mean in units}
    assert {unit if means[unit] > 0 else -1 - unit for unit in means} == expected
    for unit, mean in means.items():
        assert abs(mean - values[stretch[0] : stretch[1], unit].mean()) <= 0.0011
    stretches = []
    for share, note in found:
        size, start = (int(value.replace(",", "")) for value in re.findall(r"([\d,]+)", note)[:2])
        there = on_units(values, (start, start + size), limit, gate, apart)
        assert share == f"{len(there & expected)} of {len(expected)}"
        assert set(range(start, start + size)).isdisjoint(range(*stretch)), "other places"
        stretches.append((-len(there & expected), len(there - expected), -size))
    assert stretches == sorted(stretches), "most shared, fewest others, longest"
    assert found or said.startswith("There is no other stretch")
    if found:
        assert cursor == int(re.findall(r"at position (\d+)", found[0][1])[0])


def test_places_that_agree_repeat_with_the_text(opened, lstm) -> None:
    """The text says the same again every 69 characters, and so do the units."""
    period = READ.index("The fox", 1)
    stretch = READ.index("come in", 2 * period)
    with opened(f"#layer=1&select={stretch}-{stretch + 3}&apart=0&threshold=0.05") as page:
        page.page.wait_for_selector("#elsewhere .context")
        notes = page.page.locator("#elsewhere .note").all_inner_texts()

    starts = [int(re.findall(r"at position (\d+)", note)[0]) for note in notes]
    assert any(abs((start - stretch + period // 2) % period - period // 2) <= 4 for start in starts[:5])


def test_the_threshold_is_the_users(opened) -> None:
    with opened("#layer=1&select=30-31&apart=0") as page:
        expect(page.page.locator("#answer")).not_to_have_text("")
        count = "document.querySelectorAll('#answer-units button').length"
        page.page.fill("#threshold", "0")
        page.page.press("#threshold", "Tab")
        expect(page.page.locator("#answer")).to_contain_text("units of hidden")
        assert page.look("charlm.state.threshold") == 0
        many = page.look(count)
        page.page.fill("#threshold", "1")
        page.page.press("#threshold", "Tab")
        expect(page.page.locator("#answer")).to_contain_text("No unit of hidden, layer 1, is on throughout")
        assert many > page.look(count) == 0


# ---- the figures ----------------------------------------------------------------------------------------------------


def test_a_line_for_each_chosen_unit_and_more_on_demand(opened, lstm) -> None:
    names = ("#lines .row .name > span", "node.firstChild.data")
    with opened("#layer=0&unit=9&kept=hidden.1.2") as page:
        assert page.each(*names) == ["surprisal", "hidden 0:9", "hidden 1:2"]
        page.page.click("#keep")
        page.page.focus("#text")
        page.page.keyboard.press("ArrowDown")
        assert page.each(*names) == ["surprisal", "hidden 0:10", "hidden 1:2", "hidden 0:9"]
        page.page.click("#lines button >> nth=0")
        assert page.each(*names) == ["surprisal", "hidden 0:10", "hidden 0:9"]
        line = page.look("document.querySelector('#lines .current .line').getAttribute('d')")

    heights = [1 - float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", line)]
    levels = rounded("hidden", lstm.trace.signals["hidden"], lstm.model).levels[0, 10].astype(float)
    assert np.allclose(heights, (levels[:60] + 127) / 254, atol=1e-4)


def test_chart_and_text_have_one_cursor(opened) -> None:
    with opened("#window=120&cursor=250") as page:
        plot = page.page.locator("#lines .current .plot")
        box = plot.bounding_box()
        assert box
        first = int(page.page.locator("#axis span").first.inner_text())
        where = {"x": box["width"] * 100.5 / 120, "y": 10}
        plot.hover(position=where)
        expect(page.page.locator("#place")).to_contain_text(f"Position {first + 100} of 400")
        expect(page.page.locator("#text .probe")).to_be_in_viewport()
        plot.click(position=where)
        assert page.look("charlm.state.cursor") == first + 100
        page.page.hover("h1")
        page.page.focus("#text")
        page.page.keyboard.press("ArrowLeft")
        expect(page.page.locator("#place")).to_contain_text(f"Position {first + 99} of 400")
        left = page.look("document.getElementById('timeline').style.getPropertyValue('--cursor')")
        assert float(left.removesuffix("%")) == pytest.approx(100 * 99.5 / 120)


def test_the_window_follows_the_cursor(opened) -> None:
    letters = "document.getElementById('axis').textContent"
    with opened("#window=30") as page:
        assert page.look(letters) == "".join(READ[:30])
        page.page.focus("#text")
        page.page.keyboard.press("Control+End")
        assert page.look(letters).endswith("".join(READ[380:]).replace("\n", "↵").replace("\t", "→"))
        page.page.keyboard.press("-")
        assert page.look("charlm.state.window") == 60
        page.page.select_option("#window", "0")
        assert page.look("document.querySelector('#lines .current svg').getAttribute('viewBox')") == "0 0 400 1"


def test_the_heat_map_is_the_layer_sorted_by_similarity(opened, lstm) -> None:
    pixel = """(() => { const canvas = document.querySelector('#heat canvas');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return { width: canvas.width, height: canvas.height, data: [...data] } })()"""
    with opened("#signal=cell&layer=1&window=0") as page:
        image = page.look(pixel)

    order = similarity_order(lstm.trace.signals["cell"][:, 1])
    levels = rounded("cell", lstm.trace.signals["cell"], lstm.model).levels[1][order]
    assert (image["height"], image["width"]) == levels.shape
    found = np.array(image["data"]).reshape(*levels.shape, 4)
    for row, place in [(0, 0), (3, 17), (15, 399)]:
        expected = colour((int(levels[row, place]) + 127) / 254)
        assert "rgb({}, {}, {})".format(*found[row, place, :3]) == expected


def test_a_click_in_the_heat_map_chooses_unit_and_place(opened, lstm) -> None:
    order = similarity_order(lstm.trace.signals["hidden"][:, 0]).tolist()
    with opened("#layer=0&unit=9&window=0") as page:
        heat = page.page.locator("#heat")
        box = heat.bounding_box()
        assert box
        where = {"x": box["width"] * 100.5 / 400, "y": box["height"] * 4.5 / 16}
        heat.hover(position=where)
        assert f"hidden 0:{order[4]} = " in page.page.inner_text("#tip")
        heat.click(position=where)
        assert page.look("[charlm.state.unit, charlm.state.cursor]") == [order[4], 100]
        heat.focus()
        page.page.keyboard.press("ArrowDown")
        assert page.look("charlm.state.unit") == order[5], "the neighbour in the picture"


def test_gates_stand_where_numpy_counts_them(opened, lstm) -> None:
    shares = saturation(lstm.trace)
    with opened("#layer=1&unit=6") as page:
        assert page.each("[data-gate]", "node.dataset.gate") == [gate for gate in SIGNALS if gate in GATES]
        for gate in ("input", "forget", "output"):
            points = page.look(
                f"""[...document.querySelectorAll('[data-gate={gate}] g circle')].map((point) =>
                [point.getAttribute('cx') / 100, 1 - point.getAttribute('cy') / 100])"""
            )
            assert np.allclose(points, np.stack([shares[gate].shut[1], shares[gate].open[1]], axis=1))
        said = page.page.inner_text("[data-gate=forget] figcaption")
        svg = page.page.locator("[data-gate=output] svg")
        svg.scroll_into_view_if_needed()
        spot = page.look(
            """(() => { const point = document.querySelectorAll('[data-gate=output] g circle')[11];
            const box = point.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2] })()"""
        )
        page.page.mouse.click(*spot)
        chosen = page.look("[charlm.state.signal, charlm.state.unit]")

    percent = [100 * shares["forget"].shut[1, 6], 100 * shares["forget"].open[1, 6]]
    assert said == f"forget 1:6: shut {percent[0]:.1f} % of the time, open {percent[1]:.1f} %"
    output = np.stack([shares["output"].shut[1], shares["output"].open[1]], axis=1)
    assert chosen[0] == "output"
    assert np.allclose(output[chosen[1]], output[11]), "the unit, or another at the same point"


def peaks(levels: NDArray[np.int8], direction: int, apart: int = 12) -> list[int]:
    chosen: list[int] = []
    for place in np.argsort(-direction * levels.astype(int), kind="stable"):
        if len(chosen) < 6 and all(abs(place - other) >= apart for other in chosen):
            chosen.append(int(place))
    return chosen


def test_the_strongest_contexts_are_numpys_and_a_click_goes_there(opened, lstm) -> None:
    layer = rounded("hidden", lstm.trace.signals["hidden"], lstm.model).levels[1]
    unit = next(unit for unit in range(15) if peaks(layer[unit], 1) != peaks(layer[unit], 1, 11))
    levels = layer[unit]
    marks = lstm.vocabulary.marks(lstm.trace.ids)
    with opened(f"#layer=1&unit={unit}") as page:
        page.page.wait_for_selector("#highest .context")
        found = {}
        for name in ("highest", "lowest", "random"):
            rows = page.page.locator(f"#{name} .context").all()
            labels = [row.get_attribute("aria-label") or "" for row in rows]
            found[name] = [int(re.findall(r"position (\d+)", label)[0]) for label in labels]
            place = found[name][0]
            assert rows[0].locator(".place").text_content() == marks[place]
            assert "".join(marks[max(place - 44, 0) : place]) == rows[0].locator(".before").text_content()
            assert "".join(marks[place + 1 : place + 45]) == rows[0].locator(".after").text_content()
        page.page.click("#lowest .context >> nth=1")
        assert page.look("charlm.state.cursor") == found["lowest"][1]
        expect(page.page.locator("#text .cursor")).to_be_in_viewport()
        page.page.focus("#text")
        page.page.keyboard.press("ArrowDown")
        expect(page.page.locator("#strongest-unit")).to_have_text(f"hidden 1:{unit + 1}")
        labels = [row.get_attribute("aria-label") or "" for row in page.page.locator("#random .context").all()]

    assert found["highest"] == peaks(levels, 1)
    assert found["lowest"] == peaks(levels, -1)
    assert len(set(found["random"])) == 6
    same = [int(re.findall(r"position (\d+)", label)[0]) for label in labels]
    assert same == found["random"], "the same for every unit"


def test_the_download_holds_the_units_of_the_chart(opened, lstm) -> None:
    with opened("#layer=0&unit=9&kept=cell.1.2") as page:
        with page.page.expect_download() as download:
            page.page.click("#download")
        text = Path(download.value.path()).read_text(encoding="utf-8")
        assert download.value.suggested_filename == "charlm-units.csv"

    header, *rows = csv.reader(io.StringIO(text))
    assert header == ["position", "character", "hidden 0:9", "cell 1:2"]
    assert [row[1] for row in rows] == lstm.vocabulary.marks(lstm.trace.ids)
    for column, unit in [(2, Unit("hidden", 0, 9)), (3, Unit("cell", 1, 2))]:
        values = np.array([float(row[column]) for row in rows])
        assert np.abs(values - lstm.trace.over_time(unit)).max() <= stated_error(lstm.html(), unit.signal) + 0.0005


# ---- the address ----------------------------------------------------------------------------------------------------


def test_the_address_says_what_is_chosen_and_brings_it_back(opened) -> None:
    with opened("#layer=0&unit=9") as page:
        page.page.select_option("#signal", "cell")
        page.page.click("#text span >> nth=44")
        page.page.fill("#find", "o+ \\w")
        page.page.check("input[value=surprisal]")
        page.page.focus("#text")
        page.page.keyboard.press("Shift+ArrowRight")
        page.page.wait_for_url(lambda url: "select" in url)
        fragment = page.page.url.partition("#")[2]
        before = page.look("charlm.state")

    with opened(f"#{fragment}") as page:
        after = page.look("charlm.state")
        expect(page.page.locator("#text .selected")).to_have_count(2)
        expect(page.page.locator("#coloured-by")).to_have_text("surprisal")
        assert page.page.input_value("#find") == "o+ \\w"

    assert "signal=cell" in fragment
    assert {**before, "probe": None} == {**after, "probe": None}
    assert (after["signal"], after["unit"], after["select"]) == ("cell", 9, [44, 46])


def test_another_address_changes_the_page_and_nonsense_is_passed_over(opened) -> None:
    with opened() as page:
        default = page.look("[charlm.state.signal, charlm.state.layer, charlm.state.unit]")
        page.page.evaluate("location.hash = '#unit=3&layer=1&signal=input&cursor=17'")
        expect(page.page.locator("#coloured-by")).to_have_text("input 1:3")
        expect(page.page.locator("#place")).to_contain_text("Position 17 of 400")
        page.page.evaluate(
            "location.hash = '#unit=99&layer=-1&signal=<b>&cursor=1e9&select=9-3&kept=a.b.c&window=7&threshold=5&x=%'"
        )
        expect(page.page.locator("#place")).to_contain_text("Position 0 of 400")
        assert page.look("[charlm.state.signal, charlm.state.layer, charlm.state.unit]") == default
        assert page.look("charlm.state.select") is None


# ---- how it looks ---------------------------------------------------------------------------------------------------


def luminance(rgb: list[float]) -> float:
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    bright, dark = sorted(
        (luminance([int(value) / 255 for value in re.findall(r"\d+", shade)[:3]]) for shade in (one, other)),
        reverse=True,
    )
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_every_colour(opened, scheme) -> None:
    looks = """(() => { const style = (id) => getComputedStyle(document.querySelector(id));
        return { ink: style('#text').color, paper: style('body').backgroundColor, prose: style('body').color,
                 quiet: style('.quiet').color } })()"""
    shades = ("#text span, #strip td", "node.style.backgroundColor")
    with opened("#signal=forget", color_scheme=scheme) as page:
        found = page.look(looks)
        colours = set(page.each(*shades))
        page.page.check("input[value=surprisal]")
        colours |= set(page.each(*shades))
        page.page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
        page.page.wait_for_timeout(100)
        assert page.look(looks)["ink"] != found["ink"], "the page follows when day turns to night"
        assert set(page.each(*shades)) & colours <= {""}

    assert len(colours) > 40
    assert min(contrast(found["ink"], shade) for shade in colours if shade) >= 4.5
    assert contrast(found["prose"], found["paper"]) >= 7
    assert contrast(found["quiet"], found["paper"]) >= 4.5
    assert (luminance([int(v) / 255 for v in re.findall(r"\d+", found["paper"])]) > 0.5) == (scheme == "light")


@pytest.mark.parametrize(
    "settings",
    [
        {"viewport": {"width": 400, "height": 700}},
        {"viewport": {"width": 640, "height": 400}, "device_scale_factor": 2},  # 1280 × 800 at 200 %
        {"viewport": {"width": 320, "height": 256}, "device_scale_factor": 4},  # 1280 × 1024 at 400 %
    ],
    ids=["narrow", "zoomed", "zoomed twice"],
)
def test_nothing_is_cut_off_where_there_is_little_room(opened, settings) -> None:
    wide = """[...document.querySelectorAll('main *')].filter((node) => {
        const { left, right, width } = node.getBoundingClientRect();
        return width && (left < -1 || right > innerWidth + 1) && !node.closest('.context, .unseen, svg');
        }).map((node) => node.outerHTML.slice(0, 80))"""
    with opened("#select=30-31&apart=0&threshold=0&find=o", **settings) as page:
        page.page.wait_for_selector("#highest .context")
        page.page.wait_for_selector("#answer-units button")
        assert page.look("document.documentElement.scrollWidth") <= settings["viewport"]["width"]
        assert page.look(wide) == []


def test_larger_letters_move_things_but_cut_nothing(opened) -> None:
    with opened(viewport={"width": 1280, "height": 800}) as page:
        page.page.evaluate("document.documentElement.style.fontSize = '200%'")
        page.page.wait_for_timeout(100)
        assert page.look("document.documentElement.scrollWidth") <= 1280
        assert page.look("parseFloat(getComputedStyle(document.getElementById('text')).fontSize)") >= 30


# ---- other models, other texts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "gates"),
    [
        ({"kind": "gru"}, ["reset", "update"]),
        ({"kind": "rnn"}, []),
        ({"kind": "rnn", "nonlinearity": "relu", "scale": 0.3}, []),
    ],
    ids=["gru", "rnn", "relu"],
)
def test_other_cells_have_their_own_signals(browser, tmp_path, settings, gates) -> None:
    vocabulary = Vocabulary.of_text(READ)
    page_of = made(lively(vocabulary, **settings), vocabulary, READ[:120])
    with window(browser, page_of.written(tmp_path), "#cursor=50") as page:
        assert page.each("#signal option", "node.value") == list(page_of.trace.signals)
        assert page.each("[data-gate]", "node.dataset.gate") == gates
        assert page.page.inner_text("#sum").startswith("hidden = " if gates else "")
        for signal in page_of.trace.signals:
            unit = Unit(signal, 1, 2)
            bound = stated_error(page_of.html(), signal)
            assert np.abs(course(page, unit) - page_of.trace.over_time(unit)).max() <= bound + 1e-12


def test_a_page_of_one_layer_calls_it_by_its_number(browser, tmp_path) -> None:
    vocabulary = Vocabulary.of_text(READ)
    page_of = made(lively(vocabulary), vocabulary, READ[:60], signals=["forget"], layers=[1])
    with window(browser, page_of.written(tmp_path), "#unit=4") as page:
        expect(page.page.locator("#coloured-by")).to_have_text("forget 1:4")
        assert page.each("#layer option", "node.value") == ["1"]
        unit = Unit("forget", 1, 4)
        assert np.abs(course(page, unit) - page_of.trace.over_time(unit)).max() <= 1 / 508 + 1e-6


HOSTILE = (
    "</script><script>alert(1)</script><!-- <script> ]]> &lt;b&amp; {{ 7*7 }} <img src=x onerror=alert(2)>\n"
    "\u202eright to left\u202c \u200fשלום مرحبا\n😀👩\u200d👧 e\u0301 o\u0308\u0323 \u2028\u2029\u00a0\ufeff"
    "\t\x00\x07\x1b[31m\r\n'\"`${alert(3)}\n"
)


def test_a_hostile_text_is_only_read(browser, tmp_path) -> None:
    vocabulary = Vocabulary.of_text(HOSTILE)
    title = "</title></h1><script>alert(0)</script><b>run</b> & \udc80"
    page_of = made(lively(vocabulary), vocabulary, HOSTILE, title)
    with window(browser, page_of.written(tmp_path), "#find=<script>&cursor=3") as page:
        shown = page.each("#text span", "node.textContent")
        assert shown == vocabulary.marks(page_of.trace.ids)
        assert page.page.inner_text("h1") == title.replace("\udc80", "?")
        assert page.page.locator("#found").inner_text().startswith("2 matches")
        assert page.look("document.querySelectorAll('main script, #text b, #text img, h1 b').length") == 0
        lefts = page.each("#text span", "[node.offsetTop, node.offsetLeft]")

    hebrew = HOSTILE.index("ש")
    assert lefts[hebrew : hebrew + 4] == sorted(lefts[hebrew : hebrew + 4]), "time runs to the right"


def test_bytes_are_shown_as_bytes_and_found_as_characters(browser, tmp_path) -> None:
    vocabulary = Vocabulary.of_bytes()
    text = "naïve 😀\x00 café\udcff \udcc3(é)"
    page_of = made(lively(vocabulary), vocabulary, text)
    raw = text.encode("utf-8", "surrogateescape")
    with window(browser, page_of.written(tmp_path), "#find=é") as page:
        assert page.look("charlm.characters.length") == len(raw)
        assert page.page.locator("#found").inner_text().startswith("2 matches")
        marked = page.each("#text span", "node.classList.contains('match')")
        page.page.click(f"#text span >> nth={raw.index(0)}")
        expect(page.page.locator("#place")).to_contain_text("byte 0x00")
        page.page.fill("#find", "😀")
        expect(page.page.locator("#found")).to_contain_text("1 match;")

    places = {place for start in (raw.index("é".encode()), raw.rindex("é".encode())) for place in (start, start + 1)}
    assert {place for place, yes in enumerate(marked) if yes} == places


def test_unknown_symbols_and_decomposed_texts_can_be_read(browser, tmp_path) -> None:
    vocabulary = Vocabulary.of_text("한국어 한국어 한국어 x", "NFD", minimum_count=2)
    page_of = made(lively(vocabulary), vocabulary, "한국 x 국")
    with window(browser, page_of.written(tmp_path), "#find=국") as page:
        assert page.page.locator("#found").inner_text().startswith("2 matches")
        page.page.fill("#find", "x")
        expect(page.page.locator("#found")).to_have_text("No match.")
        page.page.locator("#text span", has_text="�").click()
        expect(page.page.locator("#place")).to_contain_text("<unk>")


@pytest.mark.parametrize(("symbols", "text"), [("Th", "T"), ("Th", "Th"), ("T", "TT")])
def test_a_very_short_text_has_a_page(browser, tmp_path, symbols, text) -> None:
    vocabulary = Vocabulary.of_text(symbols)
    page_of = made(lively(vocabulary), vocabulary, text)
    with window(browser, page_of.written(tmp_path), "#select=0-0") as page:
        page.page.wait_for_selector("#highest .context")
        page.page.focus("#text")
        for key in ("ArrowRight", "ArrowLeft", "ArrowDown", "s", "End", "Shift+ArrowRight"):
            page.page.keyboard.press(key)
        assert page.page.locator("#expected tr").count() == len(symbols), "no more symbols than there are"
        assert page.look("charlm.state.cursor") == len(text) - 1


def test_a_long_line_is_wrapped_and_recoloured_at_once(browser, tmp_path) -> None:
    """20,000 characters, half of them in one line without a space; the time allows for a busy machine."""
    vocabulary = Vocabulary.of_text("x y\n")
    text = "x" * 10_000 + "\n" + "y x\n" * 2_500
    ids = vocabulary.encode(text[:20_000])
    chance = np.random.default_rng(2)
    hidden = np.tanh(chance.normal(size=(len(ids), 2, 16))).astype(np.float32)
    expected = guesses(lively(vocabulary, hidden_size=2), ids, 5)
    page_of = Made(Trace(ids, {"hidden": hidden}), expected, vocabulary, ModelConfig(kind="rnn", hidden_size=16))
    recolour = """(() => { const times = [];
        for (let unit = 1; unit < 12; unit++) {
          const start = performance.now();
          charlm.change({ unit }); charlm.render(); document.body.offsetHeight;
          times.push(performance.now() - start);
        }
        return times.sort((a, b) => a - b)[5]; })()"""
    with window(browser, page_of.written(tmp_path), "#layer=0&unit=0&signal=hidden") as page:
        assert page.look("document.documentElement.scrollWidth") == 1280
        assert max(page.each("#text span", "node.offsetLeft")) < 600
        assert page.look(recolour) < 250
        page.page.focus("#text")
        page.page.keyboard.press("Control+End")
        expect(page.page.locator("#text .cursor")).to_be_in_viewport()
        ends = page.each("#text span", "node.style.backgroundColor")[-20:]
        page.page.evaluate("document.getElementById('text').scrollTop = 20_000")
        page.page.wait_for_timeout(200)
        box = page.page.locator("#text").bounding_box()
        assert box
        at = "document.elementFromPoint({}, {}).style.backgroundColor".format(
            box["x"] + 30, box["y"] + box["height"] / 2
        )
        passing = page.look(at)

    shades = [colour((int(level) + 127) / 254) for level in rounded("hidden", hidden, page_of.model).levels[0, 11]]
    assert ends == shades[-20:]
    assert passing in shades


def test_facts_are_plain_json_that_no_text_can_end(lstm) -> None:
    facts = re.search(r'<script type="application/json" id="facts">(.*?)</script>', lstm.html(), re.DOTALL)
    assert facts
    assert "<" not in facts[1]
    assert json.loads(facts[1])["length"] == 400
