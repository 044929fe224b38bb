"""Gradients by lag and by character, as values for display and export.

table  by lag: model, lag, mean, spread         by character: model, position, character, size
values {"models": [{"model", "mean": […], "spread": […], "factor", "words"}, …]}, lists from lag 0
       {"models": [{"model", "characters": […], "sizes": […]}, …]}

Letters: K lags, T characters.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class GradientByLag:
    """The norm of the gradient at each lag, over many positions of a text."""

    mean: NDArray[np.float64]  # (K + 1,), from lag 0
    spread: NDArray[np.float64]  # (K + 1,), standard deviation over the positions

    @property
    def band(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """One standard deviation below and above the mean; at least a tenth of the mean, for logarithmic scales."""
        return np.maximum(self.mean - self.spread, self.mean / 10), self.mean + self.spread

    @property
    def factor(self) -> float:
        """Factor by which the mean changes per lag, fitted to lags from 1 on; 0 where the gradient is zero."""
        alive = self.mean > 0
        lags = np.flatnonzero(alive)
        lags = lags[lags > 0]
        if len(lags) == 0 or not alive[1:].all():
            return 0.0
        if len(lags) == 1:
            return float(self.mean[1] / self.mean[0]) if self.mean[0] > 0 else 0.0
        slope, _ = np.polyfit(lags, np.log(self.mean[lags]), 1)
        return float(np.exp(slope))

    @property
    def words(self) -> str:
        """The fitted decay as a sentence."""
        factor = self.factor
        if factor == 0:
            through = int(np.append(self.mean[1:] > 0, False).argmin())  # number of nonzero lags
            return f"nothing gets through {through + 1:,} step{'s' if through else ''}"
        steps = math.inf if factor == 1 else abs(math.log(2) / math.log(factor))
        if steps > 100 * len(self.mean):
            return "the gradient keeps its size"
        return f"the gradient {'halves' if factor < 1 else 'doubles'} every {steps:,.1f} characters"


@dataclass(frozen=True)
class Saliency:
    """The gradient of the prediction after a text with respect to each of its characters."""

    marks: Sequence[str]
    """One printable mark per character."""
    sizes: NDArray[np.float64]  # (T,)


def lag_table(found: Mapping[str, GradientByLag]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Return the column names, and a row for each lag of each model."""
    rows: list[tuple[object, ...]] = [
        (name, lag, mean, spread)
        for name, gradient in found.items()
        for lag, (mean, spread) in enumerate(zip(gradient.mean.tolist(), gradient.spread.tolist(), strict=True))
    ]
    return ("model", "lag", "mean", "spread"), rows


def lag_values(found: Mapping[str, GradientByLag]) -> dict[str, Any]:
    """Return the gradients at each lag as JSON-serializable values."""
    models = [
        {
            "model": name,
            "mean": gradient.mean.tolist(),
            "spread": gradient.spread.tolist(),
            "factor": gradient.factor,
            "words": gradient.words,
        }
        for name, gradient in found.items()
    ]
    return {"models": models}


def saliency_table(found: Mapping[str, Saliency]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Return the column names, and a row for each character of each model."""
    rows: list[tuple[object, ...]] = [
        (name, place, mark, size)
        for name, saliency in found.items()
        for place, (mark, size) in enumerate(zip(saliency.marks, saliency.sizes.tolist(), strict=True))
    ]
    return ("model", "position", "character", "size"), rows


def saliency_values(found: Mapping[str, Saliency]) -> dict[str, Any]:
    """Return the gradient at each character as JSON-serializable values."""
    models = [
        {"model": name, "characters": list(saliency.marks), "sizes": saliency.sizes.tolist()}
        for name, saliency in found.items()
    ]
    return {"models": models}
