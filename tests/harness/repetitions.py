"""How often long tests repeat: in full with ``--endurance``, otherwise a tenth as often, over the same range."""

from collections.abc import Sequence
from itertools import product
from math import ceil
from typing import Any, TypeVar

Case = TypeVar("Case")

SHARE = 10
_endurance = False


def set_endurance(full: bool) -> None:
    """Choose how often tests repeat; called before any test is collected."""
    global _endurance  # noqa: PLW0603  # the one setting of the test session
    _endurance = full


def repetitions(count: int) -> int:
    """Return ``count``, or a tenth of it."""
    return count if _endurance else ceil(count / SHARE)


def spread(cases: Sequence[Case], least: int = 2) -> list[Case]:
    """Return all cases, or a tenth: the first, the last and others evenly between, ``least`` at the least."""
    count = min(len(cases), max(repetitions(len(cases)), least))
    return [cases[round(place * (len(cases) - 1) / max(count - 1, 1))] for place in range(count)]


def pairs(first: Sequence[Any], second: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Return all pairs, or few in which every element of either occurs."""
    if _endurance:
        return list(product(first, second))
    count = max(len(first), len(second))
    return [(first[place % len(first)], second[place % len(second)]) for place in range(count)]
