"""Text as numbers: the code point of each character, and one that marks the end of an item."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

CodePoints = NDArray[np.unsignedinteger[Any]]

END_UNIT = 0xD800
"""The code point that marks the end of an item: a lone surrogate, which no decoded text contains."""


def code_points(text: str) -> CodePoints:
    """Return the code points (N,) of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
