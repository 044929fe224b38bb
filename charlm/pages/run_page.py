"""A run's page, ``report.html``, with baselines; rewritten at each evaluation."""

import contextlib
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from charlm.baselines import markov_bits, uniform_bits
from charlm.config.settings import Config
from charlm.errors import StorageError
from charlm.pages.courses import Courses
from charlm.pages.report import report_page
from charlm.runs.directory import RunDirectory
from charlm.text.corpus import Corpus
from charlm.text.streams import evaluation_streams
from charlm.text.vocabulary import Ids

_MOST = 2_000_000, 200_000
"""Largest number of characters of training and validation text that baselines read, so that they take seconds."""


class RunPage:
    """The page of one run; its baselines are computed when it is first written."""

    def __init__(self, run: RunDirectory, config: Config, corpus: Corpus, environment: Mapping[str, str]) -> None:
        self._run = run
        self._config = config
        self._vocabulary = corpus.vocabulary
        self._courses = Courses()
        self._refreshing = False
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

    def write(self, advice: Sequence[str] = (), training: bool = False) -> None:
        """Write the page from the run's recorded metrics; raises StorageError if it cannot be written.

        While the run is ``training``, the page refreshes itself in a browser.
        """
        history = self._run.history(self._config)
        page = report_page(history, self._environment, self._baselines, advice, self._courses, training)
        self._refreshing = training
        self._run.save_report(page)

    def settle(self) -> None:
        """Write the page once more, where it still refreshes itself though training has ended; or leave it so."""
        if self._refreshing:
            with contextlib.suppress(StorageError):  # what ended training may be a full disk
                self.write()


def _first_part(ids: Ids, most: int, end: int | None) -> Ids:
    """Return the first ids, at most ``most``, cut after the end of an item if the text has items."""
    if end is None or len(ids) <= most:
        return ids[:most]
    ends = np.flatnonzero(ids[:most] == end)
    return ids[: ends[-1] + 1] if len(ends) > 1 else ids
