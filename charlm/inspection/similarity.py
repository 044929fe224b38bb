"""Units in an order in which neighbours behave alike, so that a heat map shows groups and not noise.

Beginning with the unit that is most like all others, each is followed by the one most like it of those left: the
nearest-neighbour chain, simple and good enough for eyes.
"""

import numpy as np
from numpy.typing import NDArray

_STILL = 1e-6
"""Standard deviation below which a unit does not move."""


def similarity_order(activity: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the columns of activity (T, K) sorted by similarity; units that never move come last."""
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
