"""Page that compares runs, without a script: their learning curves, and the settings in which they differ."""

from collections.abc import Sequence
from dataclasses import dataclass

from charlm.pages.chart import Curve, chart
from charlm.pages.courses import Courses
from charlm.pages.formatting import duration, readable, setting
from charlm.pages.rendering import render
from charlm.runs.history import Difference, History, differences

_LOOKS = 6
"""Number of line colours; runs of the same colour are distinguished by their number."""
_LONGEST_VALUE = 300
"""Number of characters of a setting that are shown."""


@dataclass(frozen=True)
class _Run:
    number: int
    name: str
    look: str
    best: str
    step: str
    characters: str
    time: str


def comparison_page(histories: Sequence[History]) -> str:
    """Return the page of the runs, in the given order; the same input gives the same bytes."""
    curves = [curve for place, history in enumerate(histories) for curve in _curves(place, history)]
    drawn = any(len(curve.points) for curve in curves)
    return render(
        "comparison.html",
        runs=[_run(place, history) for place, history in enumerate(histories)],
        summary=_summary(histories),
        loss=chart("bits per character", curves) if drawn else None,
        differences=[(row.key, _values(row)) for row in differences([history.config for history in histories])],
    )


def _curves(place: int, history: History) -> list[Curve]:
    """Return the training curve of a run, and its validation curve labelled with the run's number."""
    look, name = f"line-{place % _LOOKS}", f"{place + 1} {history.name}"
    best, courses = history.best, Courses(history.evaluations)
    words = "no evaluation yet" if best is None else f"best {best.validation_bits:.3f} at step {best.step:,}"
    return [
        Curve(f"{name}, training", "", courses.course("train_bits"), f"{look} thin dashed"),
        Curve(name, words, courses.course("validation_bits"), look, str(place + 1)),
    ]


def _run(place: int, history: History) -> _Run:
    best, last = history.best, history.last
    return _Run(
        number=place + 1,
        name=readable(history.name),
        look=f"line-{place % _LOOKS}",
        best="—" if best is None else f"{best.validation_bits:.3f}",
        step="—" if best is None else f"{best.step:,}",
        characters="—" if last is None else f"{last.characters:,}",
        time="—" if last is None or last.seconds is None else duration(last.seconds),
    )


def _summary(histories: Sequence[History]) -> str:
    known = [(history.best.validation_loss or 0.0, history) for history in histories if history.best is not None]
    if not known:
        return "None of these runs has been evaluated yet."
    _, first = min(known, key=lambda pair: pair[0])
    bits = first.best.validation_bits if first.best else None
    return f"The best of {len(histories)} runs is {readable(first.name)}, with {bits:.3f} bits per character."


def _values(row: Difference) -> list[str]:
    shown = [setting(value) for value in row.values]
    return [text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…" for text in shown]
