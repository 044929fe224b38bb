"""n-gram counts: how often each symbol follows each context of up to k symbols.

    "abab"     order 0    a 2, b 2
               order 1    a│ b 2      b│ a 1

A context of n symbols is a context of n − 1 symbols and the symbol that precedes it. Its key is therefore the single
number (index of the shorter context) · V + (the older symbol), for any length. All arrays are sorted: a lookup is a
binary search, and counting is a sort.

Letters: N symbols of a text, V symbols of the vocabulary, C contexts, F pairs of a context and what follows it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Counts:
    """All contexts of one length, and the counts of the symbols that follow each."""

    contexts: Integers  # (C,) keys, rising; 0 for the empty context
    starts: Integers  # (C + 1,), where the followers of each context begin
    symbols: Integers  # (F,), rising within a context
    counts: Integers  # (F,), at least 1

    def pairs(self, size: int) -> Integers:
        """Return one number for each pair (F,), rising: (index of its context) · V + (its symbol); ``size`` is V."""
        return self.owners * size + self.symbols

    @property
    def owners(self) -> Integers:
        """The index of each pair's context (F,)."""
        return np.repeat(np.arange(len(self.contexts)), np.diff(self.starts))


def counted(ids: NDArray[Any], order: int, size: int, end: int | None = None) -> Iterator[Counts]:
    """Yield the counts of contexts of 0, 1, … ``order`` symbols of ids (N,) below ``size``, shortest first.

    With ``end``, the id of ``<end>``, a context reaches back to the ``<end>`` before its item and no further, and the
    ``<end>`` before the first item is not counted.
    """
    text = ids.astype(np.int64)
    places = np.arange(len(text))
    preceding = places if end is None else places - _last_ends(text, end)  # longest context at each place
    if end is not None:
        places = places[1:]
    keys, numbers = np.zeros(1, np.int64), np.zeros(len(places), np.int64)
    yield _followers(keys, numbers, text[places], size)
    for length in range(1, order + 1):
        reaching = preceding[places] >= length
        places, numbers = places[reaching], numbers[reaching]
        keys, numbers = np.unique(numbers * size + text[places - length], return_inverse=True)
        yield _followers(keys, numbers, text[places], size)


def _followers(keys: Integers, numbers: Integers, followers: Integers, size: int) -> Counts:
    """Return the counts of ``followers`` (N,) by context; ``numbers`` (N,) are the indices of contexts in ``keys``."""
    pairs, counts = np.unique(numbers * size + followers, return_counts=True)
    starts = np.searchsorted(pairs, np.arange(len(keys) + 1) * size)
    symbols = (pairs % size).astype(np.min_scalar_type(size - 1))
    return Counts(keys, starts, symbols, counts.astype(np.uint32))


def _last_ends(text: NDArray[np.int64], end: int) -> NDArray[np.int64]:
    """Return for each place (N,) the index of the last ``end`` before it; for the first place, 0."""
    ends = np.where(text == end, np.arange(len(text)), 0)
    return np.concatenate([[0], np.maximum.accumulate(ends)[:-1]])


def continuations(level: Counts, longer: Counts, size: int) -> NDArray[np.int64]:
    """Return for each pair of ``level`` (F,) the number of distinct symbols that precede it.

    Each occurrence at the beginning of a text or item, which nothing precedes, counts as distinct. ``longer`` are
    the counts of contexts one symbol longer.
    """
    shorter = np.searchsorted(level.pairs(size), (longer.contexts // size)[longer.owners] * size + longer.symbols)
    different = np.bincount(shorter, minlength=len(level.symbols))
    extended = np.bincount(shorter, weights=longer.counts, minlength=len(level.symbols)).astype(np.int64)
    return different + level.counts - extended
