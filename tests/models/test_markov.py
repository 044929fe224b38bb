"""Interpolated modified Kneser–Ney against a computation by hand: dicts of tuples, loops, and the paper's formulas."""

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charlm.errors import CheckpointError
from charlm.models.markov import MarkovModel, check_counts
from charlm.models.ngram_counts import counted

Context = tuple[int, ...]
Gram = tuple[int, ...]


# ------------------------------------------------------------------------------------------------- by hand


@dataclass
class ByHand:
    """Chen & Goodman 1998, section 3, of separate ``texts``, each predicted from its symbol number ``first`` on.

    A gram of n + 1 symbols is n of context and what follows. At the highest order it counts as often as it stands;
    below, as many different symbols as stand before it, and once more each time it is the beginning of a text.
    """

    texts: list[list[int]]
    order: int
    size: int
    first: int = 0
    amounts: list[dict[Gram, int]] = field(init=False)
    discounts: list[tuple[float, float, float]] = field(init=False)
    own: list[bool] = field(init=False)
    """Whether each order's discounts come from its own counts of counts."""

    def __post_init__(self) -> None:
        self.amounts = [self._amounts(length) for length in range(self.order + 1)]
        found = [discounts_by_hand(amounts) for amounts in self.amounts]
        self.own = [discounts is not None for discounts in found]
        self.discounts = [(0.5, 1.0, 1.5) if discounts is None else discounts for discounts in found]
        self.behind: list[dict[Context, dict[int, int]]] = []
        for amounts in self.amounts:
            behind: dict[Context, dict[int, int]] = {}
            for gram, amount in amounts.items():
                behind.setdefault(gram[:-1], {})[gram[-1]] = amount
            self.behind.append(behind)

    def _amounts(self, length: int) -> dict[Gram, int]:
        stands: dict[Gram, int] = {}
        before: dict[Gram, set[int]] = {}
        beginnings: dict[Gram, int] = {}
        for text in self.texts:
            for place in range(self.first, len(text)):
                start = place - length
                if start < 0:
                    continue
                gram = tuple(text[start : place + 1])
                stands[gram] = stands.get(gram, 0) + 1
                before.setdefault(gram, set())
                if start == 0:
                    beginnings[gram] = beginnings.get(gram, 0) + 1
                else:
                    before[gram].add(text[start - 1])
        if length == self.order:
            return stands
        return {gram: len(before[gram]) + beginnings.get(gram, 0) for gram in stands}

    def probability(self, symbol: int, context: Context) -> float:
        """Return p(symbol | the last ``order`` symbols of ``context``)."""
        context = context[max(len(context) - self.order, 0) :]
        shorter = 1 / self.size if not context else self.probability(symbol, context[1:])
        behind = self.behind[len(context)].get(context)
        if behind is None:
            return shorter
        total = 0
        kinds = {1: 0, 2: 0, 3: 0}
        for amount in behind.values():
            total += amount
            kinds[min(amount, 3)] += 1
        one, two, more = self.discounts[len(context)]
        gamma = (one * kinds[1] + two * kinds[2] + more * kinds[3]) / total
        amount = behind.get(symbol, 0)
        discount = {0: 0.0, 1: one, 2: two}.get(amount, more)
        return (amount - discount) / total + gamma * shorter

    def distribution(self, context: Context) -> list[float]:
        return [self.probability(symbol, context) for symbol in range(self.size)]


def discounts_by_hand(amounts: dict[Gram, int]) -> tuple[float, float, float] | None:
    """Return D1, D2 and D3+ of equation 17; None where there are no counts of 1, 2, 3 or 4, or one is out of bounds."""
    n1, n2, n3, n4 = (sum(1 for amount in amounts.values() if amount == count) for count in (1, 2, 3, 4))
    if n1 == 0 or n2 == 0 or n3 == 0 or n4 == 0:
        return None
    y = n1 / (n1 + 2 * n2)
    d1, d2, d3 = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
    if not (0 < d1 < 1 and 0 < d2 < 2 and 0 < d3 < 3):
        return None
    return d1, d2, d3


# ------------------------------------------------------------------------------------------------- models


def model_of(text: list[int], order: int, size: int, end: int | None = None) -> MarkovModel:
    ids = np.array(text, np.min_scalar_type(size - 1))
    return MarkovModel(list(counted(ids, order, size, end)), size)


def joined(items: list[list[int]], end: int) -> list[int]:
    return [end, *(symbol for item in items for symbol in [*item, end])]


def found(model: MarkovModel, contexts: list[Context]) -> np.ndarray:
    """Return p (R, V) behind each of ``contexts``, all of one length of 1 or more, each the whole of a text."""
    logits, _ = model.read(np.array(contexts), model.start(len(contexts)))
    return np.exp(logits[:, -1])


def assert_as_by_hand(model: MarkovModel, by_hand: ByHand, contexts: set[Context]) -> None:
    for length in {len(context) for context in contexts}:
        chosen = sorted(context for context in contexts if len(context) == length)
        expected = np.array([by_hand.distribution(context) for context in chosen])
        np.testing.assert_allclose(found(model, chosen), expected, rtol=1e-9, atol=0)


def every_context(size: int, longest: int) -> set[Context]:
    return {context for length in range(1, longest + 1) for context in product(range(size), repeat=length)}


def skewed(length: int, size: int, seed: int) -> list[int]:
    """Return a text of random letters, the first of them frequent, the last of them rare."""
    weights = 1 / np.arange(1, size + 1) ** 1.1
    letters = np.random.default_rng(seed).choice(size, length, p=weights / weights.sum())
    return [int(letter) for letter in letters]


def contexts_of(texts: list[list[int]], longest: int) -> set[Context]:
    return {
        tuple(text[place - length : place])
        for text in texts
        for length in range(1, longest + 1)
        for place in range(length, len(text) + 1)
    }


SMALL = [[0], [0, 0], [0, 1, 0, 1, 1, 2, 0], [2, 2, 2, 2, 2], [0, 1, 2] * 5, skewed(30, 3, 1), skewed(60, 3, 2)]


@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize("text", SMALL, ids=lambda text: "".join("abc"[symbol] for symbol in text[:12]))
def test_every_context_of_a_small_text_is_as_by_hand(text: list[int], order: int) -> None:
    """All contexts there are: those that occur, those that never do, and those shorter and longer than the order."""
    assert_as_by_hand(model_of(text, order, 3), ByHand([text], order, 3), every_context(3, 5))


@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize(
    "items",
    [[[0]], [[0], [0], [1]], [[]], [[0, 1], [1, 0, 0], [0, 1], [2]], [skewed(9, 3, seed) for seed in range(8)]],
    ids=len,
)
def test_every_context_of_separate_items_is_as_by_hand(items: list[list[int]], order: int) -> None:
    by_hand = ByHand([[3, *item, 3] for item in items], order, 4, first=1)
    assert_as_by_hand(model_of(joined(items, 3), order, 4, end=3), by_hand, every_context(4, 4))


@settings(max_examples=60)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.integers(0, 4), st.data())
def test_any_text_is_as_by_hand(text: list[int], order: int, data: st.DataObject) -> None:
    contexts = data.draw(st.sets(st.lists(st.integers(0, 3), min_size=1, max_size=6).map(tuple), min_size=1))
    assert_as_by_hand(model_of(text, order, 4), ByHand([text], order, 4), contexts)


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 2), max_size=6), min_size=1, max_size=8), st.integers(0, 4), st.data())
def test_any_items_are_as_by_hand(items: list[list[int]], order: int, data: st.DataObject) -> None:
    contexts = data.draw(st.sets(st.lists(st.integers(0, 3), min_size=1, max_size=6).map(tuple), min_size=1))
    by_hand = ByHand([[3, *item, 3] for item in items], order, 4, first=1)
    assert_as_by_hand(model_of(joined(items, 3), order, 4, end=3), by_hand, contexts)


LETTERS = 60
strange = np.random.default_rng(9).integers(0, LETTERS, (60, 4))


def repeated(text: list[int], times: int) -> list[int]:
    """Return ``text`` with a dozen of its letters written once more, so many times: long contexts come again."""
    chance = random.Random(1)
    for _ in range(times):
        start = chance.randrange(len(text) - 12)
        text = text + text[start : start + 12]
    return text


@pytest.mark.parametrize("order", range(5))
def test_a_longer_text_has_discounts_of_its_own_at_every_order(order: int) -> None:
    text = repeated(skewed(800, LETTERS, 5), 24)
    by_hand = ByHand([text], order, LETTERS)
    assert by_hand.own == [True] * (order + 1)  # or this would show nothing
    contexts = contexts_of([text[:40], text[-40:]], order + 1) | {tuple(map(int, row)) for row in strange}
    contexts |= {(int(row[0]), *text[place : place + 3]) for place, row in enumerate(strange)}
    assert_as_by_hand(model_of(text, order, LETTERS), by_hand, contexts)


@pytest.mark.parametrize("order", range(1, 5))
def test_longer_items_have_discounts_of_their_own(order: int) -> None:
    items = [skewed(4 + seed % 7, LETTERS - 1, seed + 1000) for seed in range(200)]
    alike = [items[seed % 25][: 2 + seed % 3] + skewed(3, LETTERS - 1, seed + 7001) for seed in range(60)]
    items += items[:80] + items[:50] + items[:30] + items[:20] + alike
    end = LETTERS - 1
    texts = [[end, *item, end] for item in items]
    by_hand = ByHand(texts, order, LETTERS, first=1)
    assert all(by_hand.own)
    contexts = contexts_of(texts[::20], order + 1) | {tuple(map(int, row)) for row in strange}
    assert_as_by_hand(model_of(joined(items, end), order, LETTERS, end), by_hand, contexts)


def test_the_usual_discounts_stand_in_for_what_a_text_cannot_say() -> None:
    """Worked out on paper: a b a a, order 0; n1 = 1 (b), n3 = 1 (a); p(a) = 1.5/4 + 2/4 · 1/2, p(b) = 0.5/4 + 1/4."""
    model = model_of([0, 1, 0, 0], 0, 2)
    np.testing.assert_allclose(found(model, [(0,), (1,)]), [[5 / 8, 3 / 8]] * 2, rtol=1e-12)


def test_order_one_worked_out_on_paper() -> None:
    """a b a b; b follows a twice, a follows b once. Below: a stands behind b and at the beginning, b behind a alone."""
    low_a, low_b = (2 - 1) / 3 + 1.5 / 3 / 2, (1 - 0.5) / 3 + 1.5 / 3 / 2
    behind_a = [0.5 * low_a, (2 - 1) / 2 + 0.5 * low_b]
    behind_b = [(1 - 0.5) + 0.5 * low_a, 0.5 * low_b]
    np.testing.assert_allclose(found(model_of([0, 1, 0, 1], 1, 2), [(0,), (1,)]), [behind_a, behind_b], rtol=1e-12)


# ------------------------------------------------------------------------------------------------- distributions


texts = st.integers(1, 6).flatmap(
    lambda size: st.tuples(st.lists(st.integers(0, size - 1), min_size=1, max_size=80), st.just(size))
)


@given(texts, st.integers(0, 6), st.lists(st.integers(0, 5), min_size=1, max_size=12), st.booleans())
@example(([0], 1), 0, [0], False)
@example(([0], 6), 6, [5, 5, 5], False)
def test_every_distribution_sums_to_one_and_nothing_is_impossible(
    given_text: tuple[list[int], int], order: int, read: list[int], items: bool
) -> None:
    text, size = given_text
    end = size - 1 if items else None
    model = model_of([size - 1, *text, size - 1], order, size, end)
    ids = np.array([read, read[::-1]]) % size
    p = np.exp(model.read(ids, model.start(2))[0])
    assert p.shape == (2, len(read), size)
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=0, atol=1e-12)
    assert (p > 0).all()


def test_order_nought_needs_the_entropy_of_its_text() -> None:
    text = skewed(50_000, 60, 3)
    counts = Counter(text)
    entropy = -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())
    model = model_of(text, 0, 60)
    p = found(model, [(0,)])[0]
    bits = -sum(count * math.log2(p[symbol]) for symbol, count in counts.items()) / len(text)
    assert entropy <= bits < entropy + 0.002


def test_a_longer_memory_knows_a_text_with_longer_rules_better() -> None:
    """Each symbol is the sum of the three before it, but for a little noise: only order 3 can know that."""
    chance = np.random.default_rng(4)
    text = [0, 1, 2]
    for _ in range(4000):
        text.append(sum(text[-3:]) % 5 if chance.random() < 0.9 else int(chance.integers(5)))
    bits = []
    for order in range(5):
        model = model_of(text[:3000], order, 5)
        logits, _ = model.read(np.array([text[3000:-1]]), model.start(1))
        bits.append(-np.take_along_axis(logits[0], np.array(text[3001:])[:, None], axis=1).mean() / math.log(2))
    assert bits[2] > 2.2
    assert bits[3] < 1.1
    assert bits[4] < 1.1


@pytest.mark.parametrize(("size", "dtype"), [(1, np.uint8), (256, np.uint8), (300, np.uint16)])
def test_vocabularies_of_every_size_are_read_in_their_own_type(size: int, dtype: type[np.unsignedinteger[Any]]) -> None:
    text = [size - 1, 0, 0, size - 1, size // 2, 0] * 4
    model, ids = model_of(text, 3, size), np.array([text[:9], text[9:18]], dtype)
    assert model.vocabulary_size == size
    logits, state = model.read(ids, model.start(2))
    again, _ = model.read(ids.astype(np.int64), model.start(2))
    np.testing.assert_array_equal(logits, again)
    by_hand = ByHand([text], 3, size)
    expected = [[by_hand.distribution(tuple(row[: place + 1])) for place in range(9)] for row in ids.tolist()]
    np.testing.assert_allclose(np.exp(logits), expected, rtol=1e-9)
    assert state.tolist() == ids[:, -3:].tolist()


# ------------------------------------------------------------------------------------------------- reading


B, T = 3, 11


def wild_model(order: int, end: int | None = None) -> MarkovModel:
    return model_of([4, *skewed(300, 5, 8), 4], order, 5, end)


@given(st.integers(0, 5), st.lists(st.integers(0, T), max_size=4), st.integers(0, 2**32), st.integers(1, 4))
def test_reading_at_once_is_reading_in_parts_is_stepping(order: int, cuts: list[int], seed: int, lanes: int) -> None:
    model, ids = wild_model(order), np.random.default_rng(seed).integers(0, 5, (lanes, T)).astype(np.uint8)
    whole, last = model.read(ids, model.start(lanes))
    parts, state = [], model.start(lanes)
    edges = [0, *sorted(cuts), T]
    for start, stop in pairwise(edges):
        logits, state = model.read(ids[:, start:stop], state)
        assert logits.shape == (lanes, stop - start, 5)
        parts.append(logits)
    steps, stepped = [], model.start(lanes)
    for column in ids.T:
        logits, stepped = model.step(column, stepped)
        assert logits.shape == (lanes, 5)
        steps.append(logits)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    np.testing.assert_array_equal(np.stack(steps, axis=1), whole)
    assert state.tolist() == stepped.tolist() == last.tolist()
    alone = [model.read(ids[lane : lane + 1], model.start(1))[0][0] for lane in range(lanes)]
    np.testing.assert_array_equal(np.stack(alone), whole)


@given(st.integers(0, 5), st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_where_items_end_reading_on_is_starting_afresh(order: int, text: list[int]) -> None:
    """A context with an end in its midst was never counted, so that an end makes all before it forgotten."""
    model, end = wild_model(order, end=4), np.array([[4]])
    _, state = model.read(np.array([text]), model.start(1))
    after, _ = model.read(end, state)
    fresh, _ = model.read(end, model.start(1))
    np.testing.assert_array_equal(after, fresh)


@pytest.mark.parametrize("order", range(4))
def test_reading_changes_neither_state_nor_model(order: int) -> None:
    model, ids = wild_model(order), np.random.default_rng(2).integers(0, 5, (B, T))
    _, state = model.read(ids, model.start(B))
    before, tensors = state.copy(), {name: values.copy() for name, values in model.tensors().items()}
    first, _ = model.read(ids, state)
    second, _ = model.read(ids, state)
    np.testing.assert_array_equal(first, second)
    assert state.tolist() == before.tolist()
    assert all(np.array_equal(values, tensors[name]) for name, values in model.tensors().items())


@given(texts, st.integers(0, 5), st.data(), st.booleans())
def test_a_lower_order_is_what_counting_to_it_gives(
    given_text: tuple[list[int], int], order: int, data: st.DataObject, items: bool
) -> None:
    text, size = given_text
    text, end = [size - 1, *text, size - 1], size - 1 if items else None
    lower = data.draw(st.integers(0, order))
    model, expected = model_of(text, order, size, end).of_order(lower), model_of(text, lower, size, end)
    assert model.order == expected.order == lower
    assert model.vocabulary_size == size
    assert_same(model, expected)


def assert_same(model: MarkovModel, expected: MarkovModel) -> None:
    ids = np.random.default_rng(5).integers(0, model.vocabulary_size, (B, T))
    assert model.tensors().keys() == expected.tensors().keys()
    for name, values in expected.tensors().items():
        np.testing.assert_array_equal(model.tensors()[name], values)
        assert model.tensors()[name].dtype == values.dtype
    np.testing.assert_array_equal(
        model.read(ids, model.start(B))[0], expected.read(ids, expected.start(B))[0], strict=True
    )


# ------------------------------------------------------------------------------------------------- at rest


@pytest.mark.parametrize("size", [1, 5, 256, 257, 65_537])
def test_the_types_of_the_arrays_are_those_that_are_said(size: int) -> None:
    tensors = model_of([0, size - 1, 0, 0], 2, size).tensors()
    words = {"int64": "I64", "uint8": "U8", "uint16": "U16", "uint32": "U32"}
    found = {name: words[values.dtype.name] for name, values in tensors.items()}
    types = MarkovModel.types(size)
    assert found == {f"{name}.{length}": kind for length in range(3) for name, kind in types.items()}
    assert list(found) == [f"{name}.{length}" for length in range(3) for name in types]


@given(texts, st.integers(0, 6), st.booleans())
@example(([0], 1), 0, False)
@example(([0], 3), 6, True)  # contexts longer than the text: none
def test_a_model_comes_back_from_its_arrays(given_text: tuple[list[int], int], order: int, items: bool) -> None:
    text, size = given_text
    model = model_of([size - 1, *text, size - 1], order, size, size - 1 if items else None)
    assert_same(MarkovModel.from_tensors(order, size, model.tensors()), model)


Arrays = dict[str, np.ndarray]
ABABBCA = [0, 1, 0, 1, 1, 2, 0]
WHOLE = {
    "contexts.0": [0],
    "starts.0": [0, 3],
    "symbols.0": [0, 1, 2],
    "counts.0": [3, 3, 1],
    "contexts.1": [0, 1, 2],
    "starts.1": [0, 1, 4, 5],
    "symbols.1": [1, 0, 1, 2, 0],
    "counts.1": [2, 1, 1, 1, 1],
    "contexts.2": [1, 3, 4, 7],
    "starts.2": [0, 1, 3, 4, 5],
    "symbols.2": [1, 0, 1, 2, 0],
    "counts.2": [1, 1, 1, 1, 1],
}
"""The counts of a b a b b c a."""


def arrays_of(values: dict[str, list[int]]) -> Arrays:
    """Return arrays of the types that a checkpoint must have, of V = 3."""
    types = {"contexts": np.int64, "starts": np.int64, "symbols": np.uint8, "counts": np.uint32}
    return {name: np.array(row, types[name.partition(".")[0]]) for name, row in values.items()}


def test_the_arrays_broken_below_are_those_of_the_text() -> None:
    model = model_of(ABABBCA, 2, 3)
    assert {name: values.tolist() for name, values in model.tensors().items()} == WHOLE
    again = MarkovModel.from_tensors(2, 3, arrays_of(WHOLE))
    ids = np.array([[0, 1, 2, 1, 0, 2]])
    np.testing.assert_array_equal(again.read(ids, again.start(1))[0], model.read(ids, model.start(1))[0])


BROKEN: dict[str, tuple[int, dict[str, list[int]]]] = {
    "the empty context is another": (2, {"contexts.0": [1]}),
    "two empty contexts": (0, {"contexts.0": [0, 1], "starts.0": [0, 1, 3]}),
    "no empty context": (0, {"contexts.0": [], "starts.0": [0], "symbols.0": [], "counts.0": []}),
    "nothing ever stands anywhere": (0, {"starts.0": [0, 0], "symbols.0": [], "counts.0": []}),
    "a start too few": (2, {"starts.2": [0, 1, 3, 5]}),
    "a start too many": (2, {"starts.2": [0, 1, 2, 3, 4, 5]}),
    "no start at all": (2, {"starts.2": []}),
    "a symbol without a count": (2, {"counts.2": [1] * 4}),
    "a count without a symbol": (2, {"counts.2": [1] * 6}),
    "it starts in the midst": (2, {"starts.2": [1, 2, 3, 4, 5]}),
    "it starts before the beginning": (2, {"starts.2": [-1, 1, 3, 4, 5]}),
    "it goes on past the end": (2, {"starts.2": [0, 1, 3, 4, 6]}),
    "it ends too soon": (2, {"starts.2": [0, 1, 2, 3, 4]}),
    "a context without a follower": (2, {"contexts.2": [1, 3, 4, 5, 7], "starts.2": [0, 1, 3, 4, 4, 5]}),
    "starts out of order": (2, {"starts.2": [0, 3, 1, 4, 5]}),
    "a start past the end in the midst": (2, {"starts.2": [0, 1, 9, 4, 5]}),
    "contexts out of order": (2, {"contexts.2": [1, 4, 3, 7]}),
    "a context twice": (2, {"contexts.2": [1, 3, 3, 7]}),
    "a context below nought": (2, {"contexts.2": [-1, 3, 4, 7]}),
    "a context of a context that is none": (2, {"contexts.2": [1, 3, 4, 10]}),
    "a symbol past the vocabulary": (0, {"symbols.0": [0, 1, 3]}),
    "a count of nought": (2, {"counts.2": [1, 1, 0, 1, 1]}),
    "symbols out of order": (2, {"symbols.2": [1, 1, 0, 2, 0]}),
    "a symbol twice": (2, {"symbols.2": [1, 0, 0, 2, 0], "counts.1": [2, 2, 1, 1, 1]}),
    "a pair that extends none": (2, {"symbols.2": [1, 0, 1, 2, 1]}),
    "a pair more often than what it extends": (2, {"counts.2": [3, 1, 1, 1, 1]}),
    "two pairs together more often than what they extend": (2, {"symbols.2": [1, 0, 1, 1, 0]}),
}


@pytest.mark.parametrize(("order", "changes"), BROKEN.values(), ids=BROKEN)
def test_arrays_that_no_text_could_have_counted_are_refused(order: int, changes: dict[str, list[int]]) -> None:
    with pytest.raises(CheckpointError, match=r"^its counts of what follows \d symbols are inconsistent\."):
        check_counts(order, 3, arrays_of(WHOLE | changes))


@pytest.mark.parametrize(
    ("order", "changes"),
    [
        (2, {"counts.2": [2, 1, 1, 1, 1]}),
        (0, {"counts.0": [2**32 - 1, 3, 1]}),
        (1, {"counts.0": [9, 9, 9]}),
        (2, {"contexts.2": [1], "starts.2": [0, 1], "symbols.2": [1], "counts.2": [1]}),
        (2, {"contexts.2": [], "starts.2": [0], "symbols.2": [], "counts.2": []}),
    ],
    ids=["as often as what it extends", "the most", "most at beginnings", "one long context", "no long context"],
)
def test_arrays_at_the_very_bounds_are_taken(order: int, changes: dict[str, list[int]]) -> None:
    check_counts(order, 3, arrays_of(WHOLE | changes))
    assert_reads(MarkovModel.from_tensors(order, 3, arrays_of(WHOLE | changes)))


def assert_reads(model: MarkovModel) -> None:
    contexts = np.array(list(product(range(3), repeat=4)))
    p = np.exp(model.read(contexts, model.start(len(contexts)))[0])
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=0, atol=1e-9)
    assert (p > 0).all()


def refused_or_read(order: int, arrays: Arrays) -> None:
    """Whatever is raised but CheckpointError is a mistake, warnings as well."""
    try:
        check_counts(order, 3, arrays)
    except CheckpointError:
        return
    assert_reads(MarkovModel.from_tensors(order, 3, arrays))


@settings(max_examples=300)
@given(
    st.integers(0, 3), st.lists(st.tuples(st.integers(0, 15), st.integers(0, 99), st.data()), min_size=1, max_size=3)
)
def test_mutated_arrays_are_refused_or_read(order: int, mutations: list[tuple[int, int, st.DataObject]]) -> None:
    arrays = {name: values.copy() for name, values in model_of(skewed(40, 3, 6), order, 3).tensors().items()}
    names = list(arrays)
    for which, place, data in mutations:
        name = names[which % len(names)]
        values = arrays[name]
        bounds = np.iinfo(values.dtype)
        near = st.integers(max(-3, bounds.min), 9)
        value = data.draw(
            near | st.integers(bounds.min, bounds.max) | st.sampled_from([int(bounds.min), int(bounds.max)])
        )
        match data.draw(st.sampled_from(["put", "put", "put", "delete", "insert", "swap"])):
            case "delete" if len(values):
                arrays[name] = np.delete(values, place % len(values))
            case "insert":
                arrays[name] = np.insert(values, place % (len(values) + 1), value).astype(values.dtype)
            case "swap" if len(values) > 1:
                at = place % (len(values) - 1)
                values[[at, at + 1]] = values[[at + 1, at]]
            case _ if len(values):
                values[place % len(values)] = value
    refused_or_read(order, arrays)
