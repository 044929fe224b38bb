"""A run's page, ``report.html``: written anew at each evaluation, with what the losses are to be held against."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from charlm.baselines import markov_bits, uniform_bits
from charlm.config.settings import Config
from charlm.pages.report import report_page
from charlm.runs.directory import RunDirectory
from charlm.runs.history import history_of
from charlm.text.corpus import Corpus
from charlm.text.streams import evaluation_streams
from charlm.text.vocabulary import Ids

_MOST = 2_000_000, 200_000
"""Characters of training and validation text that the page's baselines read, so that it costs seconds."""


class RunPage:
    """The page of one run; baselines are counted when it is first written."""

    def __init__(self, run: RunDirectory, config: Config, corpus: Corpus, environment: Mapping[str, str]) -> None:
        self._run = run
        self._config = config
        self._vocabulary = corpus.vocabulary
        whole = corpus.train, corpus.validation
        self._read = [_first_part(*pair, corpus.vocabulary.end) for pair in zip(whole, _MOST, strict=True)]
        counted, scored = (f"{len(ids):,}" for ids in self._read)
        cut = [len(ids) for ids in self._read] != [len(ids) for ids in whole]
        told = {"Markov models": f"counted on the first {counted} characters, scored on {scored}"} if cut else {}
        self._environment = {**environment, **told}

    @cached_property
    def _baselines(self) -> dict[str, float]:
        training, validation = self._read
        streams = evaluation_streams(validation, self._config.training.evaluation_lanes, self._vocabulary.end)
        orders = markov_bits(training, self._vocabulary, streams)
        return {"uniform": uniform_bits(self._vocabulary)} | {f"Markov {order}": bits for order, bits in orders}

    def write(self, advice: Sequence[str] = ()) -> None:
        """Write it from what the run has recorded so far; raises StorageError when the disk refuses."""
        page = report_page(history_of(self._run.path, self._config), self._environment, self._baselines, advice)
        self._run.save_report(page)


def _first_part(ids: Ids, most: int, end: int | None) -> Ids:
    """Return at most so many ids from the beginning, up to an end where items have ends."""
    if end is None or len(ids) <= most:
        return ids[:most]
    ends = np.flatnonzero(ids[:most] == end)
    return ids[: ends[-1] + 1] if len(ends) > 1 else ids
