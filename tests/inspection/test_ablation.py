"""A unit that is held stands still while all else goes on by the equations; what that costs is scored as always."""

import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.config.settings import ModelConfig
from charlm.errors import TextError
from charlm.evaluation import evaluate
from charlm.inspection import ablation
from charlm.inspection.ablation import ablate, bits
from charlm.inspection.patterns import PATTERNS, Values
from charlm.inspection.trace import Unit, trace
from charlm.models.recurrent import RecurrentModel, tensor_shapes
from charlm.text.streams import evaluation_streams
from tests.conftest import TEXT

KINDS = ["rnn", "lstm", "gru"]
SYMBOLS, SIZE = 11, 5
Tensors = Mapping[str, NDArray]
ClampedCell = Mapping[tuple[int, int], float]


def shape(kind: str, layers: int, **settings: object) -> ModelConfig:
    return ModelConfig.model_validate({"kind": kind, "hidden_size": SIZE, "num_layers": layers} | settings)


def weights(config: ModelConfig, seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """Return weights in float64, so that what is equal is equal to many digits."""
    random = np.random.default_rng(seed)
    return {name: random.normal(0, 0.7, size) for name, size in tensor_shapes(config, SYMBOLS).items()}


def some_ids(length: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, SYMBOLS, length).astype(np.uint8)


def held_steps(config: ModelConfig, tensors: Tensors, held: ClampedCell):
    """Return a function that reads one symbol: the textbook's equations, after which held units are overwritten.

    It returns the signals of each layer and the logits, and remembers the state itself.
    """
    size = config.hidden_size
    hidden = [np.zeros(size) for _ in range(config.num_layers)]
    cell = [np.zeros(size) for _ in range(config.num_layers)]

    def logistic(x: NDArray) -> NDArray:
        return 1 / (1 + np.exp(-x))

    def read(index: int) -> tuple[list[dict[str, NDArray]], NDArray]:
        x = np.eye(tensors["head.weight"].shape[0])[index]
        if "embedding.weight" in tensors:
            x = x @ tensors["embedding.weight"]
        signals = []
        for layer in range(config.num_layers):
            into = tensors[f"rnn.weight_ih_l{layer}"] @ x + tensors[f"rnn.bias_ih_l{layer}"]
            past = tensors[f"rnn.weight_hh_l{layer}"] @ hidden[layer] + tensors[f"rnn.bias_hh_l{layer}"]
            a, b = into.reshape(-1, size), past.reshape(-1, size)
            if config.kind == "rnn":
                new = {"hidden": np.tanh(a[0] + b[0]) if config.nonlinearity == "tanh" else np.maximum(a[0] + b[0], 0)}
            elif config.kind == "lstm":
                gates = {"input": logistic(a[0] + b[0]), "forget": logistic(a[1] + b[1])}
                gates |= {"candidate": np.tanh(a[2] + b[2]), "output": logistic(a[3] + b[3])}
                cell[layer] = gates["forget"] * cell[layer] + gates["input"] * gates["candidate"]
                new = gates | {"cell": cell[layer], "hidden": gates["output"] * np.tanh(cell[layer])}
            else:
                gates = {"reset": logistic(a[0] + b[0]), "update": logistic(a[1] + b[1])}
                gates["candidate"] = np.tanh(a[2] + gates["reset"] * b[2])
                shown = (1 - gates["update"]) * gates["candidate"] + gates["update"] * hidden[layer]
                new = gates | {"hidden": shown}
            for (depth, unit), value in held.items():
                if depth == layer:
                    new["hidden"][unit] = value
            x = hidden[layer] = new["hidden"]
            signals.append(new)
        return signals, tensors["head.weight"] @ x + tensors["head.bias"]

    return read


HOLDS: list[dict[tuple[int, int], float]] = [{}, {(0, 2): 0.75}, {(0, 0): -1.5, (0, 4): 0.25}, {(1, 1): 3.0}]
HOLDS.append({(0, 3): -0.5, (1, 0): 0.125, (1, 4): -2.0})


@pytest.mark.parametrize("held", HOLDS, ids=str)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", [*KINDS, "relu", "embedded"])
def test_held_units_stand_still_and_all_others_follow_the_equations(kind: str, layers: int, held: ClampedCell) -> None:
    special = {"relu": {"kind": "rnn", "nonlinearity": "relu"}, "embedded": {"kind": "lstm", "embedding_size": 3}}
    config = shape(**({"kind": kind, "layers": layers} | special.get(kind, {})))
    held = {place: value for place, value in held.items() if place[0] < layers}
    tensors, ids = weights(config), some_ids(23)
    if kind == "relu":
        tensors = {name: tensor / 2 for name, tensor in tensors.items()}  # or it grows without end
    model = RecurrentModel(config, SYMBOLS, tensors).clamped(held)
    read = held_steps(config, tensors, held)
    expected = [read(int(index)) for index in ids]
    found = trace(model, ids)
    for (layer, unit), value in held.items():
        assert set(found.over_time(Unit("hidden", layer, unit)).tolist()) == {value}
    for name, rows in found.signals.items():
        np.testing.assert_allclose(rows, [[layer[name] for layer in signals] for signals, _ in expected], atol=1e-6)
    logits, state = model.read(ids[None], model.start(1))
    np.testing.assert_allclose(logits[0], [row for _, row in expected], atol=1e-9)
    for layer, signals in enumerate(expected[-1][0]):
        for name in model.cell.memory:
            np.testing.assert_allclose(state[layer][name][0], signals[name], atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_reading_step_by_step_and_several_texts_at_once_is_held_too(kind: str) -> None:
    config = shape(kind, 2)
    model = RecurrentModel(config, SYMBOLS, weights(config)).clamped({(0, 1): 0.5, (1, 3): -0.5})
    ids = np.stack([some_ids(13, seed) for seed in range(3)])
    whole, _ = model.read(ids, model.start(3))
    state = model.start(3)
    for t in range(13):
        logits, state = model.step(ids[:, t], state)
        np.testing.assert_allclose(logits, whole[:, t], atol=1e-12)
        assert set(state[0]["hidden"][:, 1]) == {0.5}
        assert set(state[1]["hidden"][:, 3]) == {-0.5}


@pytest.mark.parametrize("kind", KINDS)
def test_holding_makes_another_model_and_leaves_this_one_as_it_was(kind: str) -> None:
    config = shape(kind, 2)
    model, ids = RecurrentModel(config, SYMBOLS, weights(config)), some_ids(17)[None]
    before, _ = model.read(ids, model.start(1))
    held = model.clamped({(0, 1): 0.5})
    both = held.clamped({(1, 2): -0.5})
    at_once = model.clamped({(0, 1): 0.5, (1, 2): -0.5})
    np.testing.assert_array_equal(model.read(ids, model.start(1))[0], before)
    np.testing.assert_array_equal(model.clamped({}).read(ids, model.start(1))[0], before)
    assert not np.allclose(held.read(ids, held.start(1))[0], before)
    np.testing.assert_array_equal(both.read(ids, both.start(1))[0], at_once.read(ids, at_once.start(1))[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", [0, 1])
def test_a_unit_that_nobody_listens_to_costs_nothing(kind: str, layer: int) -> None:
    config, unit = shape(kind, 2), 3
    tensors, ids = weights(config), some_ids(90)
    outgoing = [f"rnn.weight_hh_l{layer}", "head.weight" if layer else "rnn.weight_ih_l1"]
    for name in outgoing:
        tensors[name][:, unit] = 0
    deaf = RecurrentModel(config, SYMBOLS, tensors)
    assert abs(ablate(deaf, ids, layer, unit, {}).change) < 1e-12
    for name in outgoing:
        tensors[name][:, unit] = 2
    heard = RecurrentModel(config, SYMBOLS, tensors)
    assert abs(ablate(heard, ids, layer, unit, {}).change) > 1e-6


@pytest.fixture(params=KINDS)
def checkpoint(request, trained) -> Checkpoint:
    return Checkpoint.load(trained[request.param] / "best.safetensors")


LONG = (TEXT * 3)[:2311]
"""More than two pieces, the last of them a short one."""


def test_bits_are_the_evaluations(checkpoint: Checkpoint) -> None:
    ids, model = checkpoint.vocabulary.encode(LONG), checkpoint.model()
    held = model.clamped({(1, 2): 0.5})
    for one in (model, held):
        found = bits(one, ids)
        assert found.shape == (2310,)
        assert found.mean() == pytest.approx(
            evaluate(one, checkpoint.vocabulary, evaluation_streams(ids, 1)).bits_per_character, abs=1e-9
        )


@pytest.mark.parametrize("length", [2, 64, 65, 66, 129, 200])
def test_bits_are_the_surprise_at_each_character_wherever_a_piece_ends(length: int, monkeypatch) -> None:
    config = shape("lstm", 2)
    tensors, ids = weights(config), some_ids(length)
    read = held_steps(config, tensors, {})
    expected = []
    for index, following in itertools.pairwise(ids):
        _, logits = read(int(index))
        expected.append(-np.log2(np.exp(logits[following]) / np.exp(logits).sum()))
    monkeypatch.setattr(ablation, "_PIECE", 64)
    np.testing.assert_allclose(bits(RecurrentModel(config, SYMBOLS, tensors), ids), expected, atol=1e-9)


def test_a_unit_is_held_at_its_mean_and_the_change_is_what_that_costs(checkpoint: Checkpoint) -> None:
    ids, model = checkpoint.vocabulary.encode(LONG), checkpoint.model()
    layer, index = 1, 4
    found = ablate(model, ids, layer, index, {})
    mean = trace(model, ids).over_time(Unit("hidden", layer, index)).astype(np.float64).mean()
    assert found.unit == Unit("hidden", layer, index)
    assert found.value == pytest.approx(mean, abs=1e-9)
    lane = evaluation_streams(ids, 1)
    whole = evaluate(model, checkpoint.vocabulary, lane).bits_per_character
    without = evaluate(model.clamped({(layer, index): mean}), checkpoint.vocabulary, lane).bits_per_character
    assert found.whole == pytest.approx(whole, abs=1e-9)
    assert found.change == pytest.approx(without - whole, abs=1e-7)
    assert abs(found.change) > 1e-5


def test_a_unit_that_never_moved_may_be_held_where_it_was() -> None:
    config = shape("rnn", 1)
    tensors = weights(config)
    for name in ("rnn.weight_ih_l0", "rnn.weight_hh_l0"):
        tensors[name][2] = 0
    found = ablate(RecurrentModel(config, SYMBOLS, tensors), some_ids(80), 0, 2, {})
    assert found.value == pytest.approx(np.tanh(tensors["rnn.bias_ih_l0"][2] + tensors["rnn.bias_hh_l0"][2]), abs=1e-7)
    assert abs(found.change) < 1e-6


def test_inside_and_outside_are_two_means_that_make_the_whole(checkpoint: Checkpoint) -> None:
    ids, model = checkpoint.vocabulary.encode(LONG), checkpoint.model()
    names = ("quotes", "parentheses", "digit", "white-space", "since-newline")
    patterns = {name: PATTERNS[name](LONG) for name in names}
    found = ablate(model, ids, 0, 6, patterns)
    assert set(found.inside) == set(found.outside) == set(names)
    change = bits(model.clamped({(0, 6): found.value}), ids) - bits(model, ids)
    for name, values in patterns.items():
        marks = [bool(value) for value in values][1:]  # of the character that is guessed
        inside = np.mean([one for one, mark in zip(change, marks, strict=True) if mark])
        assert found.inside[name] == pytest.approx(inside, abs=1e-9)
        share = np.mean(marks)
        assert share * found.inside[name] + (1 - share) * found.outside[name] == pytest.approx(found.change, abs=1e-9)


def test_a_pattern_that_is_everywhere_or_nowhere_has_no_inside_and_outside(checkpoint: Checkpoint) -> None:
    ids = checkpoint.vocabulary.encode(LONG)

    def at(*places: int) -> Values:
        values = np.zeros(len(ids), np.float32)
        values[list(places)] = 1
        return values

    patterns = {"nowhere": at(), "everywhere": at(*range(2311)), "last": at(2310), "first": at(0)}
    found = ablate(checkpoint.model(), ids, 1, 1, patterns)
    assert set(found.inside) == set(found.outside) == {"last"}  # the first character is given, not guessed


@pytest.mark.parametrize("length", [0, 1])
def test_what_leaves_nothing_to_guess_is_refused(length: int, checkpoint: Checkpoint) -> None:
    with pytest.raises(TextError, match="nothing to predict"):
        ablate(checkpoint.model(), checkpoint.vocabulary.encode("The"[:length]), 0, 0, {})
