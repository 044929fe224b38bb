"""The numbers of a run's evaluations as arrays: a run may have tens of thousands, and a page at each."""

import math
from collections.abc import Sequence
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from charlm.runs.metrics import Evaluation

_NUMBERS = (
    "characters",
    "train_loss",
    "validation_loss",
    "learning_rate",
    "gradient_norm",
    "characters_per_second",
)
_NATS = {"train_bits": "train_loss", "validation_bits": "validation_loss"}
"""The quantities in bits, by the losses in nats from which they are computed."""


class Courses:
    """The numbers of a growing sequence of evaluations; each evaluation is read once."""

    def __init__(self, evaluations: Sequence[Evaluation] = ()) -> None:
        self.evaluations: Sequence[Evaluation] = ()
        self.written: list[int] = []
        """The places of the evaluations with a sample."""
        self._table = np.zeros((len(_NUMBERS), 0))
        self._last: Evaluation | None = None
        self.follow(evaluations)

    def follow(self, evaluations: Sequence[Evaluation]) -> None:
        """Read the evaluations that have come since; all, where they do not continue those that are known."""
        known = self._table.shape[1]
        if known and (len(evaluations) < known or evaluations[known - 1] is not self._last):
            known, self.written, self._table = 0, [], self._table[:, :0]
        new = list(map(vars, evaluations[known:]))  # attributes would take twice the time
        self.evaluations, self._last = evaluations, evaluations[-1] if evaluations else None
        columns = [np.array(list(map(itemgetter(name), new)), np.float64) for name in _NUMBERS]  # None becomes NaN
        self._table = np.concatenate([self._table, columns], axis=1)
        self.written += [known + place for place, fields in enumerate(new) if fields["sample"]]

    def course(self, name: str) -> NDArray[np.float64]:
        """Return the points (N, 2) of a quantity: characters trained on and value, where it is known."""
        values = self._column(_NATS.get(name, name))
        known = ~np.isnan(values)
        unit = math.log(2) if name in _NATS else 1.0
        return np.column_stack([self._column("characters")[known], values[known] / unit])

    @property
    def place_of_best(self) -> int | None:
        """The place of the first evaluation with the lowest validation loss; None before there is one."""
        losses = self._column("validation_loss")
        return None if np.isnan(losses).all() else int(np.nanargmin(losses))

    @property
    def best(self) -> Evaluation | None:
        """The evaluation at that place."""
        place = self.place_of_best
        return None if place is None else self.evaluations[place]

    def _column(self, name: str) -> NDArray[np.float64]:
        column: NDArray[np.float64] = self._table[_NUMBERS.index(name)]
        return column
