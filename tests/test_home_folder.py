from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from charlm.cli.app import app
from charlm.config.reading import read_config
from charlm.home_folder import from_home
from charlm.runs.lookup import find_checkpoint
from charlm.text.files import find_files
from tests.conftest import TEXT


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return home


def test_a_tilde_at_the_start_is_the_home_folder(home: Path) -> None:
    assert from_home("~/a.txt") == home / "a.txt"
    assert from_home("~") == home
    assert from_home("a/~/b") == Path("a/~/b")
    assert from_home("./~") == Path("~")


@given(st.text(min_size=1).filter(lambda name: not name.startswith("~")))
def test_other_paths_stay_as_they_are(name: str) -> None:
    assert from_home(name) == Path(name)


def test_a_home_that_is_not_there_stays_as_it_is() -> None:
    assert from_home("~nobody-of-this-name/a") == Path("~nobody-of-this-name/a")


def test_texts_configs_and_checkpoints_are_found_there(home: Path) -> None:
    for name in ("b.txt", "a.txt", "run/best.safetensors"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).touch()
    (home / "config.yaml").write_text("data: {path: ~/a.txt}", encoding="utf-8")
    assert find_files(["~/*.txt", "~/b.txt"]) == [home / "a.txt", home / "b.txt", home / "b.txt"]
    assert read_config(Path("~/config.yaml")).data.path == ("~/a.txt",)
    assert find_checkpoint("~/run") == home / "run/best.safetensors"


def test_the_options_of_the_command_line_take_it(home: Path) -> None:
    (home / "a.txt").write_text(TEXT, encoding="utf-8")
    (home / "config.yaml").write_text(
        "data: {path: ~/a.txt}\nmodel: {kind: markov, order: 1}\nrun: {name: m}", encoding="utf-8"
    )

    def run(*arguments: str) -> None:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output

    run("train", "--config=~/config.yaml")
    assert "- ~/a.txt" in Path("runs/m/config.yaml").read_text("utf-8")
    Path("runs").rename(home / "runs")
    run("evaluate", "--checkpoint=~/runs/m", "--file=~/a.txt")
    run("evaluate", "--checkpoint=~/runs/m")
    run("sample", "--checkpoint=~/runs/m", "--prompt-file=~/a.txt", "--length", "1")
    run("vocabulary", "--file=~/a.txt")
    run("config", "init", "--output=~/new.yaml")
    run("runs", "list", "--directory=~/runs")
    run("train", "--config=~/config.yaml", "--set=run.directory=~/more")
    assert f"directory: {home}/more" in (home / "more/m/config.yaml").read_text("utf-8")
    assert (home / "new.yaml").is_file()
    assert not Path("~").exists()
