"""Baselines for a score: models without gradient training, on the same text, in the same lanes.

uniform     every symbol equally likely: log2 V
Markov k    a Markov model of order k, counted on the training text
xz -9       a compressor that has read the training text; not for separate items, whose order it would profit from
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
from charlm.text.vocabulary import UNKNOWN, Ids, Vocabulary

ORDERS = (0, 1, 3, 5)
"""Orders of the Markov models."""


def baseline_bits(corpus: Corpus, ids: Ids, streams: BatchSource) -> dict[str, float]:
    """Return the bits per character of each baseline, by name, on ids (M,), read in the lanes of ``streams``."""
    vocabulary = corpus.vocabulary
    markov = {f"Markov {order}": bits for order, bits in markov_bits(corpus.train, vocabulary, streams)}
    xz = {"xz -9": xz_bits(corpus.train, ids, vocabulary)} if vocabulary.end is None else {}
    return {"uniform": uniform_bits(vocabulary)} | markov | xz


def uniform_bits(vocabulary: Vocabulary) -> float:
    """Return the bits per character of the uniform distribution."""
    return math.log2(len(vocabulary))


def markov_bits(training: Ids, vocabulary: Vocabulary, streams: BatchSource) -> Iterator[tuple[int, float]]:
    """Count the ``training`` ids (N,) once; yield each of `ORDERS` and its bits per character on ``streams``."""
    size = len(vocabulary)
    counts = MarkovModel(list(counted(training, max(ORDERS), size, vocabulary.end)), size)
    for order in ORDERS:
        yield order, mean_bits(counts.of_order(order), streams)


def mean_bits(model: MarkovModel, streams: BatchSource) -> float:
    """Return the bits per character of a Markov model on a text; faster than scoring all V symbols."""
    state, bits = model.start(streams.lanes), 0.0
    for batch in map(streams.at, range(len(streams))):
        real = batch.targets != PADDING
        probabilities, state = model.target_probabilities(batch.inputs, np.where(real, batch.targets, 0), state)
        bits -= float(np.log2(probabilities[real]).sum())
    return bits / streams.characters


def xz_bits(training: Ids, ids: Ids, vocabulary: Vocabulary) -> float:
    """Return the bits per character that ``xz -9`` needs for ``ids`` (M,) after the ``training`` text (N,).

    This is the difference in compressed size of both together and of the training text alone; level 9 has a dictionary
    of 64 MB. Both are running text.
    """
    before = _bytes(training, vocabulary) + _bytes(ids[:1], vocabulary)  # the first character is given, not predicted
    after = _bytes(ids[1:], vocabulary)
    more = len(lzma.compress(before + after, preset=9)) - len(lzma.compress(before, preset=9))
    return 8 * more / (len(ids) - 1)


def _bytes(ids: Ids, vocabulary: Vocabulary) -> bytes:
    """Return the text of ids in UTF-8, or as bytes."""
    shown = {UNKNOWN: REPLACEMENT}
    points = np.array([ord(shown.get(symbol, symbol)) for symbol in vocabulary.symbols], "<u4")[ids]
    return (
        points.astype(np.uint8).tobytes()
        if vocabulary.unit == "byte"
        else points.tobytes().decode("utf-32-le").encode()
    )
