from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charlm.config.reading import read_config
from charlm.config.settings import KEYS, Config
from charlm.config.strict_yaml import parse_yaml
from charlm.config.writing import resolved_yaml, starter_yaml

Fields = dict[str, st.SearchStrategy[Any]]

NUMBER_LIKE = st.sampled_from(
    ["1e3", "012", "0x1F", "0o17", "null", "true", "~", ".inf", "1:30", "no", "#", "*a", "- a"]
)
FILE_NAMES = st.text(min_size=1) | NUMBER_LIKE
COUNTS = st.integers(1, 2**40)
PRINTABLE = st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\")
NAMES = (st.text(PRINTABLE, min_size=1) | NUMBER_LIKE).filter(lambda name: name[0] not in ".-" and name != "latest")


def below(top: float, *, bottom: float = 0.0) -> st.SearchStrategy[float]:
    return st.floats(bottom, top, exclude_min=bottom == 0.0, exclude_max=True)


CHARACTERS: Fields = {
    "encoding": st.sampled_from(["utf-8", "cp949", "UTF-16"]),
    "errors": st.sampled_from(["strict", "replace"]),
    "newlines": st.sampled_from([None, "keep", "normalize"]),
    "normalization": st.sampled_from([None, "NFC", "NFD", "NFKC", "NFKD"]),
    "minimum_count": COUNTS,
}
SPLITS: Fields = {
    "documents": st.sampled_from([None, "line", "blank-line", "file"]),
    "validation_fraction": below(0.5),
    "test_fraction": below(0.5) | st.just(0),
}
PATHS: Fields = {"path": FILE_NAMES | st.lists(FILE_NAMES, min_size=1)}
DATA = (
    st.fixed_dictionaries(PATHS, optional=SPLITS | CHARACTERS)
    | st.fixed_dictionaries(PATHS | {"unit": st.just("byte")}, optional=SPLITS)
    | st.fixed_dictionaries(PATHS | {"field": FILE_NAMES}, optional=CHARACTERS)
)
SIZES: Fields = {
    "hidden_size": st.integers(1, 2**17),
    "num_layers": st.integers(1, 1000),
    "embedding_size": st.none() | st.integers(1, 2**17),
    "dropout": below(1.0) | st.just(0),
    "weight_dropout": below(1.0) | st.just(0),
    "input_dropout": below(1.0) | st.just(0),
}
MODEL = st.fixed_dictionaries({"kind": st.sampled_from(["lstm", "gru"])}, optional=SIZES) | st.fixed_dictionaries(
    {"kind": st.just("rnn")}, optional=SIZES | {"nonlinearity": st.sampled_from(["tanh", "relu"])}
)
LENGTH = st.sampled_from(["epochs", "steps", ""]).flatmap(
    lambda key: st.fixed_dictionaries({key: COUNTS} if key else {})
)
PACE = st.fixed_dictionaries(
    {},
    optional={
        "batch_size": COUNTS,
        "sequence_length": COUNTS,
        "carry_state": st.booleans(),
        "learning_rate": below(1e300),
        "schedule": st.sampled_from(["constant", "cosine", "plateau"]),
        "warmup_fraction": below(1.0) | st.sampled_from([0, 1]),
        "weight_decay": below(1e300) | st.just(0),
        "gradient_clip": st.none() | below(1e300),
        "on_divergence": st.sampled_from(["stop", "rollback"]),
        "patience": st.none() | COUNTS,
        "evaluate_every": st.none() | COUNTS,
        "evaluation_lanes": COUNTS,
        "seed": st.integers(0, 2**63 - 1),
        "device": st.sampled_from(["auto", "cpu", "cuda", "cuda:3", "mps"]),
        "threads": st.none() | st.integers(1, 512),
        "precision": st.sampled_from(["float32", "bfloat16"]),
    },
)
TRAINING = st.builds(lambda length, pace: length | pace, LENGTH, PACE)
RUN = st.fixed_dictionaries(
    {}, optional={"name": NAMES, "directory": FILE_NAMES, "save_every": st.none() | COUNTS, "keep": COUNTS}
)
MARKOV = st.fixed_dictionaries({"kind": st.just("markov")}, optional={"order": st.integers(0, 32)})
SEED = st.fixed_dictionaries({}, optional={"seed": st.integers(0, 2**63 - 1)})
TREES = st.fixed_dictionaries({"data": DATA}, optional={"model": MODEL, "training": TRAINING, "run": RUN}) | (
    st.fixed_dictionaries({"data": DATA, "model": MARKOV}, optional={"training": SEED, "run": RUN})
)
CONFIGS = TREES.map(Config.model_validate)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a path to write to; one for all examples of a law."""
    return tmp_path_factory.mktemp("configs") / "config.yaml"


@settings(deadline=None, max_examples=100)
@given(CONFIGS)
@example(Config.model_validate({"data": {"path": "a\x85b"}}))
@example(Config.model_validate({"data": {"path": ["1", "null", "é: \u2028"]}, "run": {"name": "0x1F"}}))
def test_the_resolved_settings_read_back_as_the_same_config(file: Path, config: Config) -> None:
    file.write_bytes(resolved_yaml(config).encode())
    assert read_config(file) == config


@settings(deadline=None, max_examples=50)
@given(CONFIGS)
def test_the_resolved_settings_name_every_setting_in_its_order(config: Config) -> None:
    value = parse_yaml(resolved_yaml(config)).value
    assert [f"{section}.{key}" for section, keys in value.items() for key in keys] == list(KEYS)
    assert list(value) == list(Config.model_fields)


def test_the_starter_reads_back_as_the_default_config(file: Path) -> None:
    file.write_bytes(starter_yaml().encode())
    assert read_config(file) == Config.model_validate({"data": {"path": "data/tales.txt"}})


def test_the_starter_trains_on_a_text_that_is_there(file: Path) -> None:
    file.write_bytes(starter_yaml().encode())
    for path in read_config(file).data.path:
        assert (Path(__file__).parents[2] / path).is_file()


def test_the_starter_puts_every_setting_once_right_under_its_whole_description() -> None:
    comment: list[str] = []
    described: dict[str, str] = {}
    section = ""
    for line in starter_yaml().splitlines()[1:]:
        if line.startswith("  # "):
            comment.append(line.removeprefix("  # "))
        elif line.startswith("  "):
            key = f"{section}.{line.strip().partition(':')[0]}"
            assert key not in described
            described[key] = " ".join(comment)
            comment = []
        else:
            assert comment == []
            section = line.removesuffix(":") or section
    assert list(described) == list(KEYS)
    assert described == {key: " ".join(str(field.description).split()) for key, field in KEYS.items()}


def test_the_starter_opens_with_its_headline_and_is_a_page_that_fits() -> None:
    lines = starter_yaml("Made by hand.").split("\n")
    assert lines[0] == "# Made by hand."
    assert starter_yaml().split("\n")[1:] == lines[1:]
    assert max(map(len, lines)) <= 100
    assert lines[-1] == ""
    assert lines[-2] != ""


def test_every_line_of_the_starter_but_the_path_can_be_left_out(file: Path) -> None:
    lines = starter_yaml().splitlines(keepends=True)
    default = Config.model_validate({"data": {"path": "data/tales.txt"}})
    left_out = 0
    for number, line in enumerate(lines):
        if line.startswith("  ") and not line.startswith(("  #", "  path:")):
            file.write_text("".join(lines[:number] + lines[number + 1 :]), encoding="utf-8")
            assert read_config(file) == default
            left_out += 1
    assert left_out == len(KEYS) - 1
