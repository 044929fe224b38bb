"""An order of units that puts similar ones next to each other, so that a heat map shows groups.

A greedy nearest-neighbor chain: it starts with the unit most correlated with all others, and each unit is followed by
the remaining one most correlated with it.
"""

import numpy as np
from numpy.typing import NDArray

_STILL = 1e-6
"""Standard deviation below which a unit counts as constant."""


def similarity_order(activity: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the order (K,) of the columns of activity (T, K) by similarity; constant units come last."""
    centred = activity.astype(np.float64) - activity.mean(axis=0, dtype=np.float64)
    spread = np.sqrt((centred**2).mean(axis=0))
    moving = np.flatnonzero(spread > _STILL)
    alike = centred[:, moving] / spread[moving]
    correlation = alike.T @ alike / max(len(alike), 1)  # (K, K)
    chain: list[int] = []
    left = np.ones(len(moving), np.bool_)
    here = int(np.abs(correlation).sum(axis=0).argmax()) if len(moving) else 0
    while left.any():
        chain.append(here)
        left[here] = False
        here = int(np.where(left, correlation[here], -np.inf).argmax())
    return np.concatenate([moving[chain], np.flatnonzero(spread <= _STILL)]).astype(np.intp)
