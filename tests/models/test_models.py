"""NumPy, torch's fused kernels and the textbook's loops must be one and the same model."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from charlm.config.settings import ModelConfig
from charlm.errors import CheckpointError, ConfigError
from charlm.models.cells import cell_of, sigmoid
from charlm.models.device import find_device
from charlm.models.network import NetworkModel, NetworkState, RecurrentNetwork
from charlm.models.recurrent import RecurrentModel, tensor_shapes
from charlm.training.state import detached
from tests.harness import textbook

B, T, H, V, E = 3, 11, 5, 7, 4  # all different, so that no swapped axis passes by luck
MANY = 300  # more symbols than a window is fed densely

CELLS = [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]
cells = pytest.mark.parametrize(("kind", "nonlinearity"), CELLS)
depths = pytest.mark.parametrize("layers", [1, 2, 3])


def config_of(kind: str, nonlinearity: str, layers: int, embedding_size: int | None = None) -> ModelConfig:
    tree = {"kind": kind, "nonlinearity": nonlinearity, "num_layers": layers, "hidden_size": H}
    return ModelConfig.model_validate(tree | {"embedding_size": embedding_size})


def network_of(config: ModelConfig, symbols: int = V, seed: int = 3) -> RecurrentNetwork:
    """Return a network whose every weight and bias is random, so that none can be left out unseen."""
    network = RecurrentNetwork(config, symbols)
    generator = torch.Generator().manual_seed(seed)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.4, generator=generator)
    return network


def ids_of(shape: tuple[int, ...], symbols: int = V, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, symbols, shape)


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """Hold the promise of 1e-5 · (1 + |x|)."""
    assert found.shape == expected.shape
    assert np.all(np.abs(found - expected) <= 1e-5 * (1 + np.abs(expected)))


@cells
@depths
@pytest.mark.parametrize("embedding_size", [None, E])
@pytest.mark.parametrize("symbols", [V, MANY])
def test_numpy_gives_torchs_logits(kind, nonlinearity, layers, embedding_size, symbols) -> None:
    config = config_of(kind, nonlinearity, layers, embedding_size)
    network = network_of(config, symbols)
    model, ids = RecurrentModel(config, symbols, network.tensors()), ids_of((B, T), symbols)

    expected, _ = NetworkModel(network, torch.device("cpu")).read(ids, None)

    assert_close(model.read(ids, model.start(B))[0], expected)


@cells
@depths
def test_numpys_memory_is_torchs_state(kind, nonlinearity, layers) -> None:
    config = config_of(kind, nonlinearity, layers)
    network = network_of(config)
    model, ids = RecurrentModel(config, V, network.tensors()), ids_of((B, T))

    _, found = model.read(ids, model.start(B))
    with torch.no_grad():
        _, state = network(torch.from_numpy(ids))

    expected = state if isinstance(state, tuple) else (state,)
    for name, tensor in zip(model.cell.memory, expected, strict=True):
        assert_close(np.stack([layer[name] for layer in found]), tensor.numpy())


@given(st.sampled_from(CELLS), st.integers(1, 3), st.lists(st.integers(0, V - 1), min_size=1, max_size=9), st.data())
@settings(max_examples=60, deadline=None)
def test_reading_at_once_is_reading_in_parts_is_stepping(cell, layers, text, data) -> None:
    config = config_of(*cell, layers)
    model, ids = RecurrentModel(config, V, network_of(config).tensors()), np.array([text, text[::-1]])
    cut = data.draw(st.integers(1, len(text)))

    whole, last = model.read(ids, model.start(2))
    head, state = model.read(ids[:, :cut], model.start(2))
    tail, state = model.read(ids[:, cut:], state) if cut < len(text) else (head[:, :0], state)
    steps, stepped = [], model.start(2)
    for column in ids.T:
        logits, stepped = model.step(column, stepped)
        steps.append(logits)

    assert_close(np.concatenate([head, tail], axis=1), whole)
    assert_close(np.stack(steps, axis=1), whole)
    for name in model.cell.memory:
        assert_close(state[-1][name], last[-1][name])
        assert_close(stepped[-1][name], last[-1][name])


@cells
def test_a_text_is_read_the_same_whatever_stands_beside_it(kind, nonlinearity) -> None:
    config = config_of(kind, nonlinearity, 2)
    model, ids = RecurrentModel(config, V, network_of(config).tensors()), ids_of((B, T))

    together, _ = model.read(ids, model.start(B))

    for lane in range(B):
        assert_close(model.read(ids[lane : lane + 1], model.start(1))[0], together[lane : lane + 1])


@cells
def test_reading_changes_neither_state_nor_model(kind, nonlinearity) -> None:
    config = config_of(kind, nonlinearity, 2)
    model, ids = RecurrentModel(config, V, network_of(config).tensors()), ids_of((B, T))
    _, state = model.read(ids, model.start(B))
    before = [{name: values.copy() for name, values in layer.items()} for layer in state]

    first, _ = model.read(ids, state)
    again, _ = model.read(ids, state)

    np.testing.assert_array_equal(first, again)
    for layer, kept in zip(state, before, strict=True):
        for name, values in kept.items():
            np.testing.assert_array_equal(layer[name], values)


@cells
def test_every_signal_that_a_cell_names_comes_out(kind, nonlinearity) -> None:
    config = config_of(kind, nonlinearity, 2)
    model = RecurrentModel(config, V, network_of(config).tensors())

    state = model.advance(ids_of((B,)), model.start(B))

    for layer in state:
        assert tuple(layer) == model.cell.signals
        assert all(values.shape == (B, H) for values in layer.values())


def test_an_lstms_gates_make_its_cell_and_hidden_state() -> None:
    rows = np.random.default_rng(2).normal(size=(2, B, 4 * H))
    before = {"hidden": np.zeros((B, H)), "cell": np.random.default_rng(4).normal(size=(B, H))}

    after = cell_of("lstm", "tanh").step(*rows, before)

    np.testing.assert_allclose(
        after["cell"], after["forget"] * before["cell"] + after["input"] * after["candidate"], rtol=1e-12
    )
    np.testing.assert_allclose(after["hidden"], after["output"] * np.tanh(after["cell"]), rtol=1e-12)


@given(st.floats(-1e4, 1e4))
def test_sigmoid_is_the_logistic_function_and_never_overflows(x) -> None:
    expected = 1 / (1 + np.exp(-x)) if x > -700 else 0.0

    assert sigmoid(np.array([x]))[0] == pytest.approx(expected, abs=1e-15)


# Gathering is about the first layer's one-hot rows, so the large vocabulary meets no embedding.
INPUTS = [(V, None), (V, E), (MANY, None)]


@cells
@depths
@pytest.mark.parametrize(("symbols", "embedding_size"), INPUTS)
@pytest.mark.parametrize("windows", [1, 3])
def test_fused_kernels_compute_the_textbooks_loss_and_gradients(
    kind, nonlinearity, layers, symbols, embedding_size, windows
) -> None:
    """In float64, over windows with the state carried and the gradient cut: truncated BPTT by hand."""
    config = config_of(kind, nonlinearity, layers, embedding_size)
    network = network_of(config, symbols).double()
    weights = {name: w.detach().clone().requires_grad_() for name, w in network.state_dict().items()}
    ids = ids_of((2, windows * 4 + 1), symbols)
    state: NetworkState = None
    memories = [textbook.start(layers, H) for _ in ids]

    for window in range(windows):
        inputs, targets = ids[:, window * 4 : window * 4 + 4], ids[:, window * 4 + 1 : window * 4 + 5]
        logits, state = network(torch.from_numpy(inputs), state)
        cross_entropy(logits.flatten(0, 1), torch.from_numpy(targets).flatten()).backward()
        rows = []
        for lane, memory in enumerate(memories):
            row, after = textbook.read(kind if kind != "rnn" else nonlinearity, weights, inputs[lane].tolist(), memory)
            memories[lane] = [(hidden.detach(), cell.detach()) for hidden, cell in after]
            rows.append(row)
        torch.testing.assert_close(logits, torch.stack(rows), rtol=1e-9, atol=1e-11)
        cross_entropy(torch.cat(rows), torch.from_numpy(targets).flatten()).backward()
        state = detached(state)

    for name, weight in network.named_parameters():
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, weights[name].grad, rtol=1e-8, atol=1e-10)


@cells
def test_gathering_the_windows_symbols_changes_nothing_but_the_cost(kind, nonlinearity) -> None:
    network = network_of(config_of(kind, nonlinearity, 2), MANY).double()
    ids = torch.from_numpy(ids_of((B, T), MANY))

    gathered, _ = network(ids)
    gathered.square().mean().backward()
    gradients = {name: w.grad.clone() for name, w in network.named_parameters() if w.grad is not None}
    network.zero_grad()
    rows = torch.nn.functional.one_hot(ids, MANY).double()
    dense = network.head(network.rnn(rows)[0])
    dense.square().mean().backward()

    torch.testing.assert_close(gathered, dense)
    for name, weight in network.named_parameters():
        torch.testing.assert_close(gradients[name], weight.grad)


def test_recurrent_weights_start_orthogonal_and_the_forget_gate_open() -> None:
    network = RecurrentNetwork(config_of("lstm", "tanh", 2), V, seed=1)
    tensors = network.tensors()

    for layer in range(2):
        for block in np.split(tensors[f"rnn.weight_hh_l{layer}"], 4):
            np.testing.assert_allclose(block @ block.T, np.eye(H), atol=1e-6)
        bias = tensors[f"rnn.bias_ih_l{layer}"] + tensors[f"rnn.bias_hh_l{layer}"]
        np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], H))


def test_the_seed_and_nothing_else_decides_the_first_weights() -> None:
    config = config_of("gru", "tanh", 2, E)
    torch.manual_seed(1)
    first = RecurrentNetwork(config, V, seed=9).tensors()
    torch.manual_seed(2)
    again = RecurrentNetwork(config, V, seed=9).tensors()
    other = RecurrentNetwork(config, V, seed=10).tensors()

    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
    assert any((values != other[name]).any() for name, values in first.items())


def test_dropout_works_between_layers_and_before_the_read_out_in_training_alone() -> None:
    config = ModelConfig(kind="lstm", hidden_size=H, num_layers=1, dropout=0.5)
    network, ids = RecurrentNetwork(config, V), torch.from_numpy(ids_of((B, T)))

    network.train()
    assert not torch.equal(network(ids)[0], network(ids)[0])
    network.eval()
    assert torch.equal(network(ids)[0], network(ids)[0])
    assert RecurrentNetwork(config.model_copy(update={"num_layers": 2}), V).rnn.dropout == 0.5


@cells
@pytest.mark.parametrize("embedding_size", [None, E])
def test_tensor_shapes_are_those_of_the_network(kind, nonlinearity, embedding_size) -> None:
    config = config_of(kind, nonlinearity, 2, embedding_size)

    shapes = {name: values.shape for name, values in RecurrentNetwork(config, V).tensors().items()}

    assert tensor_shapes(config, V) == shapes


@pytest.mark.parametrize("change", ["missing", "misshapen", "strange"])
def test_tensors_that_do_not_fit_the_config_are_refused(change) -> None:
    config = config_of("lstm", "tanh", 1)
    tensors = dict(RecurrentNetwork(config, V).tensors())
    if change == "missing":
        del tensors["head.bias"]
    elif change == "misshapen":
        tensors["head.bias"] = tensors["head.bias"][:-1]
    else:
        tensors["rnn.weight_ih_l1"] = tensors["rnn.weight_ih_l0"]

    with pytest.raises(CheckpointError, match="incomplete"):
        RecurrentModel(config, V, tensors)


def test_a_cell_is_found_by_its_name() -> None:
    assert [cell_of(kind, "tanh").blocks for kind in ("rnn", "gru", "lstm")] == [1, 3, 4]


def test_a_device_that_is_not_there_is_refused() -> None:
    assert find_device("cpu").type == "cpu"
    assert find_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    missing = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ConfigError, match="CUDA devices"):
        find_device(missing)
