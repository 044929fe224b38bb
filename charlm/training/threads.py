"""The number of threads that torch computes with on the CPU.

The number applies to the whole process. It decides in which order sums are added up, so results can differ in their
last bits between two numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def computing_threads(count: int | None) -> Iterator[None]:
    """Let torch compute with ``count`` threads until the block ends; None leaves the number as it is."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)
