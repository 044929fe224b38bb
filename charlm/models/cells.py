"""The step equations of the recurrent cells, written out gate by gate.

In the equations x is the input, h the hidden state, c the LSTM's cell state; an apostrophe marks the
value at the previous step; σ is the logistic function and ⊙ the element-wise product. The products with the
weight matrices are computed by the caller: a step gets

    from_input   W_i x  + biases     (B, G·H)
    from_hidden  W_h h' (+ a bias)   (B, G·H)

with the G blocks in torch's order, and returns all signals by name, each (B, H). The next step needs only
these, so a layer's state is its last activations.

The code keeps the precision of its arguments and accepts NumPy arrays (to read and trace a text) as well as torch
tensors (to train a cell for which torch has no kernel).

Letters: B texts, H hidden units, G blocks of weights.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charlm.architectures import ARCHITECTURES, Architecture

Array = NDArray[np.floating[Any]]
Activations = dict[str, Array]
"""The signals of one layer after one step, by name, each (B, H)."""
Function = Callable[[Array], Array]


class Cell(ABC):
    """A kind of recurrent cell: its `Architecture` and its step equations."""

    def __init__(self, architecture: Architecture, nonlinearity: Function) -> None:
        self.architecture = architecture
        self.nonlinearity = nonlinearity
        self.memory = architecture.memory
        """The signals that the next step needs."""
        self.signals = architecture.signal_names
        """The signals that a step returns."""
        self.blocks = architecture.blocks
        """Number of blocks of H rows in the weight matrices."""
        self.block_apart = architecture.block_apart
        """The block whose recurrent bias cannot be added to the input bias, if there is one."""

    @abstractmethod
    def step(self, from_input: Array, from_hidden: Array, before: Activations) -> Activations:
        """Return the activations that follow ``before``."""


class ElmanRNN(Cell):
    """The vanilla recurrent network (Elman, "Finding Structure in Time", 1990).

    h = tanh(W_i x + b_i + W_h h' + b_h), or relu in place of tanh.
    """

    def step(self, from_input: Array, from_hidden: Array, before: Activations) -> Activations:
        """Return the activations that follow ``before``."""
        return {"hidden": self.nonlinearity(from_input + from_hidden)}


class LSTM(Cell):
    """Long short-term memory (Hochreiter & Schmidhuber 1997) with forget gate (Gers et al. 2000).

    i = σ(W_ii x + b_ii + W_hi h' + b_hi)       input gate: how much of the candidate is added
    f = σ(W_if x + b_if + W_hf h' + b_hf)       forget gate: how much of the cell state is kept
    g = tanh(W_ig x + b_ig + W_hg h' + b_hg)    candidate
    o = σ(W_io x + b_io + W_ho h' + b_ho)       output gate: how much of the cell state is output
    c = f ⊙ c' + i ⊙ g                          cell state
    h = o ⊙ tanh(c)                             hidden state
    """

    def step(self, from_input: Array, from_hidden: Array, before: Activations) -> Activations:
        """Return the activations that follow ``before``."""
        total = from_input + from_hidden  # (B, 4H)
        gates = sigmoid(total)  # except the candidate's block, which takes tanh below
        size = total.shape[-1] // 4
        i, f, o = gates[:, :size], gates[:, size : 2 * size], gates[:, 3 * size :]
        g = tanh(total[:, 2 * size : 3 * size])
        c = f * before["cell"] + i * g
        h = o * tanh(c)
        return {"hidden": h, "cell": c, "input": i, "forget": f, "candidate": g, "output": o}


class GRU(Cell):
    """Gated recurrent unit (Cho et al. 2014), with the reset gate after the matrix product, as in cuDNN and torch.

    r = σ(W_ir x + b_ir + W_hr h' + b_hr)            reset gate: how much of h' enters the candidate
    z = σ(W_iz x + b_iz + W_hz h' + b_hz)            update gate: how much of h' is kept
    n = tanh(W_in x + b_in + r ⊙ (W_hn h' + b_hn))   candidate
    h = (1 − z) ⊙ n + z ⊙ h'                         hidden state
    """

    def step(self, from_input: Array, from_hidden: Array, before: Activations) -> Activations:
        """Return the activations that follow ``before``."""
        size = from_input.shape[-1] // 3
        gates = sigmoid(from_input[:, : 2 * size] + from_hidden[:, : 2 * size])
        r, z = gates[:, :size], gates[:, size:]
        n = tanh(from_input[:, 2 * size :] + r * from_hidden[:, 2 * size :])
        h = (1 - z) * n + z * before["hidden"]
        return {"hidden": h, "reset": r, "update": z, "candidate": n}


class ClampedCell(Cell):
    """A cell with some hidden units clamped to constant values, for ablation."""

    def __init__(self, cell: Cell, units: Sequence[int], values: Sequence[float]) -> None:
        super().__init__(cell.architecture, cell.nonlinearity)
        self._cell = cell
        self._units = list(units)
        self._values = list(values)

    def step(self, from_input: Array, from_hidden: Array, before: Activations) -> Activations:
        """Return the activations that follow ``before``, with the clamped units set to their values."""
        activations = self._cell.step(from_input, from_hidden, before)
        activations["hidden"][:, self._units] = self._values
        return activations


def cell_of(kind: str, nonlinearity: str) -> Cell:
    """Return the cell of a kind of model; raises KeyError for a kind without cells, such as a Markov model."""
    return _CELLS[kind](ARCHITECTURES[kind], {"tanh": tanh, "relu": relu}[nonlinearity])


def sigmoid(x: Array) -> Array:
    """Return σ(x) = 1 / (1 + exp(−x)); for arrays computed by tanh, which does not overflow."""
    if not isinstance(x, np.ndarray):
        return _of_tensor(x, "sigmoid")
    y: Array = np.tanh(0.5 * x)
    y *= 0.5
    y += 0.5
    return y


def tanh(x: Array) -> Array:
    """Return the hyperbolic tangent of x."""
    if not isinstance(x, np.ndarray):
        return _of_tensor(x, "tanh")
    squashed: Array = np.tanh(x)
    return squashed


def relu(x: Array) -> Array:
    """Return max(x, 0)."""
    if not isinstance(x, np.ndarray):
        return _of_tensor(x, "relu")
    positive: Array = np.maximum(x, 0)
    return positive


def _of_tensor(x: Any, function: str) -> Any:
    """Call the tensor's own method, so that autograd records it and torch need not be imported."""
    return getattr(x, function)()


_CELLS: Mapping[str, type[Cell]] = {"rnn": ElmanRNN, "lstm": LSTM, "gru": GRU}
"""The class of each kind of cell."""
