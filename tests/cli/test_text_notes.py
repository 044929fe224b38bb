"""What was found in a text is told once, where it is read: on standard error, and to a caller in Python."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from charlm.cli.app import app
from charlm.config.settings import Config
from charlm.library import train
from tests.conftest import TEXT

TABLE = "id,text\n" + "".join(
    f'{number},"{line.replace(chr(34), "")}"\n' for number, line in enumerate(TEXT.split(". "))
)
MARKOV = {"kind": "markov", "order": 1}
LSTM = {"kind": "lstm", "hidden_size": 4}


def looks_like(path: Path) -> str:
    return f"{path} looks like CSV and is read as raw text; data.field: NAME reads one column of a "


def replaced(path: Path) -> str:
    return f"{path}: 2 bytes that are not utf-8 were read as \ufffd."


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "reviews.csv"
    path.write_bytes(TABLE.encode() + b"99,caf\xe9 and caf\xe9\n")
    return path


def config(path: Path, model: dict[str, object]) -> Config:
    data = {"path": str(path), "errors": "replace"}
    training = {} if model == MARKOV else {"steps": 1, "epochs": None, "batch_size": 2, "sequence_length": 5}
    return Config.model_validate({"data": data, "model": model, "training": training})


@pytest.mark.parametrize("model", [MARKOV, LSTM], ids=["markov", "lstm"])
def test_in_python(table: Path, model: dict[str, object]) -> None:
    notes: list[str] = []
    train(config=config(table, model), on_note=notes.append)
    assert notes[0] == replaced(table)
    assert notes[1].startswith(looks_like(table))
    assert len(notes) == 2


@pytest.mark.parametrize("options", [[], ["--dry-run"], ["--quiet"]], ids=["run", "dry", "quiet"])
@pytest.mark.parametrize("model", [MARKOV, LSTM], ids=["markov", "lstm"])
def test_on_standard_error(table: Path, model: dict[str, object], options: list[str]) -> None:
    from charlm.config.writing import resolved_yaml

    Path("c.yaml").write_text(resolved_yaml(config(table, model)), encoding="utf-8")
    result = CliRunner().invoke(app, ["train", "--config", "c.yaml", *options])
    assert result.exit_code == 0, result.output
    assert result.stderr.count(f"charlm: {looks_like(table)}") == 1
    assert result.stderr.count(f"charlm: {replaced(table)}\n") == 1


def test_for_a_text_that_is_scored(table: Path) -> None:
    train(config=config(table, MARKOV))
    result = CliRunner().invoke(app, ["evaluate", "--file", str(table)])
    assert result.exit_code == 0, result.output
    assert f"charlm: {replaced(table)}\n" in result.stderr
