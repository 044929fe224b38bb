"""Separate items → train, validation and test: an item's split is decided by a hash of its own text.

    text      ann ▸ bob ▸ cid ▸ ann ▸        hashes of the four items   7 2 5 7

    smallest hashes → validation, the next → test, the rest → train

    ids       ▸ ann ▸ ann ▸ bob ▸ cid ▸      train: ann ann, validation: bob, test: cid

So a split needs no seed. It is the same for a sorted, a shuffled and a doubled text, and equal items, which a model
could repeat from memory, are never in two splits. An item that would hold out more than was asked for is trained on.
Within a split the items keep the order of the text.

Letters: N units of the text, I items.
"""

from array import array
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from charlm.text.code_points import END_UNIT, CodePoints

_END = chr(END_UNIT)
_HASH_SIZE = 8
_TRAIN, _VALIDATION, _TEST = range(3)


class ItemHashes:
    """The hash and the length of every item of a text, which is given in pieces with `END_UNIT` around items."""

    def __init__(self) -> None:
        self._hashes, self._lengths = array("Q"), array("q")
        self._begun, self._length = blake2b(digest_size=_HASH_SIZE), 0

    def add(self, piece: str) -> None:
        """Take the next piece of the text."""
        first, *others = piece.split(_END)
        self._extend(first)
        for part in others:
            self._end()
            self._extend(part)

    def arranged(self, validation_fraction: float, test_fraction: float) -> "Arrangement":
        """Return where each item belongs when these fractions of the items are held out.

        No split holds out more than its fraction, so an item that occurs very often is trained on; but every split
        that is wanted has at least one item where there are enough different ones.
        """
        _, places, counts = np.unique(
            np.array(self._hashes, np.uint64), return_inverse=True, return_counts=True
        )  # of each different text, by its hash
        splits = np.full(len(counts), _TRAIN)
        for split, fraction in ((_VALIDATION, validation_fraction), (_TEST, test_fraction)):
            later = int(split == _VALIDATION and test_fraction > 0)
            free = np.flatnonzero(splits == _TRAIN)
            if fraction and len(free) > 1 + later:
                splits[_held_out(counts, free, fraction, len(free) - 1 - later)] = split
        return Arrangement(splits[places], np.array(self._lengths, np.int64))

    def _extend(self, part: str) -> None:
        if part:
            self._begun.update(part.encode())
            self._length += len(part)

    def _end(self) -> None:
        """End an item; the mark before the first item ends none."""
        if not self._length:
            return
        self._hashes.append(int.from_bytes(self._begun.digest(), "little"))
        self._lengths.append(self._length)
        self._begun, self._length = blake2b(digest_size=_HASH_SIZE), 0


def _held_out(counts: NDArray[np.int64], free: NDArray[np.int64], fraction: float, most: int) -> list[int]:
    """Return the first of the ``free`` texts whose items together are at most this fraction of all, or one.

    ``counts`` are the numbers of items of each text; at most ``most`` texts are held out.
    """
    taken: list[int] = []
    held, items = 0, int(counts.sum())
    for place in free.tolist():
        more = held + int(counts[place])
        if len(taken) < most and more / items <= fraction:  # a quotient, which is the same for a doubled text
            taken.append(place)
            held = more
    return taken or [int(free[counts[free].argmin()])]


@dataclass(frozen=True)
class Arrangement:
    """The split of each item (I,), in the order of the text, and its length without the end mark."""

    splits: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @property
    def edges(self) -> tuple[int, int]:
        """The indices of the ids at which the validation and the test split start."""
        sizes = [int((self.lengths + 1)[self.splits == split].sum()) for split in (_TRAIN, _VALIDATION)]
        return sizes[0], sum(sizes)

    def places(self, units: CodePoints, position: int) -> NDArray[np.int64] | None:
        """Return the index of the id of each unit of a piece (N,) that begins at ``position`` of the text.

        None where the piece's items are not those that were arranged: the text has changed.
        """
        marks = units == END_UNIT
        before = int(np.searchsorted(self._marks, position))
        found = np.flatnonzero(marks) + position
        items = before + np.cumsum(marks) - marks  # number of marks before each unit; 0 for the first mark itself
        expected = self._marks[before : before + len(found)]
        if not np.array_equal(found, expected) or items.max(initial=0) >= len(self._shifts):
            return None
        places: NDArray[np.int64] = np.arange(position, position + len(units)) + self._shifts[items]
        return places

    @cached_property
    def _marks(self) -> NDArray[np.int64]:
        """The position of each end mark in the text (I + 1,)."""
        return np.concatenate([[0], np.cumsum(self.lengths + 1)])

    @cached_property
    def _shifts(self) -> NDArray[np.int64]:
        """How far the first end mark and each item are moved (I + 1,)."""
        order = np.argsort(self.splits, kind="stable")
        sizes = (self.lengths + 1)[order]
        moved = np.empty(len(order), np.int64)
        moved[order] = np.cumsum(sizes) - sizes - (self._marks[:-1])[order]
        return np.concatenate([[0], moved])
