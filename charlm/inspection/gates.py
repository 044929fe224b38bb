"""Gate saturation: the fraction of a text at which each gate is above 0.9 (open) or below 0.1 (shut).

A forget gate that is always open keeps its cell state; an input gate that is always shut never changes it (Karpathy,
Johnson & Fei-Fei, "Visualizing and Understanding Recurrent Networks", 2016).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charlm.architectures import ARCHITECTURES
from charlm.inspection.trace import Trace

GATES = tuple(dict.fromkeys(gate for row in ARCHITECTURES.values() for gate in row.gates))
"""The names of all gates, whose values range from 0, shut, to 1, open."""
SHUT, OPEN = 0.1, 0.9


@dataclass(frozen=True)
class Saturation:
    """The fractions of the text at which each unit of a gate is shut and open, (L, H)."""

    shut: NDArray[np.float64]
    open: NDArray[np.float64]


def saturation(trace: Trace) -> dict[str, Saturation]:
    """Return the saturation of each gate in the trace."""
    return {
        name: Saturation((rows < SHUT).mean(axis=0), (rows > OPEN).mean(axis=0))
        for name, rows in trace.signals.items()
        if name in GATES
    }
