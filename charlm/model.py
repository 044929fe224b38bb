"""The Python interface of a trained model: generate, score, predict and trace.

Computes with NumPy and does not import torch.
"""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.config.settings import Config
from charlm.errors import ConfigError, TextError
from charlm.evaluation import Score, evaluate
from charlm.generation import Writer
from charlm.inspection.trace import Trace, Unit, trace
from charlm.pages.coloured_text import coloured_text
from charlm.sampling import SamplingOptions, next_probabilities, sample
from charlm.text.encoding import encode_text
from charlm.text.streams import evaluation_streams
from charlm.text.vocabulary import Vocabulary

_SEED_BITS = 32


class Model:
    """A trained model; `charlm.load` and `Run.model` return one."""

    def __init__(self, checkpoint: Checkpoint, path: Path | None = None) -> None:
        self.checkpoint = checkpoint
        """The checkpoint: weights, settings, vocabulary and training progress."""
        self.path = path
        """The file that the model was read from; None where it came from memory."""
        self._model = checkpoint.model()

    def __repr__(self) -> str:
        """Return the model's path and description."""
        return f"<charlm.Model {self.path or ''} ({self.config.model.description})>"

    @property
    def config(self) -> Config:
        """The settings that the model was trained with."""
        return self.checkpoint.config

    @property
    def vocabulary(self) -> Vocabulary:
        """The symbols that the model knows, with `encode`, `decode`, `one_hot` and `unknown_characters`."""
        return self.checkpoint.vocabulary

    def generate(
        self,
        prompt: str = "",
        length: int = 500,
        *,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: str | None = None,
    ) -> str:
        """Return the prompt and up to ``length`` characters that follow it: what ``charlm sample`` prints.

        The same ``seed`` gives the same text; without a seed the text is random. The text ends before ``stop``, and
        at the end of an item where the model was trained on separate items. ``temperature`` 0 always takes the
        likeliest character; ``top_k`` and ``top_p`` restrict the choice to the likeliest. Characters of the prompt
        outside the vocabulary, which ``vocabulary.unknown_characters`` lists, are read as ``<unk>``; where the
        vocabulary has none, they raise UnknownCharactersError. Raises ConfigError for options out of range.
        """
        return "".join(
            self.stream(prompt, length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, stop=stop)
        )

    def stream(
        self,
        prompt: str = "",
        length: int = 500,
        *,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: str | None = None,
    ) -> Iterator[str]:
        """Return an iterator over the text of `generate`, in pieces as they are sampled; raises like `generate`."""
        if length < 0:
            raise ConfigError(f"must be 0 or more, got {length}.", field="length")
        if seed is not None and seed < 0:
            raise ConfigError(f"must be 0 or more, got {seed}.", field="seed")
        rows = sample(
            self._model,
            self.vocabulary,
            prompt,
            options=SamplingOptions(temperature, top_k, top_p),
            seed=secrets.randbits(_SEED_BITS) if seed is None else seed,
        )
        return Writer(self.checkpoint, prompt, stop).pieces(int(row[0]) for row in islice(rows, length))

    def score(self, text: str, *, skip_unknown: bool = False) -> Score:
        """Return the score of the model's predictions of a text, read in one lane from a zero state.

        Scoring N characters makes N − 1 predictions. Characters outside the vocabulary are read as ``<unk>`` where it
        has that symbol, and otherwise raise UnknownCharactersError; with ``skip_unknown`` they are removed from the
        text before it is read, and every figure is that of the rest. Raises TextError for a text of fewer than two
        characters.
        """
        ids, unknown = encode_text(text, self.config.data, self.vocabulary, skip_unknown=skip_unknown)
        if len(ids) < 2:
            raise TextError("one character leaves nothing to predict; scoring needs two or more.", field="text")
        score = evaluate(self._model, self.vocabulary, evaluation_streams(ids, 1, self.vocabulary.end))
        return replace(score, skipped=sum(each.count for each in unknown)) if skip_unknown else score

    def next_characters(self, prompt: str, count: int = 5) -> list[tuple[str, float]]:
        """Return the ``count`` likeliest characters after ``prompt`` and the probability of each, likeliest first.

        Unknown characters are treated as in `generate`. Raises ConfigError for a negative count.
        """
        if count < 0:
            raise ConfigError(f"must be 0 or more, got {count}.", field="count")
        p, _ = next_probabilities(self._model, self.vocabulary, prompt, SamplingOptions(temperature=1.0))
        best = np.argsort(-p, kind="stable")[:count].tolist()
        return [(self.vocabulary.symbols[index], float(p[index])) for index in best]

    def trace(
        self, text: str, signals: Sequence[str] | None = None, layers: Sequence[int] | None = None
    ) -> "ModelTrace":
        """Return the signals of every unit after each character of a text.

        ``signals`` and ``layers`` choose some of them; None means all. Raises ConfigError for a Markov model, which has
        no hidden state, and for a signal or layer that the model does not have; UnknownCharactersError; and TextError
        for an empty text.
        """
        traced = trace(self.checkpoint.recurrent(), self.vocabulary.encode_item(text), signals, layers)
        return ModelTrace(traced, self.vocabulary.marks(traced.ids), self.config)


@dataclass(frozen=True)
class ModelTrace:
    """The signals of all units over a text; a notebook shows the text coloured by the unit that varies most."""

    trace: Trace
    """The arrays of signals."""
    characters: list[str]
    """One printable character for each character read, (T,)."""
    config: Config
    """The settings of the model."""

    def __repr__(self) -> str:
        """Return how much was read and which signals there are."""
        return f"<charlm.ModelTrace of {len(self):,} characters: {', '.join(self.signals)}>"

    def __getitem__(self, signal: str) -> NDArray[np.float32]:
        """Return a signal, such as ``hidden``, as an array [time, layer, unit]; raises KeyError."""
        return self.trace.signals[signal]

    def __len__(self) -> int:
        """Return the number of characters read."""
        return len(self.trace.ids)

    @property
    def signals(self) -> tuple[str, ...]:
        """The names of the signals."""
        return tuple(self.trace.signals)

    def most_varying(self, signal: str, count: int = 5) -> list[Unit]:
        """Return the ``count`` units whose signal varies most over the text, in falling order of variance."""
        return self.trace.most_varying(signal, count)

    def _repr_html_(self) -> str:
        """Return the text coloured by the unit that varies most."""
        unit = self.trace.most_varying(self.signals[0], 1)[0]
        return coloured_text(self.trace, unit, self.characters, self.config.model)
