"""Ids → parallel lanes, cut into truncated-BPTT windows.

Lane b is one contiguous stretch of the text, and window i + 1 of a lane starts where window i ended, so
the hidden state can be carried over. Targets are the inputs shifted by one. Thirteen characters in
three lanes with windows of three:

    text       a b c d e f g h i j k l m

    lane 0     a b c   d          targets     b c d   e
    lane 1     e f g   h                      f g h   i
    lane 2     i j k   l                      j k l   m
    window       0     1                        0     1

The last window of a pass may be shorter. A window depends on the step alone, so a resumed run needs the
step number but no iterator state.

Letters: B lanes, T steps in a window.
"""

import math

import numpy as np

from charlm.config.settings import TrainingConfig
from charlm.errors import TextError
from charlm.text.batches import Batch, BatchSource
from charlm.text.document_streams import DocumentStreams
from charlm.text.vocabulary import Ids

EVALUATION_WINDOW = 256
"""Time steps per window in evaluation; it affects speed and memory, not results."""


class Streams:
    """A text in ``lanes`` parallel stretches, cut into windows of ``window`` steps.

    Raises TextError when there are more lanes than predictions to make.
    """

    def __init__(self, ids: Ids, lanes: int, window: int) -> None:
        self.lane_length = max(len(ids) - 1, 0) // lanes
        if self.lane_length < 1:
            raise TextError(
                f"a text of {len(ids):,} characters cannot be read in {lanes:,} lanes; each needs two. "
                "Use a longer text or fewer lanes (training.batch_size)."
            )
        read = lanes * self.lane_length
        self._inputs = ids[:read].reshape(lanes, self.lane_length)  # (B, lane_length), a view
        self._targets = ids[1 : read + 1].reshape(lanes, self.lane_length)
        self._window = window

    @property
    def lanes(self) -> int:
        """Number of lanes B."""
        return len(self._inputs)

    def __len__(self) -> int:
        """Return the number of windows in one pass over the text."""
        return math.ceil(self.lane_length / self._window)

    @property
    def characters(self) -> int:
        """Number of predictions in one pass."""
        return self._targets.size

    @property
    def padding(self) -> float:
        """Share of positions that are padding: none."""
        return 0.0

    def at(self, step: int) -> Batch:
        """Return the window read at ``step``, counted from 0."""
        index = step % len(self)
        columns = slice(index * self._window, (index + 1) * self._window)
        return Batch(self._inputs[:, columns], self._targets[:, columns], np.full(self.lanes, index == 0))

    def fraction(self, step: int) -> float:
        """Return the number of passes completed after ``step`` steps, such as 1.25."""
        passes, index = divmod(step, len(self))
        return passes + min(index * self._window / self.lane_length, 1.0)


def training_streams(ids: Ids, training: TrainingConfig, end: int | None = None) -> BatchSource:
    """Return the batches that training reads; with ``end``, the id of ``<end>``, as separate items.

    Raises TextError when the text is too short for one whole window, or one item, in every lane.
    """
    lanes, window = training.batch_size, training.sequence_length
    if end is not None:
        return DocumentStreams(ids, end, lanes, window, shuffled_by=training.seed)
    if lanes * window > len(ids) - 1:
        raise TextError(
            f"the training text of {len(ids):,} characters is too short: {lanes:,} lanes of one window of "
            f"{window:,} steps need {lanes * window + 1:,}. Use a longer text, or lower training.batch_size or "
            f"training.sequence_length until their product is at most {len(ids) - 1:,}."
        )
    return Streams(ids, lanes, window)


def one_lane(ids: Ids) -> Streams:
    """Return a text as one lane, from its beginning to its end; raises TextError below two ids."""
    return Streams(ids, 1, EVALUATION_WINDOW)


def evaluation_streams(ids: Ids, lanes: int, end: int | None = None) -> BatchSource:
    """Return the batches in which a text is scored, in at most ``lanes`` lanes: fewer where the text is too short."""
    if end is not None:
        items = max(int((ids == end).sum()) - 1, 1)
        return DocumentStreams(ids, end, min(lanes, items), EVALUATION_WINDOW)
    return Streams(ids, min(lanes, max(len(ids) - 1, 1)), EVALUATION_WINDOW)
