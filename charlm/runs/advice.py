"""Advice on what to try next, from the evaluations of a finished run.

Each rule detects one problem, and gives no advice in unclear cases. Losses are in nats here, as in ``metrics.jsonl``,
and in bits per character in the sentences.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from charlm.runs.step_report import bits_per_character

Numbers = NDArray[np.float64]

_NAMES = ("step", "train_loss", "validation_loss", "learning_rate")
_FIELDS = itemgetter(*_NAMES)
_PLAIN = {int, float, type(None)}
"""Types that NumPy converts as they are; it would read a text as a number."""

_LARGEST = sys.float_info.max

_SLIGHT = 0.01
"""Difference in nats that is negligible; for losses near zero, relative differences mean nothing."""

_NOISE = 0.01
"""Relative noise of a loss: the halves of an epoch differ by as much."""

_ROSE = 0.05
"""Relative rise of a loss that indicates a learning rate that is too high."""

_SEEN_OFTEN = 2
"""Number of evaluations that must agree, since one may be an outlier."""

_CURVE = 4
"""Minimum number of evaluations, so that at least one is in the last quarter of training."""

_LAST_PART = 0.25
"""Final fraction of training that is examined for a loss that still falls."""

_MANY = 10
"""Weights per character above which a model can memorize its training text."""

_FEW = 1 / 20
"""Weights per character below which most models are too small for their text."""

_GAP = 0.3
"""Relative excess of the validation loss over the training loss that indicates memorization; runs without it have
shown up to 0.24, since the end of a text differs from its beginning."""

_NO_GAP = 0.05
"""Relative difference within which both losses count as equal: the model generalizes fully."""


@dataclass(frozen=True)
class _Evaluation:
    """One line of the history; losses in nats per character."""

    step: int
    train: float
    validation: float


@dataclass(frozen=True)
class _Evaluations:
    """The usable lines of the history as arrays (N,): a run may have tens of thousands."""

    steps: Numbers
    train: Numbers
    validation: Numbers
    rates: Numbers

    @classmethod
    def read(cls, history: Sequence[Mapping[str, Any]]) -> Self:
        """Return the lines of ``metrics.jsonl`` but those with a number that is missing, negative or not finite."""
        try:
            values = list(chain.from_iterable(map(_FIELDS, history)))  # line by line: each lies elsewhere in memory
        except KeyError:
            whole = (line for line in history if all(name in line for name in _NAMES))
            values = list(chain.from_iterable(map(_FIELDS, whole)))
        rows = _numbers(values).reshape(-1, len(_NAMES))
        return cls(*rows[~np.isnan(rows).any(axis=1)].T)

    def __len__(self) -> int:
        return len(self.steps)

    def at(self, place: int) -> _Evaluation:
        """Return one of them."""
        return _Evaluation(int(self.steps[place]), float(self.train[place]), float(self.validation[place]))

    def place_of_best(self) -> int:
        """Return the place of the first with the lowest validation loss."""
        return int(self.validation.argmin())


@dataclass(frozen=True)
class _Run:
    """The input of the rules."""

    evaluations: _Evaluations
    weights: int
    characters: int
    rollbacks: int


def advice(history: Sequence[Mapping[str, Any]], weights: int, characters: int, rollbacks: int = 0) -> list[str]:
    """Return up to three sentences on what to try next, most important first; empty when no problem was found.

    ``history`` are the lines of ``metrics.jsonl`` (`charlm.runs.step_report.StepReport.metrics`); invalid lines are
    ignored. ``weights`` is the number of the model's parameters, ``characters`` the length of the training text,
    ``rollbacks`` the number of times training diverged and was rolled back.
    """
    run = _Run(_Evaluations.read(history), weights, characters, rollbacks)
    return [sentence for rule in (_rate, _length, _size) if (sentence := rule(run))]


def _numbers(values: Sequence[object]) -> Numbers:
    """Return numbers; NaN in place of what is missing, negative or not finite."""
    try:
        plain: Any = values if set(map(type, values)) <= _PLAIN else _plain(values)
        numbers = np.array(plain, np.float64)  # NaN for None
    except OverflowError:  # an integer past all floats
        numbers = np.array(_plain(values), np.float64)
    numbers[~((numbers >= 0) & (numbers <= _LARGEST))] = np.nan
    return numbers


def _plain(values: Sequence[object]) -> list[float | None]:
    return [value if isinstance(value, int | float) and 0 <= value <= _LARGEST else None for value in values]


def _rate(run: _Run) -> str | None:
    """Return advice where the learning rate was too high."""
    trouble = _diverged(run) or _rose(run.evaluations) or _ended_worse(run.evaluations)
    if not trouble:
        return None
    rate = float(run.evaluations.rates.max(initial=0.0)) / 2
    example = f", training.learning_rate: {rate:.2g}" if rate else " of training.learning_rate"
    return f"{trouble}, so the learning rate was too high: try half{example}."


def _diverged(run: _Run) -> str | None:
    times = "once" if run.rollbacks == 1 else f"{run.rollbacks} times"
    return f"Training diverged and was rolled back {times}" if run.rollbacks else None


def _rose(evaluations: _Evaluations) -> str | None:
    """Report a rise of both losses; of one alone, overfitting or a harder part of the text may be the cause."""
    risen = np.ones(max(len(evaluations) - 2, 0), bool)
    for losses in (evaluations.train, evaluations.validation):
        lowest = np.minimum.accumulate(losses)[: len(risen)]
        for later in (losses[1:-1], losses[2:]):
            risen &= _above(later, lowest, _ROSE)
    if not risen.any():
        return None
    here = int(risen.argmax()) + 1
    before, after = evaluations.at(int(evaluations.train[:here].argmin())), evaluations.at(here + 1)
    return (
        f"The training loss rose from {_bits(before.train)} bits per character at step {before.step:,} to "
        f"{_bits(after.train)} at step {after.step:,}"
    )


def _ended_worse(evaluations: _Evaluations) -> str | None:
    if not len(evaluations):
        return None
    first, last = evaluations.at(0), evaluations.at(-1)
    if not (_above(last.train, first.train, _NOISE) and _above(last.validation, first.validation, _NOISE)):
        return None
    return f"Training ended at {_bits(last.train)} bits per character, worse than the initial {_bits(first.train)}"


def _length(run: _Run) -> str | None:
    """Return advice where training was too long or too short."""
    return _overfitting(run.evaluations) or _still_falling(run.evaluations)


def _overfitting(evaluations: _Evaluations) -> str | None:
    if not len(evaluations):
        return None
    place = evaluations.place_of_best()
    best, last = evaluations.at(place), evaluations.at(-1)
    since = evaluations.validation[place + 1 :]
    if len(since) < _SEEN_OFTEN or last.train >= best.train:
        return None
    if not np.all(_above(since[-_SEEN_OFTEN:], best.validation, _NOISE)):
        return None
    return (
        f"Overfitting since step {best.step:,}: the validation loss rose by "
        f"{_bits(last.validation - best.validation)} to {_bits(last.validation)} bits per character while the training "
        "loss fell. The best checkpoint, of that step, is kept. More text, model.dropout or fewer units "
        "(model.hidden_size) help; training.patience stops training early."
    )


def _still_falling(evaluations: _Evaluations) -> str | None:
    if len(evaluations) < _CURVE:
        return None
    best, last = evaluations.at(evaluations.place_of_best()), evaluations.at(-1)
    early = evaluations.validation[evaluations.steps <= (1 - _LAST_PART) * last.step]
    if not len(early) or _above(last.validation, best.validation, _NOISE):
        return None
    before = float(early.min())
    if not _above(before, last.validation, _NOISE):
        return None
    return (
        f"The validation loss was still falling, by {1 - last.validation / before:.1%} to "
        f"{_bits(last.validation)} bits per character in the last quarter: train longer, with more training.epochs "
        "(or training.steps)."
    )


def _size(run: _Run) -> str | None:
    """Return advice where the model is too large or too small for its text."""
    if len(run.evaluations) < _CURVE:
        return None
    last = run.evaluations.at(-1)
    counts = f"{run.weights:,} weights for {run.characters:,} characters"
    losses = f"{_bits(last.train)} bits per character in training, {_bits(last.validation)} in validation"
    if run.weights > _MANY * run.characters and _above(last.validation, last.train, _GAP):
        return (
            f"The model is large for its text, {counts}, and memorized it ({losses}): try more text or a "
            "smaller model.hidden_size."
        )
    alike = last.train > _SLIGHT and not _above(last.validation, last.train, _NO_GAP)
    if run.weights < _FEW * run.characters and alike:
        return (
            f"The model is small for its text, {counts}, and predicts held-out text equally well ({losses}): try a "
            "larger model.hidden_size."
        )
    return None


@overload
def _above(higher: float, lower: float, share: float) -> bool: ...
@overload
def _above(higher: Numbers, lower: Numbers | float, share: float) -> NDArray[np.bool_]: ...
def _above(higher: Any, lower: Any, share: float) -> Any:
    """Return whether losses are higher than others by more than `_SLIGHT` nats and by more than ``share`` of them."""
    with np.errstate(over="ignore"):  # absurd losses
        return (higher - lower > _SLIGHT) & (higher > lower * (1 + share))


def _bits(nats: float) -> str:
    return f"{bits_per_character(nats):,.2f}"
