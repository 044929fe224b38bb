"""What a score is compared with: models that need no training, on the same text, in the same lanes.

uniform     every symbol equally likely: log2 V
Markov k    counts of the last k characters of the training text
xz -9       what a compressor that has read the training text needs for this one
"""

import lzma
import math
from collections.abc import Iterator

import numpy as np

from charlm.models.markov import MarkovModel
from charlm.models.ngram_counts import counted
from charlm.text.batches import PADDING, BatchSource
from charlm.text.corpus import Corpus
from charlm.text.decoding import REPLACEMENT
from charlm.text.vocabulary import END, UNKNOWN, Ids, Vocabulary

ORDERS = (0, 1, 3, 5)
"""Orders of the Markov models: the unigram, the Markov chain, and two AR(k)."""


def baseline_bits(corpus: Corpus, ids: Ids, streams: BatchSource) -> dict[str, float]:
    """Return by name the bits a character of each baseline for text ids (M,), read in the lanes of ``streams``."""
    vocabulary = corpus.vocabulary
    markov = {f"Markov {order}": bits for order, bits in markov_bits(corpus.train, vocabulary, streams)}
    return {"uniform": uniform_bits(vocabulary)} | markov | {"xz -9": xz_bits(corpus.train, ids, vocabulary)}


def uniform_bits(vocabulary: Vocabulary) -> float:
    """Return the bits a character of a model that finds every symbol equally likely."""
    return math.log2(len(vocabulary))


def markov_bits(training: Ids, vocabulary: Vocabulary, streams: BatchSource) -> Iterator[tuple[int, float]]:
    """Count the ``training`` ids (N,) once; yield each of `ORDERS`, and its bits a character on ``streams``."""
    size = len(vocabulary)
    counts = MarkovModel(list(counted(training, max(ORDERS), size, vocabulary.end)), size)
    for order in ORDERS:
        model = counts.of_order(order)
        state, bits = model.start(streams.lanes), 0.0
        for batch in map(streams.at, range(len(streams))):
            real = batch.targets != PADDING
            probabilities, state = model.target_probabilities(batch.inputs, np.where(real, batch.targets, 0), state)
            bits -= float(np.log2(probabilities[real]).sum())
        yield order, bits / streams.characters


def xz_bits(training: Ids, ids: Ids, vocabulary: Vocabulary) -> float:
    """Return the bits a character that ``xz -9`` needs for ``ids`` (M,) after the ``training`` text (N,).

    That is what both together take more than the training text alone; the dictionary of level 9 holds 64 MB of it.
    """
    given = 1 if vocabulary.end is None else 0  # an end before the first item ends the last one before it, too
    before = _bytes(training, vocabulary) + _bytes(ids[:given], vocabulary)
    after = _bytes(ids[1:], vocabulary)
    more = len(lzma.compress(before + after, preset=9)) - len(lzma.compress(before, preset=9))
    return 8 * more / (len(ids) - 1)


def _bytes(ids: Ids, vocabulary: Vocabulary) -> bytes:
    """Return the text of ids as bytes: its UTF-8, an end being the byte that ends a line."""
    shown = {END: "\n", UNKNOWN: REPLACEMENT}
    points = np.array([ord(shown.get(symbol, symbol)) for symbol in vocabulary.symbols], "<u4")[ids]
    return (
        points.astype(np.uint8).tobytes()
        if vocabulary.unit == "byte"
        else points.tobytes().decode("utf-32-le").encode()
    )
