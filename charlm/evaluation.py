"""Evaluation of a model's predictions of a text: cross-entropy, perplexity, accuracy.

Scoring N characters makes N − 1 predictions, since the first is given; values per character or per byte are
divided by the number of predicted characters or bytes.

    nats       cross-entropy: mean of −ln p(character | all before it)
    bits       nats / ln 2
    perplexity exp(nats): the number of equally likely characters with the same cross-entropy
    accuracy   fraction of characters that were the likeliest prediction

Letters: B lanes, T steps, V symbols.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charlm.models.language_model import LanguageModel, State
from charlm.models.prediction import log_softmax, surprisal
from charlm.models.threads import computing
from charlm.text.batches import PADDING, Batch, BatchSource
from charlm.text.vocabulary import END, UNKNOWN, Vocabulary

_NUMBERS = 1 << 22
"""Maximum number of logits in memory at a time; a large vocabulary is read in smaller pieces."""
_LARGEST_EXPONENT = 709
"""Largest integer whose exponential does not overflow float64."""


@dataclass(frozen=True)
class Score:
    """The result of scoring a text."""

    characters: int
    """Number of predicted characters, including the ``<end>`` of separate items."""
    nats: float
    """Sum of −ln p over all predictions."""
    utf8_bytes: int | None
    """Length of the predicted characters in UTF-8 bytes; None where some are unknown (``<unk>``)."""
    correct: int
    """Number of predictions whose likeliest symbol was the target."""
    unknown: int
    """Number of predicted characters outside the vocabulary, which are scored as ``<unk>``."""
    skipped: int = 0
    """Number of characters outside the vocabulary that were removed from the text before it was read."""

    @property
    def accuracy(self) -> float:
        """Fraction of characters that were the likeliest prediction."""
        return self.correct / self.characters

    @property
    def nats_per_character(self) -> float:
        """Cross-entropy in nats per character."""
        return self.nats / self.characters

    @property
    def bits_per_character(self) -> float:
        """Cross-entropy in bits per character."""
        return self.nats_per_character / math.log(2)

    @property
    def bits_per_byte(self) -> float | None:
        """Bits per byte of UTF-8, which is comparable between units; None where characters are unknown."""
        return None if self.utf8_bytes is None else self.nats / math.log(2) / self.utf8_bytes

    @property
    def perplexity(self) -> float:
        """The exponential of the cross-entropy in nats."""
        return math.exp(self.nats_per_character) if self.nats_per_character < _LARGEST_EXPONENT else math.inf


def predictions(model: LanguageModel[State], streams: BatchSource) -> Iterator[tuple[Batch, NDArray[np.float64]]]:
    """Read all lanes of ``streams`` once, each from its initial state; yield each batch and its ln p (B, T, V)."""
    state = model.start(streams.lanes)
    steps = max(_NUMBERS // (streams.lanes * model.vocabulary_size), 1)
    for whole in map(streams.at, range(len(streams))):
        for start in range(0, whole.inputs.shape[1], steps):
            part = slice(start, start + steps)
            batch = Batch(whole.inputs[:, part], whole.targets[:, part], whole.fresh & (start == 0))
            with computing(streams.lanes):
                logits, state = model.read(batch.inputs, state)
                log_p = log_softmax(logits)
            yield batch, log_p


def evaluate(model: LanguageModel[State], vocabulary: Vocabulary, streams: BatchSource) -> Score:
    """Return the score of all predictions in one pass over ``streams``, each lane from its initial state."""
    sizes = np.array([_utf8_size(vocabulary, symbol) for symbol in vocabulary.symbols])
    nats, correct, utf8_bytes, unknown = 0.0, 0, 0, 0
    for batch, log_p in predictions(model, streams):
        real = batch.targets != PADDING
        targets, expected = batch.targets[real].astype(np.intp), log_p[real]  # (N,), (N, V)
        nats += float(surprisal(expected, targets).sum())
        correct += int((expected.argmax(axis=-1) == targets).sum())
        utf8_bytes += int(sizes[targets].sum())
        unknown += int((targets == vocabulary.special.get(UNKNOWN, PADDING)).sum())
    return Score(streams.characters, nats, None if unknown else utf8_bytes, correct, unknown)


def _utf8_size(vocabulary: Vocabulary, symbol: str) -> int:
    """Return the length of a symbol in bytes; ``<end>`` counts as one, like a newline."""
    return 1 if vocabulary.unit == "byte" or symbol == END else len(symbol.encode("utf-8", "surrogatepass"))
