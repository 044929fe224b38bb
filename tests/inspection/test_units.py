"""The unit finder says r and AUC as others compute them, finds what was planted, and is seldom taken in by luck."""

import itertools
import re
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.errors import ConfigError, TextError
from charlm.inspection import units
from charlm.inspection.patterns import PATTERNS, Values
from charlm.inspection.trace import Trace, TraceSelection, Unit, trace
from charlm.inspection.units import Finding, find
from charlm.models.recurrent import RecurrentModel, tensor_shapes
from charlm.text.vocabulary import Ids
from tests.conftest import make_config, train

pytestmark = pytest.mark.slow

LAYERS, HIDDEN = 2, 3
Activity = NDArray[np.float32]


class Recording:
    """Takes the place of a model that reads: activity (T, K) is given, as two layers of K / 2 hidden units."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity

    def __call__(self, model: object, ids: Ids, watched: TraceSelection, length: int) -> Iterator[Trace]:
        for start in range(0, len(ids), length):
            rows = self._activity[start : start + length]
            yield Trace(ids[start : start + length], {"hidden": rows.reshape(len(rows), LAYERS, -1)})


@pytest.fixture
def find_in(monkeypatch: pytest.MonkeyPatch):
    """Return a function that searches given activity (T, K)."""

    def search(activity: Activity, patterns: Mapping[str, Values], **settings: int) -> dict[str, list[Finding]]:
        monkeypatch.setattr(units, "pieces", Recording(activity))
        return find(None, np.zeros(len(activity), np.uint8), patterns, **settings)

    return search


def column(unit: Unit, activity: Activity) -> Activity:
    """Return what was given as this unit's activity."""
    return activity[:, unit.layer * (activity.shape[1] // LAYERS) + unit.index]


def random_walks(random: np.random.Generator, length: int, count: int = LAYERS * HIDDEN) -> Activity:
    """Return activity (T, K) of different spread, place and memory, as units have it."""
    steps = random.normal(size=(length, count))
    for t, unit in itertools.product(range(1, length), range(count)):
        steps[t, unit] += steps[t - 1, unit] * unit / (count + 1)
    return (steps * np.geomspace(0.01, 5, count) + np.linspace(-1, 7, count)).astype(np.float32)


def switching(random: np.random.Generator, length: int, on: float, off: float) -> Values:
    """Return a yes or no that stays on for ``on`` and off for ``off`` characters on average."""
    state, runs = bool(random.random() < on / (on + off)), []
    while sum(map(len, runs)) < length:
        runs.append(np.full(random.geometric(1 / (on if state else off)), state, np.float32))
        state = not state
    return np.concatenate(runs)[:length]


def correlation(one: NDArray, other: NDArray) -> float:
    return float(np.corrcoef(one.astype(np.float64), other.astype(np.float64))[0, 1])


def area(activity: NDArray, marks: NDArray) -> float:
    """Return in which share of the pairs the one inside is higher than the one outside; ties count half."""
    inside, outside = activity[marks][:, None], activity[~marks]
    return float(np.mean(inside > outside) + np.mean(inside == outside) / 2)


# r, AUC and the null, each a second way


@pytest.mark.parametrize("length", [1501, 2800])
def test_r_is_numpys_on_each_half(length: int, find_in) -> None:
    random = np.random.default_rng(length)
    activity = random_walks(random, length)
    patterns = {
        "switching": switching(random, length, 6, 9),
        "sawtooth": (np.arange(length) % 37).astype(np.float32),
        "noise": random.normal(1000, 1, length).astype(np.float32),
    }
    found = find_in(activity, patterns)
    assert list(found) == list(patterns)
    middle = length // 2
    for name, findings in found.items():
        assert {finding.unit for finding in findings} == {Unit("hidden", *place) for place in np.ndindex(2, 3)}
        for finding in findings:
            rows, values = column(finding.unit, activity), patterns[name]
            assert finding.train == pytest.approx(correlation(rows[:middle], values[:middle]), abs=1e-5)
            assert finding.held_out == pytest.approx(correlation(rows[middle:], values[middle:]), abs=1e-5)


def test_units_are_ranked_by_r_on_the_first_half_whatever_its_sign(find_in) -> None:
    random = np.random.default_rng(2)
    values = switching(random, 3000, 6, 9)
    noise = random.normal(size=(3000, 6))
    activity = (noise + np.outer(values, [0.1, -2, 0.5, 1, -0.3, 0])).astype(np.float32)
    activity[1500:] = noise[1500:]  # the second half has no say in it
    findings = find_in(activity, {"x": values})["x"]
    sizes = [abs(finding.train) for finding in findings]
    assert sizes == sorted(sizes, reverse=True)
    assert [str(finding.unit) for finding in findings[:3]] == ["hidden 0:1", "hidden 1:0", "hidden 0:2"]
    assert findings[0].train < 0 < findings[1].train


@pytest.mark.parametrize("length", [1300, 2046, 2600])
def test_the_auc_is_the_share_of_pairs_in_the_right_order(length: int, find_in) -> None:
    """Wherever the second half begins in a piece: at 1,023 the first of its characters comes alone."""
    random = np.random.default_rng(3)
    middle, values = length // 2, switching(random, length, 6, 9)
    activity = random_walks(random, length) + np.outer(values, [0, 0.01, -0.5, 2, 0, 9]).astype(np.float32)
    activity[:, 4] = random.integers(-1, 2, length)  # three heights: nearly every third pair ties
    for finding in find_in(activity, {"x": values})["x"]:
        expected = area(column(finding.unit, activity)[middle:], values[middle:] > 0)
        assert finding.auc == pytest.approx(expected, abs=1e-9)


def test_the_auc_of_a_gate_that_hardly_leaves_its_end_is_as_exact_as_any(find_in) -> None:
    """AUC asks for order alone, and saturated gates are the rule: all is decided between 0.98 and 1."""
    random = np.random.default_rng(4)
    values = switching(random, 1300, 6, 9)
    evidence = random.normal(size=(1300, 6)) + np.outer(values, [0, 1, 2, -1, 3, 0.5])
    open_ = (1 / (1 + np.exp(-evidence - 6))).astype(np.float32)  # nearly 1
    for activity in (open_, 1 - open_, np.tanh(evidence + 4).astype(np.float32)):
        for finding in find_in(activity, {"x": values})["x"]:
            expected = area(column(finding.unit, activity)[650:], values[650:] > 0)
            assert finding.auc == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("piece", [64, 1024])
def test_of_a_long_half_every_nth_character_is_put_in_order(piece: int, find_in, monkeypatch) -> None:
    monkeypatch.setattr(units, "_PIECE", piece)
    monkeypatch.setattr(units, "_RANKED", 300)  # of 1,303 characters every fifth
    random = np.random.default_rng(15)
    values, activity = switching(random, 2605, 6, 9), random_walks(random, 2605)
    rare = np.zeros(2605, np.float32)
    rare[[7, 1304, 1308]] = 1  # 1,302 is the first of the second half: none of these is counted
    found = find_in(activity, {"x": values, "rare": rare})
    for finding in found["x"]:
        expected = area(column(finding.unit, activity)[1302::5], values[1302::5] > 0)
        assert finding.auc == pytest.approx(expected, abs=1e-9)
    assert [finding.auc for finding in found["rare"]] == [None] * 6


def test_an_auc_is_given_where_the_pattern_is_a_yes_or_no(find_in) -> None:
    random = np.random.default_rng(5)
    marks = switching(random, 1300, 6, 9)
    found = find_in(random_walks(random, 1300), {"marks": marks, "twice": 2 * marks, "depth": np.arange(1300) % 3.0})
    assert all(finding.auc is not None for finding in found["marks"])
    assert all(finding.auc is None for name in ("twice", "depth") for finding in found[name])


@pytest.mark.parametrize("count", [6, 20])
def test_the_null_is_what_the_best_of_all_units_reaches_under_the_same_shifts(count: int, find_in) -> None:
    random = np.random.default_rng(count)
    activity, values = random_walks(random, 1402, count), switching(random, 1402, 9, 25)
    findings = find_in(activity, {"x": values}, seed=8)["x"]
    shifts = units._draw_shifts(values[701:], np.random.default_rng(8), "x")[1:]
    assert len(shifts) == 200
    best = [
        max(abs(correlation(activity[701:, unit], np.roll(values[701:], -shift))) for unit in range(count))
        for shift in shifts
    ]
    assert [finding.null95 for finding in findings] == pytest.approx([sorted(best)[190]] * count, abs=1e-5)


def test_to_beat_the_null_is_to_be_among_the_best_10_of_201_and_to_keep_the_direction(find_in, monkeypatch) -> None:
    """10 of 201 is 4.98 %: the level of a permutation test counts what was seen among what luck made."""
    random = np.random.default_rng(6)
    values = switching(random, 1400, 9, 25)
    activity = (random.normal(size=(1400, 60)) + np.outer(values, np.linspace(-0.6, 0.6, 60))).astype(np.float32)
    activity[700:, ::7] *= -1
    findings = find_in(activity, {"x": values}, seed=1)["x"]
    shifts = units._draw_shifts(values[700:], np.random.default_rng(1), "x")[1:]
    shifted = np.stack([np.roll(values[700:], -shift) for shift in shifts])
    best = np.abs(np.corrcoef(activity[700:].T, shifted)[:60, 60:]).max(axis=0)
    beaten = [bool(np.sum(best >= abs(f.held_out)) <= 9 and f.train * f.held_out > 0) for f in findings]
    assert [finding.beats_null for finding in findings] == beaten
    turned = [f for f in findings if f.train * f.held_out < 0 and abs(f.held_out) > f.null95]
    assert any(beaten)
    assert turned
    assert not any(finding.beats_null for finding in turned)


# Shifts


def memory(values: Values) -> int:
    """Return the first lag at which the pattern resembles itself by less than a tenth."""
    centred = values - values.mean(dtype=np.float64)
    alike = (
        np.dot(centred[lag:], centred[: len(centred) - lag]) / np.dot(centred, centred) for lag in range(len(centred))
    )
    return next(lag for lag, one in enumerate(alike) if one < 0.1)


@pytest.mark.parametrize(("on", "off"), [(1.5, 3), (40, 90), (150, 400)])
def test_shifts_are_longer_than_the_pattern_remembers_either_way_round(on: float, off: float) -> None:
    random = np.random.default_rng(7)
    values = switching(random, 18_007, on, off)
    first, *shifts = units._draw_shifts(values, random, "x")
    shortest = max(100, 2 * memory(values))
    assert first == 0
    assert len(set(shifts)) == len(shifts) == 200
    assert min(shifts) >= shortest
    assert len(values) - max(shifts) >= shortest  # round the end it is as far
    assert max(shifts) - min(shifts) > 0.9 * (len(values) - 2 * shortest)  # all there are, not a corner of them


def test_patterns_with_longer_memories_are_shifted_further() -> None:
    nearest = [
        min(units._draw_shifts(switching(np.random.default_rng(1), 90_000, on, on), np.random.default_rng(1), "x")[1:])
        for on in (10, 200, 900)
    ]
    assert nearest == sorted(nearest)
    assert nearest[-1] > 900


# What is left out, refused, silent or the same


def test_a_pattern_that_stands_still_in_either_half_is_left_out(find_in) -> None:
    random = np.random.default_rng(9)
    moves = switching(random, 1300, 6, 9)
    patterns = {
        "never": np.zeros(1300, np.float32),
        "always": np.ones(1300, np.float32),
        "first half": np.where(np.arange(1300) < 650, moves, 0).astype(np.float32),
        "second half": np.where(np.arange(1300) < 650, 1, moves).astype(np.float32),
        "both": moves,
    }
    assert list(find_in(random_walks(random, 1300), patterns)) == ["both"]
    assert find_in(random_walks(random, 1300), {}) == {}


@pytest.mark.parametrize("length", [0, 1, 2])
def test_nothing_follows_anything_in_a_text_without_two_halves(length: int, find_in) -> None:
    assert find_in(np.zeros((length, 6), np.float32), {"x": np.ones(length, np.float32)}) == {}


@pytest.mark.parametrize("length", [5, 100, 790])
def test_a_text_too_short_for_the_null_is_refused(length: int, find_in) -> None:
    values = np.resize(np.float32([0, 1, 1]), length)
    with pytest.raises(TextError, match=r"^pattern: the text is too short to test x against chance") as refusal:
        find_in(np.zeros((length, 6), np.float32), {"x": values})
    assert refusal.value.exit_code == 2


def test_a_pattern_that_outlasts_the_text_is_refused(find_in) -> None:
    with pytest.raises(TextError, match="this pattern varies so slowly"):
        find_in(np.zeros((6000, 6), np.float32), {"ever more": np.arange(6000, dtype=np.float32)})


def test_a_half_as_long_as_the_refusal_asks_for_is_enough(find_in) -> None:
    activity, values = random_walks(np.random.default_rng(10), 900), np.resize(np.float32([0, 0, 1]), 900)
    with pytest.raises(TextError, match=r"half of it has 300 .* are needed") as refusal:
        find_in(activity[:600], {"x": values[:600]})
    (needed,) = map(int, re.findall(r"(\d+) are needed", str(refusal.value)))
    assert 300 < needed < 450
    assert find_in(activity[: 2 * needed], {"x": values[: 2 * needed]})


def test_units_that_never_move_follow_nothing(find_in) -> None:
    random = np.random.default_rng(11)
    values = switching(random, 2600, 6, 9)
    activity = random_walks(random, 2600)
    activity[:, :4] = [0, 1, -0.3, 12345.678]
    activity[:, 5] += 30 * values
    findings = find_in(activity, {"x": values})["x"]
    still = findings[2:]
    assert {str(finding.unit) for finding in still} == {"hidden 0:0", "hidden 0:1", "hidden 0:2", "hidden 1:0"}
    assert [(finding.train, finding.held_out, finding.auc) for finding in still] == [(0, 0, 0.5)] * 4
    assert not any(finding.beats_null for finding in still)
    assert findings[0].beats_null


def test_pieces_of_any_length_give_the_same_findings(find_in, monkeypatch) -> None:
    random = np.random.default_rng(12)
    activity = random_walks(random, 1303)
    patterns = {"x": switching(random, 1303, 6, 9), "saw": (np.arange(1303) % 37).astype(np.float32)}

    def numbers(length: int) -> tuple[list[Unit], NDArray[np.float64]]:
        monkeypatch.setattr(units, "_PIECE", length)
        findings = [finding for part in find_in(activity, patterns).values() for finding in part]
        rows = [(f.train, f.held_out, np.nan if f.auc is None else f.auc, f.null95) for f in findings]
        return [finding.unit for finding in findings], np.array(rows)

    order, expected = numbers(1303)
    for length in (37, 650, 651, 652, 1024):  # 651 is the middle
        again, found = numbers(length)
        assert again == order
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_same_seed_gives_the_same_findings_and_another_one_another_null(find_in) -> None:
    random = np.random.default_rng(13)
    activity, patterns = random_walks(random, 2600), {"x": switching(random, 2600, 6, 9)}
    first, again, other = (find_in(activity, patterns, seed=seed)["x"] for seed in (3, 3, 4))
    assert first == again
    assert [(f.unit, f.train, f.held_out, f.auc) for f in other] == [
        (f.unit, f.train, f.held_out, f.auc) for f in first
    ]
    assert other[0].null95 != first[0].null95


class Endless:
    """Takes the place of a model that reads, with activity that is made as it is read."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __call__(self, model: object, ids: Ids, watched: TraceSelection, length: int) -> Iterator[Trace]:
        random = np.random.default_rng(0)
        for start in range(0, len(ids), length):
            piece = ids[start : start + length]
            rows = random.normal(size=(len(piece), 1, self._count)).astype(np.float32)
            yield Trace(piece, {"hidden": rows})


def test_memory_does_not_grow_with_the_activity_of_a_longer_text(monkeypatch) -> None:
    """A character costs what its pattern costs, however many units there are: 100 of them would be 400 bytes."""

    def peak(length: int, count: int) -> int:
        monkeypatch.setattr(units, "pieces", Endless(count))
        monkeypatch.setattr(units, "_RANKED", 1000)  # what is put in order is bounded too
        ids, values = np.zeros(length, np.uint8), switching(np.random.default_rng(0), length, 6, 9)
        tracemalloc.start()
        try:
            find(None, ids, {"x": values})
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    for count in (2, 100):
        assert peak(96_000, count) - peak(8_000, count) < 60 * 88_000


# What was planted

LETTERS = "abxpq"
"""After an x comes p outside quotes and q inside; all else is as likely here as there."""
TRAINED, HELD_OUT = 100_000, 12_000


def planted(length: int, seed: int) -> str:
    """Return a text whose next letter, now and then, hangs on a quote that was opened dozens of letters ago."""
    random = np.random.default_rng(seed)
    text: list[str] = []
    for quoted in itertools.cycle([False, True]):
        for _ in range(random.geometric(1 / 30) + 5):
            after_x = text[-1:] == ["x"]
            text.append("pq"[quoted] if after_x else LETTERS[random.integers(len(LETTERS))])
        text.append("”" if quoted else "“")
        if len(text) >= length:
            return "".join(text[:length])
    raise AssertionError


def untrained(checkpoint: Checkpoint, seed: int) -> RecurrentModel:
    """Return a network of the same shape with the weights that training would begin with."""
    random = np.random.default_rng(seed)
    bound = checkpoint.config.model.hidden_size**-0.5
    shapes = tensor_shapes(checkpoint.config.model, len(checkpoint.vocabulary))
    tensors = {name: random.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}
    return RecurrentModel(checkpoint.config.model, len(checkpoint.vocabulary), tensors)


@dataclass(frozen=True)
class Reader:
    """A network that was trained on the planted text, and what it does while it reads more of it."""

    checkpoint: Checkpoint
    text: str
    trace: Trace

    @property
    def ids(self) -> Ids:
        return self.trace.ids


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder = tmp_path_factory.mktemp("planted")
    (folder / "text.txt").write_text(planted(TRAINED, seed=1), encoding="utf-8")
    training = {"batch_size": 16, "sequence_length": 64, "steps": 300, "evaluate_every": 300, "learning_rate": 0.01}
    model: dict[str, object] = {"hidden_size": 24, "num_layers": 1}
    config = make_config(folder / "text.txt", folder / "runs", model=model, training=dict(training))
    checkpoint = train(config)[1]
    text = planted(HELD_OUT, seed=2)
    return Reader(checkpoint, text, trace(checkpoint.model(), checkpoint.vocabulary.encode(text)))


def test_a_planted_memory_is_found_and_no_untrained_network_has_it(reader: Reader) -> None:
    """Measured: the best unit has r 0.89 (0.93 to 0.96 with other seeds), luck reaches 0.12.

    The best unit of five untrained networks has 0.36 to 0.45.
    """
    quotes = {"quotes": PATTERNS["quotes"](reader.text)}
    best = find(reader.checkpoint.model(), reader.ids, quotes)["quotes"][0]
    assert best.beats_null
    assert abs(best.held_out) > 0.7
    assert abs(best.auc - 0.5) > 0.35
    for seed in range(2):
        guesses = find(untrained(reader.checkpoint, seed), reader.ids, quotes)["quotes"]
        assert max(abs(finding.held_out) for finding in guesses) < abs(best.held_out) - 0.2


def test_an_untrained_network_knows_the_character_it_has_just_read(reader: Reader) -> None:
    """So a unit beyond luck is no proof that anything was learned."""
    letter = {"x": np.array([character == "x" for character in reader.text], np.float32)}
    best = find(untrained(reader.checkpoint, 0), reader.ids, letter)["x"][0]
    assert best.beats_null
    assert abs(best.held_out) > 0.3


def test_signals_and_layers_are_those_that_were_asked_for(trained) -> None:
    checkpoint = Checkpoint.load(trained["gru"] / "best.safetensors")
    ids = np.resize(checkpoint.vocabulary.encode("The fox said.\n"), 900)
    values = {"x": np.resize(np.float32([0, 0, 1, 0, 1]), 900)}
    everything = find(checkpoint.model(), ids, values)["x"]
    some = find(checkpoint.model(), ids, values, TraceSelection(["update", "hidden"], [1]))["x"]
    signals = ("hidden", "reset", "update", "candidate")
    assert {f.unit for f in everything} == {Unit(s, *place) for s in signals for place in np.ndindex(2, 7)}
    assert {f.unit for f in some} == {Unit(s, 1, index) for s in ("update", "hidden") for index in range(7)}
    numbers = {f.unit: (f.train, f.held_out) for f in everything}
    for finding in some:
        assert (finding.train, finding.held_out) == pytest.approx(numbers[finding.unit], abs=1e-6)
    for wrong in (TraceSelection(["cell"]), TraceSelection(None, [2])):
        with pytest.raises(ConfigError):
            find(checkpoint.model(), ids, values, wrong)


# Luck

TRIALS = 200
AT_MOST = 20
"""Claims by luck that are let pass, where 10 are expected at most: more than 20 have a chance of one in 1,000."""


def lucky(reader: Reader, labels: Sequence[Values], monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Return for how many labels, none of which has to do with the text, a unit is claimed; and how many are judged."""
    length = len(labels[0])
    part = Trace(reader.ids[:length], {name: rows[:length] for name, rows in reader.trace.signals.items()})
    monkeypatch.setattr(units, "pieces", lambda *_: iter([part]))
    claims = []
    for seed, values in enumerate(labels):
        with suppress(TextError):
            findings = find(None, part.ids, {"x": 2 * values}, seed=seed)["x"]  # no yes or no: AUC is not asked for
            claims.append(any(finding.beats_null for finding in findings))
    return sum(claims), len(claims)


def test_switching_at_random_is_seldom_taken_for_a_pattern(reader: Reader, monkeypatch) -> None:
    random = np.random.default_rng(0)
    labels = [switching(random, 4000, 30, 40) for _ in range(TRIALS)]
    claimed, judged = lucky(reader, labels, monkeypatch)
    assert judged > 0.9 * TRIALS
    assert claimed <= AT_MOST


def test_the_quotes_of_another_text_are_seldom_taken_for_this_ones(reader: Reader, monkeypatch) -> None:
    labels = [PATTERNS["quotes"](planted(4000, seed)) for seed in range(100, 100 + TRIALS)]
    claimed, judged = lucky(reader, labels, monkeypatch)
    assert judged > 0.9 * TRIALS
    assert claimed <= AT_MOST


def test_a_pattern_too_slow_for_many_shifts_of_its_own_is_refused_rather_than_claimed(
    reader: Reader, monkeypatch
) -> None:
    """Of one long stretch there are few shifts that differ, however many are drawn: luck looks smaller than it is."""
    random = np.random.default_rng(0)
    half, stretch = 6000, 1350
    labels = np.zeros((TRIALS, 2, half), np.float32)
    for place in np.ndindex(TRIALS, 2):
        begin = random.integers(0, half - stretch)
        labels[place][begin : begin + stretch] = 1
    claimed, _ = lucky(reader, [*labels.reshape(TRIALS, 2 * half)], monkeypatch)
    assert claimed <= AT_MOST
