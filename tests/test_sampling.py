"""How the next character is chosen, and that a text is the same however it is asked for."""

import math
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from charlm.checkpoint import Checkpoint
from charlm.config.settings import ModelConfig
from charlm.errors import ConfigError, UnknownCharactersError
from charlm.models.network import NetworkModel, RecurrentNetwork
from charlm.models.recurrent import RecurrentModel
from charlm.sampling import Choice, first_context, log_probabilities, pick, sample, until
from charlm.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary.of_text("\nabcdefg ")
SIZE = len(VOCABULARY)

logit_rows = arrays(np.float32, (3, 7), elements=st.floats(-30, 30, width=32))


def wild_model(kind: str = "lstm", seed: int = 1) -> RecurrentModel:
    """Return a model whose guesses depend strongly on all it has read."""
    config = ModelConfig.model_validate({"kind": kind, "hidden_size": 6, "num_layers": 2})
    network = RecurrentNetwork(config, SIZE)
    generator = torch.Generator().manual_seed(seed)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=1.2, generator=generator)
    return RecurrentModel(config, SIZE, network.tensors())


def written(model, length: int, **options) -> list[list[int]]:
    """Return the ids of each sample."""
    rows = islice(sample(model, VOCABULARY, **options), length)
    return np.array(list(rows)).T.tolist()


def entropy(log_p: np.ndarray) -> np.ndarray:
    return -(np.exp(log_p) * np.where(np.isfinite(log_p), log_p, 0)).sum(axis=-1)


@given(logit_rows)
def test_temperature_one_is_softmax(logits) -> None:
    expected = np.exp(logits.astype(np.float64))
    expected /= expected.sum(axis=-1, keepdims=True)

    np.testing.assert_allclose(np.exp(log_probabilities(logits, Choice(1.0))), expected, rtol=1e-9)


@given(logit_rows, st.floats(0.05, 5), st.floats(1.01, 3))
def test_higher_temperatures_make_symbols_more_alike(logits, temperature, factor) -> None:
    cool = entropy(log_probabilities(logits, Choice(temperature)))
    warm = entropy(log_probabilities(logits, Choice(temperature * factor)))

    assert np.all(warm >= cool - 1e-9)


def test_temperature_divides_the_logits() -> None:
    logits = np.array([[0.0, 1.0]], np.float32)

    odds = np.diff(log_probabilities(logits, Choice(0.5)))

    assert odds[0, 0] == pytest.approx(2.0)


@given(logit_rows, st.sampled_from([1e-320, 1e-300, 1e-9, 1e300, 1.7e308]))
def test_no_temperature_overflows(logits, temperature) -> None:
    log_p = log_probabilities(logits, Choice(temperature))

    assert not np.isnan(log_p).any()
    np.testing.assert_allclose(np.exp(log_p).sum(axis=-1), 1, rtol=1e-9)


@given(logit_rows)
def test_temperature_zero_takes_the_likeliest(logits) -> None:
    streams = [np.random.default_rng(seed) for seed in range(3)]

    picked = pick(log_probabilities(logits, Choice(0)), streams)

    np.testing.assert_array_equal(picked, logits.argmax(axis=-1))


@given(logit_rows, st.integers(1, 7))
def test_top_k_keeps_the_k_likeliest_in_proportion(logits, k) -> None:
    plain = log_probabilities(logits, Choice(1.0))
    kept = log_probabilities(logits, Choice(1.0, top_k=k))

    for row, cut in zip(plain, kept, strict=True):
        inside = np.isfinite(cut)
        assert inside.sum() == k
        assert row[inside].min() >= row[~inside].max(initial=-np.inf)
        np.testing.assert_allclose(np.diff(cut[inside]), np.diff(row[inside]), atol=1e-9)
    np.testing.assert_allclose(np.exp(kept).sum(axis=-1), 1, rtol=1e-9)


@given(logit_rows, st.floats(0.01, 1.0))
def test_top_p_keeps_the_fewest_that_reach_p(logits, p) -> None:
    plain = np.exp(log_probabilities(logits, Choice(1.0)))
    kept = log_probabilities(logits, Choice(1.0, top_p=p))

    for row, cut in zip(plain, kept, strict=True):
        inside = np.isfinite(cut)
        assert row[inside].sum() >= p - 1e-9
        assert row[inside].sum() - row[inside].min() < p + 1e-9
        assert row[inside].min() >= row[~inside].max(initial=0) - 1e-12
    np.testing.assert_allclose(np.exp(kept).sum(axis=-1), 1, rtol=1e-9)


def test_top_p_measures_what_top_k_left() -> None:
    logits = np.log(np.array([[0.4, 0.3, 0.2, 0.1]], np.float32))

    kept = np.exp(log_probabilities(logits, Choice(1.0, top_k=2, top_p=0.5)))

    np.testing.assert_allclose(kept, [[1, 0, 0, 0]], atol=1e-6)  # 0.4 of 0.7 is more than half


def test_draws_follow_the_probabilities() -> None:
    p = np.array([0.5, 0.0, 0.3, 0.2])
    stream = [np.random.default_rng(3)]
    with np.errstate(divide="ignore"):
        log_p = np.log(p)[None]

    draws = [int(pick(log_p, stream)[0]) for _ in range(20_000)]

    np.testing.assert_allclose(np.bincount(draws, minlength=4) / 20_000, p, atol=0.015)


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-53])
def test_the_edges_of_the_random_number_never_pick_the_impossible(draw) -> None:
    class Edge:
        def random(self) -> float:
            return draw

    log_p = np.array([[-np.inf, math.log(0.7), math.log(0.3), -np.inf]])

    assert pick(log_p, [Edge()])[0] == (1 if draw == 0 else 2)


@given(st.integers(0, 2**40), st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=25, deadline=None)
def test_a_shorter_sample_is_a_prefix_of_a_longer_one(seed, short, more) -> None:
    model = wild_model()

    longer = written(model, short + more, seed=seed, prompt="abc")
    shorter = written(model, short, seed=seed, prompt="abc")

    assert [row[:short] for row in longer] == (shorter or [[]] * len(longer))


@given(st.integers(0, 2**40), st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_a_sample_is_the_same_however_many_are_written_beside_it(seed, few, more) -> None:
    model = wild_model("gru")

    alone = written(model, 30, seed=seed, num_samples=few)
    together = written(model, 30, seed=seed, num_samples=few + more)

    assert together[:few] == alone
    assert len(set(map(tuple, together))) == few + more  # each has a random stream of its own


def test_another_seed_writes_another_text() -> None:
    assert written(wild_model(), 30, seed=1) != written(wild_model(), 30, seed=2)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_the_sampler_remembers_what_it_has_read_and_written(kind, seed) -> None:
    """Greedy sampling must follow the model's own best guess after the whole text so far."""
    model, prompt = wild_model(kind, seed), "abcabg"
    found = written(model, 20, prompt=prompt, choice=Choice(0))[0]

    text = VOCABULARY.encode(prompt).tolist()
    for _ in range(20):
        logits, _ = model.read(np.array([text]), model.start(1))
        text.append(int(logits[0, -1].argmax()))

    assert found == text[len(prompt) :]


@given(st.text("abcdefg ", min_size=250, max_size=600))
@settings(max_examples=10, deadline=None)
def test_a_long_prompt_is_read_whole(prompt) -> None:
    model = wild_model("gru")
    logits, _ = model.read(VOCABULARY.encode(prompt)[None], model.start(1))

    assert written(model, 1, prompt=prompt, choice=Choice(0)) == [[int(logits[0, -1].argmax())]]


def test_an_empty_prompt_is_read_as_if_a_newline_stood_before_it() -> None:
    model = wild_model()

    assert written(model, 25, seed=3) == written(model, 25, seed=3, prompt="\n")
    assert first_context(Vocabulary.of_text("xyz")).tolist() == [0]


def test_special_symbols_are_never_written() -> None:
    vocabulary = Vocabulary.of_text("aaaabbbbc", minimum_count=2)
    config = ModelConfig(hidden_size=4, num_layers=1)
    network = RecurrentNetwork(config, len(vocabulary))
    with torch.no_grad():
        network.head.bias[vocabulary.special["<unk>"]] = 50.0
    model = RecurrentModel(config, len(vocabulary), network.tensors())

    for choice in (Choice(1.0), Choice(0), Choice(1.0, top_k=3), Choice(2.0, top_p=0.9)):
        rows = islice(sample(model, vocabulary, "ab", choice=choice), 30)
        assert {int(row[0]) for row in rows} <= {0, 1}


def test_the_torch_network_writes_what_numpy_writes() -> None:
    model = wild_model()
    network = RecurrentNetwork(model.config, SIZE)
    generator = torch.Generator().manual_seed(1)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=1.2, generator=generator)

    on_torch = NetworkModel(network, torch.device("cpu"))

    assert written(on_torch, 60, seed=7, num_samples=2) == written(model, 60, seed=7, num_samples=2)


@pytest.mark.parametrize(
    "values",
    [(-1.0,), (math.nan,), (math.inf,), (1.0, 0), (1.0, -3), (1.0, None, 0.0), (1.0, None, 1.1), (1.0, None, math.nan)],
)
def test_choices_that_make_no_sense_are_refused(values) -> None:
    with pytest.raises(ConfigError, match="must be"):
        Choice(*values)


def test_the_prompt_and_the_choice_are_checked_before_anything_is_written() -> None:
    with pytest.raises(UnknownCharactersError, match=r"'X' \(U\+0058\) at position 2"):
        sample(wild_model(), VOCABULARY, "abX")
    with pytest.raises(ConfigError, match=f"at most the {SIZE} symbols"):
        sample(wild_model(), VOCABULARY, choice=Choice(1.0, top_k=SIZE + 1))


@given(st.lists(st.text("ab\n", max_size=3)), st.text("ab\n", min_size=1, max_size=4))
def test_a_text_ends_before_the_first_stop_however_it_comes(pieces, stop) -> None:
    assert "".join(until(pieces, stop)) == "".join(pieces).split(stop)[0]


@given(st.lists(st.text("ab", min_size=1, max_size=2), min_size=1))
def test_no_more_is_held_back_than_a_stop_may_begin_with(pieces) -> None:
    shown = ""
    for count, piece in enumerate(until(iter(pieces), "zzz"), start=1):
        shown += piece
        assert len(shown) >= len("".join(pieces[:count])) - 2


def test_without_a_stop_pieces_pass_as_they_come() -> None:
    assert list(until(["a", "", "b"], None)) == ["a", "", "b"]


def test_a_trained_checkpoint_writes_readable_text(trained) -> None:
    checkpoint = Checkpoint.load(trained["lstm"] / "best.safetensors")
    rows = islice(sample(checkpoint.model(), checkpoint.vocabulary, "The", seed=2), 40)

    text = checkpoint.vocabulary.decode([int(row[0]) for row in rows])

    assert len(text) == 40
    assert set(text) <= set(checkpoint.vocabulary.symbols)
