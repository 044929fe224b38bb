"""Sampling from the distribution of the next character.

A model returns logits; softmax with a temperature turns them into probabilities, top-k and top-p remove
unlikely symbols, and the next symbol is drawn at random:

    p = softmax(logits / temperature)

Low temperatures favor likely symbols, high ones make the distribution uniform; temperature 0 is argmax. Everything
is computed on log-probabilities, so that no temperature overflows.

Letters: B texts in parallel, V symbols, N characters of a prompt.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charlm.errors import ConfigError
from charlm.models.language_model import LanguageModel, Logits, State, Symbols
from charlm.models.threads import computing
from charlm.text.vocabulary import Ids, Vocabulary

_PROMPT_PIECE = 256
"""Characters of a prompt that are read at a time."""
_MOST_ROWS = 16
"""Characters of each text that are sampled at a time."""


@dataclass(frozen=True)
class SamplingOptions:
    """How the next character is sampled; raises ConfigError for values out of range."""

    temperature: float = 0.8
    """Divisor of the logits; 0 is argmax."""
    top_k: int | None = None
    """Sample from the k likeliest symbols only."""
    top_p: float | None = None
    """Sample from the smallest set of likeliest symbols with total probability p (Holtzman et al. 2020)."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ConfigError(f"must be 0 (argmax) or a positive number, got {self.temperature}.", field="temperature")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"must be at least 1, got {self.top_k}.", field="top_k")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(f"must be above 0 and at most 1, got {self.top_p}.", field="top_p")


def sample(
    model: LanguageModel[State],
    vocabulary: Vocabulary,
    prompt: str = "",
    *,
    options: SamplingOptions | None = None,
    seed: int = 0,
    num_samples: int = 1,
) -> Iterator[Symbols]:
    """Return an infinite iterator over the next ids (B,) of ``num_samples`` texts that continue ``prompt``.

    Where the vocabulary has ``<end>``, the iterator stops when all texts have ended; those that end earlier are padded
    with ``<end>``. An empty prompt is read as if a newline preceded the text. Each text has its own random stream, so
    it does not depend on how many are sampled in parallel (up to rounding), and a shorter one is a prefix of a longer
    one. The prompt is checked before the iterator is returned: raises UnknownCharactersError, and ConfigError when
    ``options`` does not fit the vocabulary.
    """
    options = options or SamplingOptions()
    if options.top_k is not None and options.top_k > len(vocabulary):
        raise ConfigError(
            f"must be at most {len(vocabulary):,}, the size of the model's vocabulary, got {options.top_k}.",
            field="top_k",
        )
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(num_samples)]
    rows = _write(model, context(vocabulary, prompt), options, streams, never_written(vocabulary))
    return rows if vocabulary.end is None else _to_their_ends(rows, vocabulary.end, num_samples)


def never_written(vocabulary: Vocabulary) -> NDArray[np.intp]:
    """Return the ids of symbols that are never sampled: all special ones except ``<end>``."""
    return np.array(sorted({*vocabulary.special.values()} - {vocabulary.end}), np.intp)


def context(vocabulary: Vocabulary, prompt: str) -> Ids:
    """Return the ids that are read before sampling: the prompt, preceded by ``<end>`` for separate items.

    For an empty prompt it is a newline, or the first symbol if there is no newline. Raises UnknownCharactersError.
    """
    ids = vocabulary.encode_item(prompt)
    newline = vocabulary.symbols.index("\n") if "\n" in vocabulary.symbols else 0
    return ids if len(ids) else np.array([newline], vocabulary.dtype)


def _to_their_ends(rows: Iterator[Symbols], end: int, texts: int) -> Iterator[Symbols]:
    """Yield rows (B,) until every text has ended, with ``<end>`` for those that have."""
    ended = np.zeros(texts, np.bool_)
    for ids in rows:
        yield np.where(ended, end, ids)
        ended |= ids == end
        if ended.all():
            return


def _write(
    model: LanguageModel[State],
    prompt: Ids,
    options: SamplingOptions,
    streams: list[np.random.Generator],
    forbidden: NDArray[np.intp],
) -> Iterator[Symbols]:
    texts, rows = len(streams), 1
    logits, state = after(model, prompt, texts)
    while True:
        with computing(texts):
            piece = []
            for _ in range(rows):
                piece.append(pick(log_probabilities(logits, options, forbidden), streams))
                logits, state = model.step(piece[-1], state)
        yield from piece
        rows = min(2 * rows, _MOST_ROWS)  # show the first characters immediately, later ones in pieces


def after(model: LanguageModel[State], prompt: Ids, texts: int = 1) -> tuple[Logits, State]:
    """Read the same prompt (N,) in ``texts`` texts; return logits (B, V) of the next symbol, and the state."""
    with computing(texts):
        logits, state = model.step(np.repeat(prompt[:1], texts), model.start(texts))
        for start in range(1, len(prompt), _PROMPT_PIECE):
            piece = np.tile(prompt[start : start + _PROMPT_PIECE], (texts, 1))  # (B, N)
            all_logits, state = model.read(piece, state)
            logits = all_logits[:, -1]
        return logits, state


def log_probabilities(
    logits: NDArray[Any], options: SamplingOptions, forbidden: NDArray[np.intp] | None = None
) -> NDArray[np.float64]:
    """Return log p (B, V) of the next symbol; −∞ for symbols excluded by ``options`` or ``forbidden``."""
    scores = logits.astype(np.float64)  # (B, V)
    if forbidden is not None and forbidden.size:
        scores[:, forbidden] = -np.inf
    scores -= scores.max(axis=-1, keepdims=True)  # first, so that the division can only overflow to −∞
    if options.temperature == 0:
        return _kept(scores, scores.argmax(axis=-1, keepdims=True))
    with np.errstate(over="ignore"):
        scores /= options.temperature
    scores = _normalized(scores)
    if options.top_k is not None:
        scores = _normalized(_kept(scores, _ranked(scores)[:, : options.top_k]))
    if options.top_p is not None:
        ranked = _ranked(scores)
        falling = np.take_along_axis(scores, ranked, axis=-1)
        likelier = np.exp(falling).cumsum(axis=-1) - np.exp(falling)  # total probability of the likelier symbols
        np.put_along_axis(scores, ranked, np.where(likelier < options.top_p, falling, -np.inf), axis=-1)
        scores = _normalized(scores)
    return scores


def next_probabilities(
    model: LanguageModel[State], vocabulary: Vocabulary, prompt: str, options: SamplingOptions
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return p (V,) of the next symbol after the prompt: the model's, and the one that ``options`` samples from."""
    logits, _ = after(model, context(vocabulary, prompt))
    plain = log_probabilities(logits, SamplingOptions(temperature=1.0))
    sampled = log_probabilities(logits, options, never_written(vocabulary))
    return np.exp(plain[0]), np.exp(sampled[0])


def pick(log_p: NDArray[np.float64], streams: list[np.random.Generator]) -> NDArray[np.intp]:
    """Return one random id per row of log p (B, V), (B,), each row drawn from its own random stream."""
    reached = np.exp(log_p).cumsum(axis=-1)
    total = reached[:, -1]
    draws = np.array([stream.random() for stream in streams]) * total
    # Rounding may lift a draw to the total, which no cumulative sum exceeds.
    draws = np.minimum(draws, np.nextafter(total, 0))
    picked: NDArray[np.intp] = (reached > draws[:, None]).argmax(axis=-1)
    return picked


def until(pieces: Iterable[str], stop: str | None) -> Iterator[str]:
    """Yield the text before the first ``stop``, each piece as early as possible; None yields all."""
    if not stop:
        yield from pieces
        return
    held = ""
    for piece in pieces:
        held += piece
        before, found, _ = held.partition(stop)
        if found:
            yield before
            return
        safe = max(len(held) - len(stop) + 1, 0)  # the rest may be the beginning of stop
        yield held[:safe]
        held = held[safe:]
    yield held


def _ranked(scores: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the symbols (B, V) of each row, likeliest first; ties in order of id."""
    return np.argsort(-scores, axis=-1, kind="stable")


def _kept(scores: NDArray[np.float64], places: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return ``scores`` with −∞ everywhere except in ``places``."""
    kept = np.full_like(scores, -np.inf)
    np.put_along_axis(kept, places, np.take_along_axis(scores, places, axis=-1), axis=-1)
    return kept


def _normalized(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``scores`` normalized to log-probabilities."""
    shifted: NDArray[np.float64] = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    return shifted
