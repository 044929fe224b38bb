"""A new run that begins with another model's weights: what is kept, what is new, and how little that changes."""

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

import charlm as package
from charlm.checkpoint.checkpoint import Checkpoint, Progress
from charlm.checkpoint.corpus_identity import CorpusIdentity
from charlm.cli.app import app
from charlm.config.reading import read_config
from charlm.config.settings import Config, ModelConfig
from charlm.models.recurrent import RecurrentModel, tensor_shapes
from charlm.runs.lookup import BEST, full_checkpoints
from charlm.runs.metrics import METRICS
from charlm.text.corpus import Corpus
from charlm.text.vocabulary import UNKNOWN, Vocabulary
from charlm.training.fine_tuning import widened
from charlm.training.start import fine_tune
from charlm.training.trainer import Trainer
from tests.conftest import TEXT, make_config
from tests.harness.interruptions import Project, Settings, differences, interrupted_at, untouched
from tests.harness.texts import texts

pytestmark = pytest.mark.slow

OTHER_TEXT = 'Le café "Weiß" → 가.\nThe boats lay still.\n' * 20
NEW = sorted(set(OTHER_TEXT) - set(TEXT))
SOURCE: dict[str, object] = {
    "model.kind": "gru",
    "model.hidden_size": 16,
    "training.learning_rate": 0.02,
    "training.steps": 60,
    "training.evaluate_every": 30,
}
"""Long enough to learn which letters are likely."""
TUNED = SOURCE | {"data.path": "other.txt", "training.steps": 9, "training.evaluate_every": 4}
UNTRAINED = {"training.steps": 1, "training.learning_rate": 1e-30}
"""One step, and too small a one to change any weight that is not zero."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = Project(tmp_path_factory.mktemp("source"))
    project.finished("source", SOURCE)
    return project.runs


@pytest.fixture
def project(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A trained run called source, and another text."""
    monkeypatch.chdir(tmp_path)
    Path("other.txt").write_text(OTHER_TEXT, encoding="utf-8", newline="")
    shutil.copytree(source, "runs")
    return Project(tmp_path)


def charlm(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def best_of(project: Project, name: str) -> Checkpoint:
    return Checkpoint.load(project.runs / name / BEST)


def checkpoint_of(vocabulary: Vocabulary, **model: object) -> Checkpoint:
    """Return a model of random weights over a vocabulary."""
    config = make_config(Path("text.txt"), Path("runs"), model=model)
    random = np.random.default_rng(7)
    shapes = tensor_shapes(config.model, len(vocabulary))
    tensors = {f"model.{name}": random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return Checkpoint(config, vocabulary, Progress(), CorpusIdentity(path=["text.txt"], sha256=""), tensors, {})


def places(of: Vocabulary, within: Vocabulary) -> list[int]:
    return [within.symbols.index(symbol) for symbol in of.symbols]


Drawn = tuple[tuple[Vocabulary, str], tuple[Vocabulary, str]]


@st.composite
def two_vocabularies(draw: st.DrawFn) -> Drawn:
    """Two vocabularies of one normalization, each with or without <unk>, and the text that each was made of."""
    form = draw(st.sampled_from([None, "NFC", "NFD"]))
    first, second = draw(texts), draw(texts)
    least = st.sampled_from([1, 2])
    return (
        (Vocabulary.of_text(first, form, draw(least)), first),
        (Vocabulary.of_text(second, form, draw(least)), second),
    )


@given(two_vocabularies())
def test_a_united_vocabulary_holds_both_in_order_with_the_special_ones_behind(drawn: Drawn) -> None:
    (first, _), (second, _) = drawn
    united = first.united(second)
    characters = [symbol for symbol in united.symbols if symbol not in united.special]

    assert set(united.symbols) == {*first.symbols, *second.symbols}
    assert characters == sorted(set(characters))
    assert list(united.symbols) == characters + list(united.special)
    assert united.special.keys() == first.special.keys() | second.special.keys()
    assert united.normalization == first.normalization
    assert not characters or Vocabulary.from_json(united.to_json()) == united


@given(two_vocabularies())
def test_it_matters_to_a_united_vocabulary_neither_which_was_first_nor_how_often(drawn: Drawn) -> None:
    (first, _), (second, _) = drawn
    united = first.united(second)

    assert second.united(first) == united
    assert first.united(first) == first
    assert united.united(first) == united.united(second) == united


@given(two_vocabularies())
def test_a_united_vocabulary_reads_both_texts_and_knows_all_that_either_knew(drawn: Drawn) -> None:
    united = drawn[0][0].united(drawn[1][0])
    for vocabulary, text in drawn:
        units = vocabulary.to_units(text)
        read = [united.symbols[index] for index in united.encode(text)]
        assert read == [chr(unit) if chr(unit) in united.symbols else UNKNOWN for unit in units]
        assert all(symbol in united.symbols for symbol in vocabulary.symbols)


def test_all_bytes_united_with_all_bytes_are_all_bytes() -> None:
    assert Vocabulary.of_bytes().united(Vocabulary.of_bytes()) == Vocabulary.of_bytes()


@pytest.mark.parametrize("unknown", ["neither", "the source", "the text", "both"])
@pytest.mark.parametrize("embedding", [None, 5])
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_shared_symbols_keep_their_rows_to_the_bit_and_new_ones_begin_at_the_mean(
    kind: str, embedding: int | None, unknown: str
) -> None:
    rare = {"neither": (1, 1), "the source": (2, 1), "the text": (1, 2), "both": (2, 2)}[unknown]
    source = Vocabulary.of_text("ddbbffq", None, rare[0])
    united = source.united(Vocabulary.of_text("aaccbbeez", None, rare[1]))
    checkpoint = checkpoint_of(source, kind=kind, embedding_size=embedding, num_layers=3)
    before = {name: value.copy() for name, value in checkpoint.part("model").items()}
    by_symbol = {"head.weight": 0, "head.bias": 0}
    by_symbol |= {"embedding.weight": 0} if embedding else {"rnn.weight_ih_l0": 1}

    wide = widened(checkpoint, united)

    new = [united.symbols.index(symbol) for symbol in united.symbols if symbol not in source.symbols]
    assert len(new) > 0
    assert {name: value.shape for name, value in wide.items()} == tensor_shapes(checkpoint.config.model, len(united))
    for name, expected in before.items():
        np.testing.assert_array_equal(checkpoint.part("model")[name], expected, err_msg=name)
        if name not in by_symbol:
            np.testing.assert_array_equal(wide[name], expected, err_msg=name)
            continue
        found, rows = np.moveaxis(wide[name], by_symbol[name], 0), np.moveaxis(expected, by_symbol[name], 0)
        np.testing.assert_array_equal(found[places(source, united)], rows, err_msg=name)
        mean = rows.astype(np.float64).mean(axis=0)
        for place in new:
            np.testing.assert_allclose(found[place], mean, rtol=1e-5, atol=1e-6, err_msg=name)
        assert found.dtype == np.float32


def predictions(model: RecurrentModel, vocabulary: Vocabulary, text: str) -> tuple[NDArray[np.float64], ...]:
    """Return the logits (T, V) after each character of a text, and their probabilities."""
    logits, _ = model.read(vocabulary.encode(text)[None], model.start(1))
    exact = logits[0].astype(np.float64)
    powers = np.exp(exact - exact.max(axis=1, keepdims=True))
    return exact, powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("new", [1, 6, 400])
@pytest.mark.parametrize("embedding", [None, 5])
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_new_symbols_take_as_much_probability_as_theory_says(kind: str, embedding: int | None, new: int) -> None:
    """A new symbol's logit is the mean of the V known ones, so that each new one has their geometric mean's share.

    That is at most the share of an average one: with n new symbols, the known ones keep V / (V + n) or more, and
    among each other they stand as they stood.
    """
    text = "The fox said, and the boats lay still"
    source = Vocabulary.of_text(text)
    united = source.united(Vocabulary.of_text("".join(map(chr, range(0xAC00, 0xAC00 + new)))))
    checkpoint = checkpoint_of(source, kind=kind, embedding_size=embedding)
    wide = RecurrentModel(checkpoint.config.model, len(united), widened(checkpoint, united))
    old = places(source, united)
    more = [place for place in range(len(united)) if place not in old]

    logits, before = predictions(checkpoint.model(), source, text)
    wide_logits, after = predictions(wide, united, text)

    np.testing.assert_allclose(wide_logits[:, old], logits, atol=1e-4)
    mean = logits.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(wide_logits[:, more], np.broadcast_to(mean, (len(text), new)), atol=1e-4)
    kept = 1 / (1 + new * np.exp(np.log(before).mean(axis=1)))  # the geometric mean of the V probabilities
    np.testing.assert_allclose(after[:, old].sum(axis=1), kept, rtol=1e-4)
    np.testing.assert_allclose(after[:, old] / kept[:, None], before, rtol=1e-3, atol=1e-7)
    assert (kept >= len(source) / (len(source) + new)).all()


def test_a_trained_model_loses_little_on_its_own_text_to_six_new_characters(project: Project) -> None:
    """Less than half of what theory allows: log₂(1 + n / V) bits a character. Most known symbols are unlikely too."""
    source = best_of(project, "source")
    united = source.vocabulary.united(Vocabulary.of_text(OTHER_TEXT))
    wide = RecurrentModel(source.config.model, len(united), widened(source, united))

    def bits(model: RecurrentModel, vocabulary: Vocabulary) -> float:
        _, probabilities = predictions(model, vocabulary, TEXT)
        targets = vocabulary.encode(TEXT)[1:]
        return float(-np.log2(probabilities[np.arange(len(targets)), targets]).mean())

    more = bits(wide, united) - bits(source.model(), source.vocabulary)
    assert len(NEW) == 6
    assert 0 < more < math.log2(1 + len(NEW) / len(source.vocabulary)) / 2


def tuned_from(project: Project, text: str, **model: object) -> tuple[Trainer, list[str]]:
    """Return a trainer that is about to tune the source to a text, and what was told."""
    source = best_of(project, "source")
    data = source.config.data.model_copy(update={"path": (text,)})
    told: list[str] = []
    config = source.config.model_copy(update={"data": data, "model": source.config.model.model_copy(update=model)})
    return fine_tune(source, config, told.append), told


def test_on_the_same_text_it_begins_with_the_loss_that_the_source_came_to(project: Project) -> None:
    trainer, _ = tuned_from(project, str(project.text))
    checkpoint = best_of(project, "source")

    assert trainer.evaluate() == pytest.approx(checkpoint.progress.validation_loss, abs=1e-6)
    for name, expected in checkpoint.part("model").items():
        np.testing.assert_array_equal(trainer.network.tensors()[name], expected, err_msg=name)


def test_on_the_same_text_the_command_too_begins_where_the_source_ended(project: Project) -> None:
    result = project.train("again", SOURCE | UNTRAINED, "--init-from", "source")
    first = json.loads((project.runs / "again" / METRICS).read_text("utf-8").splitlines()[0])

    assert result.exit_code == 0, result.output
    assert first["validation_loss"] == pytest.approx(best_of(project, "source").progress.validation_loss, abs=1e-6)


def test_on_another_text_it_begins_far_ahead_of_a_model_that_knows_nothing(project: Project) -> None:
    trainer, _ = tuned_from(project, "other.txt")
    scratch = Trainer(trainer.config, trainer.corpus)

    assert trainer.evaluate() < scratch.evaluate() - 0.3


def test_the_plan_counts_symbols_and_names_the_new_ones(project: Project) -> None:
    result = project.train("tuned", TUNED, "--init-from", "source")
    kept, unused = len(set(TEXT)), len(set(TEXT) - set(OTHER_TEXT))

    assert result.exit_code == 0, result.output
    assert (
        f"{kept} symbols keep their weights, {unused} of which do not occur in this text; "
        f"{len(NEW)} are new and start at the mean of the others: {' '.join(map(repr, NEW))}\n"
    ) in result.stderr


def test_the_plan_of_the_same_text_has_nothing_new(project: Project) -> None:
    _, told = tuned_from(project, str(project.text))

    assert told == [
        f"{len(set(TEXT))} symbols keep their weights, 0 of which do not occur in this text; "
        "0 are new and start at the mean of the others"
    ]


def test_of_many_new_characters_the_first_twenty_are_named(project: Project) -> None:
    many = "".join(map(chr, range(0xAC00, 0xAC00 + 21)))
    Path("other.txt").write_text(TEXT + many, encoding="utf-8", newline="")
    _, told = tuned_from(project, "other.txt")

    assert told[0].endswith(f"21 are new and start at the mean of the others: {' '.join(map(repr, many[:20]))} …")


@pytest.mark.parametrize("name", ["source", "runs/source", f"runs/source/{BEST}"])
def test_a_run_its_folder_and_its_best_checkpoint_are_the_same_source(name: str, project: Project) -> None:
    left = project.finished("tuned", TUNED | UNTRAINED, "--init-from", name)
    united = project.newest("tuned").vocabulary
    expected = widened(best_of(project, "source"), united)

    assert united == best_of(project, "source").vocabulary.united(Vocabulary.of_text(OTHER_TEXT))
    assert left["last: config"]["data"]["path"] == ["other.txt"]
    for tensor, values in project.newest("tuned").part("model").items():
        np.testing.assert_allclose(values, expected[tensor], rtol=0, atol=1e-25, err_msg=tensor)


def test_a_full_checkpoint_gives_its_weights_alone(project: Project) -> None:
    full = full_checkpoints(project.runs / "source")[0]
    project.finished("tuned", TUNED | UNTRAINED, "--init-from", str(full))
    expected = widened(Checkpoint.load(full), project.newest("tuned").vocabulary)

    assert Checkpoint.load(full).progress.step == 30
    for tensor, values in project.newest("tuned").part("model").items():
        np.testing.assert_allclose(values, expected[tensor], rtol=0, atol=1e-25, err_msg=tensor)


def test_progress_begins_at_0(project: Project) -> None:
    project.finished("tuned", TUNED, "--init-from", "source")
    lines = [json.loads(line) for line in (project.runs / "tuned" / METRICS).read_text("utf-8").splitlines()]
    progress = project.newest("tuned").progress

    assert [line["step"] for line in lines] == [4, 8, 9]
    assert lines[0]["characters"] == 4 * 3 * 11
    assert progress.step == 9
    assert progress.characters == 9 * 3 * 11
    assert progress.rate_factor == 1.0
    assert {int(project.newest("tuned").tensors["optimizer.head.bias.step"])} == {9}
    assert sorted(path.name for path in project.runs.iterdir()) == ["latest", "source", "tuned"]


def test_the_source_stays_as_it_is_even_where_the_new_run_would_have_its_name(project: Project) -> None:
    before = untouched(project.runs / "source")
    result = project.train("source", TUNED, "--init-from", "source")

    assert result.exit_code == 0, result.output
    assert untouched(project.runs / "source") == before
    assert project.newest("source-2").progress.step == 9


OTHERS: dict[str, dict[str, object]] = {
    "model.kind": {"model.kind": "lstm"},
    "model.hidden_size": {"model.hidden_size": 17},
    "model.num_layers": {"model.num_layers": 1},
    "model.embedding_size": {"model.embedding_size": 4},
    "data.unit": {"data.unit": "byte"},
    "data.normalization": {"data.normalization": "NFD"},
}


@pytest.mark.parametrize("key", OTHERS)
def test_weights_that_do_not_fit_are_refused_with_what_differs(key: str, project: Project) -> None:
    before = untouched(project.folder)
    result = project.train("tuned", TUNED | OTHERS[key], "--init-from", "source")
    (value,) = OTHERS[key].values()

    assert result.exit_code == 4
    assert result.stdout == ""
    assert re.findall(r"^  (\S+) +\S+ → (\S+)$", result.stderr, re.MULTILINE) == [(key, str(value))]
    assert untouched(project.folder) == before


def test_an_rnn_that_squashes_otherwise_cannot_take_the_weights(project: Project) -> None:
    project.finished("tanh", SOURCE | {"model.kind": "rnn"})
    other = TUNED | {"model.kind": "rnn", "model.nonlinearity": "relu", "model.num_layers": 3}
    result = project.train("tuned", other, "--init-from", "tanh")

    assert result.exit_code == 4
    assert re.findall(r"^  (\S+) +(\S+) → (\S+)$", result.stderr, re.MULTILINE) == [
        ("model.num_layers", "2", "3"),
        ("model.nonlinearity", "tanh", "relu"),
    ]


def test_all_that_is_not_in_the_weights_may_be_another(project: Project) -> None:
    other = {"model.dropout": 0.2, "training.batch_size": 2, "training.seed": 9, "training.schedule": "constant"}
    other |= {"data.minimum_count": 2, "data.validation_fraction": 0.3, "training.sequence_length": 7}

    assert project.train("tuned", TUNED | other, "--init-from", "source").exit_code == 0


@pytest.mark.parametrize("name", ["nowhere", "runs/nowhere", "runs/source/step-00000007.safetensors", "runs", ""])
def test_a_missing_source_is_refused_and_nothing_is_made(name: str, project: Project) -> None:
    before = untouched(project.folder)
    result = project.train("tuned", TUNED, "--init-from", name)

    assert result.exit_code == 4
    assert result.stdout == ""
    assert untouched(project.folder) == before


def test_a_damaged_source_is_refused_and_nothing_is_made(project: Project) -> None:
    best = project.runs / "source" / BEST
    best.write_bytes(best.read_bytes()[:-1])
    before = untouched(project.folder)
    result = project.train("tuned", TUNED, "--init-from", "source")

    assert result.exit_code == 4
    assert untouched(project.folder) == before


def test_a_dry_run_prints_the_plan_and_makes_nothing(project: Project) -> None:
    before = untouched(project.folder)
    result = project.train("tuned", TUNED, "--init-from", "source", "--dry-run")

    assert result.exit_code == 0
    assert f"{len(NEW)} are new" in result.stderr
    assert re.search(rf"^ +vocabulary +{len(set(TEXT) | set(OTHER_TEXT))} symbols *$", result.stdout, re.MULTILINE)
    assert untouched(project.folder) == before


def remove_source(project: Project) -> None:
    for path in (project.runs / "source").iterdir():
        path.unlink()


@pytest.mark.parametrize("options", [(), ("--init-from", "source")], ids=["with the run alone", "as it was begun"])
@pytest.mark.parametrize("after", [lambda project: None, remove_source], ids=["source there", "source gone"])
def test_a_tuned_run_goes_on_exactly(
    after: Callable[[Project], None], options: tuple[str, ...], project: Project
) -> None:
    changes = TUNED | {"model.dropout": 0.3}
    expected = project.finished("whole", changes, "--init-from", "source")
    project.interrupted("tuned", changes, 6, "asked to stop", "--init-from", "source")
    after(project)
    found = project.finished("tuned", changes, "--resume", *options)

    assert differences(expected, found) == []


@pytest.mark.parametrize("moment", ["killed after the step", "killed after the metrics line", "killed after the best"])
def test_a_tuned_run_killed_before_its_first_save_begins_with_the_source_again(moment: str, project: Project) -> None:
    expected = project.finished("whole", TUNED, "--init-from", "source")
    project.interrupted("tuned", TUNED, 4, moment, "--resume", "--init-from", "source")
    found = project.finished("tuned", TUNED, "--resume", "--init-from", "source")

    assert differences(expected, found) == []


def test_a_tuned_run_killed_before_its_first_save_never_begins_from_nothing_unnoticed(project: Project) -> None:
    expected = project.finished("whole", TUNED, "--init-from", "source")
    project.interrupted("tuned", TUNED, 2, "killed after the step", "--init-from", "source")
    result = project.train("tuned", TUNED, "--resume")

    assert result.exit_code != 0 or differences(expected, project.snapshot("tuned")) == []


def test_a_tuned_run_is_not_tuned_again_when_it_is_resumed(project: Project) -> None:
    project.finished("tuned", TUNED, "--init-from", "source")
    before = untouched(project.folder, "*.safetensors")
    result = project.train("tuned", TUNED, "--resume", "--init-from", "source")

    assert (result.exit_code, result.stderr) == (0, "")
    assert untouched(project.folder, "*.safetensors") == before


def test_a_tuned_model_writes_and_reads_old_and_new_characters(project: Project) -> None:
    project.finished("tuned", TUNED, "--init-from", "source")
    old, new = 'Nobody laughed; 3 boats\t("', "".join(NEW)
    sampled = charlm("sample", "--checkpoint", "tuned", "--prompt", old + new, "--length", "200", "--seed", "3")

    assert sampled.exit_code == 0, sampled.stderr
    assert sampled.stdout.startswith(old + new)
    assert len(sampled.stdout) == len(old + new) + 200
    assert set(sampled.stdout) <= set(TEXT) | set(OTHER_TEXT)


def test_a_tuned_model_is_scored_on_its_own_text_as_training_scored_it(project: Project) -> None:
    project.finished("tuned", TUNED, "--init-from", "source")
    scored = charlm("evaluate", "--checkpoint", "tuned", "--split", "validation", "--json")
    expected = best_of(project, "tuned").progress.validation_loss

    assert scored.exit_code == 0, scored.stderr
    assert json.loads(scored.stdout)["nats_per_character"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("form", ["NFC", "NFD", None])
def test_a_text_in_jamo_is_tuned_to_in_jamo(form: str | None, project: Project) -> None:
    """The new symbols are those of the normalized text: NFD takes 가 apart, and é too."""
    normalized: Settings = {"data.normalization": form}
    project.finished("spelled", SOURCE | normalized)
    project.finished("tuned", {**TUNED, **normalized}, "--init-from", "spelled")
    new = set(project.newest("tuned").vocabulary.symbols) - set(TEXT)

    assert "e" in TEXT
    assert new == (set(NEW) - set("é가") | set("\u0301\u1100\u1161") if form == "NFD" else set(NEW))


def test_bytes_have_nothing_new_to_learn(project: Project) -> None:
    by_byte: Settings = {"data.unit": "byte"}
    project.finished("bytes", SOURCE | by_byte)
    result = project.train("tuned", {**TUNED, **by_byte}, "--init-from", "bytes")

    assert result.exit_code == 0, result.output
    assert "256 symbols keep their weights" in result.stderr
    assert "0 are new" in result.stderr
    assert project.newest("tuned").vocabulary == Vocabulary.of_bytes()


@pytest.mark.parametrize(("rare_before", "rare_now"), [(20, 1), (1, 2), (20, 2)])
def test_what_was_unknown_on_either_side_stays_readable(rare_before: int, rare_now: int, project: Project) -> None:
    Path("other.txt").write_text(OTHER_TEXT + "Ω", encoding="utf-8", newline="")
    project.finished("rare", SOURCE | {"data.minimum_count": rare_before})
    project.finished("tuned", TUNED | {"data.minimum_count": rare_now}, "--init-from", "rare")
    vocabulary = project.newest("tuned").vocabulary

    assert vocabulary.symbols[-1] == UNKNOWN
    assert vocabulary.special == {UNKNOWN: len(vocabulary) - 1}
    assert ("Ω" in vocabulary.symbols) == (rare_now == 1)
    assert set(OTHER_TEXT) < set(vocabulary.symbols)
    read = Corpus.read(project.newest("tuned").config.data, vocabulary).ids[-1]
    assert vocabulary.symbols[read] == ("Ω" if rare_now == 1 else UNKNOWN)
    assert charlm("sample", "-c", "tuned", "--prompt", "Nobody", "--length", "9", "--seed", "1").exit_code == 0


# The architecture of the source

PLAIN = "data: {path: other.txt}\ntraining: {steps: 9, evaluate_every: 4, batch_size: 3, sequence_length: 11}\n"
"""A config that says nothing of the model."""
TAKEN = "charlm: the architecture is that of the weights: "


def tune(project: Project, source: str, *options: str, model: str = "") -> Result:
    """Train the run ``tuned`` from a source, with a config that writes no more of the model than ``model``."""
    (project.folder / "plain.yaml").write_text(PLAIN + model, encoding="utf-8")
    return charlm("train", "--config", "plain.yaml", "--name", "tuned", "--init-from", source, "--device=cpu", *options)


SOURCES: dict[str, Settings] = {
    "small gru": {"model.kind": "gru", "model.hidden_size": 9, "model.num_layers": 1},
    "relu": {"model.kind": "rnn", "model.nonlinearity": "relu"},
    "embedded": {"model.embedding_size": 4, "model.num_layers": 3},
}


@pytest.mark.parametrize("name", SOURCES)
def test_what_the_config_leaves_at_defaults_is_taken_from_the_source(name: str, project: Project) -> None:
    project.finished("small", SOURCES[name])
    result = tune(project, "small")
    assert result.exit_code == 0, result.stderr
    taken, symbols, *_ = result.stderr.splitlines()
    model = best_of(project, "small").config.model
    differing = [key for key in type(model).model_fields if getattr(model, key) != type(model).default(key)]

    assert taken == TAKEN + ", ".join(f"model.{key} {getattr(model, key)}" for key in differing)
    assert "keep their weights" in symbols
    assert read_config(project.runs / "tuned/config.yaml").model == best_of(project, "tuned").config.model == model


def test_a_source_of_the_default_architecture_gives_nothing_to_tell(project: Project) -> None:
    project.finished("usual", {"model.hidden_size": 128, "training.steps": 1})
    result = tune(project, "usual", "--dry-run")

    assert (result.exit_code, TAKEN in result.stderr) == (0, False)


@pytest.mark.parametrize(
    ("model", "options", "differing"),
    [
        ("model: {hidden_size: 128}\n", (), [("model.hidden_size", "16", "128")]),
        ("model:\n  num_layers: 2\n  kind: lstm\n", (), [("model.kind", "gru", "lstm")]),
        ("", ("--set", "model.hidden_size=128"), [("model.hidden_size", "16", "128")]),
        ("", ("--set", "model={num_layers: 3}"), [("model.num_layers", "2", "3")]),
        ("", ("--set", "data.unit=byte"), [("data.unit", "character", "byte")]),
    ],
)
def test_a_written_default_counts_as_written(
    model: str, options: tuple[str, ...], differing: list[tuple[str, str, str]], project: Project
) -> None:
    before = untouched(project.runs)
    result = tune(project, "source", *options, model=model)

    assert result.exit_code == 4
    assert TAKEN not in result.stderr
    assert re.findall(r"^  (\S+) +(\S+) → (\S+)$", result.stderr, re.MULTILINE) == differing
    assert untouched(project.runs) == before


def test_what_differs_by_a_written_kind_is_refused_and_does_not_trip_over_the_rest(project: Project) -> None:
    project.finished("relu", SOURCES["relu"])
    result = tune(project, "relu", model="model: {kind: gru}\n")

    assert result.exit_code == 4
    assert re.findall(r"^  (\S+) +(\S+) → (\S+)$", result.stderr, re.MULTILINE) == [
        ("model.kind", "rnn", "gru"),
        ("model.nonlinearity", "relu", "tanh"),
    ]


def test_what_no_weight_depends_on_is_not_taken(project: Project) -> None:
    project.finished("dropping", {"model.dropout": 0.5, "training.seed": 8})
    assert tune(project, "dropping").exit_code == 0

    config = best_of(project, "tuned").config
    assert (config.model.dropout, config.training.seed) == (0.0, 1)


def test_counts_have_no_architecture_to_take(project: Project) -> None:
    Path("counts.yaml").write_text("data: {path: other.txt}\nmodel: {kind: markov}\nrun: {name: counts}\n")
    assert charlm("train", "--config", "counts.yaml").exit_code == 0
    result = tune(project, "counts")

    assert (result.exit_code, result.stderr) == (
        4,
        "charlm: this is a Markov model, which is counted and has no weights.\n",
    )


@pytest.mark.parametrize("moment", ["asked to stop", "killed after the step", "killed after the metrics line"])
def test_the_same_command_goes_on_with_what_was_taken(moment: str, project: Project) -> None:
    assert tune(project, "source").exit_code == 0
    (project.runs / "tuned").rename(project.runs / "whole")
    with interrupted_at(4, moment):
        assert tune(project, "source", "--resume", "--quiet").exit_code in (130, 143)
    resumed = tune(project, "source", "--resume")

    assert (resumed.exit_code, TAKEN in resumed.stderr) == (0, False)
    assert differences(project.snapshot("whole"), project.snapshot("tuned")) == []


def test_python_takes_the_same(project: Project) -> None:
    notes: list[str] = []
    training = {"steps": 2, "device": "cpu", "batch_size": 3, "sequence_length": 11}
    small = Config.model_validate({"data": {"path": "text.txt"}, "training": training})
    run = package.train("other.txt", config=small, name="tuned", init_from="source", on_note=notes.append)

    assert notes[0] == f"{TAKEN.removeprefix('charlm: ')}model.kind gru, model.hidden_size 16"
    assert run.model().config.model == best_of(project, "source").config.model
    with pytest.raises(package.CheckpointError, match=r"model\.kind +gru → lstm"):
        package.train(config=small.model_copy(update={"model": ModelConfig(kind="lstm")}), init_from="source")
