"""A stack of recurrent cells with a linear read-out, in NumPy, as a LanguageModel.

The weights are torch's, prepared once for inference: matrices are transposed, the two biases added where the
equations allow, and the first layer's input product stored as a table with one row per symbol, because a
one-hot row times a matrix is one row of the matrix. An embedding is multiplied into the table.

Letters: B texts, T steps, V symbols, H hidden units, G blocks of weights.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from charlm.config.settings import ModelConfig
from charlm.errors import CheckpointError
from charlm.models.cells import Activations, Array, Cell, ClampedCell, cell_of
from charlm.models.language_model import Logits, Symbols

RecurrentState = tuple[Activations, ...]
"""The last activations of each layer; only the cell's memory is read from them."""


@dataclass(frozen=True)
class Layer:
    """A cell and its weights."""

    cell: Cell
    input_weight: Array  # (H, G·H); in the first layer the table (V, G·H), with the bias in every row
    input_bias: Array  # (G·H,)
    hidden_weight: Array  # (H, G·H)
    hidden_bias: Array | None  # (G·H,), only what cannot be added to the input bias

    def step(self, from_input: Array, before: Activations) -> Activations:
        """Return the activations that follow ``before``; ``from_input`` (B, G·H) is the input product with bias."""
        from_hidden = before["hidden"] @ self.hidden_weight
        if self.hidden_bias is not None:
            from_hidden += self.hidden_bias
        return self.cell.step(from_input, from_hidden, before)


class RecurrentModel:
    """Recurrent layers and a read-out: a LanguageModel that does not need torch.

    ``tensors`` are a RecurrentNetwork's, by torch's names and in torch's layout: ``rnn.weight_ih_l0``
    (G·H, V or E), ``rnn.weight_hh_l0`` (G·H, H), ``rnn.bias_ih_l0``, ``rnn.bias_hh_l0`` (G·H,), …,
    ``head.weight`` (V, H), ``head.bias`` (V,) and, where there is one, ``embedding.weight`` (V, E).
    With ``end``, the id of ``<end>``, which precedes every item, reading it resets the state: items are independent.
    Raises CheckpointError when a tensor is missing or has the wrong shape.
    """

    def __init__(
        self, config: ModelConfig, vocabulary_size: int, tensors: Mapping[str, Array], end: int | None = None
    ) -> None:
        check_shapes(config, vocabulary_size, tensors)
        self.config = config
        self.cell = cell_of(config.kind, config.nonlinearity)
        with np.errstate(all="ignore"):  # untrusted weights may overflow
            self._layers = [_layer(self.cell, tensors, depth) for depth in range(config.num_layers)]
        self._table = self._layers[0].input_weight
        self._head_weight = np.ascontiguousarray(tensors["head.weight"].T)  # (H, V)
        self._head_bias = tensors["head.bias"]
        self._end = end

    @property
    def vocabulary_size(self) -> int:
        """Number of symbols V."""
        return len(self._head_bias)

    def clamped(self, values: Mapping[tuple[int, int], float]) -> Self:
        """Return the model with hidden units, given by layer and index, clamped to values."""
        held = copy.copy(self)
        held._layers = [
            replace(layer, cell=ClampedCell(layer.cell, *zip(*there.items(), strict=True))) if there else layer
            for depth, layer in enumerate(self._layers)
            for there in [{index: value for (place, index), value in values.items() if place == depth}]
        ]
        return held

    def start(self, batch_size: int) -> RecurrentState:
        """Return the initial state for ``batch_size`` texts: zeros."""
        zeros = np.zeros((batch_size, self.config.hidden_size), self._table.dtype)
        return tuple(dict.fromkeys(self.cell.memory, zeros) for _ in self._layers)

    def step(self, ids: Symbols, state: RecurrentState) -> tuple[Logits, RecurrentState]:
        """Read one symbol of each text, ids (B,); return logits (B, V) of the next, and the new state."""
        state = self.advance(ids, state)
        return state[-1]["hidden"] @ self._head_weight + self._head_bias, state

    def advance(self, ids: Symbols, state: RecurrentState) -> RecurrentState:
        """Read one symbol of each text, ids (B,); return the new state, with all signals of all layers."""
        if self._end is not None:
            state = tuple(_cleared(layer, ids == self._end) for layer in state)
        after = [self._layers[0].step(self._table[ids], state[0])]
        for layer, before in zip(self._layers[1:], state[1:], strict=True):
            from_input = after[-1]["hidden"] @ layer.input_weight + layer.input_bias
            after.append(layer.step(from_input, before))
        return tuple(after)

    def read(self, ids: Symbols, state: RecurrentState) -> tuple[Logits, RecurrentState]:
        """Read a stretch of each text, ids (B, T); return logits (B, T, V) after each symbol, and the state.

        Computed layer by layer, so that the input products and the read-out are done for all steps at once.
        """
        ends = None if self._end is None else np.equal(ids.T, self._end)  # (T, B)
        hidden, last = _run(self._layers[0], self._table[ids.T], state[0], ends)
        after = [last]
        for layer, before in zip(self._layers[1:], state[1:], strict=True):
            hidden, last = _run(layer, hidden @ layer.input_weight + layer.input_bias, before, ends)
            after.append(last)
        logits = hidden @ self._head_weight + self._head_bias  # (T, B, V)
        return logits.swapaxes(0, 1), tuple(after)


def _run(
    layer: Layer, from_input: Array, activations: Activations, ends: NDArray[np.bool_] | None
) -> tuple[Array, Activations]:
    """Step through from_input (T, B, G·H); return the hidden state after each step (T, B, H), and the last activations.

    Where ``ends`` (T, B) is True, the state is reset before the step.
    """
    hidden = np.empty((*from_input.shape[:2], activations["hidden"].shape[-1]), from_input.dtype)
    for t, share in enumerate(from_input):
        if ends is not None:
            activations = _cleared(activations, ends[t])
        activations = layer.step(share, activations)
        hidden[t] = activations["hidden"]
    return hidden, activations


def _cleared(activations: Activations, texts: NDArray[np.bool_]) -> Activations:
    """Return activations reset to zeros in those ``texts`` (B,) that are True."""
    if not texts.any():
        return activations
    return {name: np.where(texts[:, None], values.dtype.type(0), values) for name, values in activations.items()}


def tensor_shapes(config: ModelConfig, vocabulary_size: int) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of all tensors of a model of this config."""
    rows = config.architecture.blocks * config.hidden_size
    width = config.embedding_size or vocabulary_size
    shapes: dict[str, tuple[int, ...]] = {}
    if config.embedding_size is not None:
        shapes["embedding.weight"] = (vocabulary_size, config.embedding_size)
    for depth in range(config.num_layers):
        shapes[f"rnn.weight_ih_l{depth}"] = (rows, config.hidden_size if depth else width)
        shapes[f"rnn.weight_hh_l{depth}"] = (rows, config.hidden_size)
        shapes[f"rnn.bias_ih_l{depth}"] = shapes[f"rnn.bias_hh_l{depth}"] = (rows,)
    return shapes | {"head.weight": (vocabulary_size, config.hidden_size), "head.bias": (vocabulary_size,)}


def check_shapes(config: ModelConfig, vocabulary_size: int, tensors: Mapping[str, Array]) -> None:
    """Raise CheckpointError unless ``tensors`` have exactly the names and shapes of this config."""
    expected = tensor_shapes(config, vocabulary_size)
    found = {name: tensor.shape for name, tensor in tensors.items()}
    for name in expected.keys() | found.keys():
        if expected.get(name) != found.get(name):
            raise CheckpointError(
                f"the tensor {name} has shape {found.get(name, 'none')}, but its config requires "
                f"{expected.get(name, 'none')}; this checkpoint is incomplete."
            )


def _input_weight(tensors: Mapping[str, Array], depth: int) -> Array:
    return np.ascontiguousarray(tensors[f"rnn.weight_ih_l{depth}"].T)


def _input_table(tensors: Mapping[str, Array]) -> Array:
    """Return the first layer's input product for each symbol, (V, G·H), without bias."""
    weight = _input_weight(tensors, 0)  # (V or E, G·H)
    return tensors["embedding.weight"] @ weight if "embedding.weight" in tensors else weight


def _layer(cell: Cell, tensors: Mapping[str, Array], depth: int) -> Layer:
    input_bias = tensors[f"rnn.bias_ih_l{depth}"] + tensors[f"rnn.bias_hh_l{depth}"]
    hidden_bias = None
    if cell.block_apart is not None:
        block = _block(cell, input_bias, cell.block_apart)
        hidden_bias = np.zeros_like(input_bias)
        hidden_bias[block] = tensors[f"rnn.bias_hh_l{depth}"][block]
        input_bias[block] = tensors[f"rnn.bias_ih_l{depth}"][block]
    return Layer(
        cell=cell,
        input_weight=_input_weight(tensors, depth) if depth else _input_table(tensors) + input_bias,
        input_bias=input_bias,
        hidden_weight=np.ascontiguousarray(tensors[f"rnn.weight_hh_l{depth}"].T),
        hidden_bias=hidden_bias,
    )


def _block(cell: Cell, bias: Array, index: int) -> slice:
    size = len(bias) // cell.blocks
    return slice(index * size, (index + 1) * size)
