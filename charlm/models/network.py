"""The recurrent model as a torch module, for training and for GPUs.

The recurrent layers run on torch's fused kernels (oneDNN, cuDNN), or on a plain loop for a cell without a kernel. The
first layer's input is one-hot, so the cost of its product grows with the vocabulary. For large vocabularies only the
columns of symbols that occur in the window are gathered: the result is the same, and the cost grows with the window
instead.

Letters: B lanes, T steps, V symbols, E embedding size, L layers, H hidden units, U symbols in the window.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from charlm.config.settings import ModelConfig
from charlm.errors import ConfigError
from charlm.models.cells import cell_of
from charlm.models.language_model import Logits, Symbols
from charlm.models.masks import Masks
from charlm.models.step_loop import WEIGHTS_PER_LAYER, NetworkState, State, StepLoop, parts_of, state_of

__all__ = [
    "NetworkModel",
    "NetworkState",
    "RecurrentNetwork",
    "initialize",
    "make_network",
    "one_hot",
    "restarted",
]

_GATHER_ABOVE = 256
"""Vocabulary size above which columns are gathered; below, the dense product is as fast."""


class RecurrentNetwork(nn.Module):
    """[embedding →] recurrent layers → read-out, with initial weights drawn from ``seed``."""

    def __init__(self, config: ModelConfig, vocabulary_size: int, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.vocabulary_size = vocabulary_size
        width = config.embedding_size or vocabulary_size
        self.embedding = nn.Embedding(vocabulary_size, width) if config.embedding_size else None
        self.rnn = _recurrent_layers(config, width)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden_size, vocabulary_size)
        initialize(self, seed)

    def forward(
        self, ids: Tensor, state: NetworkState = None, masks: Masks | None = None
    ) -> tuple[Tensor, NetworkState]:
        """Read ids (B, T) from ``state``; return logits (B, T, V) and the state after the last.

        ``masks`` say what is dropped; without them, only ``config.dropout`` drops, from torch's global random state.
        """
        rows, weights = self._input(ids)
        if state is None:
            zeros = rows.new_zeros(self.config.num_layers, len(ids), self.config.hidden_size)
            state = state_of([zeros] * len(self.config.architecture.memory))
        if masks is None:
            hidden, state = self._run(rows, state, weights)  # (B, T, H)
        else:
            hidden, state = self._run_masked(masks.input_rows(rows, ids), state, weights, masks)
        return self.head(self.dropout(hidden)), state

    def _input(self, ids: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the rows that the first layer reads, (B, T, ·), and all layers' weights, in torch's order.

        In a large vocabulary, both are those of the U symbols in ``ids`` alone.
        """
        first, *others = self.rnn.parameters()
        if self.embedding is not None:
            return self.embedding(ids), [first, *others]
        if self.vocabulary_size <= _GATHER_ABOVE:
            return one_hot(ids, self.vocabulary_size, first.dtype), [first, *others]
        symbols, places = torch.unique(ids, return_inverse=True)  # (U,), (B, T)
        return one_hot(places, len(symbols), first.dtype), [first.index_select(1, symbols), *others]

    def _run(self, rows: Tensor, state: State, weights: list[Tensor]) -> tuple[Tensor, State]:
        """Run the layers with these weights on rows (B, T, ·); return the last one's output and the state after."""
        if isinstance(self.rnn, StepLoop):
            return self.rnn.run(rows, state, weights)
        kernel: Any = getattr(torch, self.rnn.mode.lower())  # lstm, gru, rnn_tanh or rnn_relu
        layers = len(weights) // WEIGHTS_PER_LAYER
        hidden, *after = kernel(rows, state, weights, True, layers, self.rnn.dropout, self.training, False, True)
        return hidden, state_of(after)

    def _run_masked(self, rows: Tensor, state: State, weights: list[Tensor], masks: Masks) -> tuple[Tensor, State]:
        """Return what `_run` returns with masked recurrent weights; where outputs are masked, layer by layer."""
        weights = masks.recurrent(weights)
        if not masks.outputs:
            return self._run(rows, state, weights)
        after = []
        for layer, mask in enumerate(masks.outputs):
            before = state_of([part[layer : layer + 1] for part in parts_of(state)])
            hidden, last = self._run(rows, before, weights[WEIGHTS_PER_LAYER * layer :][:WEIGHTS_PER_LAYER])
            rows = hidden * mask
            after.append(parts_of(last))
        return rows, state_of([torch.cat(parts) for parts in zip(*after, strict=True)])

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return a copy of every weight by torch's name, in the form that `RecurrentModel` takes."""
        return {name: value.detach().float().cpu().numpy().copy() for name, value in self.state_dict().items()}

    def load_tensors(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Load weights that `tensors` returned."""
        self.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})


def restarted(state: NetworkState, lanes: NDArray[np.bool_]) -> NetworkState:
    """Return the state reset to zeros in those of its ``lanes`` (B,) that are True."""
    if state is None or not lanes.any():
        return state
    if lanes.all():
        return None
    parts = parts_of(state)
    mask = torch.from_numpy(lanes).to(parts[0].device)[:, None]
    return state_of([part.masked_fill(mask, 0) for part in parts])


def one_hot(ids: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Return the one-hot rows (B, T, size) of ids (B, T)."""
    return torch.zeros(*ids.shape, size, dtype=dtype, device=ids.device).scatter_(-1, ids.unsqueeze(-1), 1)


def initialize(network: RecurrentNetwork, seed: int) -> None:
    """Draw initial weights: orthogonal recurrent blocks, forget-gate bias 1, the rest uniform with torch's bounds.

    Orthogonal blocks preserve the norm of the state (Saxe et al. 2014); an open forget gate lets gradients flow from
    the first step (Gers et al. 2000; Jozefowicz et al. 2015).
    """
    generator = torch.Generator().manual_seed(seed)
    size, open_block = network.config.hidden_size, network.config.architecture.block_open
    for name, weight in network.named_parameters():
        if "weight_hh" in name:
            for block in torch.split(weight, size):
                nn.init.orthogonal_(block, generator=generator)
        elif "bias" in name:
            nn.init.zeros_(weight)
            if "bias_ih" in name and open_block is not None:
                nn.init.ones_(weight[open_block * size : (open_block + 1) * size])
        else:
            bound = 1.0 if name.startswith("embedding") else size**-0.5
            nn.init.uniform_(weight, -bound, bound, generator=generator)


def _recurrent_layers(config: ModelConfig, width: int) -> nn.RNNBase | StepLoop:
    """Return the recurrent layers: torch's module for this cell, or a `StepLoop` where torch has none."""
    architecture = config.architecture
    between = config.dropout if config.num_layers > 1 else 0.0
    if architecture.kernel is None:
        cell = cell_of(config.kind, config.nonlinearity)
        return StepLoop(cell, width, config.hidden_size, num_layers=config.num_layers, dropout=between)
    chosen = {"nonlinearity": config.nonlinearity} if "nonlinearity" in architecture.settings else {}
    kernel: Callable[..., nn.RNNBase] = getattr(nn, architecture.kernel)
    return kernel(width, config.hidden_size, num_layers=config.num_layers, dropout=between, batch_first=True, **chosen)


def make_network(config: ModelConfig, vocabulary_size: int, seed: int, device: torch.device) -> RecurrentNetwork:
    """Return a network with initial weights on a device; raises ConfigError when it does not fit into memory."""
    try:
        return RecurrentNetwork(config, vocabulary_size, seed).to(device)
    except (RuntimeError, MemoryError) as error:
        if "alloc" not in str(error) and "out of memory" not in str(error):
            raise
        raise ConfigError(
            f"a {config.kind} of {config.num_layers} × {config.hidden_size:,} units over {vocabulary_size:,} symbols "
            f"does not fit into the memory of this {device.type}. Lower model.hidden_size or model.num_layers."
        ) from error


class NetworkModel:
    """A RecurrentNetwork as a LanguageModel: takes and returns NumPy arrays, computes with torch on a device.

    With ``end``, the id of ``<end>``, the state is reset where a stretch begins with it; fused kernels cannot reset it
    within a stretch.
    """

    def __init__(self, network: RecurrentNetwork, device: torch.device, end: int | None = None) -> None:
        self._network = network.to(device).eval()
        self._device = device
        self._end = end

    @property
    def vocabulary_size(self) -> int:
        """Number of symbols V."""
        return self._network.vocabulary_size

    def start(self, batch_size: int) -> NetworkState:
        """Return the initial state."""
        return None

    def step(self, ids: Symbols, state: NetworkState) -> tuple[Logits, NetworkState]:
        """Read one symbol of each text, ids (B,); return logits (B, V) of the next, and the new state."""
        logits, state = self.read(ids[:, None], state)
        return logits[:, 0], state

    def read(self, ids: Symbols, state: NetworkState) -> tuple[Logits, NetworkState]:
        """Read a stretch of each text, ids (B, T); return logits (B, T, V) after each symbol, and the state."""
        with torch.inference_mode():
            rows = torch.from_numpy(np.ascontiguousarray(ids, dtype=np.int64)).to(self._device)
            if self._end is not None:
                state = restarted(state, np.equal(ids[:, 0], self._end))
            logits, state = self._network(rows, state)
            return logits.float().cpu().numpy(), state
