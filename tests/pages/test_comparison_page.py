"""The page of several runs in a real browser: which line is whose, and what tells the runs apart."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from charlm.pages.comparison import comparison_page
from charlm.runs.history import History, read_history
from tests.harness.browser import Window, window
from tests.harness.histories import falling, history, settings

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<b>bold</b>\x1b\u202e",
    "</style></table><h1>mine</h1>",
    "{{ 7 * 7 }}",
]


@pytest.fixture(scope="module")
def three() -> list[History]:
    return [
        history(settings("tales-lstm"), falling(20, 2.1)),
        history(settings("tales-gru", model={"kind": "gru"}, training={"learning_rate": 0.001}), falling(12, 2.04)),
        history(settings("just-begun", data={"path": ["a.txt", "b.txt"]}), []),
    ]


def saved(folder: Path, content: str) -> Path:
    path = folder / "comparison.html"
    path.write_text(content, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def path(three: Sequence[History], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("comparison"), comparison_page(three))


def table(opened: Window) -> dict[str, list[str]]:
    rows = opened.page.eval_on_selector_all(
        ".runs tr", "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return {first: others for first, *others in rows}


def texts(opened: Window, selector: str) -> list[str]:
    return [" ".join(text.split()) for text in opened.page.locator(selector).all_text_contents()]


def test_the_table_has_results_and_the_settings_that_differ(path: Path, browser: Browser) -> None:
    with window(browser, path) as opened:
        assert opened.page.title() == "Runs compared · charlm"
        assert texts(opened, "h1 + p") == ["The best of 3 runs is tales-gru, with 2.040 bits per character."]
        assert table(opened) == {
            "": ["1tales-lstm", "2tales-gru", "3just-begun"],
            "best, bits per character": ["2.100", "2.040", "—"],
            "at step": ["750", "450", "—"],
            "characters seen": ["2,048,000", "1,228,800", "—"],
            "time": ["4 min 10 s", "2 min 30 s", "—"],
            "data.path": ["tales.txt", "tales.txt", "a.txt, b.txt"],
            "model.kind": ["lstm", "gru", "lstm"],
            "training.learning_rate": ["0.002", "0.001", "0.002"],
        }


def test_each_curve_is_named_beside_its_end_and_in_the_legend(
    three: Sequence[History], path: Path, browser: Browser
) -> None:
    with window(browser, path) as opened:
        titles = texts(opened, "svg title")
        paths = opened.page.eval_on_selector_all(
            "g > path:not(.dots)",
            """paths => paths.map(path => {
                const style = getComputedStyle(path);
                return [style.stroke, style.strokeDasharray, parseFloat(style.strokeWidth), path.getAttribute("d")];
            })""",
        )
        assert texts(opened, ".legend li") == [
            "1 tales-lstm: best 2.100 at step 750",
            "2 tales-gru: best 2.040 at step 450",
        ]
        labels = opened.page.eval_on_selector_all(".label", "labels => labels.map(l => [l.textContent, l.style.left])")
        heads = opened.page.eval_on_selector_all(
            ".number", "numbers => numbers.map(number => getComputedStyle(number).borderLeftColor)"
        )
    assert titles == [
        "1 tales-lstm, training",
        "1 tales-lstm: best 2.100 at step 750",
        "2 tales-gru, training",
        "2 tales-gru: best 2.040 at step 450",
    ]
    colours, dashes, widths, drawn = zip(*paths, strict=True)
    assert colours[0] == colours[1] == heads[0] != colours[2] == colours[3] == heads[1]
    assert (dashes[1], dashes[3]) == ("none", "none")
    assert "none" not in (dashes[0], dashes[2])
    assert widths[0] < widths[1]
    assert sorted(labels) == [["1", "100%"], ["2", "60%"]]
    ends = [float(re.findall(r"L(\S+) \S+$", d)[0]) for d in drawn]
    assert ends == pytest.approx([100, 100, 60, 60])
    assert [len(re.findall("[ML]", d)) for d in drawn] == [20, 20, 12, 12]
    lowest = [max(float(y) for y in re.findall(r"[ML]\S+ ([\d.]+)", d)) for d in drawn]
    assert lowest[3] > lowest[1]  # from the top down: the second run came lower
    assert lowest[0] > lowest[1]  # training is below validation


def test_more_runs_than_colours_are_told_apart_by_their_numbers(browser: Browser, tmp_path: Path) -> None:
    histories = [history(settings(f"run-{place}"), falling(5, 2 + place / 50)) for place in range(9)]
    with window(browser, saved(tmp_path, comparison_page(histories))) as opened:
        assert sorted(texts(opened, ".label")) == [str(place + 1) for place in range(9)]
        assert texts(opened, "thead th") == [f"{place + 1}run-{place}" for place in range(9)]
        assert texts(opened, "main > p")[-1] == "All settings except the names are the same."


def test_one_run_or_runs_without_an_evaluation_are_a_page_too(three: Sequence[History]) -> None:
    assert "There is only one run" in comparison_page(three[:1])
    begun = comparison_page([three[2], three[2]])
    assert "None of these runs has been evaluated yet." in begun
    assert "<svg" not in begun


def test_trained_runs_are_compared(trained: Mapping[str, Path], browser: Browser, tmp_path: Path) -> None:
    histories = [read_history(run) for run in trained.values()]
    with window(browser, saved(tmp_path, comparison_page(histories))) as opened:
        found = table(opened)
    assert found["model.kind"] == list(trained)
    bests = [history.best.validation_bits for history in histories if history.best and history.best.validation_bits]
    assert [float(cell) for cell in found["best, bits per character"]] == pytest.approx(bests, abs=6e-4)


def test_long_runs_are_thinned_to_a_small_page() -> None:
    histories = [history(settings(f"run-{place}"), falling(10_000, 2 + place / 10)) for place in range(4)]
    assert len(comparison_page(histories).encode()) < 150_000


def test_the_same_runs_give_the_same_bytes_in_one_file_without_a_script(three: Sequence[History]) -> None:
    content = comparison_page(three)
    assert content == comparison_page(three)
    assert re.search(r"<script|<link|<img|@import|url\(|\bsrc=|\bhref=|https?:", content) is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_small_screen_scrolls_down_alone(scheme: Any, browser: Browser, tmp_path: Path) -> None:
    histories = [
        history(settings(name, data={"path": name * 3}), falling(7, 2.2)) for name in ("n" * 80, "tales", "runs-of-old")
    ]
    options = {"viewport": {"width": 400, "height": 700}, "color_scheme": scheme}
    with window(browser, saved(tmp_path, comparison_page(histories)), **options) as opened:
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 400
        (paper, cell) = opened.page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, document.querySelector('td + td').clientWidth]"
        )
    assert cell >= 60  # a number is not cut into digits
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 150) == (scheme == "dark")


def test_nothing_in_names_or_settings_runs(browser: Browser, tmp_path: Path) -> None:
    for text in HOSTILE:
        other = History(Path("runs") / text.replace("/", "∕"), settings("x", data={"path": text}), ())
        found = History(other.path, other.config, history(settings(), falling(4)).evaluations)
        content = comparison_page([found, history(settings("plain"), [])])
        with window(browser, saved(tmp_path, content)) as opened:
            assert opened.page.locator("script, b, h1 + h1").count() == 0
            shown = text.replace("\x1b", "␛").replace("\u202e", "�")
            assert table(opened)["data.path"] == [shown, "tales.txt"]
            assert table(opened)[""][0] == f"1{shown.replace('/', '∕')}"
