"""What the model predicted at every character: its likeliest guesses, and the surprisal of the character itself.

Letters: T characters, V symbols, N guesses.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charlm.evaluation import predictions
from charlm.models.language_model import LanguageModel
from charlm.models.prediction import surprisal
from charlm.models.recurrent import RecurrentModel
from charlm.text.batches import BatchSource
from charlm.text.streams import one_lane
from charlm.text.vocabulary import Ids


@dataclass(frozen=True)
class Guesses:
    """The next-character guesses after each character of a text."""

    symbols: NDArray[np.intp]  # (T, N), likeliest first
    probabilities: NDArray[np.float32]  # (T, N)
    surprisal: NDArray[np.float32]  # (T,)
    """Bits of the character itself, given all before it; not a number for the first, which was not predicted."""


@dataclass(frozen=True)
class ScoredPiece:
    """A piece of a text, with what was predicted at each of its characters; in float64."""

    targets: NDArray[np.intp]  # (T,)
    symbols: NDArray[np.intp]  # (T, N), likeliest first
    probabilities: NDArray[np.float64]  # (T, N)
    surprisal: NDArray[np.float64]  # (T,), bits


def scored_pieces(model: LanguageModel[Any], streams: BatchSource, count: int) -> Iterator[ScoredPiece]:
    """Read a text in one lane; yield its predicted characters in pieces, each with the ``count`` likeliest symbols."""
    for batch, (log_p,) in predictions(model, streams):  # log_p (T, V)
        targets = batch.targets[0].astype(np.intp)
        best = np.argsort(-log_p, axis=-1, kind="stable")[:, :count]
        probabilities = np.exp(np.take_along_axis(log_p, best, axis=-1))
        yield ScoredPiece(targets, best, probabilities, surprisal(log_p, targets) / np.log(2))


def guesses(model: RecurrentModel, ids: Ids, count: int) -> Guesses:
    """Read ids (T,) from a fresh state; return the ``count`` likeliest next symbols after each (fewer if V is less)."""
    followed = np.append(ids, ids[-1:])  # by any symbol, so that the last character is read too
    pieces = list(scored_pieces(model, one_lane(followed), count))
    bits = np.concatenate([np.full(1, np.nan), *(piece.surprisal for piece in pieces)])
    return Guesses(
        np.concatenate([piece.symbols for piece in pieces]),
        np.concatenate([piece.probabilities for piece in pieces]).astype(np.float32),
        bits[: len(ids)].astype(np.float32),
    )
