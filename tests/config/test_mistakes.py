"""What a caller in Python is told of a wrong config: ConfigError, with all mistakes at once."""

from typing import Any

import pytest

import charlm
from charlm.config.mistakes import REFUSED, Source, unknown_key
from charlm.config.section import OnResume
from charlm.config.settings import KEYS, Config
from charlm.errors import ConfigError
from tests.config.test_settings import REFUSED as WRONG_VALUES

WRONG: dict[str, Any] = {
    "data": {"path": "a.txt", "unit": "word"},
    "model": {"kind": "gru", "hidden_size": 0, "hiden_size": 3, "nonlinearity": "relu"},
    "training": {"epochs": 3, "steps": 7},
    "runn": {},
}
LINES = [
    "data.unit: expected 'character' or 'byte', got 'word'",
    "model.hidden_size: expected greater than 0, got 0",
    "model.nonlinearity: only used by model.kind: rnn; leave it at tanh, got 'relu'",
    "model.hiden_size: unknown key; did you mean model.hidden_size?",
    "training.steps: expected exactly one of training.epochs and training.steps, got 7",
    "runn: unknown key; did you mean run?",
]


def refused(values: Any, context: Source | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Config.model_validate(values, context=context)
    return caught.value


@pytest.mark.parametrize("build", [lambda values: charlm.Config(**values), Config.model_validate], ids=["call", "tree"])
def test_all_mistakes_come_at_once_each_with_its_key(build: Any) -> None:
    with pytest.raises(charlm.ConfigError) as caught:
        build(WRONG)

    headline, *lines = str(caught.value).splitlines()
    assert headline == "6 mistakes in the config:"
    assert sorted(line.strip() for line in lines) == sorted(LINES)
    assert set(caught.value.names) == {line.partition(":")[0] for line in LINES}
    assert (caught.value.exit_code, caught.value.kind) == (2, "wrong config")


@pytest.mark.parametrize(
    ("key", "value"), [pytest.param(key, values[0], id=key) for key, values in WRONG_VALUES.items()]
)
def test_a_wrong_value_is_one_mistake_that_opens_with_its_key(key: str, value: Any) -> None:
    section, name = key.split(".")
    values: dict[str, dict[str, Any]] = {"data": {"path": "a.txt"}}
    values.setdefault(section, {})[name] = value
    headline, line = str(refused(values)).splitlines()

    assert headline == "a mistake in the config:"
    assert line.startswith((f"  {key}: expected", f"  {key}: only used by model.kind: "))


@pytest.mark.parametrize("values", [3, "text", [], None])
def test_what_is_not_a_config_at_all_is_one_mistake(values: Any) -> None:
    _, line = str(refused(values)).splitlines()
    assert line == f"  config: expected a section of keys and values, got {values!r}"


def test_a_config_without_a_text_says_so() -> None:
    with pytest.raises(ConfigError, match=r"^a mistake in the config:\n  data: missing; it has no default$"):
        charlm.Config()


def test_a_right_config_is_one_and_may_be_changed_by_copying() -> None:
    config = charlm.Config(data={"path": "a.txt"}, model={"kind": "rnn"})
    assert type(config) is Config
    assert config == Config.model_validate(config) == Config.model_validate(config.model_dump())


def test_a_mistake_stands_where_its_key_or_the_nearest_section_around_it_was_written() -> None:
    places = {(): "c.yaml", ("model",): "c.yaml:3", ("model", "kind"): "c.yaml:4"}
    values = {"data": {"path": "a"}, "model": {"kind": "LSTM", "dropout": 2}, "training": {"seed": -1}}

    assert [line.strip() for line in str(refused(values, Source(places))).splitlines()[1:]] == [
        "c.yaml:4: model.kind: expected 'rnn', 'lstm', 'gru' or 'markov', got 'LSTM'",
        "c.yaml:3: model.dropout: expected less than 1, got 2",
        "c.yaml: training.seed: expected greater than or equal to 0, got -1",
    ]


def test_problems_of_the_source_are_mistakes_even_where_every_value_is_right() -> None:
    error = refused({"data": {"path": "a"}}, Source(problems=["c.yaml:2: model: stands twice"]))
    assert str(error) == "a mistake in the config:\n  c.yaml:2: model: stands twice"


def test_a_value_that_could_not_be_read_is_not_told_twice() -> None:
    values = {"data": {"path": "a"}, "model": {"hidden_size": REFUSED}}
    error = refused(values, Source(problems=["c.yaml:2: model.hidden_size: an alias"]))
    assert str(error) == "a mistake in the config:\n  c.yaml:2: model.hidden_size: an alias"


def test_what_holds_a_million_wrong_keys_is_refused_without_looking_at_each() -> None:
    error = refused({"data": {"path": "a"}, **{f"key{number}": 1 for number in range(100_000)}})
    assert str(error) == "100,000 mistakes: this is not a config."


def test_a_training_run_from_python_is_refused_in_the_same_words() -> None:
    with pytest.raises(ConfigError, match=r"data\.path: expected a file, a list of files or a glob, got \('',\)"):
        charlm.train("")
    with pytest.raises(ConfigError, match=r"run\.name: expected a folder name"):
        charlm.train("a.txt", name="a/b")


def test_no_description_and_no_mistake_speaks_of_an_option() -> None:
    told = [str(field.description) for field in KEYS.values()] + [str(refused(WRONG)), unknown_key("x.y", KEYS)]
    assert not [text for text in told if "--" in text]


def test_every_setting_has_exactly_one_policy() -> None:
    for key, field in KEYS.items():
        marks = [mark for mark in field.metadata if isinstance(mark, OnResume)]
        assert len(marks) == 1, key
        assert OnResume.of(field) is marks[0]
