"""The equations of the three cells, written a second time: scalars and loops in float64, no library's help.

Slow on purpose. Gradients are taken by torch's autograd over these very loops, so that a fused kernel is held
against the equations and not against itself.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
Memory = list[tuple[Tensor, Tensor]]
"""(hidden, cell) of each layer, each (H,); the cell is only used by an LSTM."""


def start(layers: int, size: int) -> Memory:
    """Return zeros."""
    return [(torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)) for _ in range(layers)]


def read(
    kind: str,
    weights: Weights,
    ids: list[int],
    memory: Memory,
    symbol_mask: Tensor | None = None,
    output_masks: list[Tensor] | None = None,
) -> tuple[Tensor, Memory]:
    """Read one text, a character at a time; return logits (T, V) and the memory after it.

    ``symbol_mask`` (V,) multiplies what the first layer reads of a symbol, and ``output_masks``, (H,) for each layer,
    what a layer hands upwards.
    """
    symbols = weights["head.weight"].shape[0]
    logits = []
    for index in ids:
        x = torch.zeros(symbols, dtype=torch.float64)
        x[index] = 1.0
        if "embedding.weight" in weights:
            x = x @ weights["embedding.weight"]
        if symbol_mask is not None:
            x = x * symbol_mask[index]
        after = []
        for layer, (hidden, cell) in enumerate(memory):
            x, cell = _step(kind, weights, layer, x, hidden, cell)  # noqa: PLW2901
            after.append((x, cell))
            if output_masks is not None:
                x = x * output_masks[layer]
        memory = after
        logits.append(weights["head.weight"] @ x + weights["head.bias"])
    return torch.stack(logits), memory


def _step(kind: str, weights: Weights, layer: int, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    blocks = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}[kind]
    into = weights[f"rnn.weight_ih_l{layer}"].chunk(blocks)
    past = weights[f"rnn.weight_hh_l{layer}"].chunk(blocks)
    into_bias = weights[f"rnn.bias_ih_l{layer}"].chunk(blocks)
    past_bias = weights[f"rnn.bias_hh_l{layer}"].chunk(blocks)

    def from_x(k: int) -> Tensor:
        return into[k] @ x + into_bias[k]

    def from_h(k: int) -> Tensor:
        return past[k] @ h + past_bias[k]

    if kind == "tanh":
        return torch.tanh(from_x(0) + from_h(0)), c
    if kind == "relu":
        return torch.clamp(from_x(0) + from_h(0), min=0), c
    if kind == "lstm":
        input_gate = _logistic(from_x(0) + from_h(0))
        forget_gate = _logistic(from_x(1) + from_h(1))
        candidate = torch.tanh(from_x(2) + from_h(2))
        output_gate = _logistic(from_x(3) + from_h(3))
        c = forget_gate * c + input_gate * candidate
        return output_gate * torch.tanh(c), c
    reset_gate = _logistic(from_x(0) + from_h(0))
    update_gate = _logistic(from_x(1) + from_h(1))
    candidate = torch.tanh(from_x(2) + reset_gate * from_h(2))
    return (1 - update_gate) * candidate + update_gate * h, c


def _logistic(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))
