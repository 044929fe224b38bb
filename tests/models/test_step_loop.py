"""A plain loop over a cell is torch's fused kernel: the same weights, outputs, states, gradients and dropout."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from charlm.architectures import ARCHITECTURES
from charlm.config.settings import ModelConfig
from charlm.models.cells import cell_of
from charlm.models.network import NetworkState, RecurrentNetwork, restarted
from charlm.models.recurrent import RecurrentModel
from charlm.models.step_loop import StepLoop
from charlm.training.state import detached
from tests.models.test_models import MANY, B, E, H, T, V, assert_close, cells, config_of, depths, ids_of, network_of


def parts_of(state: NetworkState) -> tuple[Tensor, ...]:
    assert state is not None
    return state if isinstance(state, tuple) else (state,)


@pytest.fixture
def without_kernels(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Take the fused kernel from every kind."""
    for kind, row in ARCHITECTURES.items():
        monkeypatch.setitem(ARCHITECTURES, kind, replace(row, kernel=None))
    return monkeypatch


def both(config: ModelConfig, symbols: int, monkeypatch: pytest.MonkeyPatch) -> tuple[RecurrentNetwork, ...]:
    """Return the same network in float64 on torch's kernel and on a plain loop."""
    fused = network_of(config, symbols).double()
    with monkeypatch.context() as patch:
        patch.setitem(ARCHITECTURES, config.kind, replace(config.architecture, kernel=None))
        looped = RecurrentNetwork(config, symbols).double()
    assert isinstance(fused.rnn, nn.RNNBase)
    assert isinstance(looped.rnn, StepLoop)
    looped.load_state_dict(fused.state_dict())
    return fused, looped


@cells
@depths
@pytest.mark.parametrize(("symbols", "embedding_size"), [(V, None), (V, E), (MANY, None)])
def test_logits_state_and_gradients_are_the_fused_kernels(
    kind, nonlinearity, layers, symbols, embedding_size, monkeypatch
) -> None:
    """Over two windows with the state carried and the gradient cut, in float64; MANY symbols are gathered."""
    config = config_of(kind, nonlinearity, layers, embedding_size)
    fused, looped = both(config, symbols, monkeypatch)
    ids = torch.from_numpy(ids_of((B, 2 * T), symbols))
    states: list[NetworkState] = [None, None]

    for window in ids.split(T, dim=1):
        (expected, states[0]), (found, states[1]) = fused(window, states[0]), looped(window, states[1])
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
        assert isinstance(states[0], tuple) == isinstance(states[1], tuple)
        for one, other in zip(*map(parts_of, states), strict=True):
            torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-11)
        expected.square().mean().backward()
        found.square().mean().backward()
        states = [detached(state) for state in states]

    gradients = {name: weight.grad for name, weight in fused.named_parameters()}
    for name, weight in looped.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[name], rtol=1e-8, atol=1e-10)


@cells
def test_in_float32_it_keeps_the_promise_that_numpy_keeps(kind, nonlinearity, without_kernels) -> None:
    config = config_of(kind, nonlinearity, 2)
    network = network_of(config)
    ids = ids_of((B, T))
    model = RecurrentModel(config, V, network.tensors())

    with torch.no_grad():
        found, _ = network(torch.from_numpy(ids))

    assert_close(found.numpy(), model.read(ids, model.start(B))[0])


@cells
def test_first_weights_names_and_their_order_are_the_fused_kernels(kind, nonlinearity, monkeypatch) -> None:
    config = config_of(kind, nonlinearity, 2, E)
    fused = RecurrentNetwork(config, V, seed=9)
    monkeypatch.setitem(ARCHITECTURES, kind, replace(config.architecture, kernel=None))
    looped = RecurrentNetwork(config, V, seed=9)

    assert list(looped.state_dict()) == list(fused.state_dict())
    for name, weight in fused.state_dict().items():
        assert torch.equal(looped.state_dict()[name], weight), name


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_lanes_are_restarted_in_every_part_of_a_state(kind, without_kernels) -> None:
    network = network_of(config_of(kind, "tanh", 2))
    ids = torch.from_numpy(ids_of((B, T)))
    _, state = network(ids)
    lanes = torch.tensor([False, True, False]).numpy()

    found, _ = network(ids, restarted(state, lanes))

    torch.testing.assert_close(found[1], network(ids)[0][1])
    torch.testing.assert_close(found[::2], network(ids, state)[0][::2])


def test_dropout_silences_the_units_between_layers_in_training_alone() -> None:
    """As in nn.RNNBase: what goes up is masked and scaled, what a layer remembers is not, the top is left alone."""
    torch.manual_seed(3)
    loop = StepLoop(cell_of("rnn", "tanh"), V, H, num_layers=2, dropout=0.5)
    for weight in loop.parameters():
        nn.init.normal_(weight, std=0.5)
    with torch.no_grad():
        loop.weight_ih_l1.copy_(torch.eye(H))
        loop.weight_hh_l1.zero_()
        loop.bias_ih_l1.zero_()
        loop.bias_hh_l1.zero_()
    rows = torch.randn(B, T, V)
    single = StepLoop(cell_of("rnn", "tanh"), V, H, num_layers=1, dropout=0.5)
    single.load_state_dict({name: value for name, value in loop.state_dict().items() if name.endswith("l0")})
    below, _ = single.train()(rows)  # a single layer has nothing above it to drop

    found, _ = loop.train()(rows)
    silenced = found == 0
    share = silenced.double().mean().item()

    torch.testing.assert_close(below, single.eval()(rows)[0])
    assert 0.25 < share < 0.75
    torch.testing.assert_close(found[~silenced], torch.tanh(2 * below)[~silenced])
    torch.testing.assert_close(loop.eval()(rows)[0], torch.tanh(below))
