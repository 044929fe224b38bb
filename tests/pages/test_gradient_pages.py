"""The pages of gradients in a real browser: right, readable, quiet, and safe from what names and texts would do."""

import itertools
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from charlm.inspection.gradient_by_lag import GradientByLag, Saliency
from charlm.pages.gradients import lag_page, saliency_page
from tests.harness.browser import Window, window

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"'><svg onload=alert(1)>&amp;",
    "</title></style><h1>mine</h1>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
]
TEXT = (
    "The fox said\u21b5<b>&\"'come</b>\u2192\ud55c\uad6d \u05d0\u05d1\u05d2 \u0639\u0631\u0628\u21b5\U0001f600 {{x}} $"
)


def steady(factor: float, lags: int = 100) -> GradientByLag:
    mean = 0.37 * factor ** np.arange(lags + 1.0)
    return GradientByLag(mean, mean / 3)


def reach_of(*names: str, lags: int = 100) -> dict[str, GradientByLag]:
    factors = (0.5, 0.93, 1.04, 0.97, 0.8, 0.6, 0.9)
    return {name: steady(factor, lags) for name, factor in zip(names, itertools.cycle(factors), strict=False)}


def connected(text: str = TEXT) -> Saliency:
    return Saliency(list(text), np.linspace(0.5, 4, len(text)) ** 3)


def saved(folder: Path, page: str) -> Path:
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    return path


def both(names: list[str]) -> dict[str, str]:
    """Return the two pages for models of these names."""
    return {
        "by lag": lag_page(reach_of(*names)),
        "saliency": saliency_page({name: connected() for name in names}),
    }


kinds = pytest.mark.parametrize("kind", ["by lag", "saliency"])


# What is shown


@pytest.mark.parametrize("lags", [1, 7, 100, 10_000])
def test_the_table_holds_the_numbers_under_the_names(lags: int, browser: Browser, tmp_path: Path) -> None:
    found = reach_of("tales-rnn", "tales-lstm, untrained", lags=lags)
    found["dead"] = GradientByLag(np.array([1.0, *[0.0] * lags]), np.zeros(lags + 1))
    with window(browser, saved(tmp_path, lag_page(found))) as opened:
        rows = opened.page.eval_on_selector_all(
            "table tr", "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
        )
    head, *body = rows
    assert head == ["characters back", *found]
    shown = [int(row[0]) for row in body]
    assert shown == [lag for lag in shown if lag <= lags]
    assert shown[:2] == [0, 1]
    assert shown == sorted(set(shown))
    assert len(shown) >= min(lags, 4)
    for lag, *sizes in body:
        expected = [gradient.mean[int(lag)] for gradient in found.values()]
        np.testing.assert_allclose([float(size) for size in sizes], expected, rtol=5e-3)


def test_the_table_ends_with_the_last_lag(browser: Browser, tmp_path: Path) -> None:
    with window(browser, saved(tmp_path, lag_page(reach_of("one", lags=75)))) as opened:
        assert opened.page.inner_text("tbody tr:last-child th") == "75"


READ_CHART = """chart => ({
    lines: [...chart.querySelectorAll("polyline")].map(line => [...line.points].map(point => [point.x, point.y])),
    texts: [...chart.querySelectorAll("text")].map(text => [
        text.textContent, +text.getAttribute("x"), +text.getAttribute("y"), text.getAttribute("text-anchor")
    ]),
    levels: [...chart.querySelectorAll("line[x1='0']")].map(line => +line.getAttribute("y1")),
})"""


@pytest.mark.parametrize("lags", [1, 3, 75, 100])
def test_the_lines_stand_at_their_lags_and_sizes_as_the_axes_say(lags: int, browser: Browser, tmp_path: Path) -> None:
    found = reach_of("one", "two", "three", lags=lags)
    with window(browser, saved(tmp_path, lag_page(found))) as opened:
        chart = opened.page.eval_on_selector("svg.chart", READ_CHART)
    powers = {int(text[2:].replace("\u2212", "-")): y for text, _, y, anchor in chart["texts"] if anchor == "end"}
    powers = {power: min(chart["levels"], key=lambda level, y=y: abs(level - y)) for power, y in powers.items()}
    across = [(text, x) for text, x, _, anchor in chart["texts"] if anchor == "middle" and text != "characters back"]
    assert len(across) > 1
    slope, at_one = np.polyfit(list(powers), list(powers.values()), 1)
    assert slope < 0
    for line, gradient in zip(chart["lines"], found.values(), strict=True):
        x, y = np.array(line).T
        assert len(x) == lags + 1
        np.testing.assert_allclose(y, at_one + slope * np.log10(np.maximum(gradient.mean, 1e-30)), atol=0.2)
        for lag, place in across:
            assert np.interp(float(lag), np.arange(lags + 1), x) == pytest.approx(place, abs=0.1)


def test_the_legend_says_what_each_line_means_in_the_lines_colour(browser: Browser, tmp_path: Path) -> None:
    found = reach_of(*(f"model {place}" for place in range(8)))
    with window(browser, saved(tmp_path, lag_page(found))) as opened:
        said = opened.page.eval_on_selector_all(".legend li", "items => items.map(item => item.innerText.trim())")
        swatches = opened.page.eval_on_selector_all(
            ".swatch", "items => items.map(item => getComputedStyle(item).backgroundColor)"
        )
        lines = opened.page.eval_on_selector_all(
            "polyline", "items => items.map(item => getComputedStyle(item).stroke)"
        )
    assert said == [f"{name}: {gradient.words}" for name, gradient in found.items()]
    assert swatches == lines
    assert len(set(lines)) == 6
    assert lines[6:] == lines[:2]


READ_CHARACTERS = """spans => spans.map(span => {
    const box = span.getBoundingClientRect();
    return {mark: span.textContent, size: span.title, left: box.left, top: box.top};
})"""


def test_every_character_stands_in_reading_order_with_its_own_number(browser: Browser, tmp_path: Path) -> None:
    saliency = connected()
    page = saliency_page({"one": saliency, "dead": Saliency(list("ab"), np.zeros(2))})
    with window(browser, saved(tmp_path, page)) as opened:
        characters = opened.page.eval_on_selector_all(".read span", READ_CHARACTERS)
        names = opened.page.eval_on_selector_all("h2", "heads => heads.map(head => head.innerText)")
    assert names == ["one", "dead"]
    assert "".join(character["mark"] for character in characters) == TEXT + "ab"
    assert [float(character["size"]) for character in characters] == pytest.approx(
        [*saliency.sizes.tolist(), 0, 0], rel=5e-3
    )
    for line in TEXT.split("\u21b5"):  # ends a line, as the newline that it stands for
        start = TEXT.index(line)
        lefts = [character["left"] for character in characters[start : start + len(line)]]
        assert lefts == sorted(lefts)  # Hebrew and Arabic too stand in the order they were read
    assert characters[TEXT.index("\u21b5") + 1]["left"] == characters[0]["left"]


# Colours


def luminance(colour: tuple[float, ...]) -> float:
    """Return the relative luminance that WCAG defines."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(front: tuple[float, ...], back: tuple[float, ...]) -> float:
    lighter, darker = sorted((luminance(front), luminance(back)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def mixed(colour: str, back: tuple[float, ...]) -> tuple[float, ...]:
    """Return what a colour, maybe transparent, looks like over another."""
    if colour.startswith("color("):
        numbers = [float(part) for part in re.findall(r"[\d.]+", colour.removeprefix("color(srgb"))]
    else:
        *parts, alpha = [*(float(part) for part in re.findall(r"[\d.]+", colour)), 1.0][:4]
        numbers = [*(part / 255 for part in parts), alpha]
    *parts, alpha = [*numbers, 1.0][:4]
    return tuple(front * alpha + behind * (1 - alpha) for front, behind in zip(parts, back, strict=True))


READ_COLOURS = """([selector, name]) => [...document.querySelectorAll(selector)].map(
    element => getComputedStyle(element)[name]
)"""


def colours(opened: Window, selector: str, name: str) -> list[str]:
    found: list[str] = opened.page.evaluate(READ_COLOURS, [selector, name])
    assert found
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_character_can_be_read_on_its_colour(scheme: str, browser: Browser, tmp_path: Path) -> None:
    page = saliency_page({"one": Saliency(list("abcdefghijk"), np.linspace(0, 1, 11))})
    with window(browser, saved(tmp_path, page), color_scheme=scheme) as opened:
        (paper,) = colours(opened, "body", "backgroundColor")
        backs = [mixed(colour, mixed(paper, (1, 1, 1))) for colour in colours(opened, ".read span", "backgroundColor")]
        fronts = [
            mixed(colour, back) for colour, back in zip(colours(opened, ".read span", "color"), backs, strict=True)
        ]
    assert len(set(backs)) == 11  # each share has a colour of its own
    assert min(map(contrast, fronts, backs)) >= 4.5


def test_the_largest_number_of_a_text_has_the_full_colour_and_nought_has_none(browser: Browser, tmp_path: Path) -> None:
    small, large = (Saliency(list("abcd"), np.array([0, 0.2, 0.1, 0.4]) * size) for size in (1e-5, 300))
    dead = Saliency(list("abcd"), np.zeros(4))
    page = saliency_page({"small": small, "large": large, "dead": dead})
    with window(browser, saved(tmp_path, page)) as opened:
        shown = colours(opened, ".read span", "backgroundColor")
    assert shown[:4] == shown[4:8]
    assert len(set(shown[:4])) == 4
    assert shown[8:] == shown[:1] * 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_lines_stand_out_from_the_paper(scheme: str, browser: Browser, tmp_path: Path) -> None:
    page = lag_page(reach_of(*(f"model {place}" for place in range(6))))
    with window(browser, saved(tmp_path, page), color_scheme=scheme) as opened:
        (shown,) = colours(opened, "body", "backgroundColor")
        paper = mixed(shown, (1, 1, 1))
        assert (luminance(paper) < 0.1) == (scheme == "dark")
        for selector, name, least in (
            ("h1, h2, p, li, td, th", "color", 4.5),
            (".chart text", "fill", 4.5),
            (".chart polyline", "stroke", 3),
        ):
            opacities = map(float, colours(opened, selector, "opacity"))
            for colour, opacity in zip(colours(opened, selector, name), opacities, strict=True):
                front = mixed(colour, paper)
                seen = tuple(f * opacity + b * (1 - opacity) for f, b in zip(front, paper, strict=True))
                assert contrast(seen, paper) >= least, (selector, colour)


# Small screens


def longest(opened: Window) -> int:
    """Return how wide the page is that the reader can scroll through."""
    width: int = opened.page.evaluate("document.documentElement.scrollWidth")
    return width


COUNT_LINES = """
    const range = document.createRange();
    range.selectNodeContents(cell);
    return range.getClientRects().length;
"""


@kinds
@pytest.mark.parametrize(
    "names",
    [["tales-rnn", "tales-lstm"], [f"some-model-{place}, untrained" for place in range(8)], ["x" * 200]],
    ids=["two", "eight", "long"],
)
def test_a_small_screen_scrolls_down_alone(kind: str, names: list[str], browser: Browser, tmp_path: Path) -> None:
    path = saved(tmp_path, both(names)[kind])
    with window(browser, path, viewport={"width": 400, "height": 700}) as opened:
        assert longest(opened) <= 400


def test_numbers_stay_whole_and_legible_on_a_small_screen(browser: Browser, tmp_path: Path) -> None:
    path = saved(tmp_path, lag_page(reach_of("tales-rnn", "tales-rnn-relu", "tales-lstm", "tales-gru")))
    with window(browser, path, viewport={"width": 400, "height": 700}) as opened:
        lines = opened.page.eval_on_selector_all("td", "cells => cells.map(cell => {" + COUNT_LINES + "})")
        heights = opened.page.eval_on_selector_all(
            ".chart text", "texts => texts.map(text => text.getBoundingClientRect().height)"
        )
    assert set(lines) == {1}  # 2.98e-05 is not cut at its minus
    assert min(heights) >= 9


def test_a_text_without_a_space_is_broken_on_a_small_screen(browser: Browser, tmp_path: Path) -> None:
    path = saved(tmp_path, saliency_page({"one": connected("x" * 300)}))
    with window(browser, path, viewport={"width": 400, "height": 700}) as opened:
        assert longest(opened) <= 400


# Names and texts that mean harm


@kinds
def test_names_are_shown_letter_by_letter_and_never_run(kind: str, browser: Browser, tmp_path: Path) -> None:
    page = both(HOSTILE)[kind]
    with window(browser, saved(tmp_path, page)) as opened:
        heads = opened.page.eval_on_selector_all(
            "thead th:not(:first-child)" if kind == "by lag" else "h2", "heads => heads.map(head => head.innerText)"
        )
        assert opened.page.locator("script, img, h1:has-text('mine'), [onload], [onerror]").count() == 0
        assert opened.page.locator("h1").count() == 1
    assert heads == HOSTILE  # Window sees to it that nothing was logged, asked or fetched
    assert "<script" not in page


@pytest.mark.parametrize("mark", ["<", ">", "&", '"', "'", "\u202e", "{", "\u2028"])
def test_a_character_that_means_something_to_a_page_is_shown(mark: str, browser: Browser, tmp_path: Path) -> None:
    with window(browser, saved(tmp_path, saliency_page({"one": connected(f"a{mark}b")}))) as opened:
        marks = opened.page.eval_on_selector_all(".read span", "spans => spans.map(span => span.textContent)")
    assert marks == ["a", mark, "b"]


PLACE = """words => {
    const walker = document.createTreeWalker(document.querySelector(".legend li"), NodeFilter.SHOW_TEXT);
    for (let node; (node = walker.nextNode()); ) {
        const start = node.data.indexOf(words);
        if (start < 0) continue;
        const box = place => {
            const range = document.createRange();
            range.setStart(node, place);
            range.setEnd(node, place + 1);
            return range.getBoundingClientRect().left;
        };
        return [box(start), box(start + words.length - 1)];
    }
}"""


@pytest.mark.parametrize("name", ["\u05d0\u05d1\u05d2", "\u202eabc", "\u2067abc"])
def test_a_name_that_runs_from_right_to_left_leaves_the_words_after_it_alone(
    name: str, browser: Browser, tmp_path: Path
) -> None:
    found = reach_of(name)
    with window(browser, saved(tmp_path, lag_page(found))) as opened:
        first, last = opened.page.evaluate(PLACE, found[name].words)
    assert first < last


# The file


def pages_of(found: Mapping[str, GradientByLag]) -> list[str]:
    return [lag_page(found), saliency_page({name: connected() for name in found})]


def test_the_same_input_gives_the_same_bytes() -> None:
    assert pages_of(reach_of("one", "two")) == pages_of(reach_of("one", "two"))


def test_a_page_is_one_file_without_a_script_that_names_no_other() -> None:
    for page in pages_of(reach_of("one", "two")):
        assert page.startswith("<!doctype html>\n")
        assert page.endswith("</html>\n")
        assert re.search(r"<script|<link|<img|@import|url\(|\bsrc=|\bhref=|https?:", page) is None


@kinds
def test_a_page_says_what_it_is_to_those_who_do_not_see_it(kind: str, browser: Browser, tmp_path: Path) -> None:
    with window(browser, saved(tmp_path, both(["one"])[kind])) as opened:
        assert opened.page.title().endswith(" \u00b7 charlm")
        assert opened.page.get_attribute("html", "lang") == "en"
        for chart in opened.page.locator("svg").all():
            assert chart.get_attribute("role") == "img"
            assert chart.get_attribute("aria-label")


@pytest.mark.parametrize(
    "reach",
    [
        GradientByLag(np.zeros(4), np.zeros(4)),
        GradientByLag(np.ones(2), np.zeros(2)),
        GradientByLag(10.0 ** np.arange(0, 90, 3), 10.0 ** np.arange(0, 90, 3)),
        GradientByLag(10.0 ** -np.arange(0, 240, 3.0), 10.0 ** -np.arange(0, 240, 3.0)),
        GradientByLag(np.full(9, 0.5), np.full(9, 5.0)),
    ],
    ids=["zeros", "steady", "huge", "tiny", "wide"],
)
def test_any_gradient_stays_inside_its_chart(reach: GradientByLag) -> None:
    page = lag_page({"one": reach})
    points = re.findall(r'points="([^"]*)"', page)
    assert len(points) == 2
    for corner in " ".join(points).split():
        x, y = map(float, corner.split(","))
        assert 0 <= x <= 1000
        assert 0 <= y <= 420
