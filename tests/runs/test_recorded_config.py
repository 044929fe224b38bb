"""The settings with which a run goes on when no other config is given: those in its folder, at its place."""

import os
from pathlib import Path

import pytest

from charlm.config.settings import Config
from charlm.config.writing import resolved_yaml
from charlm.errors import CheckpointError, ConfigError
from charlm.runs.recorded_config import recorded_config
from tests.conftest import make_config

RUNS = Path("runs")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def lay_out(name: str, directory: Path = RUNS, latest: bool = False) -> Config:
    """Put a run's config into its folder and return it."""
    config = make_config(Path("text.txt"), directory, run={"name": name}, model={"hidden_size": 1 + len(name)})
    (directory / name).mkdir(parents=True)
    (directory / name / "config.yaml").write_text(resolved_yaml(config), encoding="utf-8")
    if latest:
        (directory / "latest").write_text(f"{name}\n")
    return config


def test_a_run_is_found_by_name_as_the_latest_or_as_the_only_one() -> None:
    first = lay_out("first")
    assert recorded_config(None, RUNS) == recorded_config("first", RUNS) == first
    second = lay_out("the second", latest=True)
    assert recorded_config(None, RUNS) == recorded_config("the second", RUNS) == second
    assert recorded_config("first", RUNS) == first
    (RUNS / "latest").unlink()
    with pytest.raises(CheckpointError, match=r"no latest run in runs/\. Runs there: first, the second\. Name a run"):
        recorded_config(None, RUNS)


@pytest.mark.parametrize("name", ["copy", "Märchen 2", "null", "2024", "yes", "a: b", "#1", "'"])
def test_the_folder_says_what_the_run_is_called_and_where_it_is(name: str) -> None:
    written = lay_out("tale")
    place = Path("elsewhere: here")
    place.mkdir()
    (RUNS / "tale").rename(place / name)
    found = recorded_config(name, place)

    assert (found.run.name, found.run.directory) == (name, "elsewhere: here")
    assert found == recorded_config(None, place)
    assert found.model_copy(update={"run": written.run}) == written


def test_overrides_change_all_settings_but_the_runs_place() -> None:
    lay_out("tale")
    changes = ["training.epochs=40", "model.dropout=0.5", "run={keep: 7, name: other}", "run.directory=other"]
    found = recorded_config("tale", RUNS, changes)

    assert (found.training.epochs, found.training.steps, found.model.dropout) == (40, None, 0.5)
    assert (found.run.keep, found.run.name, found.run.directory) == (7, "tale", "runs")


def test_a_mistake_in_an_override_is_told_by_its_own_place() -> None:
    lay_out("tale")
    with pytest.raises(
        ConfigError, match=r"^a mistake in the config:\n  --set model\.size=3: model\.size: unknown key"
    ):
        recorded_config("tale", RUNS, ["model.size=3"], "--set ")


@pytest.mark.parametrize("name", ["nope", "x" * 400, "tale/config.yaml", "a\0b", ""])
def test_what_is_no_run_is_told_with_the_runs_that_are_there(name: str) -> None:
    lay_out("tale")
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        recorded_config(name, RUNS)
    if name:
        assert ": no such run. Runs there: tale. Name a run, or give a config" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xff", "is not UTF-8"), (b"- a\n", "expected sections"), (b"", "missing"), (b"lr: 1\n", "lr: unknown key")],
)
def test_settings_that_cannot_be_read_ask_for_a_config(content: bytes, words: str) -> None:
    lay_out("tale")
    (RUNS / "tale/config.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"(?s)^runs/tale: cannot read this run's settings: .*{words}.*\nGive its"):
        recorded_config("tale", RUNS, ["data.path=text.txt"])


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_config_that_is_no_file_counts_as_none(make) -> None:
    (RUNS / "tale").mkdir(parents=True)
    make(RUNS / "tale/config.yaml")
    with pytest.raises(ConfigError, match=r"^runs/tale: this folder contains no config\.yaml"):
        recorded_config("tale", RUNS)
