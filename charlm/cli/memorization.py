"""Did it copy? Samples with what stands verbatim in the training text marked, and how much of them is new."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.checkpoint.corpus import read_corpus
from charlm.cli.bars import bar
from charlm.novelty import Novelty, novelty
from charlm.text.vocabulary import Ids, Vocabulary

SIZES = (4, 6, 8, 12, 16, 24, 32)
"""Lengths of n-grams that are looked for."""
_MARKED = 16
"""Shortest stretch that is marked; shorter ones are the language itself."""


@dataclass(frozen=True)
class Copying:
    """Samples, and what of each stands verbatim in the training text."""

    vocabulary: Vocabulary
    samples: Sequence[Ids]
    """Each (N,); where items have ends, from the end before an item to its own."""
    found: Sequence[Novelty]

    @property
    def shares(self) -> dict[int, float]:
        """Share of all samples' n-grams that the training text lacks, for each n that one of them has."""
        new = {
            n: np.concatenate([each.longest[: max(len(each.longest) - n + 1, 0)] < n for each in self.found])
            for n in SIZES
        }
        return {n: float(places.mean()) for n, places in new.items() if places.size}

    @property
    def longest(self) -> tuple[int, str]:
        """Length and text of the longest verbatim stretch; 0 where there is none."""
        pairs = [(ids, stretch) for ids, each in self._each() if (stretch := each.longest_stretch()) is not None]
        ids, stretch = max(pairs, key=lambda pair: pair[1].end - pair[1].start, default=(None, None))
        if ids is None or stretch is None:
            return 0, ""
        return stretch.end - stretch.start, self.vocabulary.decode(ids[stretch.start : stretch.end])

    @property
    def copied_items(self) -> int:
        """How many samples are whole items of the training text."""
        return sum(self._is_copied_item(ids, each) for ids, each in self._each())

    @property
    def sentence(self) -> str:
        """What was copied, in words."""
        if self.vocabulary.end is not None:
            ended = sum(bool(ids[-1] == self.vocabulary.end) and len(ids) > 1 for ids in self.samples)
            copied, cut = self.copied_items, len(self.samples) - ended
            told = f"; {cut} did not come to an end" if cut else ""
            return f"{copied} of {ended} stand in the training text just so; {ended - copied} are new{told}."
        length, text = self.longest
        if length == 0:
            return "Nothing of it stands in the training text."
        return f"The longest stretch that stands in the training text has {length:,} {self.vocabulary.unit}s: {text!r}"

    def values(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        length, text = self.longest
        values = {"longest": length, "longest_text": text, "new": {str(n): share for n, share in self.shares.items()}}
        return values if self.vocabulary.end is None else values | {"copied_items": self.copied_items}

    def texts(self) -> list[str]:
        """Return each sample with its long verbatim stretches between ⟦ and ⟧."""
        return [self._marked(ids, each) for ids, each in self._each()]

    def table(self) -> Table:
        """Return the share of new n-grams for each n, with bars."""
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right")
        table.add_column(justify="right")
        table.add_column(no_wrap=True)
        meaning = Text("share of n-grams that the training text lacks")
        table.add_row(Text("n", style="bold"), Text("new", style="bold"), meaning)
        for n, share in self.shares.items():
            table.add_row(Text(str(n)), Text(f"{share:.1%}"), Text(bar(share)))
        return table

    def _each(self) -> list[tuple[Ids, Novelty]]:
        return list(zip(self.samples, self.found, strict=True))

    def _is_copied_item(self, ids: Ids, found: Novelty) -> bool:
        whole = self.vocabulary.end is not None and len(ids) > 1 and ids[-1] == self.vocabulary.end
        return bool(whole and found.longest[0] == len(ids))

    def _marked(self, ids: Ids, found: Novelty) -> str:
        inside = found.covered(_MARKED) | self._is_copied_item(ids, found)
        own = slice(None) if self.vocabulary.end is None else slice(1, -1 if ids[-1] == self.vocabulary.end else None)
        ids, inside = ids[own], inside[own]
        edges = np.flatnonzero(
            np.diff(inside.astype(np.int8), prepend=0, append=0)
        ).tolist()  # starts and stops in turn
        text, marked, shown = self.vocabulary.decode(ids), "", 0
        for edge, mark in zip(edges, cycle("⟦⟧"), strict=False):
            place = len(self.vocabulary.decode(ids[:edge]))  # an id may be a part of a character; it stays whole
            marked, shown = f"{marked}{text[shown:place]}{mark}", place
        return marked + text[shown:]


def compare(checkpoint: Checkpoint, samples: Sequence[Ids]) -> Copying:
    """Look for samples, ids (N,) each, in the model's training text; raises TextError when that is gone."""
    training = read_corpus(checkpoint, "training").train
    return Copying(checkpoint.vocabulary, samples, [novelty(ids, training) for ids in samples])
