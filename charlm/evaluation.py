"""How well a model predicts a text: nats, bits, perplexity.

Scoring N characters makes N − 1 predictions, since the first is given; every figure "per character" or "per
byte" divides by the characters and bytes that were predicted.

    nats       mean of −ln p(character | all before it)
    bits       nats / ln 2, the yes-or-no questions a character leaves open
    perplexity exp(nats), the number of equally likely characters that would be as hard

Letters: B lanes, T steps, V symbols.
"""

import math
from dataclasses import dataclass

import numpy as np

from charlm.models.language_model import LanguageModel, State
from charlm.models.prediction import surprise
from charlm.text.streams import Streams
from charlm.text.vocabulary import Vocabulary

_LARGEST_EXPONENT = 709
"""Of e, before a number of 64 bits overflows."""


@dataclass(frozen=True)
class Score:
    """What a model made of a text."""

    characters: int
    """Characters predicted."""
    nats: float
    """−ln p of all of them together."""
    utf8_bytes: int | None
    """Bytes of the characters predicted, in UTF-8; None where some are unknown (``<unk>``)."""

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


def evaluate(model: LanguageModel[State], vocabulary: Vocabulary, streams: Streams) -> Score:
    """Read all lanes of ``streams`` once, each from a fresh state, and score every prediction."""
    sizes = np.array([_utf8_size(vocabulary, symbol) for symbol in vocabulary.symbols])
    state, nats, utf8_bytes, readable = model.start(streams.lanes), 0.0, 0, True
    for step in range(len(streams)):
        window = streams.at(step)
        logits, state = model.read(window.inputs, state)
        nats += float(surprise(logits, window.targets).sum())
        utf8_bytes += int(sizes[window.targets].sum())
        readable = readable and not np.isin(window.targets, list(vocabulary.special.values())).any()
    return Score(streams.characters, nats, utf8_bytes if readable else None)


def _utf8_size(vocabulary: Vocabulary, symbol: str) -> int:
    return 1 if vocabulary.unit == "byte" else len(symbol.encode("utf-8", "surrogatepass"))
