"""What the model expected at every character: its likeliest guesses, and how surprised it was.

Letters: T characters, V symbols, N guesses.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charlm.evaluation import predictions
from charlm.models.prediction import surprisal
from charlm.models.recurrent import RecurrentModel
from charlm.text.streams import one_lane
from charlm.text.vocabulary import Ids


@dataclass(frozen=True)
class Guesses:
    """The next-character guesses after each character of a text."""

    symbols: NDArray[np.intp]  # (T, N), likeliest first
    probabilities: NDArray[np.float32]  # (T, N)
    surprisal: NDArray[np.float32]  # (T,)
    """Bits of the character itself, given all before it; not a number for the first, which nothing foretold."""


def guesses(model: RecurrentModel, ids: Ids, count: int) -> Guesses:
    """Read ids (T,) from a fresh state; return the ``count`` likeliest next symbols after each (fewer if V is less)."""
    symbols, probabilities, bits = [], [], [np.full(1, np.nan)]
    followed = np.append(ids, ids[-1:])  # by any symbol, so that the last character is read too
    for batch, (log_p,) in predictions(model, one_lane(followed)):  # log_p (T, V)
        best = np.argsort(-log_p, axis=-1, kind="stable")[:, :count]
        symbols.append(best)
        probabilities.append(np.exp(np.take_along_axis(log_p, best, axis=-1)).astype(np.float32))
        bits.append(surprisal(log_p, batch.targets[0]) / np.log(2))
    return Guesses(
        np.concatenate(symbols), np.concatenate(probabilities), np.concatenate(bits)[: len(ids)].astype(np.float32)
    )
