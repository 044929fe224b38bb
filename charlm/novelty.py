"""Novelty: which stretches of a sample appear verbatim in a text, and what fraction of its n-grams is new.

For each position of the sample, the length of the longest stretch that starts there and appears in the text is computed
exactly, in two steps:

    n-grams of up to 8 ids   the sample's distinct n-grams are numbered, for increasing n: the key of an (n + 1)-gram is
                             the number of its first n ids and the next id. All positions of the text are looked up at
                             once, and those whose n-gram is not in the sample are dropped.
    longer stretches         are found in the remaining positions of the text, by a suffix automaton of the sample.

Time is about linear in N + M, even for a text of one repeated letter. Memory is a few bytes per id.

Letters: N ids of the sample, M of the text, A distinct ids of the sample, n the length of an n-gram.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charlm.text.vocabulary import Ids

_GRAM = 8
"""Maximum n of n-grams that are looked up: few longer ones appear in natural text unless they were copied."""

_PIECE = 1 << 20
"""Positions of the text that are looked up at a time."""


class Stretch(NamedTuple):
    """The ids ``sample[start:end]``."""

    start: int
    end: int


@dataclass(frozen=True)
class Novelty:
    """The parts of a sample that appear verbatim in a text."""

    longest: NDArray[np.int64]
    """Length (N,) of the longest stretch that starts at each position and appears in the text; 0 where none does."""

    def share_new(self, n: int) -> float | None:
        """Return the fraction of the sample's n-grams that are not in the text; None for a sample shorter than n."""
        places = self.longest[: max(len(self.longest) - n + 1, 0)]
        return float((places < n).mean()) if places.size else None

    def stretches(self, minimum: int = 1) -> list[Stretch]:
        """Return the maximal stretches of at least ``minimum`` ids that appear in the text, in order.

        None contains another, but two may overlap; `covered` counts each position once.
        """
        ends = np.arange(len(self.longest)) + self.longest  # monotonic: parts of a stretch appear in the text, too
        further = ends > np.concatenate([[0], ends[:-1]])
        starts = np.flatnonzero(further & (self.longest >= max(minimum, 1)))
        return [Stretch(int(start), int(ends[start])) for start in starts]

    def longest_stretch(self) -> Stretch | None:
        """Return the first of the longest stretches that appear in the text; None if no id does."""
        return max(self.stretches(), key=lambda stretch: stretch.end - stretch.start, default=None)

    def covered(self, minimum: int = 1) -> NDArray[np.bool_]:
        """Return for each position (N,) whether it is in one of the `stretches`."""
        inside = np.zeros(len(self.longest), np.bool_)
        for start, end in self.stretches(minimum):
            inside[start:end] = True
        return inside


def novelty(sample: Ids, text: Ids) -> Novelty:
    """Return which parts of ``sample`` (N,) appear verbatim in ``text`` (M,); both are ids of one vocabulary.

    The text is read in pieces, so it may be a memory-mapped file. Takes seconds for 10 million ids.
    """
    if not sample.size:
        return Novelty(np.zeros(0, np.int64))
    alphabet, symbols = np.unique(sample, return_inverse=True)
    reader = _Reader(alphabet, text)
    short, found = _short(_levels(symbols, len(alphabet)), reader)
    if not found.any():
        return Novelty(short)
    automaton = _SuffixAutomaton(symbols[::-1].tolist())  # reversed, since it finds where stretches end
    automaton.read(reader.backwards(found))
    return Novelty(np.maximum(short, automaton.longest()[::-1]))


class _Reader:
    """A text (M,) in the sample's symbols: 0 … A − 1, and A for every id that is not in the sample."""

    def __init__(self, alphabet: Ids, text: Ids) -> None:
        self.text = text
        self.unknown = len(alphabet)
        self._table = np.full(int(alphabet[-1]) + 2, self.unknown, np.int64)
        self._table[alphabet] = np.arange(len(alphabet))

    def __call__(self, start: int, end: int) -> NDArray[np.int64]:
        """Return the symbols from ``start`` to ``end``, `unknown` past the end of the text."""
        symbols = np.full(end - start, self.unknown, np.int64)
        ids = self.text[start:end]
        symbols[: len(ids)] = self._table.take(ids, mode="clip")
        return symbols

    def backwards(self, places: NDArray[np.bool_]) -> Iterator[int]:
        """Yield the symbols at the True ``places`` (M,), last to first, with `unknown` at each gap."""
        kept = places.copy()
        kept[1:] |= places[:-1]
        for start in reversed(range(0, len(places), _PIECE)):
            piece = slice(start, min(start + _PIECE, len(places)))
            symbols = np.where(places[piece], self(piece.start, piece.stop), self.unknown)
            yield from symbols[kept[piece]][::-1].tolist()


class _Level(NamedTuple):
    """The sample's n-grams of one length; a name is an n-gram's index among the distinct ones."""

    keys: NDArray[np.int64]
    """Name of the first n − 1 ids · (A + 1) + the last symbol: sorted, followed by a sentinel."""
    names: NDArray[np.int64]
    """Name of the n-gram at each position (N − n + 1,)."""


def _levels(symbols: NDArray[np.intp], size: int) -> list[_Level]:
    """Return the n-grams of the sample's symbols (N,) for n = 1, 2, … up to `_GRAM` or N."""
    levels = [_Level(np.arange(size + 1), symbols.astype(np.int64))]
    for n in range(1, min(_GRAM, len(symbols))):
        keys, names = np.unique(levels[-1].names[:-1] * (size + 1) + symbols[n:], return_inverse=True)
        levels.append(_Level(np.append(keys, np.iinfo(np.int64).max), names))
    return levels


def _short(levels: Sequence[_Level], reader: _Reader) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Look up all n-grams of the text.

    Return for each position of the sample (N,) the longest n-gram that appears in the text, and for each position of
    the text (M,) whether it is in one of the sample's longest n-grams.
    """
    seen = [np.zeros(len(level.keys), np.bool_) for level in levels]
    found = np.zeros(len(reader.text) + len(levels), np.bool_)
    for start in range(0, len(reader.text), _PIECE):
        places = start + _look_up(levels, reader, start, seen)
        for n in range(len(levels)):
            found[places + n] = True
    longest = np.zeros(len(levels[0].names), np.int64)
    for n, (level, there) in enumerate(zip(levels, seen, strict=True), start=1):
        longest[: len(level.names)][there[level.names]] = n
    return longest, found[: len(reader.text)]


def _look_up(
    levels: Sequence[_Level], reader: _Reader, start: int, seen: Sequence[NDArray[np.bool_]]
) -> NDArray[np.intp]:
    """Mark in ``seen`` the n-grams that start in the piece at ``start``; return the positions of the longest ones."""
    symbols = reader(start, start + _PIECE + len(levels) - 1)
    places = np.flatnonzero(symbols[:_PIECE] < reader.unknown)
    names = symbols[places]
    seen[0][names] = True
    for n, level in enumerate(levels[1:], start=1):
        keys = names * (reader.unknown + 1) + symbols[places + n]
        names = np.searchsorted(level.keys, keys)
        there = level.keys[names] == keys
        places, names = places[there], names[there]
        seen[n][names] = True
    return places


class _SuffixAutomaton:
    """A suffix automaton of the sample, which finds the longest suffix of a text that appears in it.

    (Blumer et al. 1985.) A state is a set of stretches that end at the same positions of the sample, each a suffix of
    the next longer one.
    """

    def __init__(self, symbols: Sequence[int]) -> None:
        self._following: list[dict[int, int]] = [{}]
        self._lengths = [0]  # of a state's longest stretch
        self._links = [0]  # the suffix link: the longest suffix with more positions
        self._prefixes: list[int] = []  # the state of each prefix
        for symbol in symbols:
            self._append(symbol)
        self._found = [0] * len(self._lengths)  # the longest stretch of each state that the text has

    def _append(self, symbol: int) -> None:
        state = self._prefixes[-1] if self._prefixes else 0
        new = self._add({}, self._lengths[state] + 1, 0)
        self._prefixes.append(new)
        while symbol not in self._following[state]:
            self._following[state][symbol] = new
            if state == 0:
                return
            state = self._links[state]
        self._links[new] = self._end(state, symbol)

    def _end(self, state: int, symbol: int) -> int:
        """Return the state of ``state``'s longest stretch followed by ``symbol``, split off from longer ones."""
        target = self._following[state][symbol]
        if self._lengths[target] == self._lengths[state] + 1:
            return target
        part = self._add(dict(self._following[target]), self._lengths[state] + 1, self._links[target])
        self._links[target] = part
        while self._following[state].get(symbol) == target:
            self._following[state][symbol] = part
            state = self._links[state]
        return part

    def _add(self, following: dict[int, int], length: int, link: int) -> int:
        self._following.append(following)
        self._lengths.append(length)
        self._links.append(link)
        return len(self._links) - 1

    def read(self, text: Iterable[int]) -> None:
        """Record the stretches of the sample that appear in ``text``."""
        following, lengths, links, found = self._following, self._lengths, self._links, self._found
        state = length = 0
        for symbol in text:
            while state and symbol not in following[state]:
                state = links[state]
                length = lengths[state]
            if symbol in following[state]:
                state = following[state][symbol]
                length += 1
                found[state] = max(found[state], length)

    def longest(self) -> NDArray[np.int64]:
        """Return the length (N,) of the longest recorded stretch that ends at each position of the sample."""
        found, links = self._found.copy(), self._links
        rising = np.argsort(self._lengths, kind="stable").tolist()[1:]  # all but the empty stretch
        for state in reversed(rising):  # suffixes of a recorded stretch were read, too
            if found[state] and links[state]:
                found[links[state]] = self._lengths[links[state]]
        for state in rising:  # where a state was not reached, its suffixes may have been
            found[state] = found[state] or found[links[state]]
        return np.array([found[state] for state in self._prefixes], np.int64)
