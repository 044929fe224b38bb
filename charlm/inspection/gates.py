"""How often gates stand open or shut: the share of a text at which each is above 0.9 or below 0.1.

A forget gate that is always open remembers, an input gate that is always shut never writes; a gate that is neither is
used to choose (Karpathy, Johnson & Fei-Fei, "Visualizing and Understanding Recurrent Networks", 2016).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charlm.architectures import ARCHITECTURES
from charlm.inspection.trace import Trace

GATES = tuple(dict.fromkeys(gate for row in ARCHITECTURES.values() for gate in row.gates))
"""The signals that are gates: numbers from 0, shut, to 1, open."""
SHUT, OPEN = 0.1, 0.9


@dataclass(frozen=True)
class Saturation:
    """For each unit of a gate, the shares of the text, (L, H)."""

    shut: NDArray[np.float64]
    open: NDArray[np.float64]


def saturation(trace: Trace) -> dict[str, Saturation]:
    """Return how often each gate of the trace was shut and open."""
    return {
        name: Saturation((rows < SHUT).mean(axis=0), (rows > OPEN).mean(axis=0))
        for name, rows in trace.signals.items()
        if name in GATES
    }
