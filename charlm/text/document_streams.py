"""Separate items → parallel lanes: every item begins at a window's start, with the hidden state reset.

Fused kernels cannot reset a lane within a window, so when an item ends, the rest of its window is padding, which
is left out of every loss and count. Four items in two lanes with windows of four; ▸ is ``<end>`` and · padding:

    text       ▸ a b ▸ c d e f g ▸ h ▸ i j k ▸

    lane 0     ▸ a b   ▸ c d e   f g     targets     a b ▸   c d e f   g ▸
    lane 1     ▸ h ·   ▸ i j k   · ·                 h ▸ ·   i j k ▸   · ·
    window       0        1       2                    0        1       2

An item longer than a window continues in the next, with its state carried. A window is as wide as its longest lane.
In training, each lane reads its items in a new order in every pass: separate items have no order of their own.

Letters: B lanes, T steps in a window, W windows in a pass.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from charlm.errors import TextError
from charlm.text.batches import PADDING, Batch
from charlm.text.vocabulary import Ids


@dataclass(frozen=True)
class _Pass:
    """The positions that every lane reads in each window of one pass."""

    starts: NDArray[np.int64]  # (B, W)
    lengths: NDArray[np.int64]  # (B, W), 0 where a lane has nothing left
    fresh: NDArray[np.bool_]  # (B, W)


class DocumentStreams:
    """Items in ``lanes`` parallel lanes, cut into windows of ``window`` steps.

    ``ids`` (N,) contain an ``end`` before the first item and one after each. ``shuffled_by`` is the seed of the items'
    order within a lane; None keeps the text's order. Raises TextError when there are fewer items than lanes.
    """

    def __init__(self, ids: Ids, end: int, lanes: int, window: int, *, shuffled_by: int | None = None) -> None:
        ends = np.flatnonzero(ids == end)
        items = max(len(ends) - 1, 0)
        if items < lanes:
            raise TextError(
                f"a text of {items:,} items cannot be read in {lanes:,} lanes; each needs one. "
                "Use a longer text or fewer lanes (training.batch_size)."
            )
        self.lanes = lanes
        self._ids, self._window, self._seed = ids, window, shuffled_by
        self._starts, self._lengths = ends[:-1], np.diff(ends)  # of each item
        self._windows = -(-self._lengths // window)
        self._lane_edges = _shared_out(self._windows, lanes)
        self._now = 0, self._arranged(0)

    @cached_property
    def _length(self) -> int:
        sums = np.concatenate([[0], np.cumsum(self._windows)])[self._lane_edges]
        return int(np.diff(sums).max())

    def __len__(self) -> int:
        """Return the number of windows W in one pass: those of the longest lane."""
        return self._length

    @property
    def characters(self) -> int:
        """Number of predictions in one pass: every character of every item, and its ``<end>``."""
        return int(self._lengths.sum())

    @property
    def padding(self) -> float:
        """Share of the first pass's positions that are padding."""
        widths = self._pass(0).lengths.max(axis=0)
        return 1 - self.characters / (self.lanes * int(widths.sum()))

    def at(self, step: int) -> Batch:
        """Return the window read at ``step``, counted from 0."""
        number, index = divmod(step, len(self))
        now = self._pass(number)
        lengths = now.lengths[:, index, None]
        columns = np.arange(lengths.max())
        places = np.minimum(now.starts[:, index, None] + columns, len(self._ids) - 2)
        targets = np.where(columns < lengths, self._ids[places + 1].astype(np.int64), PADDING)
        return Batch(self._ids[places], targets, now.fresh[:, index])

    def fraction(self, step: int) -> float:
        """Return the number of passes completed after ``step`` steps, such as 1.25."""
        return step / len(self)

    def _pass(self, number: int) -> _Pass:
        """Return the windows of pass ``number``; the current pass is cached, about 40 bytes per item."""
        if self._now[0] != number:
            self._now = number, self._arranged(number)
        return self._now[1]

    def _arranged(self, number: int) -> _Pass:
        """Compute the position of each window of pass ``number``."""
        shape = (self.lanes, len(self))
        starts, lengths = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        fresh = np.ones(shape, np.bool_)
        for lane, items in enumerate(self._ordered(number)):
            windows = self._windows[items]
            item = np.repeat(items, windows)
            part = np.arange(len(item)) - np.repeat(np.cumsum(windows) - windows, windows)  # window within its item
            starts[lane, : len(item)] = self._starts[item] + part * self._window
            lengths[lane, : len(item)] = np.minimum(self._lengths[item] - part * self._window, self._window)
            fresh[lane, : len(item)] = part == 0
        return _Pass(starts, lengths, fresh)

    def _ordered(self, number: int) -> list[NDArray[np.intp]]:
        """Return the items of each lane in the order of pass ``number``."""
        lanes = [np.arange(*edges) for edges in zip(self._lane_edges, self._lane_edges[1:], strict=False)]
        if self._seed is None:
            return lanes
        draw = np.random.default_rng((self._seed, number))
        return [draw.permutation(items) for items in lanes]


def _shared_out(windows: NDArray[np.int64], lanes: int) -> NDArray[np.intp]:
    """Return the edges (B + 1,) of contiguous runs of items, one run per lane, of about equal numbers of windows.

    Every run has at least one item.
    """
    before = np.cumsum(windows) - windows
    edges = np.searchsorted(before, np.arange(1, lanes) * windows.sum() / lanes)
    items = len(windows)
    for lane in range(lanes - 1):  # one item at least, and one left for each lane that follows
        edges[lane] = min(max(edges[lane], (edges[lane - 1] if lane else 0) + 1), items - (lanes - 1 - lane))
    return np.concatenate([[0], edges, [items]])
