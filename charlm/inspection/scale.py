"""The range that a signal can take, and the colours that stand for it: blue is low, orange high.

Gates lie between 0 and 1, what tanh has squashed between −1 and 1; others are scaled by how far a text drove them.
Blue and orange stay apart for all common kinds of colour blindness.
"""

import numpy as np
from numpy.typing import NDArray

from charlm.config.settings import ModelConfig
from charlm.inspection.trace import Trace, Unit

LOW, MIDDLE, HIGH = (94, 152, 222), (245, 245, 245), (240, 138, 48)
"""Red, green and blue, 0 to 255, at the bottom, the middle and the top of a scale."""
SURPRISE = (221, 132, 181)
"""What full surprise has, from the middle on."""


def limits_of(signal: str, model: ModelConfig) -> tuple[float, float] | None:
    """Return the range that a signal of this model never leaves; None where nothing bounds it."""
    if signal == "hidden" and model.nonlinearity == "relu":  # which a model only has whose hidden state it makes
        return None
    return model.architecture.signal(signal).limits


def scale_of(trace: Trace, unit: Unit, model: ModelConfig) -> tuple[float, float]:
    """Return the bottom and the top of the scale on which a unit is shown."""
    limits = limits_of(unit.signal, model)
    if limits is not None:
        return limits
    far = float(np.abs(trace.over_time(unit)).max()) or 1.0
    return -far, far


def share(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float64]:
    """Return how far up its scale each value stands, 0 to 1."""
    return np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
