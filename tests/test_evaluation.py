"""Scores are what they say: nats, bits and bytes of the predictions that were made."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from charlm.checkpoint import Checkpoint
from charlm.evaluation import evaluate
from charlm.models.network import RecurrentNetwork
from charlm.models.prediction import surprise
from charlm.text.streams import Streams, one_lane
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

    score = evaluate(checkpoint.model(), checkpoint.vocabulary, one_lane(ids))

    assert score.characters == 599
    assert score.nats_per_character == pytest.approx(expected, abs=1e-5)


def test_a_uniform_model_needs_log2_v_bits_and_has_perplexity_v() -> None:
    vocabulary = Vocabulary.of_text("abcdefgh")
    score = evaluate(Uniform(8), vocabulary, one_lane(vocabulary.encode("hgfedcba")))

    assert score.characters == 7
    assert score.bits_per_character == pytest.approx(3)
    assert score.perplexity == pytest.approx(8)
    assert score.nats_per_character == pytest.approx(3 * math.log(2))


def test_bits_a_byte_divide_by_the_utf8_of_what_was_predicted() -> None:
    vocabulary = Vocabulary.of_text("가나ab")
    score = evaluate(Uniform(4), vocabulary, one_lane(vocabulary.encode("가ab나가")))

    assert score.utf8_bytes == 1 + 1 + 3 + 3  # the first character is given, not predicted
    assert score.bits_per_byte == pytest.approx(4 * 2 / 8)


def test_a_byte_models_characters_are_bytes() -> None:
    vocabulary = Vocabulary.of_bytes()
    score = evaluate(Uniform(256), vocabulary, one_lane(vocabulary.encode("가나")))

    assert (score.characters, score.utf8_bytes) == (5, 5)
    assert score.bits_per_byte == score.bits_per_character == pytest.approx(8)


def test_bytes_of_unknown_characters_are_not_made_up() -> None:
    vocabulary = Vocabulary.of_text("aabbc", minimum_count=2)

    assert evaluate(Uniform(3), vocabulary, one_lane(vocabulary.encode("abca"))).bits_per_byte is None
    assert evaluate(Uniform(3), vocabulary, one_lane(vocabulary.encode("abba"))).bits_per_byte is not None


@pytest.mark.parametrize("kind", KINDS)
def test_each_lane_starts_fresh_and_carries_its_state(kind, trained) -> None:
    checkpoint = Checkpoint.load(trained[kind] / "best.safetensors")
    model, vocabulary = checkpoint.model(), checkpoint.vocabulary
    ids = vocabulary.encode(TEXT[:181])

    lanes = evaluate(model, vocabulary, Streams(ids, lanes=4, window=7))
    alone = [evaluate(model, vocabulary, one_lane(ids[start : start + 46])) for start in (0, 45, 90, 135)]

    assert lanes.characters == 180
    assert lanes.nats == pytest.approx(sum(score.nats for score in alone), rel=1e-5)


def test_surprise_is_minus_the_log_of_softmax() -> None:
    logits = np.random.default_rng(1).normal(size=(2, 3, 5)) * 40
    targets = np.array([[0, 4, 2], [1, 1, 3]])

    expected = cross_entropy(
        torch.from_numpy(logits).flatten(0, 1), torch.from_numpy(targets).flatten(), reduction="none"
    )

    np.testing.assert_allclose(surprise(logits, targets).ravel(), expected.numpy(), rtol=1e-9)
