"""Counts are what a plain walk through the text counts, however they are packed."""

from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charlm.models import ngram_counts as module
from charlm.models.ngram_counts import Counts, continuations, counted

SIZE = 4
END = 3
Context = tuple[int, ...]

one_text = st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=40)
items = st.lists(st.lists(st.integers(0, END - 1), max_size=7), min_size=1, max_size=6)
orders = st.integers(0, 5)


def joined(parts: list[list[int]]) -> list[int]:
    return [END, *(symbol for part in parts for symbol in [*part, END])]


def ids_of(symbols: list[int]) -> np.ndarray:
    return np.array(symbols, np.uint8)


def walked(texts: list[list[int]], length: int, first: int = 0) -> Counter[tuple[Context, int]]:
    """Count, in each of separate texts, what follows ``length`` symbols, from its symbol number ``first`` on."""
    return Counter(
        (tuple(text[place - length : place]), text[place])
        for text in texts
        for place in range(first, len(text))
        if place >= length
    )


def unpacked(levels: list[Counts], size: int = SIZE) -> list[Counter[tuple[Context, int]]]:
    """Return what each level counted, by its contexts written out."""
    known: list[Context] = [()]
    result = []
    for length, level in enumerate(levels):
        if length:
            known = [(int(key) % size, *known[int(key) // size]) for key in level.contexts]
        found: Counter[tuple[Context, int]] = Counter()
        for place, context in enumerate(known):
            for pair in range(int(level.starts[place]), int(level.starts[place + 1])):
                found[context, int(level.symbols[pair])] += int(level.counts[pair])
        result.append(found)
    return result


@given(one_text, orders)
@example([0], 3)
def test_counts_are_those_of_a_walk_through_the_text(text: list[int], order: int) -> None:
    levels = list(counted(ids_of(text), order, SIZE))
    assert unpacked(levels) == [walked([text], length) for length in range(order + 1)]


@given(items, orders)
@example([[]], 2)
@example([[], [], [0]], 5)
def test_no_context_reaches_behind_the_end_before_its_item(parts: list[list[int]], order: int) -> None:
    levels = list(counted(ids_of(joined(parts)), order, SIZE, END))
    alone = [[END, *part, END] for part in parts]
    assert unpacked(levels) == [walked(alone, length, first=1) for length in range(order + 1)]


@given(one_text, orders)
def test_contexts_and_what_follows_them_rise_and_fill_their_arrays(text: list[int], order: int) -> None:
    for level in counted(ids_of(text), order, SIZE):
        assert (np.diff(level.contexts) > 0).all()
        assert (np.diff(level.pairs(SIZE)) > 0).all()
        assert (np.diff(level.starts) > 0).all()
        assert level.starts[0] == 0
        assert level.starts[-1] == len(level.symbols) == len(level.counts)
        assert len(level.starts) == len(level.contexts) + 1
        owners = [place for place, kinds in enumerate(np.diff(level.starts)) for _ in range(kinds)]
        assert level.owners.tolist() == owners
        pairs = [owner * SIZE + int(symbol) for owner, symbol in zip(owners, level.symbols, strict=True)]
        assert level.pairs(SIZE).tolist() == pairs


def extended_by(texts: list[list[int]], length: int, first: int) -> dict[tuple[Context, int], int]:
    """Return how many different symbols stand before each context and follower, beginnings one by one."""
    before: dict[tuple[Context, int], list[int]] = {}
    beginnings: Counter[tuple[Context, int]] = Counter()
    for text in texts:
        for place in range(max(first, length), len(text)):
            pair = (tuple(text[place - length : place]), text[place])
            before.setdefault(pair, [])
            if place == length:
                beginnings[pair] += 1
            elif text[place - length - 1] not in before[pair]:
                before[pair].append(text[place - length - 1])
    return {pair: len(symbols) + beginnings[pair] for pair, symbols in before.items()}


@given(one_text, orders)
@example([0, 0, 0], 0)
def test_continuations_are_the_different_symbols_before(text: list[int], length: int) -> None:
    level, longer = islice(counted(ids_of(text), length + 1, SIZE), length, None)
    found = Counts(level.contexts, level.starts, level.symbols, continuations(level, longer, SIZE))
    levels = [*counted(ids_of(text), length, SIZE)][:-1]
    assert unpacked([*levels, found])[-1] == extended_by([text], length, 0)


@given(items, orders)
@example([[0, 1], [0, 1], [0, 1]], 1)
def test_each_beginning_of_an_item_continues_nothing_and_counts_for_itself(parts: list[list[int]], length: int) -> None:
    ids = ids_of(joined(parts))
    level, longer = islice(counted(ids, length + 1, SIZE, END), length, None)
    found = Counts(level.contexts, level.starts, level.symbols, continuations(level, longer, SIZE))
    levels = [*counted(ids, length, SIZE, END)][:-1]
    alone = [[END, *part, END] for part in parts]
    assert unpacked([*levels, found])[-1] == extended_by(alone, length, 1)


def test_three_equal_items_begin_three_times_and_go_on_once() -> None:
    levels = list(counted(ids_of(joined([[0, 1]] * 3)), 2, SIZE, END))
    amounts = [continuations(*pair, SIZE).tolist() for pair in pairwise(levels)]
    assert unpacked(levels)[0] == {((), 0): 3, ((), 1): 3, ((), END): 3}
    assert amounts[0] == [1, 1, 1]  # each symbol stands behind one other
    assert levels[1].symbols.tolist() == [1, END, 0]  # behind a, behind b, behind an end
    assert amounts[1] == [1, 1, 3]


def test_the_module_s_drawing_is_what_is_counted() -> None:
    levels = unpacked(list(counted(ids_of([0, 1, 0, 1]), 1, 2)), 2)
    assert levels == [{((), 0): 2, ((), 1): 2}, {((0,), 1): 2, ((1,), 0): 1}]
    drawing = '    "abab"     order 0    a 2, b 2\n               order 1    a│ b 2      b│ a 1\n'
    assert drawing in (module.__doc__ or "")


@pytest.mark.parametrize(("size", "dtype"), [(1, "u1"), (256, "u1"), (257, "u2"), (65_537, "u4")])
def test_what_follows_is_held_in_the_smallest_type(size: int, dtype: str) -> None:
    ids = np.array([size - 1, 0, size - 1, 0, size - 1], np.uint32)
    levels = list(counted(ids, 3, size))
    assert {level.symbols.dtype for level in levels} == {np.dtype(dtype)}
    assert {level.counts.dtype for level in levels} == {np.dtype(np.uint32)}
    assert unpacked(levels, size) == [walked([ids.tolist()], length) for length in range(4)]


def test_contexts_whose_digits_would_overflow_a_number_are_told_apart() -> None:
    """Thirty-two symbols of a vocabulary of 60,000 are more than 500 bits."""
    text = np.random.default_rng(3).integers(0, 60_000, 200).astype(np.uint16)
    text[150:190] = text[50:90]
    *_, last = unpacked(list(counted(text, 32, 60_000)), 60_000)
    assert last == walked([text.tolist()], 32)
    assert max(last.values()) == 2


def test_counting_leaves_the_text_as_it_was() -> None:
    ids = ids_of([0, 1, 2, 1, 0])
    ids.flags.writeable = False
    assert len(list(counted(ids, 2, SIZE))) == 3
