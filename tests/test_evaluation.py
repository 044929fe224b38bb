"""Scores are what they say: nats, bits and bytes of the predictions that were made."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from charlm import evaluation
from charlm.checkpoint.checkpoint import Checkpoint
from charlm.config.settings import ModelConfig
from charlm.evaluation import Score, evaluate, predictions
from charlm.models.language_model import LanguageModel
from charlm.models.markov import MarkovModel
from charlm.models.network import NetworkModel, RecurrentNetwork
from charlm.models.ngram_counts import counted
from charlm.models.prediction import log_softmax, surprisal
from charlm.models.recurrent import RecurrentModel
from charlm.text.batches import PADDING
from charlm.text.code_points import END_UNIT, code_points
from charlm.text.document_streams import DocumentStreams
from charlm.text.streams import Streams, evaluation_streams
from charlm.text.vocabulary import Vocabulary
from tests.conftest import TEXT

KINDS = ["rnn", "lstm", "gru"]


class Uniform:
    """A model that finds every symbol equally likely."""

    def __init__(self, symbols: int) -> None:
        self.vocabulary_size = symbols

    def start(self, batch_size: int) -> int:
        return batch_size

    def step(self, ids, state):
        raise NotImplementedError

    def read(self, ids, state):
        assert len(ids) == state
        return np.zeros((*ids.shape, self.vocabulary_size)), state


@pytest.mark.parametrize("kind", KINDS)
def test_the_score_is_torchs_cross_entropy_over_the_whole_text(kind, trained) -> None:
    checkpoint = Checkpoint.load(trained[kind] / "best.safetensors")
    ids = checkpoint.vocabulary.encode(TEXT[:600])
    network = RecurrentNetwork(checkpoint.config.model, len(checkpoint.vocabulary)).eval()
    network.load_tensors(checkpoint.part("model"))
    with torch.no_grad():
        logits, _ = network(torch.from_numpy(ids[None, :-1].astype(np.int64)))
        expected = cross_entropy(logits[0], torch.from_numpy(ids[1:].astype(np.int64))).item()

    score = evaluate(checkpoint.model(), checkpoint.vocabulary, evaluation_streams(ids, 1))

    assert score.characters == 599
    assert score.nats_per_character == pytest.approx(expected, abs=1e-5)


def test_a_uniform_model_needs_log2_v_bits_and_has_perplexity_v() -> None:
    vocabulary = Vocabulary.of_text("abcdefgh")
    score = evaluate(Uniform(8), vocabulary, evaluation_streams(vocabulary.encode("hgfedcba"), 1))

    assert score.characters == 7
    assert score.bits_per_character == pytest.approx(3)
    assert score.perplexity == pytest.approx(8)
    assert score.nats_per_character == pytest.approx(3 * math.log(2))


def test_bits_a_byte_divide_by_the_utf8_of_what_was_predicted() -> None:
    vocabulary = Vocabulary.of_text("가나ab")
    score = evaluate(Uniform(4), vocabulary, evaluation_streams(vocabulary.encode("가ab나가"), 1))

    assert score.utf8_bytes == 1 + 1 + 3 + 3  # the first character is given, not predicted
    assert score.bits_per_byte == pytest.approx(4 * 2 / 8)


def test_a_byte_models_characters_are_bytes() -> None:
    vocabulary = Vocabulary.of_bytes()
    score = evaluate(Uniform(256), vocabulary, evaluation_streams(vocabulary.encode("가나"), 1))

    assert (score.characters, score.utf8_bytes) == (5, 5)
    assert score.bits_per_byte == score.bits_per_character == pytest.approx(8)


def test_bytes_of_unknown_characters_are_not_made_up() -> None:
    vocabulary = Vocabulary.of_text("aabbc", minimum_count=2)

    strange = evaluate(Uniform(3), vocabulary, evaluation_streams(vocabulary.encode("abcaxc"), 1))
    known = evaluate(Uniform(3), vocabulary, evaluation_streams(vocabulary.encode("abba"), 1))
    given = evaluate(Uniform(3), vocabulary, evaluation_streams(vocabulary.encode("xbba"), 1))

    assert (strange.utf8_bytes, strange.bits_per_byte, strange.unknown) == (None, None, 3)
    assert (known.utf8_bytes, known.unknown) == (3, 0)
    assert (given.utf8_bytes, given.unknown) == (3, 0)  # the first character is given, not predicted


@pytest.mark.parametrize("kind", KINDS)
def test_each_lane_starts_fresh_and_carries_its_state(kind, trained) -> None:
    checkpoint = Checkpoint.load(trained[kind] / "best.safetensors")
    model, vocabulary = checkpoint.model(), checkpoint.vocabulary
    ids = vocabulary.encode(TEXT[:181])

    lanes = evaluate(model, vocabulary, Streams(ids, lanes=4, window=7))
    alone = [evaluate(model, vocabulary, evaluation_streams(ids[start : start + 46], 1)) for start in (0, 45, 90, 135)]

    assert lanes.characters == 180
    assert lanes.nats == pytest.approx(sum(score.nats for score in alone), rel=1e-5)


def test_surprise_is_minus_the_log_of_softmax() -> None:
    logits = np.random.default_rng(1).normal(size=(2, 3, 5)) * 40
    targets = np.array([[0, 4, 2], [1, 1, 3]])

    expected = cross_entropy(
        torch.from_numpy(logits).flatten(0, 1), torch.from_numpy(targets).flatten(), reduction="none"
    )

    np.testing.assert_allclose(surprisal(log_softmax(logits), targets).ravel(), expected.numpy(), rtol=1e-9)


# Accuracy


@pytest.mark.parametrize("kind", KINDS)
def test_accuracy_is_how_often_torchs_likeliest_symbol_came(kind, trained) -> None:
    checkpoint = Checkpoint.load(trained[kind] / "best.safetensors")
    ids = checkpoint.vocabulary.encode(TEXT[:600])
    network = RecurrentNetwork(checkpoint.config.model, len(checkpoint.vocabulary)).eval()
    network.load_tensors(checkpoint.part("model"))
    with torch.no_grad():
        logits, _ = network(torch.from_numpy(ids[None, :-1].astype(np.int64)))
    correct = int((logits[0].argmax(-1) == torch.from_numpy(ids[1:].astype(np.int64))).sum())

    score = evaluate(checkpoint.model(), checkpoint.vocabulary, evaluation_streams(ids, 1))

    assert 0 < correct < 599
    assert (score.correct, score.accuracy) == (correct, correct / 599)


class Repeating(Uniform):
    """A model that guesses the symbol it has just read."""

    def read(self, ids, state):
        return 5.0 * np.eye(self.vocabulary_size)[ids], state


def test_a_model_that_guesses_the_last_symbol_is_right_where_one_stands_twice() -> None:
    vocabulary = Vocabulary.of_text("abcd")
    score = evaluate(Repeating(4), vocabulary, evaluation_streams(vocabulary.encode("aabbbcda"), 1))

    assert (score.characters, score.correct) == (7, 3)
    assert score.accuracy == pytest.approx(3 / 7)


# Separate items

H, LETTERS = 5, "abcdefg"
ITEMS = st.lists(st.text(LETTERS, max_size=9), min_size=1, max_size=7)
MODELS = ["rnn", "lstm", "gru", "torch", "markov"]


def vocabulary_of_items() -> Vocabulary:
    return Vocabulary.of_code_points(np.bincount(code_points(LETTERS + chr(END_UNIT))))


VOCABULARY = vocabulary_of_items()
END = len(LETTERS)


def ids_of(items: list[str]) -> np.ndarray:
    return VOCABULARY.encode_units(code_points("".join(chr(END_UNIT) + item for item in [*items, ""])))


def network_of(kind: str) -> RecurrentNetwork:
    config = ModelConfig.model_validate({"kind": kind, "hidden_size": H, "num_layers": 2})
    network = RecurrentNetwork(config, len(VOCABULARY))
    generator = torch.Generator().manual_seed(8)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=1.0, generator=generator)
    return network


def model_of(kind: str, end: int | None = END) -> LanguageModel:
    """Return a model whose guesses depend strongly on all it has read; ``end`` None: and on the items before."""
    if kind == "markov":
        return MarkovModel(list(counted(ids_of(["abcab", "abd", "gab"] * 3), 4, len(VOCABULARY), END)), len(VOCABULARY))
    if kind == "torch":
        return NetworkModel(network_of("lstm"), torch.device("cpu"), end)
    network = network_of(kind)
    return RecurrentModel(network.config, len(VOCABULARY), network.tensors(), end)


def alone(kind: str, items: list[str]) -> list[Score]:
    """Score each item by itself, in one window, with a model that knows of no ends."""
    model = model_of(kind, end=None)
    return [evaluate(model, VOCABULARY, Streams(ids_of([item]), 1, 10**6)) for item in items]


def assert_the_sum(found: Score, parts: list[Score]) -> None:
    assert found.nats == pytest.approx(sum(part.nats for part in parts), rel=1e-5)
    assert found.characters == sum(part.characters for part in parts)
    assert found.correct == sum(part.correct for part in parts)
    assert found.utf8_bytes == sum(part.utf8_bytes or 0 for part in parts)
    assert found.unknown == 0


@pytest.mark.parametrize("kind", MODELS)
@given(ITEMS, st.integers(1, 9), st.integers(1, 6))
@settings(max_examples=25)
def test_items_are_scored_as_each_is_by_itself_whatever_the_lanes(kind, items, lanes, window) -> None:
    parts, model = alone(kind, items), model_of(kind)

    assert_the_sum(evaluate(model, VOCABULARY, evaluation_streams(ids_of(items), lanes, END)), parts)
    for seed in (None, 3):
        streams = DocumentStreams(ids_of(items), END, min(lanes, len(items)), window, shuffled_by=seed)
        assert_the_sum(evaluate(model, VOCABULARY, streams), parts)


@pytest.mark.parametrize("kind", MODELS)
def test_an_item_longer_than_a_window_is_scored_whole(kind) -> None:
    items = ["abcd" * 90, "a", "gfe" * 200, "", "bb"]

    for lanes in (1, 2, 5):
        found = evaluate(model_of(kind), VOCABULARY, evaluation_streams(ids_of(items), lanes, END))
        assert_the_sum(found, alone(kind, items))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_carried_its_state_into_the_next_item_would_score_otherwise(kind) -> None:
    items = ["abc", "gfed", "ba"]
    found = evaluate(model_of(kind, end=None), VOCABULARY, evaluation_streams(ids_of(items), 1, END))

    assert abs(found.nats - sum(part.nats for part in alone(kind, items))) > 0.01


def test_the_end_of_an_item_is_a_character_of_one_byte() -> None:
    items = ["한a", "", "b"]
    vocabulary = Vocabulary.of_code_points(np.bincount(code_points("ab한" + chr(END_UNIT))))
    ids = vocabulary.encode_units(code_points("".join(chr(END_UNIT) + item for item in [*items, ""])))
    score = evaluate(Uniform(4), vocabulary, DocumentStreams(ids, vocabulary.end or 0, 3, 9))

    assert (score.characters, score.utf8_bytes) == (3 + 1 + 2, 3 + 1 + 1 + 1 + 1 + 1)
    assert score.bits_per_character == pytest.approx(2)  # whatever is guessed at the padding


@given(ITEMS, st.integers(1, 9))
@settings(max_examples=25)
def test_predictions_are_those_of_every_window(items, lanes) -> None:
    streams = evaluation_streams(ids_of(items), lanes, END)
    made = list(predictions(model_of("markov"), streams))

    assert [window.targets.tolist() for window, _ in made] == [
        streams.at(step).targets.tolist() for step in range(len(streams))
    ]
    for window, log_p in made:
        assert log_p.shape == (*window.targets.shape, len(VOCABULARY))
        np.testing.assert_allclose(np.exp(log_p).sum(axis=-1), 1, atol=1e-12)
    guessed = sum(int((window.targets != PADDING).sum()) for window, _ in made)
    assert guessed == sum(len(item) + 1 for item in items)


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(st.integers(0, END), min_size=1, max_size=14), st.data())
@settings(max_examples=30)
def test_reading_an_end_makes_all_before_it_forgotten_wherever_it_stands(kind, text, data) -> None:
    """NumPy clears a lane in the midst of a stretch; the torch model at the beginning of one."""
    model, plain = model_of(kind), model_of(kind, end=None)
    ids = np.array([text, text[::-1]])
    cut = data.draw(st.integers(0, len(text)))
    edges = [0, cut, len(text)] if 0 < cut < len(text) else [0, len(text)]

    parts, state = [], model.start(2)
    for start, stop in pairwise(edges):
        logits, state = model.read(ids[:, start:stop], state)
        parts.append(logits)
    read = np.concatenate(parts, axis=1)
    stepped, steps = [], model.start(2)
    for column in ids.T:
        logits, steps = model.step(column, steps)
        stepped.append(logits)

    for lane, row in enumerate(ids.tolist()):
        begins = [place for place, symbol in enumerate(row) if symbol == END or place == 0]
        expected = [
            plain.read(np.array([row[start:stop]]), plain.start(1))[0][0]
            for start, stop in zip(begins, [*begins[1:], len(row)], strict=True)
        ]
        np.testing.assert_allclose(read[lane], np.concatenate(expected), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(np.stack(stepped, axis=1)[lane], np.concatenate(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_torch_and_numpy_begin_the_same_items_afresh(kind) -> None:
    """Some lanes begin an item, others go on, and then all begin one."""
    network = network_of(kind)
    on_torch = NetworkModel(network, torch.device("cpu"), END)
    model, found, expected = model_of(kind), on_torch.start(4), model_of(kind).start(4)

    for stretch in (
        [[END, 0, 1], [END, 2, 2], [END, 3, 4], [0, 5, 5]],
        [[1, 1, 1], [END, 2, 0], [6, 6, 6], [END, 1, 1]],
        [[END, 1, 1], [END, 2, 0], [END, 6, 6], [END, 1, 1]],
        [[1, 1, 1], [2, 2, 0], [6, 6, 6], [0, 1, 1]],
    ):
        on, found = on_torch.read(np.array(stretch), found)
        off, expected = model.read(np.array(stretch), expected)
        np.testing.assert_allclose(on, off, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_clearing_some_texts_leaves_the_given_state_as_it_was(kind) -> None:
    model = model_of(kind)
    _, state = model.read(np.array([[0, 1], [2, 3]]), model.start(2))
    before = [{name: values.copy() for name, values in layer.items()} for layer in state]
    model.read(np.array([[END, 1], [2, END]]), state)
    model.step(np.array([END, 0]), state)

    for layer, kept in zip(state, before, strict=True):
        assert all(np.array_equal(layer[name], values) for name, values in kept.items())


@pytest.mark.parametrize("numbers", [1, 40, 10_000])
def test_a_window_read_in_parts_scores_the_same(numbers: int, trained, monkeypatch) -> None:
    checkpoint = Checkpoint.load(trained["lstm"] / "best.safetensors")
    model, vocabulary = checkpoint.model(), checkpoint.vocabulary
    streams = evaluation_streams(vocabulary.encode(TEXT[:700]), 2)
    whole = evaluate(model, vocabulary, streams)
    monkeypatch.setattr(evaluation, "_NUMBERS", numbers)
    sizes = [window.inputs.shape[1] for window, _ in predictions(model, streams)]
    assert max(sizes) == min(max(numbers // (2 * len(vocabulary)), 1), 256)
    assert evaluate(model, vocabulary, streams).nats == pytest.approx(whole.nats, rel=1e-6)
