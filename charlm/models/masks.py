"""Random masks of one training step: which recurrent weights, layer outputs and input symbols are dropped.

    weights    DropConnect (Wan et al. 2013) on the recurrent matrices: the weight drop of Merity, Keskar & Socher
               2018, "Regularizing and Optimizing LSTM Language Models". All lanes share it.
    outputs    variational or locked dropout (Gal & Ghahramani 2016, "A Theoretically Grounded Application of Dropout
               in Recurrent Neural Networks"): the same units at all time steps of the window
    symbols    dropout of whole symbols at the input (Gal & Ghahramani 2016): at all their occurrences in the window

Where p is the probability of dropping, a mask is 0 with probability p and else 1/(1 − p), so that its mean is 1 and a
model is evaluated with its plain weights. Masks are a function of the seed and the step: they carry no state, and
torch's global random state is not used.

Letters: B lanes, T steps, V symbols, L layers, H hidden units, G blocks of weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from charlm.config.settings import ModelConfig
from charlm.models.step_loop import WEIGHTS_PER_LAYER

_SHARED, _PER_LANE = 0, 1
"""The random streams of a step: of what all lanes share, and of what each lane has for itself."""


@dataclass(frozen=True)
class Masks:
    """The masks of one window."""

    weights: tuple[Tensor, ...] = ()
    """One (G·H, H) for the recurrent matrix of each layer; empty where no weight is dropped."""
    outputs: tuple[Tensor, ...] = ()
    """One (B, 1, H) for the output of each layer; empty where none is dropped by locked dropout."""
    symbols: Tensor | None = None
    """(B, V); None where no symbol is dropped."""

    def recurrent(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """Return the layers' weights, in torch's order, with the recurrent matrices masked."""
        masked = list(weights)
        for layer, mask in enumerate(self.weights):
            masked[WEIGHTS_PER_LAYER * layer + 1] = weights[WEIGHTS_PER_LAYER * layer + 1] * mask
        return masked

    def input_rows(self, rows: Tensor, ids: Tensor) -> Tensor:
        """Return the input rows (B, T, ·) of ids (B, T) without those of dropped symbols."""
        return rows if self.symbols is None else rows * self.symbols.gather(1, ids).unsqueeze(-1)


@dataclass(frozen=True)
class MaskSource:
    """The masks of every step of one training run."""

    config: ModelConfig
    vocabulary_size: int
    seed: int
    device: torch.device

    def at(self, step: int, lanes: int) -> Masks | None:
        """Return the masks of optimizer step ``step``, counted from 0; None where nothing is dropped."""
        config = self.config
        if not (config.weight_dropout or config.locked_dropout or config.input_dropout):
            return None
        shared, per_lane = self._generator(step, _SHARED), self._generator(step, _PER_LANE)
        layers, size = range(config.num_layers), config.hidden_size
        matrix = (config.architecture.blocks * size, size)
        weights = [_mask(matrix, config.weight_dropout, shared) for _ in layers]
        outputs = [_mask((lanes, 1, size), config.locked_dropout, per_lane) for _ in layers]
        symbols = _mask((lanes, self.vocabulary_size), config.input_dropout, per_lane)
        return Masks(
            weights=tuple(mask for mask in weights if mask is not None),
            outputs=tuple(mask for mask in outputs if mask is not None),
            symbols=symbols,
        )

    def _generator(self, step: int, stream: int) -> torch.Generator:
        """Return the generator of one random stream of a step."""
        (seed,) = np.random.SeedSequence((self.seed, step), spawn_key=(stream,)).generate_state(1, np.uint64)
        return torch.Generator(self.device).manual_seed(int(seed))


def _mask(shape: tuple[int, ...], probability: float, generator: torch.Generator) -> Tensor | None:
    """Return a mask that is 0 with this probability, else 1/(1 − probability); None for probability 0."""
    if not probability:
        return None
    uniform = torch.rand(shape, generator=generator, device=generator.device)  # four times as fast as bernoulli_
    return uniform.ge_(probability).div_(1 - probability)
