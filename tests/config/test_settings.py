from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from charlm.config.settings import KEYS, Config, ModelConfig, TrainingConfig
from charlm.errors import ConfigError

ACCEPTED: dict[str, list[Any]] = {
    "data.path": ["a.txt", ["a.txt", "data/*.txt"], "Märchen 1.txt"],
    "data.unit": ["character", "byte"],
    "data.encoding": ["utf-8", "cp1252", "UTF-16", "cp949"],
    "data.field": [None, "text", "0", " a, b", "null"],
    "data.errors": ["strict", "replace"],
    "data.newlines": [None, "keep", "normalize"],
    "data.normalization": [None, "NFC", "NFD", "NFKC", "NFKD"],
    "data.documents": [None, "line", "blank-line", "file"],
    "data.split": [None, "tail"],
    "data.minimum_count": [1, 1000],
    "data.validation_fraction": [1e-9, 0.999],
    "data.test_fraction": [0, 0.0, 0.899],
    "model.kind": ["rnn", "lstm", "gru", "markov"],
    "model.hidden_size": [1, 4096],
    "model.num_layers": [1, 9],
    "model.embedding_size": [None, 1, 64],
    "model.nonlinearity": ["tanh"],
    "model.dropout": [0, 0.0, 0.999],
    "model.weight_dropout": [0, 0.0, 0.999],
    "model.locked_dropout": [0, 0.0, 0.999],
    "model.input_dropout": [0, 0.0, 0.999],
    "model.order": [5],
    "training.batch_size": [1, 512],
    "training.sequence_length": [1, 512],
    "training.carry_state": [True, False],
    "training.epochs": [1, 10**6],
    "training.steps": [1, 10**9],
    "training.learning_rate": [1e-12, 1, 3.5],
    "training.schedule": ["constant", "cosine", "plateau"],
    "training.warmup_fraction": [0, 0.5, 1, 1.0],
    "training.weight_decay": [0, 0.1, 2.0],
    "training.gradient_clip": [None, 1e-6, 5],
    "training.on_divergence": ["stop", "rollback"],
    "training.patience": [None, 1, 50],
    "training.evaluate_every": [None, 1, 5000],
    "training.evaluation_lanes": [1, 64],
    "training.seed": [0, 2**63 - 1],
    "training.device": ["auto", "cpu", "cuda", "cuda:0", "cuda:13", "mps"],
    "training.threads": [None, 1, 512],
    "training.precision": ["float32", "bfloat16"],
    "run.name": ["run", "tales-lstm", "a b", "Märchen.2", "latest-2", "2024"],
    "run.directory": ["runs", "../elsewhere/runs", "."],
    "run.save_every": [None, 1, 5000],
    "run.keep": [1, 100, None],
}

NOT_TEXT: list[Any] = [None, True, 3, 0.5, ["a"], {"a": 1}]
NOT_A_COUNT: list[Any] = [0, -1, 1.0, 1.5, True, "3", [3], {"a": 3}]
NOT_AN_ORDER: list[Any] = [None, -1, 33, 2**63, 1.0, 1.5, True, "3", [3], {"a": 3}]
NOT_A_NUMBER: list[Any] = [None, True, "0.1", [0.1], {"a": 0.1}, float("inf"), float("-inf"), float("nan")]

REFUSED: dict[str, list[Any]] = {
    "data.path": [None, True, 3, 0.5, "", [], [""], ["a", ""], ["a", 3], [["a"]], {"a": 1}],
    "data.unit": [*NOT_TEXT, "word", "Byte", ""],
    "data.encoding": [*NOT_TEXT, "", "utf-9", "rot13", "base64", "zlib", "a\0b", "é", "utf-8/../os"],
    "data.field": [*NOT_TEXT[1:], ""],
    "data.errors": [*NOT_TEXT, "ignore", "Replace", ""],
    "data.newlines": [*NOT_TEXT[1:], "lf", "Keep", ""],
    "data.normalization": [*NOT_TEXT[1:], "nfc", "NFX", ""],
    "data.documents": [*NOT_TEXT[1:], "lines", "Line", "blank line", "none", ""],
    "data.split": [*NOT_TEXT[1:], "Random", "head", "shuffle", "", "random"],  # random: without documents
    "data.minimum_count": [None, *NOT_A_COUNT],
    "data.validation_fraction": [*NOT_A_NUMBER, 0, 0.0, 1, 1.0, -0.1, 7],
    "data.test_fraction": [*NOT_A_NUMBER, -0.1, 1.0, 0.9, 0.95],
    "model.kind": [*NOT_TEXT, "LSTM", "transformer", "Markov", "ar", ""],
    "model.hidden_size": [None, *NOT_A_COUNT],
    "model.num_layers": [None, *NOT_A_COUNT],
    "model.embedding_size": NOT_A_COUNT,
    "model.nonlinearity": [*NOT_TEXT, "sigmoid", "", "relu"],  # relu: the default kind is not rnn
    "model.dropout": [*NOT_A_NUMBER, -0.1, 1, 1.0, 1.5],
    "model.weight_dropout": [*NOT_A_NUMBER, -0.1, 1, 1.0, 1.5],
    "model.locked_dropout": [*NOT_A_NUMBER, -0.1, 1, 1.0, 1.5],
    "model.input_dropout": [*NOT_A_NUMBER, -0.1, 1, 1.0, 1.5],
    "model.order": [*NOT_AN_ORDER, 0, 1, 32],  # the default kind is not markov
    "training.batch_size": [None, *NOT_A_COUNT],
    "training.sequence_length": [None, *NOT_A_COUNT],
    "training.carry_state": [None, 0, 1, "yes", "true", [True], {"a": True}],
    "training.epochs": NOT_A_COUNT,
    "training.steps": NOT_A_COUNT,
    "training.learning_rate": [*NOT_A_NUMBER, 0, 0.0, -0.1],
    "training.schedule": [*NOT_TEXT, "linear", ""],
    "training.warmup_fraction": [*NOT_A_NUMBER, -0.1, 1.1],
    "training.weight_decay": [*NOT_A_NUMBER, -0.1],
    "training.gradient_clip": [*NOT_A_NUMBER[1:], 0, 0.0, -1.0],
    "training.on_divergence": [*NOT_TEXT, "skip", ""],
    "training.patience": NOT_A_COUNT,
    "training.evaluate_every": NOT_A_COUNT,
    "training.evaluation_lanes": [None, *NOT_A_COUNT],
    "training.seed": [None, -1, 2**63, 1.0, True, "1", [1], {"a": 1}],
    "training.device": [*NOT_TEXT, "", "gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cuda:١", "cuda 0", "auto\n", "tpu"],
    "training.threads": [*NOT_A_COUNT, 513, 2**53],
    "training.precision": [*NOT_TEXT, "float16", "bf16", ""],
    "run.name": [
        *[*NOT_TEXT, "", "latest", "a/b", "/a", "a\\b", ".", "..", ".hidden", "-x"],
        *["a\nb", "a\tb", "a\0b", "\x1b[31m", "\x7f", "a\u200bb", "\u202ename", "a\u2028b"],
    ],
    "run.directory": [*NOT_TEXT, ""],
    "run.save_every": NOT_A_COUNT,
    "run.keep": NOT_A_COUNT,
}


def tree(**values: object) -> dict[str, dict[str, object]]:
    """Return the smallest config with ``section__key`` values on top."""
    result: dict[str, dict[str, object]] = {"data": {"path": "a.txt"}}
    for name, value in values.items():
        section, key = name.split("__")
        result.setdefault(section, {})[key] = value
    return result


def build(**values: object) -> Config:
    return Config.model_validate(tree(**values))


def places(**values: object) -> set[str]:
    """Return the keys that a config is refused for."""
    with pytest.raises(ConfigError) as caught:
        build(**values)
    return set(caught.value.names)


def pairs(table: dict[str, list[Any]]) -> list[Any]:
    return [pytest.param(key, value, id=f"{key}={value!r}") for key, values in table.items() for value in values]


def test_the_tables_of_this_file_hold_every_setting() -> None:
    assert set(ACCEPTED) == set(REFUSED) == set(KEYS)


@pytest.mark.parametrize(("dotted", "value"), pairs(ACCEPTED))
def test_a_good_value_is_taken_as_it_is(dotted: str, value: Any) -> None:
    section, key = dotted.split(".")
    taken = getattr(getattr(build(**{f"{section}__{key}": value}), section), key)
    if dotted == "data.path":
        value = (value,) if isinstance(value, str) else tuple(value)
    assert taken == value


@pytest.mark.parametrize(("dotted", "value"), pairs(REFUSED))
def test_a_value_of_a_wrong_type_or_out_of_range_is_refused(dotted: str, value: Any) -> None:
    assert places(**{dotted.replace(".", "__"): value}) == {dotted}


@pytest.mark.parametrize("dotted", KEYS)
def test_every_setting_has_a_description_that_is_a_sentence_and_names_each_choice(dotted: str) -> None:
    field = KEYS[dotted]
    assert field.description
    assert field.description[0].isupper()
    assert field.description.endswith(".")
    choices = [choice for part in (field.annotation, *get_args(field.annotation)) for choice in get_args(part)]
    assert all(choice in field.description for choice in choices if isinstance(choice, str))


def test_a_config_needs_only_a_path() -> None:
    assert build().data.path == ("a.txt",)
    with pytest.raises(ConfigError, match="path"):
        Config.model_validate({"data": {}})
    with pytest.raises(ConfigError, match="data"):
        Config.model_validate({})


@pytest.mark.parametrize("section", ["", "data", "model", "training", "run"])
def test_an_unknown_key_is_refused_in_every_section(section: str) -> None:
    values: dict[str, Any] = tree(model__kind="gru", training__seed=3, run__name="x")
    (values[section] if section else values)["surprise"] = 1
    with pytest.raises(ConfigError, match="surprise"):
        Config.model_validate(values)


@pytest.mark.parametrize("section", ["data", "model", "training", "run"])
@pytest.mark.parametrize("value", [3, "text", []])
def test_a_section_that_is_no_mapping_is_refused(section: str, value: object) -> None:
    with pytest.raises(ConfigError):
        Config.model_validate(tree() | {section: value})


@pytest.mark.parametrize("dotted", KEYS)
def test_no_setting_changes_after_it_is_read(dotted: str) -> None:
    section, key = dotted.split(".")
    part = getattr(build(), section)
    assert isinstance(part, BaseModel)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(part, key, getattr(part, key))


@pytest.mark.parametrize(
    ("given", "epochs", "steps"),
    [
        ({}, 20, None),
        ({"epochs": 3}, 3, None),
        ({"steps": 7}, None, 7),
        ({"steps": 7, "epochs": None}, None, 7),
        ({"steps": None}, 20, None),
        ({"steps": None, "epochs": 3}, 3, None),
    ],
)
def test_setting_steps_or_epochs_clears_the_default_of_the_other(
    given: dict[str, int | None], epochs: int | None, steps: int | None
) -> None:
    training = build(**{f"training__{key}": value for key, value in given.items()}).training
    assert (training.epochs, training.steps) == (epochs, steps)


@pytest.mark.parametrize("given", [{"epochs": 3, "steps": 7}, {"epochs": None, "steps": None}, {"epochs": None}])
def test_both_or_neither_of_epochs_and_steps_is_refused(given: dict[str, int | None]) -> None:
    assert places(**{f"training__{key}": value for key, value in given.items()}) == {"training.steps"}


def test_a_wrong_length_is_one_mistake_and_not_also_a_missing_one() -> None:
    assert places(training__epochs=0) == {"training.epochs"}
    assert places(training__steps=0) == {"training.steps"}


@pytest.mark.parametrize(("kind", "good"), [("rnn", True), ("lstm", False), ("gru", False)])
def test_only_an_rnn_chooses_its_nonlinearity(kind: str, good: bool) -> None:
    assert build(model__kind=kind, model__nonlinearity="tanh").model.nonlinearity == "tanh"
    if good:
        assert build(model__kind=kind, model__nonlinearity="relu").model.nonlinearity == "relu"
    else:
        assert places(model__kind=kind, model__nonlinearity="relu") == {"model.nonlinearity"}


NETWORKS = {
    "hidden_size": 64,
    "num_layers": 3,
    "embedding_size": 8,
    "nonlinearity": "relu",
    "dropout": 0.5,
    "weight_dropout": 0.4,
    "locked_dropout": 0.3,
    "input_dropout": 0.1,
}
"""What only networks read, at another value than the default."""
TRAINED: dict[str, Any] = {
    "batch_size": 8,
    "sequence_length": 32,
    "carry_state": False,
    "epochs": 3,
    "steps": 100,
    "learning_rate": 0.1,
    "schedule": "plateau",
    "warmup_fraction": 0.5,
    "weight_decay": 0.0,
    "gradient_clip": None,
    "on_divergence": "rollback",
    "patience": 3,
    "evaluate_every": 7,
    "device": "cuda",
    "threads": 2,
    "precision": "bfloat16",
}
"""What only training reads, likewise."""


def test_the_settings_that_a_markov_model_does_not_read_are_all_tried_below() -> None:
    assert {"kind", "order", *NETWORKS} == set(ModelConfig.model_fields)
    assert {"seed", "evaluation_lanes", *TRAINED} == set(TrainingConfig.model_fields)
    assert all(ModelConfig.default(key) != value for key, value in NETWORKS.items())
    assert all(TrainingConfig.default(key) != value for key, value in TRAINED.items())


@pytest.mark.parametrize(("key", "value"), NETWORKS.items())
def test_a_markov_model_reads_nothing_of_a_network_s_shape(key: str, value: object) -> None:
    assert places(model__kind="markov", **{f"model__{key}": value}) == {f"model.{key}"}
    assert build(model__kind="markov", **{f"model__{key}": ModelConfig.default(key)}).model.kind == "markov"
    assert getattr(build(model__kind="rnn", **{f"model__{key}": value}).model, key) == value


def test_what_a_markov_model_does_not_read_is_refused_all_at_once() -> None:
    values: dict[str, object] = {f"model__{key}": value for key, value in NETWORKS.items()}
    assert places(model__kind="markov", **values) == {f"model.{key}" for key in NETWORKS}


@pytest.mark.parametrize("order", [0, 1, 5, 32])
def test_a_markov_model_looks_back_as_far_as_it_is_told(order: int) -> None:
    assert build(model__kind="markov", model__order=order).model.order == order
    for kind in ("rnn", "lstm", "gru"):
        if order == ModelConfig.default("order"):
            assert build(model__kind=kind, model__order=order).model.order == order
        else:
            assert places(model__kind=kind, model__order=order) == {"model.order"}


@pytest.mark.parametrize("order", NOT_AN_ORDER)
def test_no_markov_model_has_such_an_order(order: object) -> None:
    assert places(model__kind="markov", model__order=order) == {"model.order"}


@pytest.mark.parametrize(("key", "value"), TRAINED.items())
def test_counting_reads_nothing_of_training_but_seed_and_lanes(key: str, value: object) -> None:
    assert places(model__kind="markov", **{f"training__{key}": value}) == {"training"}
    with pytest.raises(ConfigError, match=rf"leave (\w+, )*{key} at the default"):
        build(model__kind="markov", **{f"training__{key}": value})
    default = TrainingConfig.default(key)
    if key != "steps":  # which is either set or the epochs are
        assert build(model__kind="markov", **{f"training__{key}": default}).training == TrainingConfig()


def test_counting_may_have_a_seed_and_lanes_and_is_done_on_the_cpu() -> None:
    given = build(model__kind="markov", training__seed=7, training__evaluation_lanes=3, training__device="cpu")
    assert given.training == TrainingConfig(seed=7, evaluation_lanes=3, device="cpu")
    with pytest.raises(ConfigError, match="leave batch_size, patience at the default"):
        build(model__kind="markov", training__seed=7, training__patience=3, training__batch_size=1)


@pytest.mark.parametrize(("key", "value"), [("encoding", "cp1252"), ("normalization", "NFC"), ("minimum_count", 2)])
def test_bytes_are_read_as_they_are(key: str, value: object) -> None:
    default = getattr(build().data, key)
    assert places(data__unit="byte", **{f"data__{key}": value}) == {f"data.{key}"}
    assert build(data__unit="byte", **{f"data__{key}": default}).data.unit == "byte"
    assert getattr(build(data__unit="character", **{f"data__{key}": value}).data, key) == value


def test_what_bytes_do_not_read_is_refused_all_at_once() -> None:
    named = places(data__unit="byte", data__encoding="cp1252", data__normalization="NFC", data__minimum_count=2)
    assert named == {"data.encoding", "data.normalization", "data.minimum_count"}


def test_a_wrong_kind_or_unit_does_not_bring_mistakes_of_its_dependents() -> None:
    assert places(model__kind="LSTM", model__nonlinearity="relu") == {"model.kind"}
    assert places(model__kind="Markov", model__order=3, model__dropout=0.5) == {"model.kind"}
    assert places(model__kind="Markov", training__epochs=3) == {"model.kind"}
    assert places(model__kind="markov", training__epochs=0) == {"training.epochs"}
    assert places(data__unit="word", data__normalization="NFC") == {"data.unit"}


@pytest.mark.parametrize(
    ("validation", "test", "good"),
    [(0.1, 0.89, True), (0.5, 0.49, True), (0.5, 0.5, False), (0.75, 0.25, False), (0.9, 0.2, False)],
)
def test_the_fractions_leave_text_to_train_on(validation: float, test: float, good: bool) -> None:
    if good:
        assert build(data__validation_fraction=validation, data__test_fraction=test).data.test_fraction == test
    else:
        assert places(data__validation_fraction=validation, data__test_fraction=test) == {"data.test_fraction"}


def test_the_default_test_fraction_is_no_mistake_beside_a_wrong_validation_fraction() -> None:
    assert places(data__validation_fraction=1.5) == {"data.validation_fraction"}


def test_equal_settings_are_equal_and_hash_alike() -> None:
    assert build(model__hidden_size=9) == build(model__hidden_size=9) != build(model__hidden_size=8)
    assert hash(build(data__path=["a", "b"])) == hash(build(data__path=["a", "b"]))


def test_the_json_schema_knows_every_setting_and_takes_one_path_or_a_list() -> None:
    schema = Config.model_json_schema()
    sections = {name: schema["$defs"][part["$ref"].rpartition("/")[2]] for name, part in schema["properties"].items()}
    assert {f"{name}.{key}" for name, part in sections.items() for key in part["properties"]} == set(KEYS)
    for dotted, field in KEYS.items():
        section, key = dotted.split(".")
        assert sections[section]["properties"][key]["description"] == field.description
    assert schema["required"] == ["data"]
    assert sections["data"]["required"] == ["path"]
    assert not any(part["additionalProperties"] for part in (schema, *sections.values()))
    forms = sections["data"]["properties"]["path"]["anyOf"]
    assert {"type": "string"} in forms
    assert {"type": "array", "items": {"type": "string"}} in forms
