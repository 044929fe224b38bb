"""The report of a run in a real browser: the numbers are the metrics', and nothing in a name or a sample runs."""

import itertools
import random
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from charlm.config.reading import read_config
from charlm.config.settings import KEYS
from charlm.pages.courses import Courses
from charlm.pages.report import report_page, spread
from charlm.runs.history import History, read_history
from tests.harness.browser import Window, window
from tests.harness.histories import Line, falling, history, line, settings

BASELINES = {"uniform": 6.02, "Markov 0": 4.8, "Markov 3": 2.31}
ENVIRONMENT = {"torch": "2.13.0", "device": "cpu", "threads": "2"}
ADVICE = ["Validation has risen since step 750: fewer epochs would do.", "More text would help."]
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"'><svg onload=alert(1)>&amp;",
    "</title></style></pre><h1>mine</h1>",
    "{{ 7 * 7 }}{% raw %}",
]


def written(lines: Sequence[Line]) -> list[Line]:
    """Return the lines with a sample each."""
    return [metrics | {"sample": f"The fox\nsaid {metrics['step']}."} for metrics in lines]


def page(found: History, **others: Any) -> str:
    given: dict[str, Any] = {"environment": ENVIRONMENT, "baselines": BASELINES, "advice": ADVICE}
    return report_page(found, **given | others)


def saved(folder: Path, content: str) -> Path:
    path = folder / "report.html"
    path.write_text(content, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tale() -> History:
    return history(settings("tale", model={"dropout": 0.25}), written(falling(20)))


@pytest.fixture(scope="module")
def path(tale: History, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("report"), page(tale))


def texts(opened: Window, selector: str) -> list[str]:
    found: list[str] = opened.page.locator(selector).all_text_contents()
    return [" ".join(text.split()) for text in found]


def rows(opened: Window, selector: str) -> list[list[str]]:
    found: list[list[str]] = opened.page.eval_on_selector_all(
        f"{selector} tr", "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return found


def table(opened: Window, selector: str) -> dict[str, str]:
    return {row[0]: row[1] for row in rows(opened, selector)}


# What is shown


def test_the_head_says_what_it_is_and_how_far_it_came(tale: History, path: Path, browser: Browser) -> None:
    with window(browser, path) as opened:
        assert opened.page.title() == "tale · charlm"
        assert texts(opened, "h1") == ["tale"]
        assert texts(opened, "h1 + p") == [
            "LSTM, 2 layers of 128 units. Best: 2.000 bits per character, at step 750. "
            "2,048,000 characters seen in 4 min 10 s."
        ]


def test_the_table_holds_every_evaluation(tale: History, path: Path, browser: Browser) -> None:
    with window(browser, path) as opened:
        assert not opened.page.locator(".evaluations").is_visible()
        opened.page.get_by_text("20 evaluations").click()
        assert opened.page.locator(".evaluations").is_visible()
        head, *body = rows(opened, ".evaluations")
    assert head[:5] == ["step", "characters", "epoch", "training bits", "validation bits"]
    assert [row[0] for row in body if "best" in row[0]] == ["750 (best)"]
    for row, evaluation in zip(body, tale.evaluations, strict=True):
        assert int(row[0].removesuffix(" (best)").replace(",", "")) == evaluation.step
        numbers = [float(cell.replace(",", "")) for cell in row[2:]]
        assert numbers == pytest.approx(
            [
                evaluation.epoch,
                evaluation.train_bits,
                evaluation.validation_bits,
                evaluation.learning_rate,
                evaluation.gradient_norm,
                evaluation.characters_per_second,
                evaluation.seconds,
            ],
            rel=6e-3,
            abs=6e-3,
        )


READ = """plot => {
    const field = plot.querySelector("svg").getBoundingClientRect();
    const middle = word => {
        const box = word.getBoundingClientRect();
        return [word.textContent, box.left + box.width / 2 - field.left, box.top + box.height / 2 - field.top];
    };
    return {
        width: field.width, height: field.height,
        up: [...plot.querySelectorAll(".up")].map(middle),
        across: [...plot.querySelectorAll(".across")].map(middle),
        paths: [...plot.querySelectorAll("g > path:not(.dots)")].map(path => path.getAttribute("d")),
    };
}"""


def test_curves_stand_where_the_axes_say(tale: History, path: Path, browser: Browser) -> None:
    with window(browser, path) as opened:
        drawn = opened.page.eval_on_selector(".wide .plot", READ)
    (low, _, bottom), (high, _, top) = drawn["up"][0], drawn["up"][-1]
    (first, left, _), (second, right, _) = drawn["across"][0], drawn["across"][-1]
    for name, d in zip(("validation_bits", "train_bits"), drawn["paths"], strict=False):
        course = [(evaluation.characters, getattr(evaluation, name)) for evaluation in tale.evaluations]
        corners = re.findall(r"[ML](\S+?) ([^L]+)", d)
        assert len(corners) == len(course)
        for (x, y), (characters, bits) in zip(corners, course, strict=True):
            share = (float(y) / 100 * drawn["height"] - bottom) / (top - bottom)
            assert float(low) + share * (float(high) - float(low)) == pytest.approx(bits, abs=0.02)
            share = (float(x) / 100 * drawn["width"] - left) / (right - left)
            seen = float(first) + share * (float(second.removesuffix("M")) * 1e6 - float(first))
            assert seen == pytest.approx(characters, rel=0.02)


def test_legend_labels_and_mark_say_what_the_lines_are(path: Path, browser: Browser) -> None:
    with window(browser, path) as opened:
        assert texts(opened, ".legend li") == [
            "validation: 2.000 at best, 2.100 at the end",
            "training: mean since the previous evaluation, 2.000 at the end",
            "uniform: 6.020, which is 4.020 above the best",
            "Markov 0: 4.800, which is 2.800 above the best",
            "Markov 3: 2.310, which is 0.310 above the best",
        ]
        assert texts(opened, ".label") == ["↑ uniform", "↑ Markov 0", "Markov 3", "validation", "training"]
        assert texts(opened, ".marked") == ["best 2.000, step 750"]
        assert texts(opened, ".chart figcaption") == [
            "bits per character",
            "learning rate",
            "gradient norm before clipping",
            "characters per second",
        ]
        described = [svg.get_attribute("aria-label") or "" for svg in opened.page.locator("svg[role=img]").all()]
    assert len(described) == 4
    assert described[0].startswith("bits per character over the characters seen. validation: 2.000 at best")


def test_a_model_below_its_baselines_is_told_so(browser: Browser, tmp_path: Path) -> None:
    with window(browser, saved(tmp_path, page(history(settings(), [line(1, 2.5)])))) as opened:
        assert "Markov 3: 2.310, which is 0.190 below the best" in texts(opened, ".legend li")


def test_lines_differ_by_more_than_their_colour(path: Path, browser: Browser) -> None:
    with window(browser, path) as opened:
        dashes = opened.page.eval_on_selector_all(
            ".wide g > path:not(.dots)", "paths => paths.map(path => getComputedStyle(path).strokeDasharray)"
        )
        keys = opened.page.eval_on_selector_all(
            ".legend .key", "keys => keys.map(key => getComputedStyle(key).borderTopStyle)"
        )
    assert len(set(dashes)) == 3
    assert len(dashes) == 3  # two of the baselines lie outside
    assert keys == ["solid", "dashed", "dotted", "dotted", "dotted"]


def test_samples_come_newest_first_and_the_rest_lies_in_a_fold(path: Path, browser: Browser) -> None:
    with window(browser, path) as opened:
        captions = texts(opened, ".sample figcaption")
        samples = opened.page.locator(".sample pre").all_text_contents()
        assert opened.page.locator(".sample >> visible=true").count() == 3
        opened.page.get_by_text("17 earlier").click()
        assert opened.page.locator(".sample >> visible=true").count() == 20
    assert samples == [f"The fox\nsaid {step}." for step in range(1000, 0, -50)]
    assert captions[0] == "step 1,000 · 2.100 bits"
    assert captions[5] == "step 750 · 2.000 bits · the best"


def test_a_sample_keeps_the_line_it_begins_with(browser: Browser, tmp_path: Path) -> None:
    lines = [line(1, 2.5, sample="\n\n  a\tb\x1b\u202ec")]
    with window(browser, saved(tmp_path, page(history(settings(), lines)))) as opened:
        assert opened.page.locator("pre").all_text_contents() == ["\n\n  a\tb␛�c"]


def test_settings_environment_and_advice_are_there(tale: History, path: Path, browser: Browser, tmp_path: Path) -> None:
    with window(browser, path) as opened:
        assert table(opened, ".chosen") == {"data.path": "tales.txt", "model.dropout": "0.25"}
        everything = table(opened, ".settings")
        assert table(opened, ".environment") == ENVIRONMENT
        assert texts(opened, ".advice li") == ADVICE
    assert list(everything) == list(KEYS)
    (file := tmp_path / "config.yaml").write_text("")
    assert read_config(file, [f"{key}={value}" for key, value in everything.items()]) == tale.config


# Short and long runs


def test_a_run_without_an_evaluation_says_so(browser: Browser, tmp_path: Path) -> None:
    content = page(history(settings(), []), environment={}, baselines={}, advice=[])
    with window(browser, saved(tmp_path, content)) as opened:
        assert texts(opened, "h2") == ["Settings"]
        assert "no evaluation yet" in texts(opened, "h1 + p")[0]
        assert opened.page.locator("svg").count() == 0


@pytest.mark.parametrize("metrics", [line(53, 2.4), line(0, 2.4, train_loss=None, learning_rate=None, seconds=None)])
def test_a_single_evaluation_is_a_dot_beside_its_baselines(metrics: Line, browser: Browser, tmp_path: Path) -> None:
    with window(browser, saved(tmp_path, page(history(settings(), [metrics])))) as opened:
        assert texts(opened, ".marked") == [f"best 2.400, step {metrics['step']}"]
        assert opened.page.locator("svg").count() == 1
        assert re.fullmatch(r"M\S+ \S+h0", opened.page.locator("g .dots").first.get_attribute("d") or "")
        assert "Markov 3" in texts(opened, ".label")
        assert len(rows(opened, ".evaluations")) == 2


def test_a_markov_model_is_told_as_one(tmp_path: Path) -> None:
    config = settings(model={"kind": "markov", "order": 1})
    assert "A Markov model of order 1. Best: 3.000 bits" in page(history(config, [line(0, 3.0)]))


def test_numbers_that_are_not_known_are_dashes(browser: Browser, tmp_path: Path) -> None:
    lines = [{"step": 1, "characters": 5}, line(2, 2.5, gradient_norm=None), line(3, 2.4, validation_loss=None)]
    with window(browser, saved(tmp_path, page(history(settings(), lines)))) as opened:
        _, *body = rows(opened, ".evaluations")
    assert body[0] == ["1", "5", *["—"] * 7]
    assert body[1][6] == "—"
    assert body[2][4] == "—"
    assert [row[0] for row in body] == ["1", "2 (best)", "3"]


@pytest.mark.slow
def test_a_long_run_is_thinned_to_a_small_page_at_once() -> None:
    chance = random.Random(4)
    lines = [
        metrics | {"sample": "".join(chance.choices("abc <&'\"é한\n", k=1500)), "gradient_norm": chance.random()}
        for metrics in falling(10_000)
    ]
    found = history(settings(), lines)
    began = time.perf_counter()
    content = page(found)
    assert time.perf_counter() - began < 2  # 0.06 s on a quiet machine
    assert len(content.encode()) < 300_000
    steps = [int(step.replace(",", "")) for step in re.findall(r'<tr><th scope="row">([\d,]+)', content)]
    assert len(steps) in (200, 201)
    assert {steps[0], found.best and found.best.step, steps[-1]} <= {50, 375_000, 500_000}
    captions = re.findall(r"<figcaption>step ([\d,]+)", content)
    assert len(captions) in (30, 31)
    assert (captions[0], captions[-1]) == ("500,000", "50")
    assert "375,000" in captions
    assert "of 10,000 evaluations" in content


def test_one_more_evaluation_of_a_very_long_run_costs_no_more_than_its_page() -> None:
    lines = written(falling(20_000))
    found, courses = history(settings(), lines), Courses()
    page(found, courses=courses)
    longer = History(
        found.path, found.config, (*found.evaluations, *history(settings(), [line(10**7, 2.2)]).evaluations)
    )
    took = []
    for _ in range(5):
        began = time.perf_counter()
        page(longer, courses=courses)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.1  # 0.01 s on a quiet machine; 0.13 s where all evaluations are read again


@pytest.mark.parametrize(("count", "most"), [(0, 3), (1, 3), (3, 3), (4, 3), (10_000, 30), (31, 30)])
def test_spread_keeps_both_ends_and_what_is_asked_for(count: int, most: int) -> None:
    places = spread(count, most, [count // 3] if count else [])

    assert len(places) <= max(most + 1, 1)
    assert places == sorted(set(places))
    if count:
        assert {0, count // 3, count - 1} <= set(places)
    gaps = [after - before for before, after in itertools.pairwise(places)]
    assert max(gaps, default=1) <= count / (most - 1) + 1


def test_the_same_run_gives_the_same_bytes(tale: History) -> None:
    assert page(tale) == page(tale)


def test_a_trained_run_has_a_report(trained: Mapping[str, Path], browser: Browser, tmp_path: Path) -> None:
    found = read_history(trained["gru"])
    assert found.best is not None
    with window(browser, saved(tmp_path, page(found))) as opened:
        assert texts(opened, "h1") == ["gru"]
        assert f"{found.best.validation_bits:.3f} bits per character" in texts(opened, "h1 + p")[0]


# Readers


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_readers_colours(scheme: Any, path: Path, browser: Browser) -> None:
    with window(browser, path, color_scheme=scheme) as opened:
        shades = opened.page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
    paper, ink = (sum(map(int, re.findall(r"\d+", shade)[:3])) for shade in shades)
    assert (paper < 150 and ink > 600) == (scheme == "dark")
    assert (paper > 600 and ink < 150) == (scheme == "light")


WORDS = """words => words.map(word => word.getBoundingClientRect()).map(box => [box.left, box.right, box.height])"""


@pytest.mark.parametrize("width", [320, 400, 640])
def test_a_small_screen_scrolls_down_alone_and_its_words_stay_large(
    width: int, browser: Browser, tmp_path: Path
) -> None:
    hard = history(settings("n" * 200, data={"path": "p" * 300}), written(falling(9)))
    content = page(hard, baselines={"x" * 99: 2.5, "uniform": 6}, environment={"e" * 40: "v" * 200}, advice=["a" * 200])
    with window(browser, saved(tmp_path, content), viewport={"width": width, "height": 700}) as opened:
        for fold in opened.page.locator("summary").all():
            fold.click()
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        for left, right, height in opened.page.eval_on_selector_all(".words span", WORDS):
            assert 0 <= left < right <= width
            assert height >= 12


def test_no_label_stands_on_another(path: Path, browser: Browser) -> None:
    for width in (400, 1280):
        with window(browser, path, viewport={"width": width, "height": 900}) as opened:
            boxes = opened.page.eval_on_selector_all(
                ".wide .label", "words => words.map(word => word.getBoundingClientRect()).map(b => [b.top, b.bottom])"
            )
        boxes.sort()
        assert len(boxes) == 5
        for (_, bottom), (top, _) in itertools.pairwise(boxes):
            assert bottom <= top + 1


# What means harm


def test_nothing_in_names_samples_or_settings_runs(browser: Browser, tmp_path: Path) -> None:
    for text in HOSTILE:
        found = history(settings("x", data={"path": text}), [line(step, 3.0 / step, sample=text) for step in (1, 2)])
        found = History(Path("runs") / text.replace("/", "∕"), found.config, found.evaluations)
        content = page(found, baselines={text: 2.0}, environment={text: text}, advice=[text])
        with window(browser, saved(tmp_path, content)) as opened:
            assert opened.page.locator("script, img, [onload], [onerror], h1 + h1").count() == 0
            assert opened.page.locator("h1").count() == 1
            assert opened.page.locator("pre").all_text_contents() == [text] * 2
            assert table(opened, ".environment") == {text: text}
            assert table(opened, ".chosen")["data.path"] == text
            assert texts(opened, ".advice li") == [text]
            assert texts(opened, ".legend li")[-1].startswith(text)
            assert opened.page.locator("h1").all_text_contents() == [found.name]


def test_controls_and_turned_directions_are_marked_wherever_they_come_from() -> None:
    text = "a\x1b[31m\u202eb\x00"
    found = history(settings("x", data={"path": text}), [line(1, 2.0, sample=text)])
    found = History(Path("runs", text.replace("\x00", "")), found.config, found.evaluations)
    content = page(found, baselines={text: 2.0}, environment={text: text}, advice=[text])

    assert content.count("a␛[31m�b␀") >= 6
    assert not set(content) & {"\x1b", "\u202e", "\x00"}


def test_the_page_is_one_file_without_a_script_that_names_no_other(tale: History) -> None:
    content = page(tale)
    assert content.startswith("<!doctype html>\n")
    assert content.endswith("</html>\n")
    assert re.search(r"<script|<link|<img|@import|url\(|\bsrc=|\bhref=|https?:", content) is None
    assert "default-src 'none'" in content
