"""Markov models of order k: the next symbol by counts of what followed the last k symbols, as a LanguageModel.

    order 0    unigram model: the frequency of each symbol
    order 1    Markov chain: what follows the last symbol
    order k    what follows the last k symbols

Long contexts are rare, so each distribution is interpolated with that of the context one symbol shorter, which receives
a discount from every count: interpolated modified Kneser–Ney smoothing (Chen & Goodman 1998, "An empirical study of
smoothing techniques"),

    p(x | h) = (c(h x) − D(c(h x))) / c(h) + left(h) · p(x | h′)          left(h) = Σ D(c(h x)) / c(h)

where h′ is h without its oldest symbol, and c(h) the sum of c(h x). At order k, c(h x) is how often x followed h; for
shorter contexts it is the number of distinct symbols that preceded h x, because shorter contexts matter only where the
longer one is rare. Below order 0 the distribution is uniform, so no symbol has probability zero. The state is the last
k symbols.

Letters: B texts, T steps, V symbols, k order, R contexts looked up at once; C contexts and F pairs as in `Counts`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from charlm.errors import CheckpointError
from charlm.models.language_model import Logits, Symbols
from charlm.models.ngram_counts import Counts, Integers, continuations

RecentSymbols = NDArray[np.int64]
"""The last k symbols of each text (B, k), newest last; `_NOTHING` before the beginning."""

_NOTHING = -1
_NO_KEY = np.iinfo(np.int64).max
_USUAL_DISCOUNTS = (0.5, 1.0, 1.5)
"""Discounts of counts of 1, 2, and 3 or more, where they cannot be estimated from the text (KenLM's defaults)."""


@dataclass(frozen=True)
class _Level:
    """The distributions after all contexts of one length, without the part of the shorter contexts.

    The keys end with a sentinel that no context has, so a binary search always returns a valid index.
    """

    contexts: Integers  # (C + 1,), keys as in `Counts`
    starts: Integers  # (C + 1,)
    symbols: Integers  # (F,)
    pairs: Integers  # (F + 1,), as `Counts.pairs` has them
    shares: NDArray[np.float64]  # (F + 1,), (c − D(c)) / c(h), and 0 for the sentinel
    left: NDArray[np.float64]  # (C,), left(h), the weight of the shorter context


class MarkovModel:
    """A Markov model of order k over ``vocabulary_size`` symbols, from the counts of contexts of 0 to k symbols.

    Contexts that reach across an ``<end>`` are not counted, so separate items are independent.
    """

    def __init__(self, counts: Sequence[Counts], vocabulary_size: int) -> None:
        self.vocabulary_size = vocabulary_size
        self._counts = tuple(counts)
        longer = pairwise(counts)
        amounts = [continuations(*pair, vocabulary_size) for pair in longer] + [counts[-1].counts]
        self._levels = [_level(*both, vocabulary_size) for both in zip(counts, amounts, strict=True)]

    @property
    def order(self) -> int:
        """The context length k."""
        return len(self._counts) - 1

    def of_order(self, order: int) -> Self:
        """Return the model of a lower order (at most k) from the same counts."""
        return type(self)(self._counts[: order + 1], self.vocabulary_size)

    def start(self, batch_size: int) -> RecentSymbols:
        """Return the initial state for ``batch_size`` texts."""
        return np.full((batch_size, self.order), _NOTHING)

    def step(self, ids: Symbols, state: RecentSymbols) -> tuple[Logits, RecentSymbols]:
        """Read one symbol of each text, ids (B,); return logits (B, V) of the next, and the new state."""
        logits, state = self.read(ids[:, None], state)
        return logits[:, 0], state

    def read(self, ids: Symbols, state: RecentSymbols) -> tuple[Logits, RecentSymbols]:
        """Read a stretch of each text, ids (B, T); return logits (B, T, V) after each symbol, and the state."""
        histories, state = self._histories(ids, state)
        return np.log(self._probabilities(histories)).reshape(*ids.shape, self.vocabulary_size), state

    def target_probabilities(
        self, ids: Symbols, targets: Symbols, state: RecentSymbols
    ) -> tuple[NDArray[np.float64], RecentSymbols]:
        """Read ids (B, T) like `read`; return p (B, T) of the ``targets`` (B, T), and the state.

        Only the targets are looked up, so the cost does not depend on V.
        """
        histories, state = self._histories(ids, state)
        followers = targets.reshape(-1).astype(np.int64)
        mixed = np.full(followers.size, 1 / self.vocabulary_size)
        for level, rows, contexts in self._descend(histories):
            pairs = contexts * self.vocabulary_size + followers[rows]
            places = np.searchsorted(level.pairs, pairs)
            shares = np.where(level.pairs[places] == pairs, level.shares[places], 0)
            mixed[rows] = mixed[rows] * level.left[contexts] + shares
        return mixed.reshape(ids.shape), state

    def _histories(self, ids: Symbols, state: RecentSymbols) -> tuple[RecentSymbols, RecentSymbols]:
        """Return the last k symbols (B · T, k) at each step of ids (B, T), and of the last step (B, k)."""
        lanes, steps = ids.shape
        whole = np.concatenate([state, ids.astype(np.int64)], axis=1)  # (B, k + T)
        last = np.arange(1, steps + 1)[:, None] + np.arange(self.order)  # (T, k) columns, up to the symbol just read
        return whole[:, last].reshape(lanes * steps, self.order), whole[:, steps:]

    def _descend(self, histories: RecentSymbols) -> Iterator[tuple[_Level, Integers, Integers]]:
        """Yield for each length its level, the rows of ``histories`` (R, k) with a known context, and its index."""
        rows: Integers = np.arange(len(histories))
        contexts: Integers = np.zeros(len(histories), np.int64)
        for length, level in enumerate(self._levels):
            if length:
                symbols = histories[rows, -length]
                keys = contexts * self.vocabulary_size + symbols
                places = np.searchsorted(level.contexts, keys)
                seen = (symbols != _NOTHING) & (level.contexts[places] == keys)
                rows, contexts = rows[seen], places[seen]
            yield level, rows, contexts

    def _probabilities(self, histories: RecentSymbols) -> NDArray[np.float64]:
        """Return p (R, V) of the next symbol after each of ``histories`` (R, k)."""
        mixed = np.full((len(histories), self.vocabulary_size), 1 / self.vocabulary_size)
        for level, rows, contexts in self._descend(histories):
            kinds = level.starts[contexts + 1] - level.starts[contexts]
            pairs = np.repeat(level.starts[contexts] - (np.cumsum(kinds) - kinds), kinds) + np.arange(kinds.sum())
            mixed[rows] *= level.left[contexts, None]
            mixed[np.repeat(rows, kinds), level.symbols[pairs]] += level.shares[pairs]
        return mixed

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the counts as arrays by name, for `from_tensors`."""
        return {
            f"{name}.{length}": getattr(level, name) for length, level in enumerate(self._counts) for name in _ARRAYS
        }

    @staticmethod
    def types(vocabulary_size: int) -> dict[str, str]:
        """Return the type of each of those arrays, by safetensors' name."""
        symbols = np.min_scalar_type(vocabulary_size - 1).itemsize * 8
        return dict(zip(_ARRAYS, ("I64", "I64", f"U{symbols}", "U32"), strict=True))

    @classmethod
    def from_tensors(cls, order: int, vocabulary_size: int, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Return the model of the counts that `tensors` returned; validate untrusted ones by `check_counts` first."""
        return cls(_counts_in(order, tensors), vocabulary_size)


def check_counts(order: int, vocabulary_size: int, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Raise CheckpointError unless these arrays, of valid names and types, are consistent counts of a text."""
    levels = _counts_in(order, tensors)
    for length, level in enumerate(levels):
        if not _could_be_counted(level, levels[length - 1] if length else None, vocabulary_size):
            raise CheckpointError(
                f"its counts of what follows {length} symbols are inconsistent. Use another checkpoint."
            )


def _counts_in(order: int, tensors: Mapping[str, NDArray[Any]]) -> list[Counts]:
    return [Counts(*(tensors[f"{name}.{length}"] for name in _ARRAYS)) for length in range(order + 1)]


_ARRAYS = ("contexts", "starts", "symbols", "counts")


def _level(level: Counts, amounts: Integers, size: int) -> _Level:
    """Return the distributions of ``level`` from the counts ``amounts`` (F,) of its pairs."""
    owners, contexts = level.owners, len(level.contexts)
    totals = np.bincount(owners, weights=amounts, minlength=contexts)
    given = np.array([0.0, *_discounts(amounts)])[np.minimum(amounts, 3)]
    left = np.bincount(owners, weights=given, minlength=contexts) / totals
    keys, pairs = np.append(level.contexts, _NO_KEY), np.append(level.pairs(size), _NO_KEY)
    shares = np.append((amounts - given) / totals[owners], 0)
    return _Level(keys, level.starts, level.symbols, pairs, shares, left)


def _discounts(amounts: Integers) -> tuple[float, ...]:
    """Return the discounts of counts of 1, 2, and 3 or more, by Chen & Goodman's estimate from counts of counts."""
    n = [int((amounts == count).sum()) for count in range(1, 5)]
    if 0 in n:
        return _USUAL_DISCOUNTS
    rarity = n[0] / (n[0] + 2 * n[1])
    found = tuple(count - (count + 1) * rarity * n[count] / n[count - 1] for count in (1, 2, 3))
    return found if all(0 < discount < count for count, discount in enumerate(found, start=1)) else _USUAL_DISCOUNTS


def _could_be_counted(level: Counts, shorter: Counts | None, size: int) -> bool:
    """Return whether all indices are sorted and within bounds, so that lookups never leave an array."""
    contexts, starts, symbols, counts = level.contexts, level.starts, level.symbols, level.counts
    if shorter is None and contexts.tolist() != [0]:
        return False
    if len(starts) != len(contexts) + 1 or len(symbols) != len(counts) or starts[0] != 0 or starts[-1] != len(symbols):
        return False
    if np.any(starts[1:] <= starts[:-1]) or np.any(contexts[1:] <= contexts[:-1]) or np.any(contexts < 0):
        return False
    if np.any(symbols >= size) or np.any(counts < 1):
        return False
    if np.any(level.pairs(size)[1:] <= level.pairs(size)[:-1]):
        return False
    return shorter is None or _could_extend(level, shorter, size)


def _could_extend(level: Counts, shorter: Counts, size: int) -> bool:
    """Return whether each pair of ``level`` extends a pair of ``shorter``, at most as often as that occurs."""
    if np.any(level.contexts >= len(shorter.contexts) * size):
        return False
    known = shorter.pairs(size)
    pairs = (level.contexts // size)[level.owners] * size + level.symbols
    places = np.searchsorted(known, pairs)
    if np.any(np.append(known, -1)[places] != pairs):
        return False
    return not np.any(np.bincount(places, weights=level.counts, minlength=len(known)) > shorter.counts)
