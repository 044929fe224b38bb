"""Gradients over time: vanishing and exploding gradients, and saliency.

The loss of predicting the character after t depends on the state after every earlier character. How much is measured
by the gradient of that loss with respect to the state k characters before. Each step back multiplies it by the Jacobian
of the cell, so it shrinks or grows by about the same factor per step: vanishing and exploding gradients (Hochreiter
1991; Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013). The state is the hidden state of every layer, and
in an LSTM the cell state, too.

Everything is computed in float64, because vanishing gradients underflow in float32.

Letters: B positions, K lags, L layers, H hidden units, T characters, V symbols.
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy, one_hot

from charlm.errors import TextError
from charlm.inspection.gradient_by_lag import GradientByLag
from charlm.models.network import NetworkState, RecurrentNetwork
from charlm.text.vocabulary import Ids


def gradient_by_lag(network: RecurrentNetwork, ids: Ids, lags: int, positions: int) -> GradientByLag:
    """Return the norm of the gradient at lags 0 … ``lags``, over ``positions`` places spread over ids (T,).

    As many characters again are read before the largest lag, so that the states are typical of the network. Raises
    TextError when the text is too short.
    """
    context = lags + 1  # read without a gradient
    length = context + lags + 1
    places = len(ids) - length  # possible starts of a stretch and its next character
    if places < 1:
        raise TextError(
            f"the text of {len(ids):,} characters is too short: {lags} lags need {length + 1:,}.",
            "Use fewer lags or a longer text.",
            field="lags",
        )
    starts = np.unique(np.linspace(0, places - 1, min(positions, places)).astype(np.int64))
    stretches = torch.from_numpy(ids[starts[:, None] + np.arange(length + 1)].astype(np.int64))  # (B, length + 1)
    network = copy.deepcopy(network).double().eval()
    with torch.no_grad():
        _, state = network(stretches[:, :context])
    sizes = _sizes(network, stretches[:, context:-1], stretches[:, -1], state)  # (K + 1, B)
    if not np.isfinite(sizes).all():
        raise TextError("the gradient is too large for float64.", "Use fewer lags.", field="lags")
    return GradientByLag(sizes.mean(axis=1), sizes.std(axis=1))


def _sizes(
    network: RecurrentNetwork, inputs: torch.Tensor, targets: torch.Tensor, state: NetworkState
) -> NDArray[np.float64]:
    """Return the norm of the gradient (K + 1, B), lag 0 first, for inputs (B, K + 1), read one step at a time."""
    visited: list[torch.Tensor] = []
    for step in range(inputs.shape[1]):
        _, state = network(inputs[:, step : step + 1], state)
        parts = state if isinstance(state, tuple) else () if state is None else (state,)
        visited += parts
    hidden = parts[0]  # (L, B, H)
    loss = cross_entropy(network.head(hidden[-1]), targets, reduction="sum")  # lanes are independent
    found = torch.autograd.grad(loss, visited, allow_unused=True, materialize_grads=True)
    squares = torch.stack([part.square().sum(dim=(0, 2)) for part in found])  # (parts · (K + 1), B)
    by_step = squares.view(inputs.shape[1], -1, len(inputs)).sum(dim=1)  # (K + 1, B)
    return by_step.sqrt().flip(0).detach().numpy()


def saliency(network: RecurrentNetwork, ids: Ids) -> NDArray[np.float64]:
    """Return how much the prediction after ids (T,) depends on each of them, (T,).

    This is the norm of the gradient of the likeliest next symbol's log-probability with respect to the first layer's
    input at each character (Madsen, "Visualizing memorization in RNNs", Distill 2019).
    """
    if len(ids) == 0:
        raise TextError("must not be empty.", "Give at least one character.", field="text")
    network = copy.deepcopy(network).double().eval()
    rows = one_hot(torch.from_numpy(ids.astype(np.int64))[None], network.vocabulary_size).double()  # (1, T, V)
    given = rows if network.embedding is None else (rows @ network.embedding.weight).detach()
    given.requires_grad_()
    hidden, _ = network.rnn(given)
    likeliest = network.head(hidden[:, -1]).log_softmax(dim=-1).max()
    (gradient,) = torch.autograd.grad(likeliest, given)
    lengths: NDArray[np.float64] = gradient[0].norm(dim=-1).numpy()
    return lengths
