"""How the next character is chosen, and that a text is the same however it is asked for."""

import math
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.config.settings import ModelConfig
from charlm.errors import ConfigError, UnknownCharactersError
from charlm.models.markov import MarkovModel
from charlm.models.network import NetworkModel, RecurrentNetwork
from charlm.models.ngram_counts import counted
from charlm.models.recurrent import RecurrentModel
from charlm.sampling import SamplingOptions, after, context, log_probabilities, pick, sample, until
from charlm.text.code_points import END_UNIT, code_points
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

    np.testing.assert_allclose(np.exp(log_probabilities(logits, SamplingOptions(1.0))), expected, rtol=1e-9)


@given(logit_rows, st.floats(0.05, 5), st.floats(1.01, 3))
def test_higher_temperatures_make_symbols_more_alike(logits, temperature, factor) -> None:
    cool = entropy(log_probabilities(logits, SamplingOptions(temperature)))
    warm = entropy(log_probabilities(logits, SamplingOptions(temperature * factor)))

    assert np.all(warm >= cool - 1e-9)


def test_temperature_divides_the_logits() -> None:
    logits = np.array([[0.0, 1.0]], np.float32)

    odds = np.diff(log_probabilities(logits, SamplingOptions(0.5)))

    assert odds[0, 0] == pytest.approx(2.0)


@given(logit_rows, st.sampled_from([1e-320, 1e-300, 1e-9, 1e300, 1.7e308]))
def test_no_temperature_overflows(logits, temperature) -> None:
    log_p = log_probabilities(logits, SamplingOptions(temperature))

    assert not np.isnan(log_p).any()
    np.testing.assert_allclose(np.exp(log_p).sum(axis=-1), 1, rtol=1e-9)


@given(logit_rows)
def test_temperature_zero_takes_the_likeliest(logits) -> None:
    streams = [np.random.default_rng(seed) for seed in range(3)]

    picked = pick(log_probabilities(logits, SamplingOptions(0)), streams)

    np.testing.assert_array_equal(picked, logits.argmax(axis=-1))


@given(logit_rows, st.integers(1, 7))
def test_top_k_keeps_the_k_likeliest_in_proportion(logits, k) -> None:
    plain = log_probabilities(logits, SamplingOptions(1.0))
    kept = log_probabilities(logits, SamplingOptions(1.0, top_k=k))

    for row, cut in zip(plain, kept, strict=True):
        inside = np.isfinite(cut)
        assert inside.sum() == k
        assert row[inside].min() >= row[~inside].max(initial=-np.inf)
        np.testing.assert_allclose(np.diff(cut[inside]), np.diff(row[inside]), atol=1e-9)
    np.testing.assert_allclose(np.exp(kept).sum(axis=-1), 1, rtol=1e-9)


@given(logit_rows, st.floats(0.01, 1.0))
def test_top_p_keeps_the_fewest_that_reach_p(logits, p) -> None:
    plain = np.exp(log_probabilities(logits, SamplingOptions(1.0)))
    kept = log_probabilities(logits, SamplingOptions(1.0, top_p=p))

    for row, cut in zip(plain, kept, strict=True):
        inside = np.isfinite(cut)
        assert row[inside].sum() >= p - 1e-9
        assert row[inside].sum() - row[inside].min() < p + 1e-9
        assert row[inside].min() >= row[~inside].max(initial=0) - 1e-12
    np.testing.assert_allclose(np.exp(kept).sum(axis=-1), 1, rtol=1e-9)


def test_top_p_measures_what_top_k_left() -> None:
    logits = np.log(np.array([[0.4, 0.3, 0.2, 0.1]], np.float32))

    kept = np.exp(log_probabilities(logits, SamplingOptions(1.0, top_k=2, top_p=0.5)))

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
    found = written(model, 20, prompt=prompt, options=SamplingOptions(0))[0]

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

    assert written(model, 1, prompt=prompt, options=SamplingOptions(0)) == [[int(logits[0, -1].argmax())]]


def test_an_empty_prompt_is_read_as_if_a_newline_stood_before_it() -> None:
    model = wild_model()

    assert written(model, 25, seed=3) == written(model, 25, seed=3, prompt="\n")
    assert context(VOCABULARY, "").tolist() == VOCABULARY.encode("\n").tolist()
    assert context(Vocabulary.of_text("xyz"), "").tolist() == [0]
    assert context(VOCABULARY, "ab").tolist() == VOCABULARY.encode("ab").tolist()
    assert context(Vocabulary.of_text("xyz"), "").dtype == np.uint8


def test_special_symbols_are_never_written() -> None:
    vocabulary = Vocabulary.of_text("aaaabbbbc", minimum_count=2)
    config = ModelConfig(hidden_size=4, num_layers=1)
    network = RecurrentNetwork(config, len(vocabulary))
    with torch.no_grad():
        network.head.bias[vocabulary.special["<unk>"]] = 50.0
    model = RecurrentModel(config, len(vocabulary), network.tensors())

    for choice in (
        SamplingOptions(1.0),
        SamplingOptions(0),
        SamplingOptions(1.0, top_k=3),
        SamplingOptions(2.0, top_p=0.9),
    ):
        rows = islice(sample(model, vocabulary, "ab", options=choice), 30)
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
        SamplingOptions(*values)


def test_the_prompt_and_the_choice_are_checked_before_anything_is_written() -> None:
    with pytest.raises(UnknownCharactersError, match=r"'X' \(U\+0058\) at position 2"):
        sample(wild_model(), VOCABULARY, "abX")
    with pytest.raises(ConfigError, match=f"^top_k: must be at most {SIZE}, the size of the model's vocabulary"):
        sample(wild_model(), VOCABULARY, options=SamplingOptions(1.0, top_k=SIZE + 1))


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


@pytest.mark.parametrize("length", [1, 2, 256, 257, 258, 600])
def test_what_comes_after_a_prompt_is_what_its_symbols_leave_one_by_one(length) -> None:
    model, ids = wild_model("gru"), np.random.default_rng(length).integers(0, SIZE, length)
    logits, state = after(model, ids, texts=3)
    expected, stepped = None, model.start(3)
    for symbol in ids:
        expected, stepped = model.step(np.full(3, symbol), stepped)

    assert logits.shape == (3, SIZE)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    for layer, other in zip(state, stepped, strict=True):
        np.testing.assert_allclose(layer["hidden"], other["hidden"], rtol=1e-4, atol=1e-4)


# Texts that end

MARK = chr(END_UNIT)
NAMES = ["ann", "anna", "bob", "bo", "barbara", "xb", "yxa", "yxa", "yxa"]


def named(minimum: int = 1) -> tuple[MarkovModel, Vocabulary]:
    """Return a model of names, and their symbols."""
    units = code_points("".join(MARK + name for name in [*NAMES, ""]))
    vocabulary = Vocabulary.of_code_points(np.bincount(units), minimum_count=minimum)
    counts = counted(vocabulary.encode_units(units), 2, len(vocabulary), vocabulary.end)
    return MarkovModel(list(counts), len(vocabulary)), vocabulary


def rows_of(seed: int, texts: int = 1, prompt: str = "", **options) -> list[list[int]]:
    """Return all that is written, to its own end: a row for each text."""
    model, vocabulary = named()
    rows = islice(
        sample(model, vocabulary, prompt, seed=seed, num_samples=texts, options=SamplingOptions(1.0), **options), 10_000
    )
    return np.array(list(rows)).T.tolist()


@given(st.integers(0, 2**40), st.integers(1, 6), st.sampled_from(["", "a", "xb"]))
@settings(max_examples=30)
def test_texts_end_by_themselves_and_the_iterator_with_the_last(seed, texts, prompt) -> None:
    rows, end = rows_of(seed, texts, prompt), named()[1].end
    ends = [row.index(end) for row in rows]

    assert all(set(row[place:]) == {end} for row, place in zip(rows, ends, strict=True))
    assert max(ends) == len(rows[0]) - 1  # not a row more


@given(st.integers(0, 2**40), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=30)
def test_a_text_is_the_same_to_its_end_however_many_are_written_beside_it(seed, few, more) -> None:
    end = named()[1].end

    def to_their_ends(rows: list[list[int]]) -> list[list[int]]:
        return [row[: row.index(end) + 1] for row in rows]

    assert to_their_ends(rows_of(seed, few + more))[:few] == to_their_ends(rows_of(seed, few))


@given(st.integers(0, 2**40), st.integers(0, 9))
@settings(max_examples=30)
def test_a_shorter_sample_of_texts_that_end_is_a_prefix_of_a_longer_one(seed, length) -> None:
    model, vocabulary = named()
    whole = rows_of(seed, 3)
    short = list(islice(sample(model, vocabulary, seed=seed, num_samples=3, options=SamplingOptions(1.0)), length))

    assert np.array(short).reshape(-1, 3).T.tolist() == [row[:length] for row in whole]


def test_texts_of_many_lengths_end() -> None:
    lengths = {len(rows_of(seed)[0]) for seed in range(40)}

    assert len(lengths) > 5


def test_one_text_goes_on_while_another_has_ended() -> None:
    ended_early = 0
    for seed in range(10):
        rows, end = rows_of(seed, 2), named()[1].end
        ended_early += rows[0].index(end) != rows[1].index(end)

    assert ended_early > 3


def test_a_prompt_is_read_behind_an_end() -> None:
    """After x at the beginning of a name comes b; after an x that could stand anywhere, a."""
    model, vocabulary = named()
    behind_an_end, _ = model.read(vocabulary.encode_item("x")[None], model.start(1))
    anywhere, _ = model.read(vocabulary.encode("x")[None], model.start(1))
    written = [int(row[0]) for row in islice(sample(model, vocabulary, "x", options=SamplingOptions(0)), 50)]

    assert vocabulary.symbols[int(anywhere[0, -1].argmax())] == "a"
    assert vocabulary.symbols[int(behind_an_end[0, -1].argmax())] == "b"
    assert vocabulary.symbols[written[0]] == "b"
    assert context(vocabulary, "x").tolist() == [vocabulary.end, *vocabulary.encode("x")]
    assert context(vocabulary, "").tolist() == [vocabulary.end]


def test_a_text_that_ends_at_once_is_an_end_alone() -> None:
    vocabulary = Vocabulary.of_code_points(np.bincount(code_points("ab" + MARK)))
    network = RecurrentNetwork(ModelConfig(hidden_size=4, num_layers=1), len(vocabulary))
    with torch.no_grad():
        network.head.bias[vocabulary.end] = 50.0
    model = RecurrentModel(network.config, len(vocabulary), network.tensors(), vocabulary.end)

    for choice in (
        SamplingOptions(0),
        SamplingOptions(1.0),
        SamplingOptions(1.0, top_k=1),
        SamplingOptions(1.0, top_p=0.1),
    ):
        rows = list(islice(sample(model, vocabulary, "a", options=choice, num_samples=3), 9))
        assert [row.tolist() for row in rows] == [[vocabulary.end] * 3]


def test_of_special_symbols_the_end_alone_is_written() -> None:
    model, vocabulary = named(minimum=5)
    unknown, ended = vocabulary.special["<unk>"], 0
    logits, _ = model.read(vocabulary.encode_item("a")[None], model.start(1))
    assert np.exp(logits)[0, -1, unknown] > 0.3  # it would be written, else
    for seed in range(30):
        for choice in (
            SamplingOptions(1.0),
            SamplingOptions(2.0),
            SamplingOptions(1.0, top_k=3),
            SamplingOptions(1.0, top_p=0.9),
        ):
            ids = [int(row[0]) for row in islice(sample(model, vocabulary, options=choice, seed=seed), 200)]
            assert unknown not in ids
            ended += ids[-1] == vocabulary.end
    assert ended == 120


def test_an_item_that_was_learned_by_heart_is_written_to_its_end() -> None:
    vocabulary = Vocabulary.of_code_points(np.bincount(code_points("hello" + MARK)))
    ids = vocabulary.encode_units(code_points((MARK + "hello") * 50 + MARK))
    model = MarkovModel(list(counted(ids, 4, len(vocabulary), vocabulary.end)), len(vocabulary))
    rows = islice(sample(model, vocabulary, "he", options=SamplingOptions(0), num_samples=2), 50)

    assert vocabulary.decode(np.array(list(rows))[:, 1]) == "llo\n"


def test_top_p_stops_where_the_probabilities_reach_p_exactly() -> None:
    """Two equally likely symbols of which one alone reaches one half: the first."""
    log_p = log_probabilities(np.zeros((1, 2)), SamplingOptions(1.0, top_p=0.5))
    assert np.exp(log_p).tolist() == [[1.0, 0.0]]
