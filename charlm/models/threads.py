"""The number of threads of NumPy's BLAS.

The matrix products of a single text are too small for several threads: on a busy machine, waiting for a second thread
at every step costs far more than it gains. Limits apply to the whole process, so they are set around each computed
piece, never across a ``yield``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np


@contextmanager
def computing(texts: int) -> Iterator[None]:
    """Limit BLAS to one thread for one text, and leave its default for several texts in parallel.

    Warnings of overflow are suppressed: weights may be arbitrarily large.
    """
    with np.errstate(all="ignore"):
        if texts != 1:
            yield
            return
        with _controller().limit(limits=1):
            yield


@cache
def _controller() -> Any:
    """Return the controller of the BLAS libraries that NumPy has loaded; cached, since finding them is slow."""
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415 - only needed to read a text

    return ThreadpoolController().select(user_api="blas")
