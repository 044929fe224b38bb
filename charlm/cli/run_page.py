"""A run's page, ``report.html``: written anew at each evaluation, with what the losses are to be held against."""

from collections.abc import Mapping, Sequence
from functools import cached_property

from charlm.baselines import markov_bits, uniform_bits
from charlm.config.settings import Config
from charlm.pages.report import report_page
from charlm.text.corpus import Corpus
from charlm.text.windows import Windows
from charlm.training.history import history_of
from charlm.training.runs import RunDirectory

_COUNTED = 2_000_000
"""Characters of the training text that the baselines of the page are counted on, so that it costs seconds."""


class RunPage:
    """The page of one run; baselines are counted when it is first written."""

    def __init__(
        self, run: RunDirectory, config: Config, corpus: Corpus, streams: Windows, environment: Mapping[str, str]
    ) -> None:
        self._run = run
        self._config = config
        self._corpus = corpus
        self._streams = streams
        self._environment = environment

    @cached_property
    def _baselines(self) -> dict[str, float]:
        training, vocabulary = self._corpus.train, self._corpus.vocabulary
        cut = f", of the first {_COUNTED:,} characters" if len(training) > _COUNTED else ""
        orders = markov_bits(training[:_COUNTED], vocabulary, self._streams)
        return {"uniform": uniform_bits(vocabulary)} | {f"Markov {order}{cut}": bits for order, bits in orders}

    def write(self, advice: Sequence[str] = ()) -> None:
        """Write it from what the run has recorded so far; raises StorageError when the disk refuses."""
        page = report_page(history_of(self._run.path, self._config), self._environment, self._baselines, advice)
        self._run.save_report(page)
