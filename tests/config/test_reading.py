from collections.abc import Callable
from pathlib import Path

import pytest

from charlm.config.reading import read_config
from charlm.config.settings import KEYS, Config
from charlm.errors import ConfigError

ROOT = Path(__file__).parents[2]

Write = Callable[[str | bytes], Path]
Refuse = Callable[..., list[str]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(content: str | bytes) -> Path:
        path = tmp_path / "c.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to_file


@pytest.fixture
def refuse(write: Write) -> Refuse:
    """Return a function that reads a wrong config and gives the lines of its mistakes, the folder left out."""

    def read(content: str | bytes, *overrides: str) -> list[str]:
        path = write(content)
        with pytest.raises(ConfigError) as caught:
            read_config(path, overrides, prefix="--set ")
        headline, *mistakes = str(caught.value).splitlines()
        assert headline.startswith("a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes")
        assert caught.value.exit_code == 2
        return [mistake.strip().replace(str(path), "c.yaml") for mistake in mistakes]

    return read


def one(mistakes: list[str]) -> str:
    [mistake] = mistakes
    return mistake


def test_a_file_and_what_overrules_it_become_one_config(write: Write) -> None:
    path = write("data:\n  path: a.txt\nmodel:\n  kind: rnn\n  hidden_size: 9\ntraining:\n  learning_rate: 1e-3\n")
    config = read_config(path, ["model.hidden_size=7", "training.seed = 0x10", "run.name='3'", "data.path=[b, c]"])
    assert config == Config.model_validate(
        {
            "data": {"path": ["b", "c"]},
            "model": {"kind": "rnn", "hidden_size": 7},
            "training": {"learning_rate": 0.001, "seed": 16},
            "run": {"name": "3"},
        }
    )


@pytest.mark.parametrize("section", ["model", "training", "run"])
def test_a_section_whose_settings_are_all_commented_out_has_its_defaults(section: str, write: Write) -> None:
    path = write(f"data:\n  path: a.txt\n{section}:\n  # name: commented out\n")
    assert read_config(path) == Config.model_validate({"data": {"path": "a.txt"}})


def test_a_byte_order_mark_is_no_mistake(write: Write) -> None:
    assert read_config(write("\ufeffdata: {path: a}\n")) == read_config(write("data: {path: a}\n"))


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_config_reads_with_every_kind(path: Path) -> None:
    for text in read_config(path).data.path:
        assert (ROOT / text).is_file() or text.endswith(".local.txt")  # those are fetched, not shipped
    only_rnn = path.stem == "tales-rnn-relu"  # rectified units are a choice that gated cells do not have
    for kind in ("rnn",) if only_rnn else ("rnn", "lstm", "gru"):
        assert read_config(path, [f"model.kind={kind}"]).model.kind == kind


def test_a_default_config_takes_another_kind_by_set(write: Write) -> None:
    path = write("data: {path: a}\n")
    assert read_config(path, ["model.kind=gru"]).model.kind == "gru"
    assert read_config(path, ["model.kind=rnn", "model.nonlinearity=relu"]).model.nonlinearity == "relu"


def test_the_last_of_two_overrides_wins(write: Write) -> None:
    assert read_config(write("data: {path: a}\n"), ["run.keep=3", "run.keep=5"]).run.keep == 5


def test_a_whole_section_given_by_set_replaces_that_section(write: Write) -> None:
    path = write("data: {path: a}\nmodel: {kind: gru, dropout: 0.5}\nrun: {name: x}\n")
    config = read_config(path, ["model.num_layers=5", "model={hidden_size: 3}", "model.embedding_size=2"])
    expected = {"data": {"path": "a"}, "model": {"hidden_size": 3, "embedding_size": 2}, "run": {"name": "x"}}
    assert config == Config.model_validate(expected)


def test_a_replaced_section_takes_its_mistakes_with_it(write: Write) -> None:
    path = write("data: {path: a}\nmodel: {kindd: gru}\n")
    assert read_config(path, ["model={kind: gru}"]).model.kind == "gru"


def test_a_mistake_in_a_replaced_section_stands_in_the_override_and_not_in_the_file(refuse: Refuse) -> None:
    override = "model={kind: LSTM}"
    mistake = one(refuse("data: {path: a}\nmodel:\n  kind: gru\n", override))
    assert mistake.startswith(f"--set {override}: model.kind: expected")


@pytest.mark.parametrize(
    ("file", "overrides", "epochs", "steps"),
    [
        ("", ["training.steps=7"], None, 7),
        ("epochs: 3", ["training.steps=7"], None, 7),
        ("steps: 9", ["training.epochs=3"], 3, None),
        ("steps: 9", ["training.steps=7"], None, 7),
        ("epochs: 3", ["training={steps: 7}"], None, 7),
        ("steps: 9", ["training.steps=null", "training.epochs=3"], 3, None),
        ("epochs: 3", ["training.epochs=null", "training.steps=7"], None, 7),
        ("", ["training.steps=5", "training={steps: 9}", "training.epochs=3"], 3, None),
        ("epochs: 3", ["training.steps=null"], 3, None),
    ],
)
def test_steps_or_epochs_by_set_overrule_the_other_in_the_file(
    write: Write, file: str, overrides: list[str], epochs: int | None, steps: int | None
) -> None:
    training = read_config(write(f"data: {{path: a}}\ntraining: {{{file}}}\n"), overrides).training
    assert (training.epochs, training.steps) == (epochs, steps)


@pytest.mark.parametrize(
    ("file", "overrides", "place"),
    [
        ("epochs: 3, steps: 7", [], "c.yaml:2"),
        ("epochs: null, steps: null", [], "c.yaml:2"),
        ("epochs: null", [], "c.yaml:2"),
        ("epochs: 3", ["training.epochs=3", "training.steps=7"], "--set training.steps=7"),
        ("epochs: 3", ["training.steps=7", "training.epochs=3"], "--set training.steps=7"),
        ("epochs: 3", ["training={steps: 7, epochs: 3}"], "--set training={steps: 7, epochs: 3}"),
    ],
)
def test_both_or_neither_of_steps_and_epochs_is_refused(
    refuse: Refuse, file: str, overrides: list[str], place: str
) -> None:
    mistake = one(refuse(f"data: {{path: a}}\ntraining: {{{file}}}\n", *overrides))
    assert mistake.startswith(f"{place}: training.steps: expected exactly one of training.epochs and training.steps")


def test_all_mistakes_come_at_once_each_with_its_place_key_and_what_was_expected(refuse: Refuse) -> None:
    content = """\
data:
  path: a.txt
  unit: word
model:
  kind: LSTM
  hidden_size: 1.5
  hiden_size: 3
  seed: 3

training:
  carry_state: yes
  learning_rate:
    0
  device: cudda
  epochs: 1e3
run:
  name: latest
runn:
  name: x
num_layers: 3
"""
    expected = [
        ("c.yaml:3: data.unit: ", "expected 'character' or 'byte', got 'word'"),
        ("c.yaml:5: model.kind: ", "expected 'rnn', 'lstm', 'gru' or 'markov', got 'LSTM'"),
        ("c.yaml:6: model.hidden_size: ", "expected a valid integer, got 1.5"),
        ("c.yaml:7: model.hiden_size: ", "unknown key; did you mean model.hidden_size?"),
        ("c.yaml:8: model.seed: ", "unknown key; did you mean training.seed?"),
        ("c.yaml:11: training.carry_state: ", "expected a valid boolean, got 'yes'"),
        ("c.yaml:12: training.learning_rate: ", "expected greater than 0, got 0"),
        ("c.yaml:14: training.device: ", "expected auto, cpu, cuda, cuda:N or mps, got 'cudda'"),
        ("c.yaml:15: training.epochs: ", "expected a valid integer, got 1000.0"),
        ("c.yaml:17: run.name: ", "expected a folder name without slashes, not starting with a dot or dash, not"),
        ("c.yaml:18: runn: ", "unknown key; did you mean run?"),
        ("c.yaml:20: num_layers: ", "unknown key; did you mean model.num_layers?"),
        ("--set model.dropout=1: model.dropout: ", "expected less than 1, got 1"),
        ("--set trainin.seed=1: trainin.seed: ", "unknown key; did you mean training.seed?"),
        ("--set run.keep: ", "expected section.key=value"),
    ]
    mistakes = refuse(content, "model.dropout=1", "trainin.seed=1", "run.keep")
    for place, finding in expected:
        assert finding in one([mistake for mistake in mistakes if mistake.startswith(place)])
    assert len(mistakes) == len(expected)


def test_mistakes_of_the_yaml_and_of_the_settings_come_together(refuse: Refuse) -> None:
    mistakes = refuse("data: {path: a}\nmodel:\n  kind: gru\n  kind: rnn\n  dropout: 2\nmodel: {}\n")
    assert mistakes == [
        "c.yaml:4: model.kind: duplicate key, first on line 3",
        "c.yaml:6: model: duplicate key, first on line 2",
        "c.yaml:5: model.dropout: expected less than 1, got 2",
    ]


@pytest.mark.parametrize("right", KEYS)
def test_a_known_key_in_a_wrong_section_is_sent_to_its_own(refuse: Refuse, right: str) -> None:
    key = right.partition(".")[2]
    wrong = [section for section in Config.model_fields if f"{section}.{key}" not in KEYS]
    content = "data: {path: a}\n" + f"{key}: 1\n"
    mistakes = refuse(content, *(f"{section}.{key}=1" for section in wrong))
    assert f"c.yaml:2: {key}: unknown key; did you mean {right}?" in mistakes
    for section in wrong:
        place = f"--set {section}.{key}=1: {section}.{key}: "
        assert one([mistake for mistake in mistakes if mistake.startswith(place)]).endswith(f"did you mean {right}?")


@pytest.mark.parametrize("right", KEYS)
def test_a_slip_of_the_pen_gets_the_nearest_key(refuse: Refuse, right: str) -> None:
    section, key = right.split(".")
    slips = {key[:-1], key + "s", key[:-2] + key[-1] + key[-2], key.replace("_", "-"), key.replace("_", "")} - {key}
    assert slips
    for slip in slips:
        mistakes = refuse(f"data: {{path: a}}\n{section}1: {{}}\n", f"{section}.{slip}=null")
        assert f"--set {section}.{slip}=null: {section}.{slip}: unknown key; did you mean {right}?" in mistakes
        assert f"c.yaml:2: {section}1: unknown key; did you mean {section}?" in mistakes


@pytest.mark.parametrize("key", ["zzz", "zzz.zzz", "a.b.c", "1", "'", "é"])
def test_a_key_like_no_other_is_sent_to_the_list(refuse: Refuse, key: str) -> None:
    mistake = one(refuse("data: {path: a}\n", f"{key}=1"))
    assert mistake == f"--set {key}=1: {key}: unknown key; there is no similar key."


def test_a_key_under_a_setting_is_unknown(refuse: Refuse) -> None:
    assert "model.kind.x: unknown key; did you mean model.kind?" in one(refuse("data: {path: a}\n", "model.kind.x=1"))


@pytest.mark.parametrize(
    "override", ["", "=", "=3", "model", "model.kind", "model.=3", ".kind=3", "model..kind=3", " = "]
)
def test_an_override_without_key_and_value_is_refused(refuse: Refuse, override: str) -> None:
    assert one(refuse("data: {path: a}\n", override)) == f"--set {override}: expected section.key=value"


@pytest.mark.parametrize("value", ["[", "{a: ", "'open", "a: b: c", "@x", "*x", "!t 1", "\x07", "!!int x"])
def test_an_override_that_is_no_yaml_is_refused_and_nothing_else(refuse: Refuse, value: str) -> None:
    mistake = one(refuse("data: {path: a}\nmodel: {hidden_size: 3}\n", f"model.hidden_size={value}"))
    assert mistake.startswith(f"--set model.hidden_size={value}: ")


def test_a_duplicate_in_an_override_is_refused(refuse: Refuse) -> None:
    override = "model={kind: gru, kind: rnn}"
    assert one(refuse("data: {path: a}\n", override)) == f"--set {override}: kind: duplicate key, first on line 1"


@pytest.mark.parametrize("value", ["3", "gru", "[1]"])
def test_a_section_that_is_no_mapping_is_refused(refuse: Refuse, value: str) -> None:
    got = {"3": 3, "gru": "gru", "[1]": [1]}[value]
    finding = f"model: expected a section of keys and values, got {got!r}"
    assert one(refuse(f"data: {{path: a}}\nmodel: {value}\n")) == f"c.yaml:2: {finding}"
    assert one(refuse("data: {path: a}\n", f"model={value}")) == f"--set model={value}: {finding}"


def test_an_override_inside_does_not_hide_that_the_file_has_no_such_section(refuse: Refuse) -> None:
    mistake = one(refuse("data: nonsense\n", "data.path=a"))
    assert mistake == "c.yaml:1: data: expected a section of keys and values, got 'nonsense'"


@pytest.mark.parametrize("content", ["", "# nothing\n", "\n\n", "---\n", "null\n", "{}\n", "model: {kind: gru}\n"])
def test_without_a_text_to_read_a_config_is_refused(refuse: Refuse, content: str) -> None:
    mistake = one(refuse(content))
    assert mistake.startswith("c.yaml:")
    assert mistake.endswith(": data: missing; it has no default")


def test_a_section_without_its_path_is_refused_on_its_line(refuse: Refuse) -> None:
    mistake = one(refuse("model: {}\ndata:\n  unit: byte\n"))
    assert mistake == "c.yaml:2: data.path: missing; it has no default"


@pytest.mark.parametrize("content", ["just text\n", "- a\n- b\n", "3\n", "'data: x'\n"])
def test_a_file_without_sections_is_told_which_there_are(refuse: Refuse, content: str) -> None:
    assert one(refuse(content)) == "c.yaml:1: expected sections (data, model, training, run)"


@pytest.mark.parametrize(
    ("content", "line"),
    [("data:\n  path: [a\n", 3), ("data: {path: a}\n---\nmodel: {}\n", 2), ("data: {path: a}\nrun: {name: \x07}\n", 2)],
)
def test_what_is_not_yaml_is_one_mistake_with_its_line(refuse: Refuse, content: str, line: int) -> None:
    assert one(refuse(content)).startswith(f"c.yaml:{line}: not valid YAML: ")


@pytest.mark.parametrize("value", ["*size", "!mine 3", "!!int x"])
def test_a_value_refused_as_yaml_is_not_also_refused_as_a_setting(refuse: Refuse, value: str) -> None:
    content = f"data: {{path: a}}\nmodel:\n  num_layers: &size 3\n  hidden_size: {value}\n"
    assert one(refuse(content)).startswith("c.yaml:4: ")


@pytest.mark.parametrize("value", ["3", "[]", "''", "[a, '']", "[a, 3]", "{a: b}", "null"])
def test_a_wrong_path_is_one_mistake_in_the_words_of_the_config(refuse: Refuse, value: str) -> None:
    mistake = one(refuse(f"model: {{}}\ndata: {{path: {value}}}\n"))
    assert mistake.startswith("c.yaml:2: data.path: ")
    assert "expected" in mistake
    assert "tuple" not in mistake.lower()


def test_a_wrong_item_of_a_list_is_a_mistake_of_its_setting(refuse: Refuse) -> None:
    mistake = one(refuse("data:\n  path:\n    - a\n    - 3\n"))
    assert mistake.startswith(("c.yaml:2: data.path", "c.yaml:4: data.path"))
    assert "3" in mistake.partition(", got ")[2]


@pytest.mark.parametrize(
    "value", ["0x" + "f" * 5000, "9" * 5000, "-" + "9" * 5000, "1e400", ".INF", "[" * 200 + "]" * 200], ids=len
)
def test_a_monstrous_value_is_refused_like_any_other(refuse: Refuse, value: str) -> None:
    assert one(refuse(f"data: {{path: a}}\nmodel: {{dropout: {value}}}\n")).startswith("c.yaml:2: ")


@pytest.mark.parametrize("encoding", ['"a\\0b"', '"\\udc80"', "no-such", "rot13", "''"])
def test_an_unknown_encoding_is_told_what_one_looks_like(refuse: Refuse, encoding: str) -> None:
    mistake = one(refuse(f"data: {{path: a, encoding: {encoding}}}\n"))
    assert mistake.startswith("c.yaml:1: data.encoding: expected a text encoding known to Python, such as utf-8")


@pytest.mark.parametrize("content", [b"data: {path: \xff}\n", "data: {path: a}\n".encode("utf-16"), b"\x80"])
def test_a_config_that_is_not_utf_8_is_refused_by_file_and_byte(write: Write, content: bytes) -> None:
    path = write(content)
    with pytest.raises(UnicodeDecodeError) as oracle:
        content.decode()
    with pytest.raises(ConfigError, match=f"byte {oracle.value.start} is not UTF-8") as caught:
        read_config(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", [".", "missing.yaml", "a.yaml/inside", "n" * 300])
def test_a_config_that_cannot_be_read_is_refused_by_name_with_a_way_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.yaml").touch()
    with pytest.raises(ConfigError, match="Name a readable file") as caught:
        read_config(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_every_setting_of_every_section_is_a_key() -> None:
    sections = Config.model_validate({"data": {"path": "a"}}).model_dump()
    assert list(KEYS) == [f"{section}.{key}" for section, values in sections.items() for key in values]
