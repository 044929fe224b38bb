"""Mean ablation of a hidden unit: the change in loss when the unit is constant.

A correlation shows what a unit follows, not whether the model uses it. So the unit is clamped to its mean, which
removes its information but keeps its bias, and the text is scored again.

Letters: T characters.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charlm.errors import TextError
from charlm.evaluation import predictions
from charlm.inspection.patterns import Values
from charlm.inspection.trace import TraceSelection, Unit, pieces
from charlm.models.prediction import surprisal
from charlm.models.recurrent import RecurrentModel
from charlm.text.streams import one_lane
from charlm.text.vocabulary import Ids

_PIECE = 1024
"""Characters read at a time."""


@dataclass(frozen=True)
class Ablation:
    """The effect of clamping one unit, in bits per character."""

    unit: Unit
    value: float
    """The value to which it was clamped: its mean over the text."""
    whole: float
    """Bits per character of the unchanged model."""
    change: float
    """Increase without the unit; negative where the model improves."""
    inside: Mapping[str, float]
    """The increase at characters inside each pattern."""
    outside: Mapping[str, float]
    """The increase at the other characters."""


def ablate(model: RecurrentModel, ids: Ids, layer: int, index: int, patterns: Mapping[str, Values]) -> Ablation:
    """Score ids (T,) with and without a hidden unit, overall and inside and outside each pattern (T,).

    A pattern that is everywhere or nowhere is left out. Raises TextError when there is nothing to predict.
    """
    if len(ids) < 2:
        raise TextError(
            "the text is too short: one character leaves nothing to predict.", "Use a longer one.", kind="short text"
        )
    value = _mean(model, ids, layer, index)
    before = bits(model, ids)
    change = bits(model.clamped({(layer, index): value}), ids) - before
    within = {name: values[1:] > 0 for name, values in patterns.items()}
    both = {name: marks for name, marks in within.items() if marks.any() and not marks.all()}
    return Ablation(
        unit=Unit("hidden", layer, index),
        value=value,
        whole=float(before.mean()),
        change=float(change.mean()),
        inside={name: float(change[marks].mean()) for name, marks in both.items()},
        outside={name: float(change[~marks].mean()) for name, marks in both.items()},
    )


def bits(model: RecurrentModel, ids: Ids) -> NDArray[np.float64]:
    """Return the surprisal in bits of every character but the first, (T − 1,), from a zero state."""
    scored = predictions(model, one_lane(ids))
    return np.concatenate([surprisal(log_p, batch.targets)[0] / math.log(2) for batch, log_p in scored])


def _mean(model: RecurrentModel, ids: Ids, layer: int, index: int) -> float:
    total = sum(
        float(piece.signals["hidden"][:, 0, index].sum(dtype=np.float64))
        for piece in pieces(model, ids, TraceSelection(["hidden"], [layer]), _PIECE)
    )
    return total / len(ids)
