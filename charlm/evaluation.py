"""How well a model predicts a text: nats, bits, perplexity.

Scoring N characters makes N − 1 predictions, since the first is given; every figure "per character" or "per
byte" divides by the characters and bytes that were predicted.

    nats       mean of −ln p(character | all before it)
    bits       nats / ln 2, the yes-or-no questions a character leaves open
    perplexity exp(nats), the number of equally likely characters that would be as hard
    accuracy   share of characters that were the likeliest guess

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
"""Logits that are held at a time, so that a large vocabulary takes more steps, not more memory."""
_LARGEST_EXPONENT = 709
"""Of e, before a number of 64 bits overflows."""


@dataclass(frozen=True)
class Score:
    """What a model made of a text."""

    characters: int
    """Characters predicted; where items have ends, those are counted too."""
    nats: float
    """−ln p of all of them together."""
    utf8_bytes: int | None
    """Bytes of the characters predicted, in UTF-8; None where some are unknown (``<unk>``)."""
    correct: int
    """Predictions whose likeliest symbol was the target."""
    unknown: int
    """Characters predicted that are outside the vocabulary: read and scored as ``<unk>``."""

    @property
    def accuracy(self) -> float:
        """Share of characters that the likeliest guess named."""
        return self.correct / self.characters

    @property
    def nats_per_character(self) -> float:
        """Cross-entropy in nats."""
        return self.nats / self.characters

    @property
    def bits_per_character(self) -> float:
        """Cross-entropy in bits."""
        return self.nats_per_character / math.log(2)

    @property
    def bits_per_byte(self) -> float | None:
        """Bits a byte of UTF-8, which compares models of different units; None where bytes are unknown."""
        return None if self.utf8_bytes is None else self.nats / math.log(2) / self.utf8_bytes

    @property
    def perplexity(self) -> float:
        """The number of equally likely characters that would be as hard to guess."""
        return math.exp(self.nats_per_character) if self.nats_per_character < _LARGEST_EXPONENT else math.inf


def predictions(model: LanguageModel[State], streams: BatchSource) -> Iterator[tuple[Batch, NDArray[np.float64]]]:
    """Read all lanes of ``streams`` once, each from a fresh state; yield each batch and its ln p (B, T, V)."""
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
    """Read all lanes of ``streams`` once, each from a fresh state, and score every prediction."""
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
    """Return the bytes of a symbol; an end stands for the byte that ends a line."""
    return 1 if vocabulary.unit == "byte" or symbol == END else len(symbol.encode("utf-8", "surrogatepass"))
