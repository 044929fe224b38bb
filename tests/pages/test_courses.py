"""The numbers of a growing run: those of its evaluations, each of which is read once."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.pages.courses import Courses
from charlm.pages.report import report_page
from charlm.runs.history import History
from charlm.runs.metrics import Evaluation
from tests.harness.histories import falling, history, line, settings

QUANTITIES = ("train_bits", "validation_bits", "learning_rate", "gradient_norm", "characters_per_second")
NUMBERS = st.none() | st.floats(-1e100, 1e100) | st.integers(0, 9)
LINES = st.lists(
    st.fixed_dictionaries(
        {"train_loss": NUMBERS, "validation_loss": NUMBERS, "gradient_norm": NUMBERS},
        optional={"sample": st.sampled_from(["", "a", "b"])},
    ),
    max_size=12,
)


def evaluations(lines: Sequence[dict[str, Any]]) -> tuple[Evaluation, ...]:
    numbered = [{"step": step, "characters": step * 2048} | metrics for step, metrics in enumerate(lines)]
    return tuple(map(Evaluation.model_validate, numbered))


@given(LINES, st.integers(0, 12))
def test_a_course_is_what_is_known_of_each_evaluation(lines: list[dict[str, Any]], known: int) -> None:
    found = evaluations(lines)
    courses = Courses(found[:known])
    courses.follow(found)

    for name in QUANTITIES:
        pairs = [(float(one.characters), getattr(one, name)) for one in found]
        assert list(map(tuple, courses.course(name).tolist())) == [pair for pair in pairs if pair[1] is not None]
    assert courses.best is History(None, None, found).best  # type: ignore[arg-type]
    assert courses.written == [place for place, one in enumerate(found) if one.sample]


class Watched(tuple[Evaluation, ...]):
    """Evaluations that note which of them are read one after the other."""

    read: list[slice]

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            self.read.append(place)
        return super().__getitem__(place)


def test_each_evaluation_is_read_once() -> None:
    found = evaluations(falling(50))
    courses = Courses(found[:40])
    watched = Watched(found)
    watched.read = []
    courses.follow(watched)

    assert watched.read == [slice(40, None)]


def test_a_list_may_grow_in_place() -> None:
    found = list(evaluations(falling(9)))
    courses = Courses(found)
    found.append(evaluations(falling(10))[-1])
    courses.follow(found)

    assert len(courses.course("train_bits")) == 10


@pytest.mark.parametrize("count", [8, 30])
@pytest.mark.parametrize("kept", [0, 3, 20])
def test_other_evaluations_are_read_anew(kept: int, count: int) -> None:
    """A resumed run has lines of its own after the checkpoint it continues from."""
    found, other = evaluations(falling(20)), evaluations([line(step, 3.0) for step in range(1, count + 1)])
    courses = Courses(found)
    courses.follow((*found[:kept], *other))

    assert courses.course("train_bits").tolist() == Courses((*found[:kept], *other)).course("train_bits").tolist()
    assert len(courses.course("train_bits")) == kept + count


@pytest.mark.parametrize("count", [1, 2, 199, 202, 299, 303, 700])
def test_a_page_of_a_growing_run_is_that_of_the_whole(count: int) -> None:
    lines = [
        metrics | {"sample": f"a {metrics['step']}", "gradient_norm": math.sin(i)}
        for i, metrics in enumerate(falling(count))
    ]
    config, courses = settings(), Courses()
    for part in (count // 3, count // 2, count):
        found = history(config, lines[:part])
        kept = report_page(found, {}, {"uniform": 6.0}, courses=courses)
        assert kept == report_page(found, {}, {"uniform": 6.0})
