"""The recurrent cells, one step at a time and gate by gate, as a textbook writes them.

In the equations x is the input, h the hidden state, c the LSTM's cell state; an apostrophe marks the
value of the step before; σ is the logistic function and ⊙ multiplies element by element. Weights are
applied before a cell is asked: a step gets

    from_input   W_i x  + biases     (B, G·H)
    from_hidden  W_h h' (+ a bias)   (B, G·H)

with the G blocks in torch's order, and returns every signal by name, each (B, H). What it returns is also
what the next step needs, so a layer's state is simply its last activations.

The code works in the precision of what it is given.

Letters: B texts, H hidden units, G blocks of weights.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Activations = dict[str, Array]
"""The signals of one layer after one step, by name, each (B, H)."""


class Cell(Protocol):
    """One kind of recurrent cell."""

    memory: tuple[str, ...]
    """The signals that the next step needs."""
    signals: tuple[str, ...]
    """Every signal that a step returns."""
    blocks: int
    """Blocks of H rows in torch's weight matrices."""
    block_apart: int | None
    """The block whose recurrent bias cannot be added to the input's, if there is one."""

    def step(self, from_input: Array, from_hidden: Array, before: Activations) -> Activations:
        """Return the activations that follow ``before``."""


class ElmanRNN:
    """The vanilla recurrent network (Elman, "Finding Structure in Time", 1990).

    h = tanh(W_i x + b_i + W_h h' + b_h), or relu in place of tanh.
    """

    memory: tuple[str, ...] = ("hidden",)
    signals: tuple[str, ...] = ("hidden",)
    blocks = 1
    block_apart: int | None = None

    def __init__(self, nonlinearity: Callable[[Array], Array]) -> None:
        self._nonlinearity = nonlinearity

    def step(self, from_input: Array, from_hidden: Array, before: Activations) -> Activations:
        """Return the activations that follow ``before``."""
        return {"hidden": self._nonlinearity(from_input + from_hidden)}


class LSTM:
    """Long short-term memory (Hochreiter & Schmidhuber 1997) with forget gate (Gers et al. 2000).

    i = σ(W_ii x + b_ii + W_hi h' + b_hi)       input gate: how much of the candidate is written
    f = σ(W_if x + b_if + W_hf h' + b_hf)       forget gate: how much of the old cell stays
    g = tanh(W_ig x + b_ig + W_hg h' + b_hg)    candidate
    o = σ(W_io x + b_io + W_ho h' + b_ho)       output gate: how much of the cell is shown
    c = f ⊙ c' + i ⊙ g                          cell state
    h = o ⊙ tanh(c)                             hidden state
    """

    memory: tuple[str, ...] = ("hidden", "cell")
    signals: tuple[str, ...] = ("hidden", "cell", "input", "forget", "candidate", "output")
    blocks = 4
    block_apart: int | None = None

    def step(self, from_input: Array, from_hidden: Array, before: Activations) -> Activations:
        """Return the activations that follow ``before``."""
        total = from_input + from_hidden  # (B, 4H)
        gates = sigmoid(total)  # the candidate's block is squashed by tanh instead, below
        size = total.shape[-1] // 4
        i, f, o = gates[:, :size], gates[:, size : 2 * size], gates[:, 3 * size :]
        g = np.tanh(total[:, 2 * size : 3 * size])
        c = f * before["cell"] + i * g
        h = o * np.tanh(c)
        return {"hidden": h, "cell": c, "input": i, "forget": f, "candidate": g, "output": o}


class GRU:
    """Gated recurrent unit (Cho et al. 2014), with the reset after the matrix product, as in cuDNN and torch.

    r = σ(W_ir x + b_ir + W_hr h' + b_hr)            reset gate: how much of the past the candidate sees
    z = σ(W_iz x + b_iz + W_hz h' + b_hz)            update gate: how much of the past stays
    n = tanh(W_in x + b_in + r ⊙ (W_hn h' + b_hn))   candidate
    h = (1 − z) ⊙ n + z ⊙ h'                         hidden state
    """

    memory: tuple[str, ...] = ("hidden",)
    signals: tuple[str, ...] = ("hidden", "reset", "update", "candidate")
    blocks = 3
    block_apart: int | None = 2  # b_hn stands inside the product with r

    def step(self, from_input: Array, from_hidden: Array, before: Activations) -> Activations:
        """Return the activations that follow ``before``."""
        size = from_input.shape[-1] // 3
        gates = sigmoid(from_input[:, : 2 * size] + from_hidden[:, : 2 * size])
        r, z = gates[:, :size], gates[:, size:]
        n = np.tanh(from_input[:, 2 * size :] + r * from_hidden[:, 2 * size :])
        h = (1 - z) * n + z * before["hidden"]
        return {"hidden": h, "reset": r, "update": z, "candidate": n}


class ClampedCell:
    """A cell some of whose hidden units stand still, whatever it computes: an experiment on what they do."""

    def __init__(self, cell: Cell, units: Sequence[int], values: Sequence[float]) -> None:
        self.memory, self.signals = cell.memory, cell.signals
        self.blocks, self.block_apart = cell.blocks, cell.block_apart
        self._cell = cell
        self._units = list(units)
        self._values = list(values)

    def step(self, from_input: Array, from_hidden: Array, before: Activations) -> Activations:
        """Return the activations that follow ``before``, but for the units that are held."""
        activations = self._cell.step(from_input, from_hidden, before)
        activations["hidden"][:, self._units] = self._values
        return activations


def cell_of(kind: Literal["rnn", "lstm", "gru", "markov"], nonlinearity: Literal["tanh", "relu"]) -> Cell:
    """Return the cell that a config names; raises ValueError for a Markov model, which has none."""
    match kind:
        case "rnn":
            return ElmanRNN(np.tanh if nonlinearity == "tanh" else relu)
        case "lstm":
            return LSTM()
        case "gru":
            return GRU()
        case _:
            raise ValueError(f"{kind} is no recurrent network")


def sigmoid(x: Array) -> Array:
    """Return σ(x) = 1 / (1 + exp(−x)), written with tanh because exp overflows where tanh does not."""
    y: Array = np.tanh(0.5 * x)
    y *= 0.5
    y += 0.5
    return y


def relu(x: Array) -> Array:
    """Return max(x, 0)."""
    positive: Array = np.maximum(x, 0)
    return positive
