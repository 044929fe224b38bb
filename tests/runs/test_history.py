"""Runs read back: what each was told, how it went, and what tells runs apart."""

import json
import math
import os
from pathlib import Path

import pytest

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.errors import ConfigError
from charlm.runs.history import differences, find_run, latest_name, read_history, read_runs
from tests.conftest import make_config
from tests.harness.histories import falling, history, line, settings, write_run


def test_a_trained_run_is_read_as_its_files_say(trained: dict[str, Path]) -> None:
    for kind, run in trained.items():
        found = read_history(run)
        lines = [json.loads(text) for text in (run / "metrics.jsonl").read_text("utf-8").splitlines()]

        assert found.name == kind
        assert found.config.model.kind == kind
        assert [evaluation.step for evaluation in found.evaluations] == [metrics["step"] for metrics in lines] == [4, 8]
        assert found.best is not None
        assert found.best.step == Checkpoint.load(run / "best.safetensors").progress.step
        assert found.best.validation_bits == min(metrics["bits_per_character"] for metrics in lines)
        assert found.last == found.evaluations[-1]


def test_the_best_is_the_first_with_the_lowest_known_validation_loss() -> None:
    bits = [3.0, 2.0, math.nan, 2.5, 2.0]
    found = history(settings(), [line(step, value) for step, value in enumerate(bits, 1)])

    assert found.best is found.evaluations[1]


def test_a_run_that_has_just_begun_has_no_best(tmp_path: Path) -> None:
    found = read_history(write_run(tmp_path, settings(), None))

    assert (found.evaluations, found.best, found.last) == ((), None, None)


def test_evaluations_are_in_order_and_a_later_line_overrules(tmp_path: Path) -> None:
    lines = [line(2, 3.0), line(4, 2.9), line(1, 3.5), line(4, 2.5), {"step": 5}]
    found = read_history(write_run(tmp_path, settings(), lines))

    assert [evaluation.step for evaluation in found.evaluations] == [1, 2, 4]
    assert found.evaluations[-1].validation_bits == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({}, "lstm 2 × 128"),
        ({"kind": "gru", "num_layers": 1, "hidden_size": 2048}, "gru 1 × 2,048"),
        ({"kind": "markov", "order": 3}, "markov, order 3"),
    ],
)
def test_a_model_is_told_in_a_few_words(model: dict[str, object], words: str) -> None:
    assert history(settings(model=model), []).model == words


def test_chosen_is_what_is_not_at_its_default_names_and_text_aside() -> None:
    config = settings("other", data={"path": "other.txt"}, model={"kind": "gru"}, training={"steps": 9})
    found = {change.key: (change.was, change.now) for change in history(config, []).chosen}

    assert found == {
        "model.kind": ("lstm", "gru"),
        "training.epochs": (20, None),
        "training.steps": (None, 9),
    }


def test_runs_differ_in_what_any_two_of_them_differ_in() -> None:
    configs = [
        settings("a"),
        settings("b", model={"dropout": 0.2}),
        settings("c", data={"path": "more.txt"}),
        settings("d", model={"dropout": 0.5}),
    ]
    found = {row.key: row.values for row in differences(configs)}

    assert found == {
        "data.path": (("tales.txt",), ("tales.txt",), ("more.txt",), ("tales.txt",)),
        "model.dropout": (0.0, 0.2, 0.0, 0.5),
    }
    assert list(found) == ["data.path", "model.dropout"]  # in the order of the config
    assert differences(configs[:1]) == []


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "not a run's folder"),
        ({"metrics.jsonl": ""}, "not a run's folder"),
        ({"config.yaml": "model: {layers: 3}"}, r"another version of charlm.*config\.yaml:1: model\.layers"),
        ({"config.yaml": "\0"}, "another version of charlm"),
    ],
)
def test_what_is_no_run_is_told_in_words(files: dict[str, str], words: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    with pytest.raises(ConfigError, match=f"(?s){tmp_path}.*{words}"):
        read_history(tmp_path)


def test_a_config_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")

    with pytest.raises(ConfigError, match="not a run's folder"):
        read_history(tmp_path)


def test_a_run_is_found_by_its_name_or_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "runs", settings("tale"), [])
    monkeypatch.chdir(tmp_path)

    assert find_run("tale", Path("runs")) == Path("runs/tale")
    assert find_run("runs/tale", Path("elsewhere")) == Path("runs/tale")
    assert find_run(str(run), Path("runs")) == run
    monkeypatch.chdir(run)
    assert read_history(find_run(".", Path("runs"))).name == "tale"


@pytest.mark.parametrize("name", ["tail", "", "x" * 300, "a/b", "\0"])
def test_a_run_that_is_not_there_is_told_with_those_that_are(name: str, tmp_path: Path) -> None:
    for known in ("b", "a"):
        write_run(tmp_path, settings(known), [])

    with pytest.raises(ConfigError, match=r"no such run in .*Runs there: a, b\."):
        find_run(name, tmp_path)
    with pytest.raises(ConfigError, match="no runs there"):
        find_run(name, tmp_path / "nowhere")


def test_runs_are_listed_by_age_and_one_that_cannot_be_read_hinders_none(tmp_path: Path) -> None:
    for name, age in (("middle", 50), ("new", 1), ("old", 99), ("bad", 3), ("worse", 2)):
        write_run(tmp_path, settings(name), falling(3), age)
    (tmp_path / "bad" / "config.yaml").write_text("data: {path: a, tail: 3}")
    (tmp_path / "worse" / "metrics.jsonl").unlink()
    (tmp_path / "worse" / "metrics.jsonl").mkdir()
    os.utime(tmp_path / "new" / "config.yaml", (1, 1))  # its metrics were written later
    (tmp_path / "notes").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "config.yaml").write_text("")
    (tmp_path / "latest").write_text("new\n")

    found, unreadable = read_runs(tmp_path)

    assert [run.name for run in found] == ["old", "middle", "new"]
    assert [run.path.name for run in unreadable] == ["bad", "worse"]
    assert "data.tail" in str(unreadable[0].error)
    assert "metrics.jsonl: cannot read this file" in str(unreadable[1].error)


@pytest.mark.parametrize("name", ["nowhere", "file", "x" * 300])
def test_where_no_folder_is_there_is_a_way_out(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match=f"{name}/: cannot read this folder of runs .* name another folder"):
        read_runs(tmp_path / name)


def test_the_latest_run_is_the_one_that_is_named_there(tmp_path: Path) -> None:
    assert latest_name(tmp_path) is None
    for content, name in ((b"tale-2\n", "tale-2"), (b"", None), (b"\xff", None)):
        (tmp_path / "latest").write_bytes(content)
        assert latest_name(tmp_path) == name


def test_a_config_with_other_names_is_no_other_run() -> None:
    configs = [make_config(Path("a.txt"), Path(folder), run={"name": folder}) for folder in "ab"]

    assert differences(configs) == []
