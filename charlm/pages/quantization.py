"""Quantization of a signal for a page: 255 levels, compressed with zlib, encoded in base64.

A level is an integer from −127, the bottom of a unit's scale, to 127, its top; −128 is not a number. The page
dequantizes it as low + (level + 127) · (high − low) / 254.

Letters: T characters, L layers, H hidden units.
"""

import base64
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charlm.config.settings import ModelConfig
from charlm.inspection.scale import limits_of

_STEPS = 254
_NOT_A_NUMBER = -128


@dataclass(frozen=True)
class Rounded:
    """A quantized signal."""

    low: NDArray[np.float64]  # (L, H), the bottom of each unit's scale
    high: NDArray[np.float64]  # (L, H)
    levels: NDArray[np.int8]  # (L, H, T): the values of a unit are contiguous
    error: float
    """Largest absolute quantization error."""

    def values(self, layer: int) -> NDArray[np.float64]:
        """Return the dequantized values of a layer, (H, T)."""
        low, high = self.low[layer, :, None], self.high[layer, :, None]
        numbers = low + (self.levels[layer].astype(np.float64) + 127) * ((high - low) / _STEPS)
        return np.where(self.levels[layer] == _NOT_A_NUMBER, np.nan, numbers)


def rounded(signal: str, rows: NDArray[np.float32], model: ModelConfig) -> Rounded:
    """Return a signal (T, L, H), quantized.

    Gates have a scale from 0 to 1, and outputs of tanh from −1 to 1. The other signals are unbounded: each unit has its
    own scale, up to its largest value on this text, because one growing unit would leave too few levels to the others.
    """
    limits = limits_of(signal, model)
    if limits is not None:
        low, high = (np.full(rows.shape[1:], limit) for limit in limits)
    else:
        high = np.max(np.abs(rows), axis=0, where=np.isfinite(rows), initial=0).astype(np.float64)
        high[high == 0] = 1
        low = -high
    whole = Rounded(low, high, np.empty((*high.shape, len(rows)), np.int8), 0.0)
    return replace(whole, error=max(_fill(whole, layer, rows[:, layer].T) for layer in range(len(high))))


def _fill(whole: Rounded, layer: int, course: NDArray[np.float32]) -> float:
    """Set the levels of one layer (H, T), and return the largest absolute error."""
    low, high = whole.low[layer, :, None], whole.high[layer, :, None]
    course = np.ascontiguousarray(course)  # three times faster
    known = np.isfinite(course)
    values = np.where(known, course, low)
    levels = np.clip(np.rint((values - low) / ((high - low) / _STEPS)), 0, _STEPS) - 127
    whole.levels[layer] = np.where(known, levels, _NOT_A_NUMBER)
    return float(np.max(np.abs(whole.values(layer) - values), where=known, initial=0))


def packed(numbers: NDArray[Any]) -> str:
    """Return the little-endian bytes of an array, compressed with zlib and encoded in base64."""
    plain = np.ascontiguousarray(numbers).astype(numbers.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(zlib.compress(plain, 6)).decode("ascii")
