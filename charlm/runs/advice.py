"""Advice on what to try next, from the evaluations of a finished run.

Each rule detects one problem, and gives no advice in unclear cases. Losses are in nats here, as in ``metrics.jsonl``,
and in bits per character in the sentences.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from charlm.runs.step_report import bits_per_character

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
    rate: float

    @classmethod
    def read(cls, line: Mapping[str, Any]) -> Self | None:
        """Return a line of ``metrics.jsonl``; None where a number is missing, negative or not finite."""
        values = [line.get(name) for name in ("step", "train_loss", "validation_loss", "learning_rate")]
        numbers = [
            float(value) for value in values if isinstance(value, int | float) and 0 <= value <= sys.float_info.max
        ]
        return cls(int(numbers[0]), *numbers[1:]) if len(numbers) == len(values) else None


@dataclass(frozen=True)
class _Run:
    """The input of the rules."""

    evaluations: Sequence[_Evaluation]
    weights: int
    characters: int
    rollbacks: int


def advice(history: Sequence[Mapping[str, Any]], weights: int, characters: int, rollbacks: int = 0) -> list[str]:
    """Return up to three sentences on what to try next, most important first; empty when no problem was found.

    ``history`` are the lines of ``metrics.jsonl`` (`charlm.runs.step_report.StepReport.metrics`); invalid lines are
    ignored. ``weights`` is the number of the model's parameters, ``characters`` the length of the training text,
    ``rollbacks`` the number of times training diverged and was rolled back.
    """
    evaluations = [evaluation for line in history if (evaluation := _Evaluation.read(line))]
    run = _Run(evaluations, weights, characters, rollbacks)
    return [sentence for rule in (_rate, _length, _size) if (sentence := rule(run))]


def _rate(run: _Run) -> str | None:
    """Return advice where the learning rate was too high."""
    trouble = _diverged(run) or _rose(run.evaluations) or _ended_worse(run.evaluations)
    if not trouble:
        return None
    rate = max((evaluation.rate for evaluation in run.evaluations), default=0.0) / 2
    example = f", training.learning_rate: {rate:.2g}" if rate else " of training.learning_rate"
    return f"{trouble}, so the learning rate was too high: try half{example}."


def _diverged(run: _Run) -> str | None:
    times = "once" if run.rollbacks == 1 else f"{run.rollbacks} times"
    return f"Training diverged and was rolled back {times}" if run.rollbacks else None


def _rose(evaluations: Sequence[_Evaluation]) -> str | None:
    """Report a rise of both losses; of one alone, overfitting or a harder part of the text may be the cause."""
    for here, following in pairwise(range(1, len(evaluations))):
        before = min(evaluations[:here], key=lambda evaluation: evaluation.train)
        lowest = min(evaluation.validation for evaluation in evaluations[:here])
        if all(
            _above(risen.train, before.train, _ROSE) and _above(risen.validation, lowest, _ROSE)
            for risen in (evaluations[here], evaluations[following])
        ):
            return (
                f"The training loss rose from {_bits(before.train)} bits per character at step {before.step:,} to "
                f"{_bits(evaluations[following].train)} at step {evaluations[following].step:,}"
            )
    return None


def _ended_worse(evaluations: Sequence[_Evaluation]) -> str | None:
    if not evaluations:
        return None
    first, last = evaluations[0], evaluations[-1]
    if not (_above(last.train, first.train, _NOISE) and _above(last.validation, first.validation, _NOISE)):
        return None
    return f"Training ended at {_bits(last.train)} bits per character, worse than the initial {_bits(first.train)}"


def _length(run: _Run) -> str | None:
    """Return advice where training was too long or too short."""
    return _overfitting(run.evaluations) or _still_falling(run.evaluations)


def _overfitting(evaluations: Sequence[_Evaluation]) -> str | None:
    best = _best(evaluations)
    since = evaluations[evaluations.index(best) + 1 :] if best else []
    if not best or len(since) < _SEEN_OFTEN or since[-1].train >= best.train:
        return None
    if not all(_above(evaluation.validation, best.validation, _NOISE) for evaluation in since[-_SEEN_OFTEN:]):
        return None
    last = since[-1].validation
    return (
        f"Overfitting since step {best.step:,}: the validation loss rose by {_bits(last - best.validation)} to "
        f"{_bits(last)} bits per character while the training loss fell. The best checkpoint, of that step, is kept. "
        "More text, model.dropout or fewer units (model.hidden_size) help; training.patience stops training early."
    )


def _still_falling(evaluations: Sequence[_Evaluation]) -> str | None:
    if len(evaluations) < _CURVE:
        return None
    last = evaluations[-1]
    early = [evaluation for evaluation in evaluations if evaluation.step <= (1 - _LAST_PART) * last.step]
    before, best = _best(early), _best(evaluations)
    if not before or not best or _above(last.validation, best.validation, _NOISE):
        return None
    if not _above(before.validation, last.validation, _NOISE):
        return None
    return (
        f"The validation loss was still falling, by {1 - last.validation / before.validation:.1%} to "
        f"{_bits(last.validation)} bits per character in the last quarter: train longer, with more training.epochs "
        "(or training.steps)."
    )


def _size(run: _Run) -> str | None:
    """Return advice where the model is too large or too small for its text."""
    if len(run.evaluations) < _CURVE:
        return None
    last = run.evaluations[-1]
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


def _best(evaluations: Sequence[_Evaluation]) -> _Evaluation | None:
    """Return the first evaluation with the lowest validation loss."""
    return min(evaluations, key=lambda evaluation: evaluation.validation, default=None)


def _above(higher: float, lower: float, share: float) -> bool:
    """Return whether a loss is higher than another by more than `_SLIGHT` nats and by more than ``share`` of it."""
    return higher - lower > _SLIGHT and higher > lower * (1 + share)


def _bits(nats: float) -> str:
    return f"{bits_per_character(nats):,.2f}"
