"""``report.html`` as training leaves it: the run's own numbers, and what they are held against."""

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from charlm.baselines import markov_bits
from charlm.checkpoint.checkpoint import Checkpoint
from charlm.errors import DivergenceError, StorageError
from charlm.pages import run_page
from charlm.pages.run_page import RunPage
from charlm.runs.directory import RunDirectory
from charlm.text.corpus import Corpus
from charlm.text.streams import evaluation_streams
from charlm.training.trainer import Trainer
from tests.conftest import TEXT, Run, make_config
from tests.harness.browser import window
from tests.harness.interruptions import Project

RUN = Path("runs/tiny")
CONFIG = """\
data: {path: text.txt, documents: %s}
model: {kind: %s}
%srun: {name: tiny}
"""
TRAINING = """\
training: {batch_size: 2, sequence_length: 9, steps: 6, evaluate_every: 2, evaluation_lanes: 2}
"""


@pytest.fixture
def train(charlm: Run, tmp_path: Path) -> Run:
    """Return a function that trains a tiny model of a kind here."""
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8", newline="")

    def train(kind: str, *options: str, documents: str = "null") -> None:
        training = "" if kind == "markov" else TRAINING
        (tmp_path / "tiny.yaml").write_text(CONFIG % (documents, kind, training), encoding="utf-8")
        sizes = [] if kind == "markov" else ["--set=model.hidden_size=6", "--set=model.num_layers=1"]
        result = charlm("train", "--config", "tiny.yaml", *sizes, *options)
        assert result.exit_code == 0, result.stderr

    return train  # type: ignore[return-value]


def page(run: Path = RUN) -> str:
    return (run / "report.html").read_text("utf-8")


def words(content: str) -> str:
    """Return what a reader sees, roughly: all text, white space as one space."""
    plain = re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<style>.*?</style>", "", content))
    return re.sub(r"\s+", " ", html.unescape(plain))


def metrics(run: Path = RUN) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


@pytest.mark.parametrize(("kind", "documents"), [("lstm", "null"), ("gru", "line"), ("markov", "null")])
def test_the_page_holds_the_best_bits_and_the_sample(kind: str, documents: str, train: Run) -> None:
    train(kind, documents=documents)
    shown, lines = words(page()), metrics()
    best = min(line["bits_per_character"] for line in lines)
    assert f"Best: {best:.3f} bits per character" in shown
    for line in lines:
        assert f"{line['bits_per_character']:.3f}" in shown
    sample = re.sub(r"[\t\r\n]", " ", lines[-1]["sample"])
    visible = squeezed(re.sub(r"[^\x20-\x7e]", " ", shown))
    assert squeezed(sample)[:30] in visible


@pytest.mark.parametrize(("kind", "documents"), [("gru", "null"), ("gru", "line"), ("markov", "null")])
def test_its_baselines_are_those_of_evaluate(kind: str, documents: str, train: Run, charlm: Run) -> None:
    train(kind, documents=documents)
    result = charlm("evaluate", "--baselines", "--json")
    baselines = json.loads(result.stdout)["baselines"]
    baselines.pop("xz -9", None)  # too slow for every run
    shown = words(page())
    for name, bits in baselines.items():
        assert f"{name} : {bits:.3f}, which is" in shown


def test_the_page_is_written_at_each_evaluation(train: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    save = RunDirectory.save_report

    def keep(run: RunDirectory, content: str) -> None:
        save(run, content)
        seen.append((len(metrics(run.path)), page(run.path), sorted(path.name for path in run.path.glob("step-*"))))

    monkeypatch.setattr(RunDirectory, "save_report", keep)
    train("gru")
    assert [count for count, _, _ in seen] == [1, 2, 3]
    for count, content, checkpoints in seen:
        shown, lines = words(content), metrics()
        assert f"at step {min(lines[:count], key=lambda line: line['validation_loss'])['step']}" in shown
        assert checkpoints[-1] == f"step-{2 * count:08}.safetensors"  # the commit comes first
    assert page() == seen[-1][1]


REFRESH = '<meta http-equiv="refresh" content="10">'


def pages_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that each page is added to as it is written."""
    pages: list[str] = []
    save = RunDirectory.save_report

    def keep(run: RunDirectory, content: str) -> None:
        pages.append(content)
        save(run, content)

    monkeypatch.setattr(RunDirectory, "save_report", keep)
    return pages


def test_the_page_refreshes_itself_until_training_ends(train: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = pages_of(monkeypatch)
    train("gru")

    assert [content.count(REFRESH) for content in pages] == [1, 1, 0]
    assert [content.count("http-equiv") for content in pages] == [2, 2, 1]  # the other is the policy
    train("markov")
    assert REFRESH not in pages[-1]


def test_an_interrupted_run_leaves_the_same_page_at_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = pages_of(monkeypatch)
    project = Project(tmp_path)
    changes: dict[str, object] = {"training.steps": 12, "training.evaluate_every": 3}
    project.interrupted("run", changes, 7, "asked to stop")

    assert [content.count(REFRESH) for content in pages] == [1, 1, 0]
    assert pages[2] == pages[1].replace(f"{REFRESH}\n", "") == page(project.runs / "run")
    project.finished("run", changes, "--resume")
    assert [content.count(REFRESH) for content in pages[3:]] == [1, 1, 0]  # at once, and at each evaluation


def test_a_run_interrupted_before_its_first_evaluation_has_no_page(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.interrupted("run", {"training.steps": 12, "training.evaluate_every": 9}, 2, "asked to stop")

    assert not (project.runs / "run/report.html").exists()


def test_a_diverged_run_leaves_a_page_at_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = Trainer.evaluate

    def diverge_in_the_end(trainer: Trainer) -> float:
        if trainer.progress.step == 8:
            raise DivergenceError("training diverged.")
        return evaluate(trainer)

    monkeypatch.setattr(Trainer, "evaluate", diverge_in_the_end)
    pages = pages_of(monkeypatch)
    changes: dict[str, object] = {"training.steps": 12, "training.evaluate_every": 3, "training.on_divergence": "stop"}
    result = Project(tmp_path).train("run", changes)

    assert (result.exit_code, result.stderr) == (3, "charlm: training diverged.\n")
    assert [content.count(REFRESH) for content in pages] == [1, 1, 0]


def test_what_ends_training_is_told_though_the_page_at_rest_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def save_report(run: RunDirectory, content: str) -> None:
        written.append(content)
        if len(written) > 1:
            raise StorageError("report.html: no space.")

    def save(run: RunDirectory, checkpoint: Checkpoint) -> None:
        if checkpoint.progress.step == 8:
            raise StorageError("step-00000008: no space.")

    monkeypatch.setattr(RunDirectory, "save_report", save_report)
    monkeypatch.setattr(RunDirectory, "save", save)
    result = Project(tmp_path).train("run", {})

    assert (result.exit_code, result.stderr) == (74, "charlm: step-00000008: no space.\n")
    assert [content.count(REFRESH) for content in written] == [1, 0]


def test_a_reader_sees_the_page_of_a_run_in_training_grow(train: Run, browser: Browser) -> None:
    """A browser loads it again by itself, stays where the reader was, and asks for nothing else."""
    train("gru")
    path, grown = RUN / "report.html", page()
    so_far = REFRESH.replace("10", "1") + grown.replace("</h1>", " so far</h1>")
    path.write_text(so_far, encoding="utf-8")
    with window(browser, path.absolute()) as opened:
        assert opened.page.inner_text("h1") == "tiny so far"
        opened.page.evaluate("window.scrollTo(0, 300)")
        path.write_text(grown, encoding="utf-8")
        opened.page.wait_for_function("() => document.querySelector('h1')?.textContent === 'tiny'")
        opened.page.wait_for_function("() => window.scrollY === 300")
        assert len(opened.fetched) >= 2


def test_baselines_are_counted_once_a_run(train: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []

    def noting(*arguments: Any) -> Any:
        counted.append(arguments)
        return markov_bits(*arguments)

    monkeypatch.setattr(run_page, "markov_bits", noting)
    train("gru")
    assert len(metrics()) == 3
    assert len(counted) == 1


def test_a_long_text_is_counted_at_its_beginning_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_page, "_MOST", (300, 60))
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8", newline="")
    config = make_config(tmp_path / "text.txt", tmp_path / "runs")
    corpus = Corpus.read(config.data)
    with RunDirectory.create(config) as run:
        run.record({"step": 1, "epoch": 1.0, "characters": 10, "train_loss": 2.0, "validation_loss": 2.0})
        RunPage(run, config, corpus, {}).write(["Try a longer text."])
        shown = words(page(run.path))
    streams = evaluation_streams(corpus.validation[:60], config.training.evaluation_lanes)
    for order, bits in markov_bits(corpus.train[:300], corpus.vocabulary, streams):
        assert f"Markov {order} : {bits:.3f}," in shown
    assert "counted on the first 300 characters, scored on 60" in shown
    assert "Try a longer text." in shown


def test_advice_stands_on_the_last_page_and_on_standard_error(charlm: Run, tmp_path: Path) -> None:
    """A model that learns its text by heart is told so."""
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8", newline="")
    (tmp_path / "tiny.yaml").write_text(CONFIG % ("null", "gru", TRAINING), encoding="utf-8")
    sizes = ["--set=model.hidden_size=6", "--set=model.num_layers=1"]
    result = charlm("train", "--config", "tiny.yaml", *sizes)
    assert result.exit_code == 0
    told = [line for line in result.stderr.splitlines() if line.startswith("charlm: ")][1:]
    shown = words(page())
    for line in told:
        assert squeezed(line.removeprefix("charlm: ")) in shown


def test_the_environment_is_the_checkpoints(train: Run) -> None:
    train("gru")
    versions = Checkpoint.load(RUN / "best.safetensors").versions
    shown = words(page())
    for name, value in versions.items():
        assert f"{name} {value}" in shown


def test_an_interrupted_run_has_a_page_of_all_its_evaluations_in_the_end(tmp_path: Path) -> None:
    project = Project(tmp_path)
    changes: dict[str, object] = {"training.steps": 12, "training.evaluate_every": 3}
    project.interrupted("run", changes, 7, "killed after the step")
    assert "at step" in words(page(project.runs / "run"))
    project.finished("run", changes, "--resume")
    lines, shown = metrics(project.runs / "run"), words(page(project.runs / "run"))
    assert [line["step"] for line in lines] == [3, 6, 9, 12]
    for line in lines:
        assert f"step {line['step']}" in shown


def test_a_finished_run_that_is_resumed_keeps_its_page(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.finished("run", {})
    before = page(project.runs / "run")
    project.finished("run", {}, "--resume")
    assert page(project.runs / "run") == before
