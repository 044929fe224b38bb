"""Whether the validation text resembles the training text, by a Markov chain.

A chain (order 1) counted on the training text is scored on the validation text, and one counted on the rest on parts
of the same total length that are taken evenly from the whole text. Of sorted lists the first needs 20 to 40 % more bits
than the second, and of a text that ends in another language or in code as well; of prose a few percent. Of 160 source
files and pages of documentation of 10 to 400 kB, 11 had an end that is as different, such as a licence.
"""

import numpy as np
from numpy.typing import NDArray

from charlm.baselines import mean_bits
from charlm.config.settings import DataConfig
from charlm.models.markov import MarkovModel
from charlm.models.ngram_counts import counted
from charlm.text.corpus import Corpus
from charlm.text.streams import one_lane
from charlm.text.vocabulary import Ids

_LARGEST_RATIO, _LARGEST_DIFFERENCE = 1.2, 0.6
"""A split is suspect where validation needs more than this ratio, and more than this difference in bits."""
_FEWEST = 1000
"""Number of validation characters below which chance alone may reach the thresholds."""
_MOST, _BLOCK = 500_000, 1000
"""Largest number of characters that are read, and the length of the blocks that are left out of longer texts."""
_PARTS = 20


def suspect_split(corpus: Corpus, data: DataConfig) -> str | None:
    """Return a sentence about a validation text that is unlike the training text; None where it resembles it.

    Items split at random resemble each other, and are not examined.
    """
    if data.meant().split == "random" or len(corpus.validation) < _FEWEST:
        return None
    training, validation = _thinned(corpus.train, corpus.ids), _thinned(corpus.validation, corpus.ids)
    size = len(corpus.vocabulary)
    apart = _chain_bits(training, validation, size)
    whole = np.concatenate([training, validation])
    held = _even_parts(len(whole), len(validation))
    alike = _chain_bits(whole[~held], whole[held], size)
    if apart < alike * _LARGEST_RATIO or apart < alike + _LARGEST_DIFFERENCE:
        return None
    cause = "set data.documents: line" if corpus.vocabulary.end is None else "leave data.split at null"
    return (
        f"the validation text, the end of the text, is unlike the training text: a Markov chain needs {apart:.2f} bits "
        f"per character for it, and {alike:.2f} for parts taken evenly from the text. A validation loss means little "
        f"here. If the text is a list of separate items, {cause} to split them at random."
    )


def _chain_bits(training: Ids, held: Ids, size: int) -> float:
    """Return the bits per character of ``held`` (M,) for a chain of ``size`` symbols counted on ``training`` (N,)."""
    return mean_bits(MarkovModel(list(counted(training, 1, size, None)), size), one_lane(held))


def _thinned(ids: Ids, whole: Ids) -> Ids:
    """Return every k-th block of ``ids``, such that all of ``whole`` would be about `_MOST` ids or fewer."""
    every = -(-len(whole) // _MOST)
    return ids if every == 1 else ids[np.arange(len(ids)) // _BLOCK % every == 0]


def _even_parts(length: int, held: int) -> NDArray[np.bool_]:
    """Return a mask (length,) that is True in `_PARTS` evenly spaced parts of ``held`` positions in total."""
    return np.arange(length) * _PARTS / length % 1 < held / length
