"""What a caller in Python is told: which argument is wrong, why, and what to do; no option of the command line."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import charlm
from charlm.errors import CharlmError, CheckpointError, ConfigError, TextError, UnknownCharactersError
from charlm.inspection.trace import layers_of
from charlm.library import Run, load, train
from charlm.model import Model
from tests.conftest import make_config

TEXT = "the fox said hello to the hen and the hen said hello to the fox.\n" * 4


@pytest.fixture(scope="module")
def model(trained: dict[str, Path]) -> Model:
    return load(trained["gru"])


@pytest.fixture(scope="module")
def markov(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("markov")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    config = {"data": {"path": str(folder / "text.txt")}, "model": {"kind": "markov", "order": 2}}
    return train(config=charlm.Config.model_validate(config | {"run": {"directory": str(folder / "runs")}})).model()


OF_A_MODEL: dict[str, tuple[Callable[[Model], object], type[CharlmError], str]] = {
    "a temperature below 0": (
        lambda model: model.generate(temperature=-1),
        ConfigError,
        r"temperature: must be 0 \(argmax\) or a positive number, got -1\.",
    ),
    "a temperature that is not a number": (
        lambda model: model.stream(temperature=float("nan")),
        ConfigError,
        r"temperature: must be 0 \(argmax\) or a positive number, got nan\.",
    ),
    "a top_k of 0": (lambda model: model.generate(top_k=0), ConfigError, r"top_k: must be at least 1, got 0\."),
    "a top_k past the vocabulary": (
        lambda model: model.generate(top_k=1000),
        ConfigError,
        r"top_k: must be at most \d+, the size of the model's vocabulary, got 1000\.",
    ),
    "a top_p above 1": (
        lambda model: model.generate(top_p=1.5),
        ConfigError,
        r"top_p: must be above 0 and at most 1, got 1\.5\.",
    ),
    "a negative length": (lambda model: model.generate(length=-1), ConfigError, r"length: must be 0 or more, got -1\."),
    "a negative seed": (lambda model: model.generate(seed=-1), ConfigError, r"seed: must be 0 or more, got -1\."),
    "a negative count": (
        lambda model: model.next_characters("", -1),
        ConfigError,
        r"count: must be 0 or more, got -1\.",
    ),
    "an unknown character in the prompt": (
        lambda model: model.generate("☃"),
        UnknownCharactersError,
        r"1 character is not in the model's vocabulary of \d+ symbols: '☃' \(U\+2603\) at position 0\. Replace .*",
    ),
    "two of them in a scored text": (
        lambda model: model.score("☃♛"),
        UnknownCharactersError,
        r"text: 2 characters are not in the model's vocabulary .* Replace or remove them, .*, set skip_unknown\.",
    ),
    "nothing but unknown characters to score": (
        lambda model: model.score("☃♛", skip_unknown=True),
        TextError,
        r"text: nothing is left of the text without the characters that .* lacks: '☃' \(U\+2603\) at position 0, .*",
    ),
    "an unknown signal": (
        lambda model: model.trace("the", ["forget"]),
        ConfigError,
        r"signals: forget is not a signal of this gru, which has hidden, reset, update, candidate\.",
    ),
    "an unknown layer": (
        lambda model: model.trace("the", layers=[7]),
        ConfigError,
        r"layers: 7: this model has layers 0 to 1\.",
    ),
    "an empty text to trace": (
        lambda model: model.trace(""),
        TextError,
        r"text: must not be empty\. Give at least one character\.",
    ),
    "an empty text to score": (
        lambda model: model.score(""),
        TextError,
        r"text: the text is empty\. Give at least one character\.",
    ),
    "one character to score": (
        lambda model: model.score("t"),
        TextError,
        r"text: one character leaves nothing to predict; scoring needs two or more\.",
    ),
}


@pytest.mark.parametrize("mistake", OF_A_MODEL)
def test_a_model_says_what_is_wrong_with_an_argument(mistake: str, model: Model) -> None:
    call, kind, words = OF_A_MODEL[mistake]

    with pytest.raises(kind) as caught:
        call(model)

    assert re.fullmatch(words, str(caught.value))


def test_a_markov_model_has_nothing_to_trace(markov: Model) -> None:
    with pytest.raises(ConfigError, match=r"^a Markov model has no hidden units .* Name an rnn, lstm or gru\.$"):
        markov.trace("the")


def test_a_model_of_one_layer_has_layer_0() -> None:
    assert layers_of(1) == "this model has one layer, 0"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tale", r"tale: no such checkpoint file, run folder or run in {}/\. There are no runs there\."),
        (None, r"there is no latest run in {}/\. There are no runs there\. Train one, or name a checkpoint\."),
    ],
)
def test_a_run_that_is_not_there_is_named(name: str | None, words: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        load(name, tmp_path)

    assert re.fullmatch(words.format(re.escape(str(tmp_path))), str(caught.value))


def test_training_needs_a_text_or_a_config() -> None:
    with pytest.raises(ConfigError) as caught:
        train()

    assert str(caught.value) == (
        "there is nothing to train on. Give the path of a text or a config, or resume=True to continue a run."
    )


@pytest.mark.parametrize("name", ["latest", "a/b", ".hidden", "-x", ""])
def test_a_name_that_no_run_can_have_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        train("text.txt", name=name)

    assert "run.name: expected a folder name" in str(caught.value)
    assert str(caught.value).endswith(f", got {name!r}")


def test_a_text_that_is_not_there_is_named(tmp_path: Path) -> None:
    config = make_config(tmp_path / "gone.txt", tmp_path / "runs")

    with pytest.raises(
        TextError, match=r"gone\.txt: no such file\. Relative paths are resolved against the working directory\.$"
    ):
        train(config=config)


def test_a_folder_that_is_not_a_run_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        _ = Run(tmp_path).evaluations

    assert str(caught.value) == f"{tmp_path}: not a run's folder: it contains no config.yaml. Name a run's folder."
