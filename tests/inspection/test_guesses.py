"""What the inspector shows beside the states: guesses, saturated gates, the order of units, the colours' scale."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from charlm.architectures import ARCHITECTURES
from charlm.checkpoint.checkpoint import Checkpoint
from charlm.config.settings import ModelConfig
from charlm.evaluation import evaluate
from charlm.inspection.gates import Saturation, saturation
from charlm.inspection.guesses import guesses
from charlm.inspection.scale import HIGH, LOW, limits_of, scale_of, share
from charlm.inspection.similarity import similarity_order
from charlm.inspection.trace import Trace, Unit, trace
from charlm.models.recurrent import RecurrentModel, tensor_shapes
from charlm.text.streams import evaluation_streams
from tests.conftest import TEXT
from tests.harness import textbook

CELLS = [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]
cells = pytest.mark.parametrize(("kind", "nonlinearity"), CELLS)
H = 5


def tensors_of(config: ModelConfig, symbols: int, seed: int = 2) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    shapes = tensor_shapes(config, symbols)
    return {name: random.normal(0, 0.6, shape).astype(np.float32) for name, shape in shapes.items()}


def ids_of(length: int, symbols: int) -> NDArray[np.uint16]:
    return np.random.default_rng(7).integers(0, symbols, length).astype(np.uint16)


def textbook_probabilities(kind: str, tensors: dict[str, NDArray[np.float32]], ids: list[int]) -> NDArray[np.float64]:
    """Return the probability of every symbol after every character (T, V)."""
    weights = {name: torch.from_numpy(value).double() for name, value in tensors.items()}
    logits, _ = textbook.read(kind, weights, ids, textbook.start(2, H))
    exponentials = np.exp(logits.numpy())
    return exponentials / exponentials.sum(axis=1, keepdims=True)


# Guesses


@cells
@pytest.mark.parametrize("symbols", [1, 3, 5, 11])
def test_guesses_are_the_likeliest_symbols_of_the_textbooks_softmax(kind, nonlinearity, symbols) -> None:
    config = ModelConfig(kind=kind, nonlinearity=nonlinearity, hidden_size=H, num_layers=2)
    tensors, ids = tensors_of(config, symbols), ids_of(9, symbols)
    expected = textbook_probabilities(kind if kind != "rnn" else nonlinearity, tensors, ids.tolist())

    found = guesses(RecurrentModel(config, symbols, tensors), ids, 5)

    count = min(5, symbols)
    assert found.symbols.shape == found.probabilities.shape == (9, count)
    assert found.surprisal.shape == (9,)
    order = [sorted(range(symbols), key=lambda symbol, row=row: -row[symbol])[:count] for row in expected]
    np.testing.assert_array_equal(found.symbols, order)
    np.testing.assert_allclose(found.probabilities, np.take_along_axis(expected, np.array(order), 1), rtol=1e-4)
    assert np.isnan(found.surprisal[0])  # nothing foretold the first
    came = [-np.log2(expected[t - 1, ids[t]]) for t in range(1, 9)]
    np.testing.assert_allclose(found.surprisal[1:], came, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("length", [2, 255, 256, 257, 600])
def test_surprises_add_up_to_the_models_score_over_any_number_of_pieces(kind, length, trained) -> None:
    checkpoint = Checkpoint.load(trained[kind] / "best.safetensors")
    model, ids = checkpoint.model(), checkpoint.vocabulary.encode(TEXT[:length])

    found = guesses(model, ids, 5)

    assert found.surprisal.shape == (length,)
    assert found.symbols.shape == found.probabilities.shape == (length, 5)
    score = evaluate(model, checkpoint.vocabulary, evaluation_streams(ids, 1))
    assert found.surprisal[1:].mean(dtype=np.float64) == pytest.approx(score.bits_per_character, rel=1e-5)


def test_a_piece_goes_on_where_the_one_before_it_ended(trained) -> None:
    checkpoint = Checkpoint.load(trained["lstm"] / "best.safetensors")
    ids = checkpoint.vocabulary.encode(TEXT[:300])

    whole, start = guesses(checkpoint.model(), ids, 3), guesses(checkpoint.model(), ids[:280], 3)

    np.testing.assert_allclose(whole.probabilities[:280], start.probabilities, rtol=1e-5)
    np.testing.assert_allclose(whole.surprisal[1:280], start.surprisal[1:], rtol=1e-5)


def test_one_character_has_guesses_after_it_and_no_surprise(trained) -> None:
    checkpoint = Checkpoint.load(trained["gru"] / "best.safetensors")

    found = guesses(checkpoint.model(), checkpoint.vocabulary.encode("T"), 5)

    assert found.symbols.shape == (1, 5)
    assert np.isnan(found.surprisal).tolist() == [True]


def still_model(bias: list[float]) -> RecurrentModel:
    """Return a model that guesses by its bias alone."""
    config = ModelConfig(kind="rnn", hidden_size=H, num_layers=1)
    tensors = {name: np.zeros_like(value) for name, value in tensors_of(config, len(bias)).items()}
    return RecurrentModel(config, len(bias), tensors | {"head.bias": np.array(bias, np.float32)})


def test_guesses_that_are_equally_likely_come_in_the_order_of_the_alphabet() -> None:
    found = guesses(still_model([0.0, 1.0, 0.0, 1.0, 0.0, 0.0]), ids_of(3, 6), 5)

    assert found.symbols.tolist() == [[1, 3, 0, 2, 4]] * 3


def test_what_a_model_is_sure_of_costs_nothing_and_what_it_rules_out_a_finite_amount() -> None:
    found = guesses(still_model([500.0, -500.0]), np.array([0, 0, 1], np.uint8), 5)

    assert found.probabilities.tolist() == [[1, 0]] * 3
    assert found.surprisal[1:] == pytest.approx([0, 1000 / np.log(2)])


# Gates


def traced(**signals: NDArray[np.float64]) -> Trace:
    length = len(next(iter(signals.values())))
    return Trace(np.zeros(length, np.uint8), {name: rows.astype(np.float32) for name, rows in signals.items()})


def test_saturation_is_the_share_of_a_text_below_a_tenth_and_above_nine_tenths() -> None:
    rows = np.array([0.0, 0.05, 0.11, 0.5, 0.89, 0.95, 0.99, 1.0, 1.0, 1.0])[:, None, None]

    found = saturation(traced(forget=np.tile(rows, (1, 2, 3))))["forget"]

    np.testing.assert_allclose(found.shut, np.full((2, 3), 0.2))
    np.testing.assert_allclose(found.open, np.full((2, 3), 0.5))


def test_a_gate_that_stands_still_is_always_open_always_shut_or_neither() -> None:
    rows = np.tile(np.array([[[1.0, 0.0, 0.5]]]), (7, 1, 1))

    found = saturation(traced(update=rows))["update"]

    assert (found.open.tolist(), found.shut.tolist()) == ([[1, 0, 0]], [[0, 1, 0]])


@pytest.mark.parametrize(
    ("kind", "gates"), [("rnn", set()), ("lstm", {"input", "forget", "output"}), ("gru", {"reset", "update"})]
)
def test_every_gate_of_a_model_is_counted_and_nothing_else(kind, gates, trained) -> None:
    checkpoint = Checkpoint.load(trained[kind] / "best.safetensors")
    found = trace(checkpoint.model(), checkpoint.vocabulary.encode(TEXT[:150]))

    shares = saturation(found)

    assert set(shares) == gates
    for gate, counted in shares.items():
        rows = found.signals[gate]
        expected = Saturation(
            np.array([[(rows[:, layer, unit] < 0.1).sum() / 150 for unit in range(7)] for layer in range(2)]),
            np.array([[(rows[:, layer, unit] > 0.9).sum() / 150 for unit in range(7)] for layer in range(2)]),
        )
        np.testing.assert_allclose(counted.shut, expected.shut)
        np.testing.assert_allclose(counted.open, expected.open)


def test_a_gate_driven_to_its_end_by_its_bias_is_counted_there() -> None:
    config = ModelConfig(kind="lstm", hidden_size=H, num_layers=1)
    tensors = tensors_of(config, 4)
    tensors["rnn.bias_ih_l0"][[0, H + 1, 3 * H + 2]] = 50, -50, 50  # an input, a forget and an output gate

    shares = saturation(trace(RecurrentModel(config, 4, tensors), ids_of(40, 4)))

    assert (shares["input"].open[0, 0], shares["input"].shut[0, 0]) == (1, 0)
    assert (shares["forget"].open[0, 1], shares["forget"].shut[0, 1]) == (0, 1)
    assert (shares["output"].open[0, 2], shares["output"].shut[0, 2]) == (1, 0)


# Similarity


@given(st.integers(1, 30), st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_the_order_of_units_is_a_permutation_and_always_the_same(length, units, seed) -> None:
    activity = np.random.default_rng(seed).normal(size=(length, units)).astype(np.float32)

    order = similarity_order(activity)

    assert sorted(order.tolist()) == list(range(units))
    np.testing.assert_array_equal(similarity_order(activity.copy()), order)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_units_that_do_alike_stand_together(seed, groups) -> None:
    random = np.random.default_rng(seed)
    leaders = random.normal(size=(400, groups))
    group_of = random.permutation(np.repeat(np.arange(groups), [6, 5, 4, 3][:groups]))
    noise = random.normal(0, 0.1, (400, len(group_of)))
    loudness = random.uniform(0.1, 10, len(group_of))
    offset = random.uniform(-3, 3, len(group_of))
    activity = ((leaders[:, group_of] + noise) * loudness + offset).astype(np.float32)

    ordered = group_of[similarity_order(activity)]

    assert (ordered[1:] != ordered[:-1]).sum() == groups - 1


def test_units_that_do_the_opposite_are_not_neighbours() -> None:
    wave = np.sin(np.arange(200) / 9)
    activity = np.stack([wave, -wave, wave, -wave, wave], axis=1).astype(np.float32)

    assert np.diff(np.sign(activity[10, similarity_order(activity)])).astype(bool).sum() == 1


@given(st.integers(0, 2**32 - 1), st.sets(st.integers(0, 7), max_size=8))
def test_units_that_never_move_come_last_in_their_own_order(seed, still) -> None:
    activity = np.random.default_rng(seed).normal(size=(50, 8)).astype(np.float32)
    activity[:, sorted(still)] = np.float32(0.3)

    order = similarity_order(activity).tolist()

    assert order[8 - len(still) :] == sorted(still)


def test_one_unit_and_no_unit_have_an_order_too() -> None:
    assert similarity_order(np.ones((4, 1), np.float32)).tolist() == [0]
    assert similarity_order(np.arange(4, dtype=np.float32)[:, None]).tolist() == [0]
    assert similarity_order(np.ones((4, 0), np.float32)).tolist() == []


def test_one_character_moves_nothing() -> None:
    assert similarity_order(np.array([[0.3, -0.2, 0.9]], np.float32)).tolist() == [0, 1, 2]


# Scale


@pytest.mark.parametrize(
    ("signal", "kind", "nonlinearity", "squashed"),
    [
        ("hidden", "rnn", "tanh", True),
        ("hidden", "rnn", "relu", False),
        ("hidden", "lstm", "tanh", True),
        ("hidden", "gru", "tanh", True),
        ("cell", "lstm", "tanh", False),
        ("candidate", "lstm", "tanh", True),
        ("candidate", "gru", "tanh", True),
    ],
)
def test_a_squashed_signal_is_scaled_by_its_range_and_another_by_how_far_it_went(
    signal, kind, nonlinearity, squashed
) -> None:
    model = ModelConfig(kind=kind, nonlinearity=nonlinearity)
    found = traced(**{signal: np.array([0.25, -0.75, 0.5])[:, None, None]})

    assert limits_of(signal, model) == ((-1, 1) if squashed else None)
    assert scale_of(found, Unit(signal, 0, 0), model) == ((-1, 1) if squashed else (-0.75, 0.75))


GATES = [(kind, gate) for kind, row in ARCHITECTURES.items() for gate in row.gates]


@pytest.mark.parametrize(("kind", "gate"), GATES)
def test_a_gate_is_scaled_from_shut_to_open_however_little_it_moves(kind, gate) -> None:
    found = traced(**{gate: np.array([0.4, 0.45])[:, None, None]})

    assert scale_of(found, Unit(gate, 0, 0), ModelConfig(kind=kind)) == (0, 1)


def test_each_unit_has_the_scale_of_its_own_layer_and_index() -> None:
    rows = np.zeros((3, 2, 2))
    rows[1] = [[1.0, -2.0], [4.0, -8.0]]
    found = Trace(np.zeros(3, np.uint8), {"cell": rows.astype(np.float32)}, only=(3, 8))

    scales = {(unit.layer, unit.index): scale_of(found, unit, ModelConfig())[1] for unit in found.units("cell")}

    assert scales == {(3, 0): 1, (3, 1): 2, (8, 0): 4, (8, 1): 8}


def test_a_unit_that_never_left_nought_stands_in_the_middle() -> None:
    low, high = scale_of(traced(cell=np.zeros((4, 1, 1))), Unit("cell", 0, 0), ModelConfig())

    assert (low, high) == (-1, 1)
    assert share(np.zeros(4, np.float32), low, high).tolist() == [0.5] * 4


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=9), st.floats(-9, 9), st.floats(0.1, 99))
def test_a_share_rises_with_the_value_from_nought_at_the_bottom_to_one_at_the_top(values, low, extent) -> None:
    high = low + extent
    found = share(np.array([*sorted(values)], np.float32), low, high)

    assert np.all((found >= 0) & (found <= 1))
    assert np.all(np.diff(found) >= 0)
    ends = share(np.array([low - 1, (low + high) / 2, high + 1], np.float32), low, high)
    np.testing.assert_allclose(ends, [0, 0.5, 1], atol=1e-4)


def test_blue_is_low_and_orange_is_high() -> None:
    assert LOW[2] > LOW[0]
    assert HIGH[0] > HIGH[2]
