"""What to try next, in words: read off the evaluations of a run that has ended.

Each rule looks for one trouble and says nothing where it does not see it clearly. Losses are nats here, as in
``metrics.jsonl``, and bits a character in what is said.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from charlm.runs.step_report import bits_per_character

_SLIGHT = 0.01
"""Nats that make no difference to the text a model writes; so near to zero, shares of a loss say nothing."""

_NOISE = 0.01
"""Share by which a loss moves by itself: the halves of an epoch differ by as much."""

_ROSE = 0.05
"""Share by which losses at a fitting rate do not rise; those at one too high rise by far more, again and again."""

_SEEN_OFTEN = 2
"""Evaluations that must agree, for one alone may be an outlier."""

_CURVE = 4
"""Evaluations of which at least one lies in the last quarter; the losses of fewer still speak of the beginning."""

_LAST_PART = 0.25
"""Share of the training, at its end, that tells whether it ended too early."""

_MANY = 10
"""Weights a character from which a model can memorize its text, and more text than it is given."""

_FEW = 1 / 20
"""Weights a character below which most models of a text have nothing to spare for it."""

_GAP = 0.3
"""Share by which the validation loss lies above the training loss where text was memorized; sound runs have
shown up to 0.24, as the end of a text differs from its beginning."""

_NO_GAP = 0.05
"""Share within which both losses count as alike: all that was learned holds for text never seen as well."""


@dataclass(frozen=True)
class _Evaluation:
    """One line of the history; losses are nats a character."""

    step: int
    train: float
    validation: float
    rate: float

    @classmethod
    def read(cls, line: Mapping[str, Any]) -> Self | None:
        """Return what a line of ``metrics.jsonl`` says; None where a number is missing, negative or not finite."""
        values = [line.get(name) for name in ("step", "train_loss", "validation_loss", "learning_rate")]
        numbers = [
            float(value) for value in values if isinstance(value, int | float) and 0 <= value <= sys.float_info.max
        ]
        return cls(int(numbers[0]), *numbers[1:]) if len(numbers) == len(values) else None


@dataclass(frozen=True)
class _Run:
    """All that the rules look at."""

    evaluations: Sequence[_Evaluation]
    weights: int
    characters: int
    rollbacks: int


def advice(history: Sequence[Mapping[str, Any]], weights: int, characters: int, rollbacks: int = 0) -> list[str]:
    """Return up to three sentences on what to try next, the most important first; none where all went well.

    ``history`` holds the lines of ``metrics.jsonl`` (`charlm.runs.step_report.StepReport.metrics`), of which odd ones
    are left out; ``weights`` counts the model's parameters, ``characters`` those of the training text,
    ``rollbacks`` how often training diverged and was rolled back.
    """
    evaluations = [evaluation for line in history if (evaluation := _Evaluation.read(line))]
    run = _Run(evaluations, weights, characters, rollbacks)
    return [sentence for rule in (_rate, _length, _size) if (sentence := rule(run))]


def _rate(run: _Run) -> str | None:
    """Say that the learning rate was too high."""
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
    """Tell of a rise of both losses at once: one alone is overfitting, or a harder part of the training text."""
    for here, following in pairwise(range(1, len(evaluations))):
        before = min(evaluations[:here], key=lambda evaluation: evaluation.train)
        lowest = min(evaluation.validation for evaluation in evaluations[:here])
        if all(
            _above(risen.train, before.train, _ROSE) and _above(risen.validation, lowest, _ROSE)
            for risen in (evaluations[here], evaluations[following])
        ):
            return (
                f"The training loss rose from {_bits(before.train)} bits a character at step {before.step:,} to "
                f"{_bits(evaluations[following].train)} at step {evaluations[following].step:,}"
            )
    return None


def _ended_worse(evaluations: Sequence[_Evaluation]) -> str | None:
    if not evaluations:
        return None
    first, last = evaluations[0], evaluations[-1]
    if not (_above(last.train, first.train, _NOISE) and _above(last.validation, first.validation, _NOISE)):
        return None
    return f"Training ended at {_bits(last.train)} bits a character, worse than the {_bits(first.train)} it began with"


def _length(run: _Run) -> str | None:
    """Say that training went on for too long, or not for long enough."""
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
        f"{_bits(last)} bits a character while the training loss fell. The best checkpoint, of that step, is kept; "
        "more text, model.dropout or fewer units (model.hidden_size) help, and training.patience stops in time."
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
        f"{_bits(last.validation)} bits a character in the last quarter: train longer, with more training.epochs "
        "(or training.steps)."
    )


def _size(run: _Run) -> str | None:
    """Say that the model is too large or too small for its text."""
    if len(run.evaluations) < _CURVE:
        return None
    last = run.evaluations[-1]
    counts = f"{run.weights:,} weights for {run.characters:,} characters"
    losses = f"{_bits(last.train)} bits a character in training, {_bits(last.validation)} in validation"
    if run.weights > _MANY * run.characters and _above(last.validation, last.train, _GAP):
        return (
            f"The model is large for its text, {counts}, and memorized it ({losses}): try more text or a "
            "smaller model.hidden_size."
        )
    alike = last.train > _SLIGHT and not _above(last.validation, last.train, _NO_GAP)
    if run.weights < _FEW * run.characters and alike:
        return (
            f"The model is small for its text, {counts}, and does equally well on text it never saw ({losses}): a "
            "larger model.hidden_size would learn more."
        )
    return None


def _best(evaluations: Sequence[_Evaluation]) -> _Evaluation | None:
    """Return the first evaluation of the lowest validation loss."""
    return min(evaluations, key=lambda evaluation: evaluation.validation, default=None)


def _above(higher: float, lower: float, share: float) -> bool:
    """Return whether a loss is more than slightly, and by more than that share, above another."""
    return higher - lower > _SLIGHT and higher > lower * (1 + share)


def _bits(nats: float) -> str:
    return f"{bits_per_character(nats):,.2f}"
