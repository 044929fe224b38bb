"""Weight drop, locked dropout and dropped symbols: the textbook's loops with the same masks, and laws of the masks."""

from dataclasses import fields, replace
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from charlm.architectures import ARCHITECTURES
from charlm.config.settings import ModelConfig
from charlm.models import network as network_module
from charlm.models.masks import Masks, MaskSource
from charlm.models.network import NetworkModel, RecurrentNetwork
from charlm.models.step_loop import parts_of
from charlm.training.state import detached
from tests.harness import textbook
from tests.models.test_models import MANY, B, E, H, T, V, cells, config_of, depths, ids_of, network_of

CPU = torch.device("cpu")
DROPOUTS = ("weight_dropout", "locked_dropout", "input_dropout")
SUBSETS = [chosen for size in (1, 2, 3) for chosen in combinations(DROPOUTS, size)]
INPUTS = {"dense": (V, None), "embedding": (V, E), "gathered": (MANY, None)}

subsets = pytest.mark.parametrize("chosen", SUBSETS, ids="+".join)
inputs = pytest.mark.parametrize(("symbols", "embedding_size"), INPUTS.values(), ids=INPUTS)
kernels = pytest.mark.parametrize("fused", [True, False], ids=["kernel", "loop"])


def dropping(config: ModelConfig, chosen: tuple[str, ...], probability: float = 0.4) -> ModelConfig:
    return ModelConfig.model_validate(config.model_dump() | dict.fromkeys(chosen, probability))


def masks_of(config: ModelConfig, symbols: int = V, *, seed: int = 1, step: int = 0, lanes: int = B) -> Masks:
    masks = MaskSource(config, symbols, seed, CPU).at(step, lanes)
    assert masks is not None
    return masks


def tensors_of(masks: Masks) -> dict[str, Tensor]:
    """Return all masks by their place."""
    found: dict[str, Tensor] = {}
    for field in fields(masks):
        value = getattr(masks, field.name)
        parts = () if value is None else value if isinstance(value, tuple) else (value,)
        found |= {f"{field.name}.{place}": part for place, part in enumerate(parts)}
    return found


def textbook_logits(network: RecurrentNetwork, ids: Tensor, windows: list[Masks]) -> tuple[Tensor, list[Tensor]]:
    """Return logits (B, T, V) of a text in windows by scalar loops, and the parameters that have their gradients."""
    config = network.config
    kind = config.nonlinearity if config.kind == "rnn" else config.kind
    leaves = {name: value.detach().clone().requires_grad_() for name, value in network.named_parameters()}
    logits = []
    for lane in range(len(ids)):
        memory, read = textbook.start(config.num_layers, config.hidden_size), []
        for masks, window in zip(windows, ids[lane].chunk(len(windows)), strict=True):
            recurrent = {
                f"rnn.weight_hh_l{layer}": leaves[f"rnn.weight_hh_l{layer}"] * mask
                for layer, mask in enumerate(masks.weights)
            }
            symbols = None if masks.symbols is None else masks.symbols[lane]
            outputs = [mask[lane, 0] for mask in masks.outputs] or None
            found, memory = textbook.read(kind, leaves | recurrent, window.tolist(), memory, symbols, outputs)
            read.append(found)
        logits.append(torch.cat(read))
    return torch.stack(logits), list(leaves.values())


@cells
@depths
@inputs
@subsets
def test_masked_logits_and_gradients_are_the_textbooks(
    kind, nonlinearity, layers, symbols, embedding_size, chosen
) -> None:
    """Over two windows, each with its masks; the state between them is not masked."""
    config = dropping(config_of(kind, nonlinearity, layers, embedding_size), chosen)
    network = network_of(config, symbols).double().train()
    ids = torch.from_numpy(ids_of((2, 6), symbols)) % 4 + symbols - 4  # few symbols, so that some occur twice
    windows = [masks_of(config, symbols, step=step, lanes=2) for step in range(2)]

    expected, leaves = textbook_logits(network, ids, windows)
    first, state = network(ids[:, :3], None, windows[0])
    found = torch.cat([first, network(ids[:, 3:], state, windows[1])[0]], dim=1)
    expected.square().sum().backward()
    found.square().sum().backward()

    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    for weight, leaf in zip(network.parameters(), leaves, strict=True):
        torch.testing.assert_close(weight.grad, leaf.grad, rtol=1e-8, atol=1e-10)


@cells
@depths
@inputs
@subsets
def test_a_cell_without_a_kernel_is_masked_alike(
    kind, nonlinearity, layers, symbols, embedding_size, chosen, monkeypatch
) -> None:
    """Over two windows, with the state carried and other masks in the second."""
    config = dropping(config_of(kind, nonlinearity, layers, embedding_size), chosen)
    fused = network_of(config, symbols).double().train()
    monkeypatch.setitem(ARCHITECTURES, kind, replace(config.architecture, kernel=None))
    looped = RecurrentNetwork(config, symbols).double().train()
    looped.load_state_dict(fused.state_dict())
    one = other = None

    for step, window in enumerate(torch.from_numpy(ids_of((B, 2 * T), symbols)).split(T, dim=1)):
        masks = masks_of(config, symbols, step=step)
        (expected, one), (found, other) = fused(window, one, masks), looped(window, other, masks)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
        for part, twin in zip(parts_of(one), parts_of(other), strict=True):
            assert part.shape == (layers, B, H)
            torch.testing.assert_close(twin, part, rtol=1e-9, atol=1e-11)
        one, other = detached(one), detached(other)


@cells
@subsets
def test_gathered_and_dense_inputs_are_masked_alike(kind, nonlinearity, chosen, monkeypatch) -> None:
    config = dropping(config_of(kind, nonlinearity, 2), chosen)
    network = network_of(config, MANY).double().train()
    ids, masks = torch.from_numpy(ids_of((B, T), MANY)), masks_of(config, MANY)

    gathered, _ = network(ids, None, masks)
    monkeypatch.setattr(network_module, "_GATHER_ABOVE", MANY)
    dense, _ = network(ids, None, masks)

    torch.testing.assert_close(gathered, dense, rtol=1e-9, atol=1e-11)


@cells
@depths
@pytest.mark.parametrize("embedding_size", [None, E])
def test_without_masks_it_is_torchs_own_module_bit_for_bit(kind, nonlinearity, layers, embedding_size) -> None:
    config = config_of(kind, nonlinearity, layers, embedding_size)
    network = network_of(config).train()
    ids = torch.from_numpy(ids_of((B, T)))
    rows = network.embedding(ids) if network.embedding else network_module.one_hot(ids, V, torch.float32)
    random_state = torch.get_rng_state()

    hidden, expected = network.rnn(rows)
    logits, state = network(ids, None, MaskSource(config, V, 1, CPU).at(0, B))

    assert torch.equal(logits, network.head(hidden))
    assert all(map(torch.equal, parts_of(state), parts_of(expected)))
    assert torch.equal(torch.get_rng_state(), random_state)


def test_one_step_masks_each_weight_once_and_each_lane_by_itself() -> None:
    """One mask of weights for all lanes; units and symbols dropped at all steps of a window, unlike in other lanes."""
    config = dropping(config_of("lstm", "tanh", 3), DROPOUTS)
    masks = masks_of(config, 50)

    assert [tuple(mask.shape) for mask in masks.weights] == [(4 * H, H)] * 3
    assert [tuple(mask.shape) for mask in masks.outputs] == [(B, 1, H)] * 3
    assert masks.symbols is not None
    assert tuple(masks.symbols.shape) == (B, 50)
    assert len({tuple(row.tolist()) for row in masks.symbols}) == B


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**40), st.sampled_from(SUBSETS))
@settings(max_examples=25, deadline=None)
def test_masks_are_a_function_of_seed_and_step_alone(seed, step, chosen) -> None:
    config = dropping(config_of("gru", "tanh", 2).model_copy(update={"hidden_size": 20}), chosen)
    before = torch.get_rng_state()
    first = tensors_of(masks_of(config, 64, seed=seed, step=step))
    torch.rand(3)
    torch.set_rng_state(before)
    again = tensors_of(masks_of(config, 64, seed=seed, step=step))

    assert first.keys() == again.keys()
    assert all(torch.equal(first[place], again[place]) for place in first)
    for others in (
        tensors_of(masks_of(config, 64, seed=seed, step=step + 1)),
        tensors_of(masks_of(config, 64, seed=seed ^ 1, step=step)),
    ):
        assert not any(torch.equal(first[place], others[place]) for place in first)
    places = list(first.values())
    for one, other in combinations(places, 2):  # whatever their shapes, they come from different random numbers
        length = min(one.numel(), other.numel())
        assert not torch.equal(one.flatten()[:length] == 0, other.flatten()[:length] == 0)
    for mask in places:
        if len(mask) == B:
            assert not any(torch.equal(mask[one], mask[other]) for one, other in combinations(range(B), 2))


def test_drawing_masks_leaves_torchs_random_state_alone() -> None:
    before = torch.get_rng_state()
    masks_of(dropping(config_of("lstm", "tanh", 2), DROPOUTS))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_all_lanes_share_depends_on_nothing_that_lanes_have_for_themselves() -> None:
    config = dropping(config_of("lstm", "tanh", 2), DROPOUTS)
    alone = masks_of(dropping(config_of("lstm", "tanh", 2), ("weight_dropout",)), 99, lanes=1)

    for mask, other in zip(masks_of(config).weights, alone.weights, strict=True):
        assert torch.equal(mask, other)


@pytest.mark.parametrize("probability", [0.05, 0.4, 0.9])
def test_a_mask_drops_at_its_rate_and_keeps_the_mean(probability) -> None:
    config = dropping(config_of("lstm", "tanh", 1).model_copy(update={"hidden_size": 64}), DROPOUTS, probability)
    for place, mask in tensors_of(masks_of(config, 500, lanes=100)).items():
        kept = mask[mask != 0]
        spread = 5 * (probability * (1 - probability) / mask.numel()) ** 0.5
        assert kept.unique().tolist() == pytest.approx([1 / (1 - probability)]), place
        assert 1 - kept.numel() / mask.numel() == pytest.approx(probability, abs=spread), place


def test_evaluation_uses_the_plain_weights() -> None:
    config = config_of("lstm", "tanh", 2)
    plain, dropped = network_of(config), network_of(dropping(config, DROPOUTS))
    ids = ids_of((B, T))

    expected, _ = NetworkModel(plain, CPU).read(ids, None)
    found, _ = NetworkModel(dropped, CPU).read(ids, None)

    assert (found == expected).all()


def test_locked_dropout_and_dropout_exclude_each_other() -> None:
    with pytest.raises(ValueError, match=r"(?s)locked_dropout.*model\.dropout"):
        ModelConfig(dropout=0.1, locked_dropout=0.1)
    for chosen in DROPOUTS[::2]:
        assert getattr(ModelConfig.model_validate({"dropout": 0.1, chosen: 0.2}), chosen) == 0.2
