"""The model's predictions at every character: the likeliest next characters, and the surprisal of the actual one.

Letters: T characters, V symbols, N predictions.
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
    """The likeliest next characters after each character of a text."""

    symbols: NDArray[np.intp]  # (T, N), likeliest first
    probabilities: NDArray[np.float32]  # (T, N)
    surprisal: NDArray[np.float32]  # (T,)
    """Surprisal of each character given all before it, in bits; NaN for the first, which is not predicted."""


@dataclass(frozen=True)
class ScoredPiece:
    """A piece of a text with the predictions at each of its characters, in float64."""

    targets: NDArray[np.intp]  # (T,)
    symbols: NDArray[np.intp]  # (T, N), likeliest first
    probabilities: NDArray[np.float64]  # (T, N)
    surprisal: NDArray[np.float64]  # (T,), bits


def scored_pieces(model: LanguageModel[Any], streams: BatchSource, count: int) -> Iterator[ScoredPiece]:
    """Read a text in one lane; yield its predictions in pieces, with the ``count`` likeliest symbols at each step."""
    for batch, (log_p,) in predictions(model, streams):  # log_p (T, V)
        targets = batch.targets[0].astype(np.intp)
        best = np.argsort(-log_p, axis=-1, kind="stable")[:, :count]
        probabilities = np.exp(np.take_along_axis(log_p, best, axis=-1))
        yield ScoredPiece(targets, best, probabilities, surprisal(log_p, targets) / np.log(2))


def guesses(model: RecurrentModel, ids: Ids, count: int) -> Guesses:
    """Read ids (T,) from a zero state; return the ``count`` (at most V) likeliest next symbols after each."""
    followed = np.append(ids, ids[-1:])  # any symbol, so that the last character is read, too
    pieces = list(scored_pieces(model, one_lane(followed), count))
    bits = np.concatenate([np.full(1, np.nan), *(piece.surprisal for piece in pieces)])
    return Guesses(
        np.concatenate([piece.symbols for piece in pieces]),
        np.concatenate([piece.probabilities for piece in pieces]).astype(np.float32),
        bits[: len(ids)].astype(np.float32),
    )
