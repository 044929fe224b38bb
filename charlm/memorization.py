"""Memorization: which parts of samples appear verbatim in the training text, and what fraction is new."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.checkpoint.corpus import read_corpus
from charlm.novelty import Novelty, novelty
from charlm.text.vocabulary import Ids, Vocabulary

SIZES = (4, 6, 8, 12, 16, 24, 32)
"""Lengths n of the n-grams that are looked up."""


@dataclass(frozen=True)
class Memorization:
    """Samples, and the parts of each that appear verbatim in the training text."""

    vocabulary: Vocabulary
    samples: Sequence[Ids]
    """Ids (N,) of each; separate items include the ``<end>`` before and after."""
    found: Sequence[Novelty]
    """One per sample."""

    @property
    def new_shares(self) -> dict[int, float]:
        """Fraction of all samples' n-grams that are not in the training text, by n, where samples are long enough."""
        new = {
            n: np.concatenate([each.longest[: max(len(each.longest) - n + 1, 0)] < n for each in self.found])
            for n in SIZES
        }
        return {n: float(places.mean()) for n, places in new.items() if places.size}

    @property
    def longest(self) -> tuple[int, str]:
        """Length and text of the longest verbatim stretch; 0 where there is none."""
        pairs = [
            (ids, stretch)
            for ids, each in zip(self.samples, self.found, strict=True)
            if (stretch := each.longest_stretch()) is not None
        ]
        ids, stretch = max(pairs, key=lambda pair: pair[1].end - pair[1].start, default=(None, None))
        if ids is None or stretch is None:
            return 0, ""
        return stretch.end - stretch.start, self.vocabulary.decode(ids[stretch.start : stretch.end])

    @property
    def ended_items(self) -> int:
        """Number of samples that the model ended with ``<end>``; 0 without separate items."""
        return sum(map(self._has_end, self.samples))

    @property
    def copied_items(self) -> int:
        """Number of samples that are complete items of the training text."""
        return sum(self.is_copied_item(ids, each) for ids, each in zip(self.samples, self.found, strict=True))

    def is_copied_item(self, ids: Ids, found: Novelty) -> bool:
        """Return whether a sample (N,) is a complete item of the training text."""
        return self._has_end(ids) and bool(found.longest[0] == len(ids))

    def values(self) -> dict[str, Any]:
        """Return the numbers as JSON-serializable values."""
        length, text = self.longest
        new = {str(n): share for n, share in self.new_shares.items()}
        values = {"longest": length, "longest_text": text, "new": new}
        return values if self.vocabulary.end is None else values | {"copied_items": self.copied_items}

    def _has_end(self, ids: Ids) -> bool:
        return self.vocabulary.end is not None and len(ids) > 1 and bool(ids[-1] == self.vocabulary.end)


def compare(checkpoint: Checkpoint, samples: Sequence[Ids], corpus: Sequence[str] | None = None) -> Memorization:
    """Look up samples, ids (N,) each, in the model's training text; finds ``corpus`` and raises like `read_corpus`."""
    training = read_corpus(checkpoint, "training", corpus).train
    return Memorization(checkpoint.vocabulary, samples, [novelty(ids, training) for ids in samples])
