"""Sampled ids → text: the prompt and its continuation, up to a stop string or ``<end>``."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, takewhile
from typing import Any

import numpy as np

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.models.language_model import LanguageModel, Symbols
from charlm.sampling import sample, until
from charlm.text.decoding import decoded
from charlm.text.vocabulary import Ids

_BETWEEN = {"line": "\n", "blank-line": "\n\n"}
"""The separator of several samples, for texts whose items have one."""

_SAMPLE_LENGTH = 160
"""Maximum length of the sample at each evaluation, in characters."""
_ITEMS = 8
"""Number of samples at each evaluation where the text has separate items."""


class Writer:
    """Decodes the ids sampled after ``prompt``; raises UnknownCharactersError for a prompt outside the vocabulary."""

    def __init__(self, checkpoint: Checkpoint, prompt: str, stop: str | None) -> None:
        self._vocabulary = checkpoint.vocabulary
        self._prompt_ids = checkpoint.vocabulary.encode(prompt).tolist()
        self._stop = stop
        self.prompt = checkpoint.vocabulary.decode(self._prompt_ids)
        self.between = _BETWEEN.get(checkpoint.config.data.documents or "", "\n----\n")

    def pieces(self, ids: Iterable[int]) -> Iterator[str]:
        """Yield the text of prompt and continuation in pieces; one decoder reads both: an accent may join them."""
        decoder = self._vocabulary.decoder()
        yield from map(decoder.feed, self._prompt_ids)
        own = takewhile(lambda index: index != self._vocabulary.end, ids)
        yield from until(decoded(own, decoder), self._stop)

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of one sample."""
        return "".join(self.pieces(ids))

    def item(self, ids: Sequence[int]) -> Ids:
        """Return the ids of a sample as in a training text: separate items with their prompt and ``<end>``."""
        end = self._vocabulary.end
        if end is not None:
            own = list(takewhile(lambda index: index != end, ids))
            ids = [end, *self._prompt_ids, *own, *([end] if len(own) < len(ids) else [])]
        return np.array(ids, self._vocabulary.dtype)


def columns(rows: Iterable[Symbols], num_samples: int) -> list[list[int]]:
    """Return the ids of each sample from ``rows`` (B,) of ids sampled in parallel."""
    kept: list[Any] = list(rows)
    return np.stack(kept, axis=1).tolist() if kept else [[] for _ in range(num_samples)]


def sample_of(model: LanguageModel[Any], checkpoint: Checkpoint) -> str:
    """Return the sample of an evaluation: a stretch of text, or several items."""
    writer = Writer(checkpoint, "", None)
    items = 1 if checkpoint.vocabulary.end is None else _ITEMS
    rows = sample(model, checkpoint.vocabulary, seed=checkpoint.config.training.seed, num_samples=items)
    return writer.between.join(map(writer.text, columns(islice(rows, _SAMPLE_LENGTH), items)))
