"""Ids → text as it is shown: the prompt, then what follows it, up to a stop or to an end that the model wrote."""

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
"""What stands between several samples, where their text has a way to say so."""

_SAMPLE_LENGTH = 160
"""Characters written at each evaluation, to see how far the model has come."""
_ITEMS = 8
"""Separate items that are written instead."""


class Writer:
    """Turns the ids that follow ``prompt`` into text; raises UnknownCharactersError for one that cannot be read."""

    def __init__(self, checkpoint: Checkpoint, prompt: str, stop: str | None) -> None:
        self._vocabulary = checkpoint.vocabulary
        self._prompt_ids = checkpoint.vocabulary.encode(prompt).tolist()
        self._stop = stop
        self.prompt = checkpoint.vocabulary.decode(self._prompt_ids)
        self.between = _BETWEEN.get(checkpoint.config.data.documents or "", "\n----\n")

    def pieces(self, ids: Iterable[int]) -> Iterator[str]:
        """Yield the text as it comes. One decoder reads prompt and continuation: an accent may join them."""
        decoder = self._vocabulary.decoder()
        yield from map(decoder.feed, self._prompt_ids)
        own = takewhile(lambda index: index != self._vocabulary.end, ids)
        yield from until(decoded(own, decoder), self._stop)

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of one sample."""
        return "".join(self.pieces(ids))

    def item(self, ids: Sequence[int]) -> Ids:
        """Return the ids of a sample as a training text would hold them: with prompt and ends where items have ends."""
        end = self._vocabulary.end
        if end is not None:
            own = list(takewhile(lambda index: index != end, ids))
            ids = [end, *self._prompt_ids, *own, *([end] if len(own) < len(ids) else [])]
        return np.array(ids, self._vocabulary.dtype)


def columns(rows: Iterable[Symbols], num_samples: int) -> list[list[int]]:
    """Return the ids of each of several samples that were written side by side, as rows (B,)."""
    kept: list[Any] = list(rows)
    return np.stack(kept, axis=1).tolist() if kept else [[] for _ in range(num_samples)]


def sample_of(model: LanguageModel[Any], checkpoint: Checkpoint) -> str:
    """Return what the model writes now: a stretch of text, or some items."""
    writer = Writer(checkpoint, "", None)
    items = 1 if checkpoint.vocabulary.end is None else _ITEMS
    rows = sample(model, checkpoint.vocabulary, seed=checkpoint.config.training.seed, num_samples=items)
    return writer.between.join(map(writer.text, columns(islice(rows, _SAMPLE_LENGTH), items)))
