"""The range of a signal, and its colour scale: blue is low, orange high.

Gates range from 0 to 1 and tanh outputs from −1 to 1; unbounded signals are scaled by their maximum over the text. Blue
and orange are distinguishable with all common kinds of colour blindness.
"""

import numpy as np
from numpy.typing import NDArray

from charlm.config.settings import ModelConfig
from charlm.inspection.trace import Trace, Unit

LOW, MIDDLE, HIGH = (94, 152, 222), (245, 245, 245), (240, 138, 48)
"""Red, green and blue, 0 to 255, at the bottom, the middle and the top of the scale."""
SURPRISE = (221, 132, 181)
"""The color of the highest surprisal; the scale starts at `MIDDLE`."""


def limits_of(signal: str, model: ModelConfig) -> tuple[float, float] | None:
    """Return the bounds of a signal of this model; None for an unbounded one."""
    if signal == "hidden" and model.nonlinearity == "relu":  # only used by kind rnn
        return None
    return model.architecture.signal(signal).limits


def scale_of(trace: Trace, unit: Unit, model: ModelConfig) -> tuple[float, float]:
    """Return the bottom and the top of the scale for a unit."""
    limits = limits_of(unit.signal, model)
    if limits is not None:
        return limits
    far = float(np.abs(trace.over_time(unit)).max()) or 1.0
    return -far, far


def share(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float64]:
    """Return the position of each value on its scale, from 0 to 1."""
    return np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
