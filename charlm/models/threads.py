"""How many threads NumPy's BLAS computes with.

One text at a time makes products that are too small to share: on a busy machine a second thread that is waited for at
every step costs far more than it gives. Limits belong to the process, so they are entered and left around each
computed piece, never across a ``yield``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np


@contextmanager
def computing(texts: int) -> Iterator[None]:
    """Let NumPy compute for so many texts side by side: one BLAS thread for one text, BLAS's own number for more.

    Overflow is no warning meanwhile: the weights of a model may be as large as they please.
    """
    with np.errstate(all="ignore"):
        if texts != 1:
            yield
            return
        with _controller().limit(limits=1):
            yield


@cache
def _controller() -> Any:
    """Return what limits the libraries that NumPy has loaded; to look for them takes as long as ten characters."""
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415 - only who reads a text needs it

    return ThreadpoolController().select(user_api="blas")
