"""Logits → what they say: probabilities of the next symbol, and the surprise at the one that came."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from charlm.models.language_model import Logits


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Return ln softmax of logits (…, V) over the symbols."""
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    return scores


def surprise(logits: Logits, targets: NDArray[Any]) -> NDArray[np.float64]:
    """Return −ln softmax(logits (…, V)) of each target (…), in nats."""
    chosen = np.take_along_axis(log_softmax(logits), targets[..., None].astype(np.intp), axis=-1)
    surprises: NDArray[np.float64] = -chosen[..., 0]
    return surprises
