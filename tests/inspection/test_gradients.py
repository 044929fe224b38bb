"""How far back a gradient reaches, against the textbook's loops, finite differences and cells whose factor is known."""

import copy
import csv
import io
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from charlm.cli.delivery import as_csv, as_json
from charlm.config.settings import ModelConfig
from charlm.errors import CharlmError, TextError
from charlm.inspection.gradient_by_lag import (
    GradientByLag,
    Saliency,
    lag_table,
    lag_values,
    saliency_table,
    saliency_values,
)
from charlm.inspection.gradients import gradient_by_lag, saliency
from charlm.models.network import RecurrentNetwork
from tests.harness import textbook

H, V, E = 5, 7, 3  # all different, so that no swapped axis passes by luck
MANY = 300  # more symbols than a window is fed densely
CELLS = [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]
cells = pytest.mark.parametrize(("kind", "nonlinearity"), CELLS)
widths = pytest.mark.parametrize("embedding_size", [None, E])


def network_of(
    kind: str,
    nonlinearity: str = "tanh",
    *,
    layers: int = 1,
    embedding_size: int | None = None,
    symbols: int = V,
    dropout: float = 0.0,
) -> RecurrentNetwork:
    """Return a network whose every weight and bias is random, so that none can be left out unseen."""
    tree = {"kind": kind, "nonlinearity": nonlinearity, "num_layers": layers, "hidden_size": H, "dropout": dropout}
    network = RecurrentNetwork(ModelConfig.model_validate(tree | {"embedding_size": embedding_size}), symbols)
    generator = torch.Generator().manual_seed(3)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.5, generator=generator)
    return network


def ids_of(length: int, symbols: int = V, seed: int = 5) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, symbols, length).astype(np.uint16)


def weights_of(network: RecurrentNetwork) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value).double() for name, value in network.tensors().items()}


def textbook_kind(network: RecurrentNetwork) -> str:
    return network.config.nonlinearity if network.config.kind == "rnn" else network.config.kind


def expected_sizes(network: RecurrentNetwork, stretch: NDArray[np.uint16], lags: int) -> list[float]:
    """Return the gradient's size at each lag in the middle of one stretch, with the textbook's loops.

    What was carried so many characters before is made a leaf, and the rest of the stretch is read from there.
    """
    weights, kind, layers = weights_of(network), textbook_kind(network), network.config.num_layers
    *read, target = stretch.tolist()
    sizes = []
    for lag in range(lags + 1):
        before, after = read[: len(read) - lag], read[len(read) - lag :]
        _, memory = textbook.read(kind, weights, before, textbook.start(layers, H))
        leaves = [(hidden.clone().requires_grad_(), cell.clone().requires_grad_()) for hidden, cell in memory]
        memory = textbook.read(kind, weights, after, leaves)[1] if after else leaves
        logits = weights["head.weight"] @ memory[-1][0] + weights["head.bias"]
        loss = cross_entropy(logits, torch.tensor(target))
        flat = [part for pair in leaves for part in pair]
        found = torch.autograd.grad(loss, flat, allow_unused=True, materialize_grads=True)
        sizes.append(float(torch.cat(found).norm()))
    return sizes


def assert_reach_is_the_textbooks(network: RecurrentNetwork, lags: int) -> None:
    ids, context = ids_of(2 * lags + 3 + 2, network.vocabulary_size), lags + 1
    each = np.array([expected_sizes(network, ids[start : start + context + lags + 2], lags) for start in range(3)])

    found = gradient_by_lag(network, ids, lags, positions=99)

    assert found.mean.shape == found.spread.shape == (lags + 1,)
    np.testing.assert_allclose(found.mean, each.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.spread, each.std(axis=0), rtol=1e-6, atol=1e-12)


@cells
@widths
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_gradient_at_every_lag_is_the_textbooks(kind, nonlinearity, embedding_size, layers) -> None:
    network = network_of(kind, nonlinearity, layers=layers, embedding_size=embedding_size)

    assert_reach_is_the_textbooks(network, lags=4)


@cells
def test_the_gradient_is_the_textbooks_where_a_windows_symbols_are_gathered(kind, nonlinearity) -> None:
    assert_reach_is_the_textbooks(network_of(kind, nonlinearity, layers=2, symbols=MANY), lags=3)


@cells
def test_nothing_is_dropped_while_gradients_are_measured(kind, nonlinearity) -> None:
    network = network_of(kind, nonlinearity, layers=2, dropout=0.5).train()

    assert_reach_is_the_textbooks(network, lags=2)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("measure", ["by lag", "saliency"])
def test_the_network_is_left_as_it_was(kind, measure) -> None:
    network = network_of(kind, layers=2, dropout=0.3).train()
    before, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()

    if measure == "by lag":
        gradient_by_lag(network, ids_of(40), 5, 8)
    else:
        saliency(network, ids_of(9))

    assert all(module.training for module in network.modules())
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    assert all(weight.requires_grad and weight.grad is None for weight in network.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, before[name])


def test_what_comes_before_the_first_lag_is_read_in_one_piece_without_a_gradient(monkeypatch) -> None:
    seen = []
    forward = RecurrentNetwork.forward

    def watched(self, ids, state=None):
        seen.append((tuple(ids.shape), torch.is_grad_enabled()))
        return forward(self, ids, state)

    monkeypatch.setattr(RecurrentNetwork, "forward", watched)
    gradient_by_lag(network_of("gru"), ids_of(60), lags=4, positions=6)

    assert seen == [((6, 5), False), *[((6, 1), True)] * 5]


def test_few_positions_are_spread_from_the_first_place_to_the_last() -> None:
    network, lags = network_of("gru"), 3
    ids = ids_of(31)
    stretch = 2 * lags + 3
    last = len(ids) - stretch
    first, middle, end = (expected_sizes(network, ids[s : s + stretch], lags) for s in (0, last // 2, last))

    np.testing.assert_allclose(gradient_by_lag(network, ids, lags, 1).mean, first, rtol=1e-6)
    np.testing.assert_allclose(gradient_by_lag(network, ids, lags, 2).mean, np.mean([first, end], axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        gradient_by_lag(network, ids, lags, 3).spread, np.std([first, middle, end], axis=0), rtol=1e-6
    )
    assert not gradient_by_lag(network, ids, lags, 1).spread.any()


def test_more_positions_than_places_are_all_the_places_once() -> None:
    network, ids = network_of("lstm"), ids_of(2 * 4 + 3 + 6)
    all_of_them = gradient_by_lag(network, ids, 4, 7)

    for positions in (8, 64, 10_000):
        found = gradient_by_lag(network, ids, 4, positions)
        np.testing.assert_array_equal(found.mean, all_of_them.mean)
        np.testing.assert_array_equal(found.spread, all_of_them.spread)


@pytest.mark.parametrize("lags", [1, 4, 100])
def test_a_text_that_is_too_short_is_refused_with_the_length_it_needs(lags) -> None:
    network, needed = network_of("rnn"), 2 * lags + 3

    with pytest.raises(TextError, match=rf"^lags: .*too short: {lags} lags need {needed}\. .*fewer lags"):
        gradient_by_lag(network, ids_of(needed - 1), lags, 8)
    with pytest.raises(TextError, match="too short"):
        gradient_by_lag(network, ids_of(0), lags, 8)
    assert np.isfinite(gradient_by_lag(network, ids_of(needed), lags, 8).mean).all()


def linear_network(factor: float) -> RecurrentNetwork:
    """Return a network that multiplies every gradient by ``factor`` a step: relu is idle where all is positive."""
    network = network_of("rnn", "relu")
    with torch.no_grad():
        network.rnn.weight_ih_l0.abs_()
        network.rnn.bias_ih_l0.zero_()
        network.rnn.bias_hh_l0.zero_()
        network.rnn.weight_hh_l0.copy_(factor * torch.eye(H))
    return network


@pytest.mark.parametrize(
    ("factor", "lags", "words"),
    [
        (0.5, 200, "halves every 1.0 characters"),  # to 1e-61, where float32 has nothing left
        (0.9, 30, "halves every 6.6 characters"),
        (1.1, 60, "doubles every 7.3 characters"),
        (2.0, 200, "doubles every 1.0 characters"),
    ],
)
def test_a_linear_network_has_its_own_factor(factor, lags, words) -> None:
    network = linear_network(factor)

    found = gradient_by_lag(network, ids_of(2 * lags + 40), lags, 9)

    exact = float(network.tensors()["rnn.weight_hh_l0"][0, 0])  # as float32 holds it
    np.testing.assert_allclose(found.mean, found.mean[0] * exact ** np.arange(lags + 1), rtol=1e-9)
    np.testing.assert_allclose(found.spread, found.spread[0] * exact ** np.arange(lags + 1), rtol=1e-9)
    assert found.factor == pytest.approx(factor, rel=1e-6)
    assert words in found.words


def test_a_network_that_hands_nothing_on_lets_nothing_through() -> None:
    found = gradient_by_lag(linear_network(0.0), ids_of(80), 12, 9)

    assert found.mean[0] > 0
    assert not found.mean[1:].any()
    assert found.factor == 0
    assert "nothing gets through" in found.words


def test_an_explosion_past_all_numbers_is_not_called_a_gradient_of_nothing() -> None:
    """The state itself leaves float64 here, after 1,024 doublings."""
    with pytest.raises(CharlmError, match=r"^lags: .*fewer lags"):
        gradient_by_lag(linear_network(2.0), ids_of(2000), 600, 4)


def test_one_lag_is_enough_to_tell_a_factor() -> None:
    found = gradient_by_lag(linear_network(0.5), ids_of(40), 1, 9)

    assert found.mean[1] == pytest.approx(found.mean[0] / 2)
    assert found.factor == pytest.approx(0.5)
    assert "halves every 1.0 characters" in found.words


def test_a_gradient_that_dies_after_a_step_is_not_said_to_die_before_it() -> None:
    found = GradientByLag(np.array([1.0, 0.5, 0.0, 0.0]), np.zeros(4))

    assert "single step" not in found.words


@given(st.floats(0.2, 4), st.floats(1e-9, 1e9), st.integers(2, 80))
def test_the_factor_of_a_steady_decay_is_found_whatever_its_size_and_lag_0(factor, size, lags) -> None:
    mean = size * factor ** np.arange(lags + 1)
    mean[0] = 17.0  # the step into the read-out is no step of the cell

    found = GradientByLag(mean, np.zeros_like(mean))

    assert found.factor == pytest.approx(factor, rel=1e-6)


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-7, 1 - 1e-7])
def test_a_gradient_that_neither_shrinks_nor_grows_keeps_its_size(factor) -> None:
    found = GradientByLag(factor ** np.arange(50.0), np.zeros(50))

    assert found.words == "the gradient keeps its size"


def test_the_band_is_one_deviation_wide_and_never_reaches_nought() -> None:
    mean, spread = np.array([4.0, 2.0, 1.0, 0.0]), np.array([1.0, 1.9, 5.0, 0.0])

    low, high = GradientByLag(mean, spread).band

    assert low.tolist() == [3, 0.2, 0.1, 0]
    assert high.tolist() == [5, 3.9, 6, 0]


# Connectivity


def read_rows(network: RecurrentNetwork, rows: Tensor) -> Tensor:
    """Return the textbook's log-probabilities (V,) after the first layer was given rows (T, width), T ≤ V.

    The textbook looks rows up by symbol; here every character is a symbol of its own.
    """
    padding = torch.zeros(network.vocabulary_size - len(rows), rows.shape[1], dtype=rows.dtype)
    weights = weights_of(network) | {"embedding.weight": torch.cat([rows, padding])}
    memory = textbook.start(network.config.num_layers, H)
    logits, _ = textbook.read(textbook_kind(network), weights, list(range(len(rows))), memory)
    return logits[-1].log_softmax(dim=0)


def given_rows(network: RecurrentNetwork, ids: NDArray[np.uint16]) -> Tensor:
    rows = torch.eye(network.vocabulary_size, dtype=torch.float64)[ids.astype(np.int64)]
    weights = weights_of(network)
    return rows @ weights["embedding.weight"] if "embedding.weight" in weights else rows


@cells
@widths
@pytest.mark.parametrize("layers", [1, 2])
def test_connectivity_is_the_textbooks_gradient_by_autograd_and_by_finite_differences(
    kind, nonlinearity, embedding_size, layers
) -> None:
    network = network_of(kind, nonlinearity, layers=layers, embedding_size=embedding_size)
    ids = ids_of(4)
    rows = given_rows(network, ids)
    likeliest = int(read_rows(network, rows).argmax())

    def scored(changed: Tensor) -> Tensor:
        return read_rows(network, changed)[likeliest]

    leaf = rows.clone().requires_grad_()
    (by_autograd,) = torch.autograd.grad(scored(leaf), leaf)
    by_differences = torch.zeros_like(rows)
    for place in np.ndindex(*rows.shape):
        nudge = torch.zeros_like(rows)
        nudge[place] = 1e-5
        by_differences[place] = (scored(rows + nudge) - scored(rows - nudge)) / 2e-5

    found = saliency(network, ids)

    assert found.shape == (4,)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, by_autograd.norm(dim=1).numpy(), rtol=1e-9)
    np.testing.assert_allclose(found, by_differences.norm(dim=1).numpy(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_connectivity_is_the_same_with_more_symbols_than_are_fed_densely(kind) -> None:
    network, ids = network_of(kind, symbols=MANY), ids_of(5, MANY)
    leaf = given_rows(network, ids).requires_grad_()
    (expected,) = torch.autograd.grad(read_rows(network, leaf).max(), leaf)

    np.testing.assert_allclose(saliency(network, ids), expected.norm(dim=1).numpy(), rtol=1e-9)


def forgetful(kind: str) -> RecurrentNetwork:
    """Return a network whose state holds the last character alone."""
    network = network_of(kind, layers=2)
    with torch.no_grad():
        for name, weight in network.rnn.named_parameters():
            if "weight_hh" in name:
                weight.zero_()
            if "bias_ih" in name and kind != "rnn":
                weight[H : 2 * H] = -1e4  # the lstm's forget and the gru's update gate: shut, for good
    return network


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_a_network_that_ignores_its_past_hangs_on_the_last_character_alone(kind) -> None:
    found = saliency(forgetful(kind), ids_of(6))

    assert not found[:-1].any()
    assert found[-1] > 0


def test_connectivity_of_a_single_character_is_that_of_the_character() -> None:
    assert saliency(network_of("lstm"), ids_of(1)).shape == (1,)


def test_an_empty_text_has_no_connections() -> None:
    with pytest.raises(TextError, match=r"^text: must not be empty"):
        saliency(network_of("lstm"), ids_of(0))


# Files

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=12)
SIZES = st.lists(st.just(0.0) | st.floats(1e-60, 1e30), min_size=1, max_size=5)


@given(st.dictionaries(NAMES, SIZES, max_size=3))
@settings(max_examples=30)
def test_the_files_of_a_reach_hold_every_number_exactly_under_any_name(tables) -> None:
    found = {name: GradientByLag(np.array(sizes), np.array(sizes[::-1])) for name, sizes in tables.items()}
    lines = [
        [name, str(lag), mean, spread]
        for name, sizes in tables.items()
        for lag, (mean, spread) in enumerate(zip(sizes, sizes[::-1], strict=True))
    ]

    head, *rows = csv.reader(io.StringIO(as_csv(*lag_table(found)), newline=""))
    models = json.loads(as_json(lag_values(found)))["models"]

    assert head == ["model", "lag", "mean", "spread"]
    assert [[name, lag, float(mean), float(spread)] for name, lag, mean, spread in rows] == lines
    assert [(model["model"], model["mean"], model["spread"]) for model in models] == [
        (name, sizes, sizes[::-1]) for name, sizes in tables.items()
    ]
    assert [(model["factor"], model["words"]) for model in models] == [
        (gradient.factor, gradient.words) for gradient in found.values()
    ]


@given(st.dictionaries(NAMES, SIZES, max_size=3))
@settings(max_examples=30)
def test_the_files_of_connections_hold_every_number_exactly_under_any_name(tables) -> None:
    found = {name: Saliency(list('a",↵ㅎ'[: len(sizes)]), np.array(sizes)) for name, sizes in tables.items()}

    head, *rows = csv.reader(io.StringIO(as_csv(*saliency_table(found)), newline=""))
    models = json.loads(as_json(saliency_values(found)))["models"]

    assert head == ["model", "position", "character", "size"]
    assert [(name, int(place), mark, float(size)) for name, place, mark, size in rows] == [
        (name, place, mark, size)
        for name, each in found.items()
        for place, (mark, size) in enumerate(zip(each.marks, each.sizes.tolist(), strict=True))
    ]
    assert models == [
        {"model": name, "characters": list(each.marks), "sizes": each.sizes.tolist()} for name, each in found.items()
    ]
