"""The points of a long curve that are drawn."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Points = Sequence[tuple[float, float]] | NDArray[np.float64]
"""Pairs of characters and value, (N, 2)."""

_BUCKETS = 150
"""Number of buckets of a long curve; the lowest and the highest point of each are drawn."""


def thinned(points: Points) -> list[tuple[float, float]]:
    """Return, in order, the first and the last point, and the lowest and highest of each bucket of a long curve."""
    whole = np.asarray(points, np.float64).reshape(-1, 2)
    if len(whole) > 2 * _BUCKETS:
        values = whole[:, 1]
        ends = [bucket * len(whole) // _BUCKETS for bucket in range(_BUCKETS + 1)]
        kept = {0, len(whole) - 1}
        for start, end in pairwise(ends):
            kept |= {start + int(values[start:end].argmin()), start + int(values[start:end].argmax())}
        whole = whole[sorted(kept)]
    return [(x, y) for x, y in whole.tolist()]
