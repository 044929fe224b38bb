"""What a user sees of ``charlm config``."""

import json
from pathlib import Path

import yaml

from charlm.config.settings import KEYS, Config
from tests.conftest import Run

DEFAULTS = Config.model_validate({"data": {"path": "data/tales.txt"}}).model_dump(mode="json")


def test_init_prints_every_setting_at_its_default_under_its_description(charlm: Run, tmp_path: Path) -> None:
    result = charlm("config", "init")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert yaml.safe_load(result.stdout) == DEFAULTS | {"data": DEFAULTS["data"] | {"path": "data/tales.txt"}}
    lines = result.stdout.splitlines()
    for key in KEYS:
        (place,) = [index for index, line in enumerate(lines) if line.startswith(f"  {key.split('.')[1]}:")]
        assert lines[place - 1].startswith("  # ")
    assert list(tmp_path.iterdir()) == []


def test_init_writes_the_same_into_a_new_file_which_show_accepts(charlm: Run, tmp_path: Path) -> None:
    result = charlm("config", "init", "--output", "new.yaml")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "new.yaml").read_text("utf-8") == charlm("config", "init").stdout
    assert [path.name for path in tmp_path.iterdir()] == ["new.yaml"]
    shown = charlm("config", "show", "--config", "new.yaml")
    assert yaml.safe_load(shown.stdout) == DEFAULTS


def test_show_resolves_a_file_and_what_is_set_on_top(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "data: {path: [a.txt, 'b*.txt']}\nmodel: {kind: gru, num_layers: 3}\ntraining: {epochs: 4}\n", encoding="utf-8"
    )
    settings = ("model={kind: rnn, hidden_size: 9}", "training.steps=5", "training.learning_rate=1e-3")
    result = charlm("config", "show", "--config", "a.yaml", *(word for one in settings for word in ("--set", one)))
    assert result.exit_code == 0
    resolved = yaml.safe_load(result.stdout)
    assert resolved["data"]["path"] == ["a.txt", "b*.txt"]
    assert resolved["model"] == DEFAULTS["model"] | {"kind": "rnn", "hidden_size": 9}  # the whole section is replaced
    assert (resolved["training"]["steps"], resolved["training"]["epochs"]) == (5, None)
    assert resolved["training"]["learning_rate"] == 0.001


def test_what_show_prints_is_a_config_that_shows_the_same(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("data: {path: '[red]x :smile:.txt'}\nrun: {name: '12'}\n", encoding="utf-8")
    shown = charlm("config", "show", "--config", "a.yaml").stdout
    assert yaml.safe_load(shown)["data"]["path"] == ["[red]x :smile:.txt"]
    assert yaml.safe_load(shown)["run"]["name"] == "12"
    (tmp_path / "b.yaml").write_text(shown, encoding="utf-8")
    assert charlm("config", "show", "--config", "b.yaml").stdout == shown


def test_all_mistakes_are_told_at_once_with_their_places(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(
        "data:\n  path: a.txt\nmodel:\n  kind: ltsm\n  hiden_size: 3\ntraining:\n  seed: -1\n", encoding="utf-8"
    )
    result = charlm("config", "show", "--config", "bad.yaml", "--set", "run.keep='[red]0'")
    assert result.exit_code == 2
    assert result.stdout == ""
    head, *rows = result.stderr.splitlines()
    assert head == "charlm: 4 mistakes in the config:"
    for place, words in {
        "bad.yaml:4": ("model.kind", "'ltsm'"),
        "bad.yaml:5": ("model.hiden_size", "model.hidden_size"),
        "bad.yaml:7": ("training.seed", "-1"),
        "--set run.keep='[red]0'": ("run.keep", "'[red]0'"),
    }.items():
        (row,) = [row for row in rows if row.strip().startswith(f"{place}: ")]
        assert all(word in row for word in words), row


def test_schema_is_json_that_describes_every_setting_and_is_closed(charlm: Run) -> None:
    result = charlm("config", "schema")
    schema = json.loads(result.stdout)
    assert result.exit_code == 0
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["data"]
    for key in KEYS:
        section, name = key.split(".")
        described = schema["properties"][section]
        properties = schema["$defs"][described["$ref"].split("/")[-1]]
        assert properties["additionalProperties"] is False
        assert properties["properties"][name]["description"]
        if key != "data.path":
            assert properties["properties"][name]["default"] == DEFAULTS[section][name]
