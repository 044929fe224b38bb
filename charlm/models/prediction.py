"""Logits → log-probabilities of the next symbol, and the surprisal of the target."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from charlm.models.language_model import Logits


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Return the log-softmax (natural logarithm) of logits (…, V) over the symbols."""
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    return scores


def surprisal(log_p: NDArray[np.float64], targets: NDArray[Any]) -> NDArray[np.float64]:
    """Return −ln p of each target (…) under ln p (…, V), in nats (Shannon 1948)."""
    chosen = np.take_along_axis(log_p, targets[..., None].astype(np.intp), axis=-1)
    nats: NDArray[np.float64] = -chosen[..., 0]
    return nats
