"""The recurrent cells, one step at a time and gate by gate, as a textbook writes them.

In the equations x is the input, h the hidden state, c the LSTM's cell state; an apostrophe marks the
value of the step before; σ is the logistic function and ⊙ multiplies element by element. Weights are
applied before a cell is asked: a step gets

    from_input   W_i x  + biases     (B, G·H)
    from_hidden  W_h h' (+ a bias)   (B, G·H)

with the G blocks in torch's order, and returns every signal by name, each (B, H). What it returns is also
what the next step needs, so a layer's state is simply its last activations.

The code works in the precision of what it is given, and on whatever it is given: on NumPy's arrays to read and to trace
a text, on torch's tensors to train a cell that torch has no kernel for.

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
    """One kind of recurrent cell: its row in the table of architectures, and its equations."""

    def __init__(self, architecture: Architecture, nonlinearity: Function) -> None:
        self.architecture = architecture
        self.nonlinearity = nonlinearity
        self.memory = architecture.memory
        """The signals that the next step needs."""
        self.signals = architecture.signal_names
        """Every signal that a step returns."""
        self.blocks = architecture.blocks
        """Blocks of H rows in the weight matrices."""
        self.block_apart = architecture.block_apart
        """The block whose recurrent bias cannot be added to the input's, if there is one."""

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

    i = σ(W_ii x + b_ii + W_hi h' + b_hi)       input gate: how much of the candidate is written
    f = σ(W_if x + b_if + W_hf h' + b_hf)       forget gate: how much of the old cell stays
    g = tanh(W_ig x + b_ig + W_hg h' + b_hg)    candidate
    o = σ(W_io x + b_io + W_ho h' + b_ho)       output gate: how much of the cell is shown
    c = f ⊙ c' + i ⊙ g                          cell state
    h = o ⊙ tanh(c)                             hidden state
    """

    def step(self, from_input: Array, from_hidden: Array, before: Activations) -> Activations:
        """Return the activations that follow ``before``."""
        total = from_input + from_hidden  # (B, 4H)
        gates = sigmoid(total)  # the candidate's block is squashed by tanh instead, below
        size = total.shape[-1] // 4
        i, f, o = gates[:, :size], gates[:, size : 2 * size], gates[:, 3 * size :]
        g = tanh(total[:, 2 * size : 3 * size])
        c = f * before["cell"] + i * g
        h = o * tanh(c)
        return {"hidden": h, "cell": c, "input": i, "forget": f, "candidate": g, "output": o}


class GRU(Cell):
    """Gated recurrent unit (Cho et al. 2014), with the reset after the matrix product, as in cuDNN and torch.

    r = σ(W_ir x + b_ir + W_hr h' + b_hr)            reset gate: how much of the past the candidate sees
    z = σ(W_iz x + b_iz + W_hz h' + b_hz)            update gate: how much of the past stays
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
    """A cell some of whose hidden units are held at values, whatever it computes: an experiment on what they do."""

    def __init__(self, cell: Cell, units: Sequence[int], values: Sequence[float]) -> None:
        super().__init__(cell.architecture, cell.nonlinearity)
        self._cell = cell
        self._units = list(units)
        self._values = list(values)

    def step(self, from_input: Array, from_hidden: Array, before: Activations) -> Activations:
        """Return the activations that follow ``before``, but for the units that are held."""
        activations = self._cell.step(from_input, from_hidden, before)
        activations["hidden"][:, self._units] = self._values
        return activations


def cell_of(kind: str, nonlinearity: str) -> Cell:
    """Return the cell that a config names; raises KeyError for a kind that has none, such as a Markov model."""
    return _CELLS[kind](ARCHITECTURES[kind], {"tanh": tanh, "relu": relu}[nonlinearity])


def sigmoid(x: Array) -> Array:
    """Return σ(x) = 1 / (1 + exp(−x)); for arrays written with tanh, because exp overflows where tanh does not."""
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
    """Return a function of a tensor by the tensor's own method, so that gradients flow and torch is not imported."""
    return getattr(x, function)()


_CELLS: Mapping[str, type[Cell]] = {"rnn": ElmanRNN, "lstm": LSTM, "gru": GRU}
"""The class of each kind."""
