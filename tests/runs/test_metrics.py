"""The lines of metrics.jsonl: what can be used is, and nothing else does harm."""

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from charlm.errors import StorageError
from charlm.runs.metrics import Evaluation, metrics_lines
from tests.harness.handmade import HUGE
from tests.harness.histories import line


def short(value: object) -> str:
    return str(value)[:9]


def test_a_line_says_what_training_wrote_and_bits_are_nats_over_the_logarithm_of_two() -> None:
    found = Evaluation.model_validate(line(50, 2.25, sample="once\nupon"))

    assert (found.step, found.characters, found.sample) == (50, 50 * 2048, "once\nupon")
    assert found.validation_bits == pytest.approx(2.25)
    assert found.train_bits == pytest.approx(2.15)
    assert found.validation_loss == pytest.approx(2.25 * math.log(2))
    assert (found.learning_rate, found.characters_per_second, found.seconds) == (0.002 / 51, 52_000.5, 12.5)


def test_what_a_line_does_not_tell_is_not_known() -> None:
    found = Evaluation.model_validate({"step": 1, "characters": 3})

    assert [found.sample, found.train_bits, found.validation_bits, found.seconds] == [None] * 4


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "2.0", True, None, [2.0], HUGE, 1e300], ids=short)
def test_what_measures_nothing_costs_that_one_number(value: object) -> None:
    found = Evaluation.model_validate(line(7, 2.0, gradient_norm=value))

    assert found.gradient_norm is None
    assert found.validation_bits == pytest.approx(2.0)


@pytest.mark.parametrize("name", ["step", "characters"])
@pytest.mark.parametrize("value", [None, -1, 1.5, "1", True, HUGE], ids=short)
def test_a_line_that_belongs_nowhere_is_none(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Evaluation.model_validate(line(7, 2.0) | {name: value})


def test_half_a_character_in_a_sample_can_be_written_to_a_file() -> None:
    found = Evaluation.model_validate(json.loads('{"step": 1, "characters": 1, "sample": "a\\ud800b"}'))

    assert found.sample == "a?b"


def test_lines_come_as_they_stand_and_others_are_left_out(tmp_path: Path) -> None:
    good = ['{"step": 1, "other": "\u2028\x85"}', '{"step":2}']
    bad = ["", "[1]", "{", '{"step": "3"}', '{"step": 1.0}', "[" * 100_000, '{"step": ' + "9" * 5000 + "}", "null"]
    content = "\n".join([good[0], *bad, good[1]]).encode() + b'\n{"step": 4, "cut o'
    (tmp_path / "metrics.jsonl").write_bytes(content + b"\xff\n")

    assert metrics_lines(tmp_path) == [(text, json.loads(text)) for text in good]


def test_there_are_none_before_the_first_evaluation(tmp_path: Path) -> None:
    assert metrics_lines(tmp_path) == []


def test_a_pipe_or_a_folder_in_their_place_is_told_and_not_waited_for(tmp_path: Path) -> None:
    for make in (Path.mkdir, os.mkfifo):
        run = tmp_path / make.__name__
        run.mkdir()
        make(run / "metrics.jsonl")
        with pytest.raises(StorageError, match=r"metrics\.jsonl: cannot read this file"):
            metrics_lines(run)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists) | st.just(HUGE))
def test_no_value_of_any_field_is_more_than_a_line_that_is_left_out(value: object) -> None:
    for name in Evaluation.model_fields:
        try:
            found = Evaluation.model_validate(line(1, 2.0) | {name: value})
        except ValidationError:
            continue
        numbers = [getattr(found, key) for key in Evaluation.model_fields if key != "sample"]
        assert all(number is None or math.isfinite(number) for number in numbers)
        assert found.sample is None or found.sample.encode()
