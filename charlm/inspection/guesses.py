"""What the model expected at every character: its likeliest guesses, and how surprised it was.

Letters: T characters, V symbols, N guesses.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charlm.models.prediction import log_softmax
from charlm.models.recurrent import RecurrentModel
from charlm.text.vocabulary import Ids

_PIECE = 256
"""Characters read at a time."""


@dataclass(frozen=True)
class Guesses:
    """The next-character guesses after each character of a text."""

    symbols: NDArray[np.intp]  # (T, N), likeliest first
    probabilities: NDArray[np.float32]  # (T, N)
    surprise: NDArray[np.float32]  # (T,)
    """Bits of the character itself, given all before it; not a number for the first, which nothing foretold."""


def guesses(model: RecurrentModel, ids: Ids, count: int) -> Guesses:
    """Read ids (T,) from a fresh state; return the ``count`` likeliest next symbols after each (fewer if V is less)."""
    state, symbols, probabilities, bits = model.start(1), [], [], [np.full(1, np.nan, np.float32)]
    for start in range(0, len(ids), _PIECE):
        logits, state = model.read(ids[None, start : start + _PIECE], state)
        scores = log_softmax(logits[0])  # (T, V)
        best = np.argsort(-scores, axis=-1, kind="stable")[:, :count]
        symbols.append(best)
        probabilities.append(np.exp(np.take_along_axis(scores, best, axis=-1)).astype(np.float32))
        came = ids[start + 1 : start + _PIECE + 1].astype(np.intp)
        bits.append((-scores[np.arange(len(came)), came] / np.log(2)).astype(np.float32))
    return Guesses(np.concatenate(symbols), np.concatenate(probabilities), np.concatenate(bits))
