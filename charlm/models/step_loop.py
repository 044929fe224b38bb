"""A stack of any recurrent cell as a torch module: a plain loop, for cells without a fused kernel in torch.

It runs the classes of charlm.models.cells, with which NumPy reads and traces texts, on tensors, so that autograd
differentiates the same equations. It is many times slower than a fused kernel.

Letters: B lanes, T steps, L layers, H hidden units, G blocks of weights.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear

from charlm.models.cells import Cell

State = Tensor | tuple[Tensor, ...]
"""Hidden state (L, B, H), in a tuple with the cell state for an LSTM."""

NetworkState = State | None
"""A state, or None at the beginning of a text, where it is zero."""

WEIGHTS_PER_LAYER = 4
"""Number of parameters of a layer: weight_ih, weight_hh, bias_ih and bias_hh, in torch's order."""


class StepLoop(nn.Module):
    """Layers of one cell, with the interface of ``nn.RNNBase``: weight names and layout, state, dropout; batch first.

    The weights are not initialized.
    """

    def __init__(self, cell: Cell, input_size: int, hidden_size: int, *, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dropout = dropout
        rows = cell.blocks * hidden_size
        for depth in range(num_layers):
            shapes = {
                "weight_ih": (rows, hidden_size if depth else input_size),
                "weight_hh": (rows, hidden_size),
                "bias_ih": (rows,),
                "bias_hh": (rows,),
            }
            for name, shape in shapes.items():
                self.register_parameter(f"{name}_l{depth}", nn.Parameter(torch.empty(shape)))

    def forward(self, rows: Tensor, state: NetworkState = None) -> tuple[Tensor, NetworkState]:
        """Read rows (B, T, input) from a state; return the last layer's hidden state (B, T, H) and the state after."""
        if state is None:
            zeros = rows.new_zeros(self.num_layers, len(rows), self.hidden_size)
            state = state_of([zeros] * len(self.cell.memory))
        return self.run(rows, state, list(self.parameters()))

    def run(self, rows: Tensor, state: State, weights: Sequence[Tensor]) -> tuple[Tensor, State]:
        """Compute `forward` with the given weights: those of one or more layers, in torch's order."""
        after: list[dict[str, Any]] = []
        for depth in range(len(weights) // WEIGHTS_PER_LAYER):
            before = {name: part[depth] for name, part in zip(self.cell.memory, parts_of(state), strict=True)}
            if depth:
                rows = dropout(rows, self.dropout, self.training)
            rows, last = self._layer(rows, before, weights[WEIGHTS_PER_LAYER * depth :][:WEIGHTS_PER_LAYER])
            after.append(last)
        return rows, state_of([torch.stack([last[name] for last in after]) for name in self.cell.memory])

    def _layer(
        self, rows: Tensor, activations: dict[str, Any], weights: Sequence[Tensor]
    ) -> tuple[Tensor, dict[str, Any]]:
        """Step through rows (B, T, input); return the hidden states (B, T, H) and the last activations."""
        input_weight, hidden_weight, input_bias, hidden_bias = weights
        hidden = []
        for from_input in linear(rows, input_weight, input_bias).unbind(dim=1):  # (B, G·H) each
            from_hidden: Any = linear(activations["hidden"], hidden_weight, hidden_bias)
            step: Any = self.cell.step  # typed for arrays; tensors work, too
            activations = step(from_input, from_hidden, activations)
            hidden.append(activations["hidden"])
        return torch.stack(hidden, dim=1), activations


def state_of(parts: Sequence[Tensor]) -> State:
    """Return tensors (L, B, H), hidden state first, as a state in the form that torch's modules use."""
    return tuple(parts) if len(parts) > 1 else parts[0]


def parts_of(state: State) -> tuple[Tensor, ...]:
    """Return the tensors (L, B, H) of a state, hidden state first."""
    return state if isinstance(state, tuple) else (state,)
