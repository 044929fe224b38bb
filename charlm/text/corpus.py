"""Files → ids, those of the training split first, then validation, then test.

    |<------------- train ------------->|<- validation ->|<- test ->|
    0                                                               N

Running text is cut at two places. Separate items are split at random (see `charlm.text.item_splits`), or at their
tail, between two items; the ``<end>`` at a cut belongs to both splits.

The text is read twice, in pieces: once to count characters and to hash the bytes, once to write ids
into an array of the smallest type. So a corpus takes one byte per character (two above 256 symbols)
and is never held in memory as text.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from charlm.config.settings import DataConfig
from charlm.errors import TextError
from charlm.text.code_points import END_UNIT, CodePoints, code_points
from charlm.text.decoded import text_pieces
from charlm.text.documents import ends_marked
from charlm.text.files import TextFile, find_files, listed
from charlm.text.findings import Findings
from charlm.text.item_splits import Arrangement, ItemHashes
from charlm.text.vocabulary import END, Ids, Vocabulary


@dataclass(frozen=True)
class Corpus:
    """A text as ids (N,), its vocabulary and the indices at which it is split."""

    paths: tuple[str, ...]
    """The files as ``data.path`` names them."""
    files: tuple[TextFile, ...]
    """The files that were read, in order, with absolute paths and their sizes."""
    sha256: str
    """SHA-256 of the files' content, joined in order; with data.documents: file, ``<end>`` follows each file."""
    vocabulary: Vocabulary
    ids: Ids
    validation_start: int
    test_start: int
    notes: tuple[str, ...] = ()
    """Sentences for the user about what was found in the files, such as how many bytes were replaced."""

    @classmethod
    def read(cls, data: DataConfig, vocabulary: Vocabulary | None = None) -> Self:
        """Read, encode and split the text that ``data`` names.

        The vocabulary is built from the whole text unless one is given. Raises TextError when the text is missing,
        cannot be decoded or is too short to be split, and UnknownCharactersError when the text has characters that
        a given vocabulary lacks.
        """
        return cls.read_files(_found(data), data, vocabulary)

    @classmethod
    def read_files(
        cls,
        files: Sequence[TextFile],
        data: DataConfig,
        vocabulary: Vocabulary | None = None,
        sha256: str | None = None,
    ) -> Self:
        """Read, encode and split the text of these files, and no others; raises like `read`.

        Where ``sha256`` is given and their bytes have another digest, raises TextError before they are encoded.
        """
        findings, hashes = Findings(), ItemHashes() if data.meant().split == "random" else None
        counts, digest, sizes = _count(files, data, findings, hashes)
        if sha256 not in (None, digest):
            names = listed([file.path for file in files])
            raise TextError(f"{names}: this is not, or no longer, the text that the model was trained on.")
        vocabulary = vocabulary or _vocabulary_of(counts, data)
        arrangement = None if hashes is None else hashes.arranged(data.validation_fraction, data.test_fraction)
        ids = _encode(files, data, vocabulary, int(counts.sum()), arrangement)
        edges = arrangement.edges if arrangement else _tail_edges(ids, vocabulary.end, data)
        read = tuple(_resolved(file.path, size) for file, size in zip(files, sizes, strict=True))
        corpus = cls(data.path, read, digest, vocabulary, ids, *edges, findings.sentences())
        corpus._check_splits(data)
        return corpus

    @property
    def train(self) -> Ids:
        """The ids of the training split."""
        return self.ids[: self.validation_start + self._shared]

    @property
    def validation(self) -> Ids:
        """The ids of the validation split, which selects the best checkpoint."""
        return self.ids[self.validation_start : self.test_start + self._shared]

    @property
    def test(self) -> Ids:
        """The ids of the test split, on which nothing is selected."""
        return self.ids[self.test_start :]

    @property
    def sizes(self) -> str:
        """The lengths of the text and its splits, as a sentence: in characters or bytes, or in items."""
        unit, parts = f"{self.vocabulary.unit}s", (self.ids, self.train, self.validation, self.test)
        if self.vocabulary.end is None:
            whole, *splits = map(len, parts)
        else:
            unit = "items"
            whole, *splits = (max(int((part == self.vocabulary.end).sum()) - 1, 0) for part in parts)
        return f"{whole:,} {unit}: {splits[0]:,} train, {splits[1]:,} validation, {splits[2]:,} test"

    @property
    def _shared(self) -> int:
        """Number of ids that two neighboring splits share: the ``<end>`` between them, where items have one."""
        return int(self.vocabulary.end is not None)

    def _check_splits(self, data: DataConfig) -> None:
        fractions = {"train": 1.0, "validation": data.validation_fraction, "test": data.test_fraction}
        for name, fraction in fractions.items():
            split: Ids = getattr(self, name)
            if fraction and len(split) < 2:
                whole, left, needed = f"{len(self.ids):,} {data.unit}s", str(len(split)), "2"
                if self.vocabulary.end is not None:
                    items = int((self.ids == self.vocabulary.end).sum()) - 1
                    whole, left, needed = f"items ({items:,}, data.documents: {data.documents})", "none", "1"
                    whole += (
                        ", where equal ones are kept together," if data.meant().split == "random" and items > 2 else ""
                    )
                raise TextError(
                    f"{listed(self.paths)}: too short. Its {whole} leave {left} for "
                    f"the {name} split, which needs {needed} (data.validation_fraction is {data.validation_fraction}, "
                    f"data.test_fraction {data.test_fraction}). Use a longer text or another fraction."
                )


def read_vocabulary(data: DataConfig) -> Vocabulary:
    """Return the vocabulary of the whole text that ``data`` names; raises TextError like `Corpus.read`."""
    counts, _, _ = _count(_found(data), data)
    if not _of_characters(counts).any():
        raise TextError(f"{listed(data.path)}: the text is empty. Name a file that contains text.")
    return _vocabulary_of(counts, data)


def _found(data: DataConfig) -> list[TextFile]:
    return [TextFile(path) for path in find_files(data.path)]


def _resolved(path: Path, size: int) -> TextFile:
    return TextFile(Path(os.path.realpath(path)), size)


def _of_characters(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the counts without that of `END_UNIT`."""
    return np.delete(counts, slice(END_UNIT, END_UNIT + 1))


def _vocabulary_of(counts: NDArray[np.int64], data: DataConfig) -> Vocabulary:
    if data.unit == "byte":
        return Vocabulary.of_bytes([END] if data.documents else [])
    if 0 < _of_characters(counts).max(initial=0) < data.minimum_count:
        raise TextError(
            f"{listed(data.path)}: no character occurs {data.minimum_count:,} times. Lower data.minimum_count."
        )
    return Vocabulary.of_code_points(counts, data.normalization, data.minimum_count)


def _tail_edges(ids: Ids, end: int | None, data: DataConfig) -> tuple[int, int]:
    """Return the indices at which the validation and the test split start, both at the end of the text."""
    held = data.validation_fraction + data.test_fraction, data.test_fraction
    first, second = (int(len(ids) * (1 - fraction)) for fraction in held)
    return (first, second) if end is None else _between_items(ids, end, (first, second))


def _between_items(ids: Ids, end: int, places: tuple[int, int]) -> tuple[int, int]:
    """Return the positions of the ``end`` ids nearest to two places; each split gets an item where there are enough."""
    ends = np.flatnonzero(ids == end)
    items, last = len(ends) - 1, len(ends) - 1 - int(places[1] < len(ids))  # last: latest start of the test split
    first, second = (int(np.abs(ends - place).argmin()) for place in places)
    if items > 1 and last > 1:
        second = min(max(second, 2), last)
        first = min(max(first, 1), second - 1)
    return int(ends[first]), int(ends[second])


def itemized(texts: Iterable[Iterable[str]], data: DataConfig) -> Iterator[str]:
    """Yield the text of files, each given in pieces; with `END_UNIT` around items where ``data.documents`` is set."""
    return chain.from_iterable(texts) if data.documents is None else ends_marked(texts, data.documents)


def _units(files: Sequence[TextFile], data: DataConfig) -> Iterator[CodePoints]:
    texts = (text_pieces(file.pieces(), str(file.path), data) for file in files)
    yield from map(code_points, itemized(texts, data))


def _encode(
    files: Sequence[TextFile], data: DataConfig, vocabulary: Vocabulary, length: int, arrangement: Arrangement | None
) -> Ids:
    """Return the ids (length,) of the files' text, arranged by split; raises TextError if it changed since `_count`."""
    ids, position = np.empty(length, vocabulary.dtype), 0
    for units in _units(files, data):
        after = position + len(units)
        places = arrangement.places(units, position) if arrangement else slice(position, after)
        if places is None or after > length:
            raise _changed_while_read(data)
        ids[places] = vocabulary.encode_units(units, position)
        position = after
    if position != length:
        raise _changed_while_read(data)
    return ids


def _changed_while_read(data: DataConfig) -> TextError:
    return TextError(f"{listed(data.path)}: the text changed while it was read. Try again when the file is complete.")


def _count(
    files: Sequence[TextFile], data: DataConfig, findings: Findings | None = None, hashes: ItemHashes | None = None
) -> tuple[NDArray[np.int64], str, list[int]]:
    """Return the count of each code point in the files, the SHA-256 of their bytes, and the size of each.

    ``findings`` takes what is to be said about the files, and ``hashes`` their items.
    """
    digest, counts, sizes = hashlib.sha256(), np.zeros(0, np.int64), []

    def hashed(pieces: Iterator[bytes]) -> Iterator[bytes]:
        sizes.append(0)
        for piece in pieces:
            digest.update(piece)
            sizes[-1] += len(piece)
            yield piece
        if data.documents == "file":  # the boundary between files is part of the text, but not in their bytes
            digest.update(END.encode())

    texts = (text_pieces(hashed(file.pieces()), str(file.path), data, findings) for file in files)
    for text in itemized(texts, data):
        if hashes is not None:
            hashes.add(text)
        more = np.bincount(code_points(text), minlength=len(counts))
        more[: len(counts)] += counts
        counts = more
    return counts, digest.hexdigest(), sizes
