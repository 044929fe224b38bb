"""Every character of a text by its surprise: as coloured text, or as rows with what was expected instead."""

import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.style import Style
from rich.text import Text

from charlm.cli.display import output_console, say, show, write
from charlm.cli.trace_view import rows_of
from charlm.evaluation import predictions
from charlm.inspection.scale import MIDDLE, SURPRISE
from charlm.models.language_model import LanguageModel
from charlm.text.batches import BatchSource
from charlm.text.decoding import REPLACEMENT
from charlm.text.vocabulary import Vocabulary

_GUESSES = 5
"""Likeliest symbols of each row."""
_MOST_BITS = 8.0
"""The surprise that has the full colour: one chance in 256."""
_ON_TERMINAL = 2000
"""Characters that a terminal shows."""


def show_surprisal(model: LanguageModel[Any], vocabulary: Vocabulary, streams: BatchSource) -> None:
    """Show every predicted character of a text in one lane; on a terminal its first two thousand, coloured."""
    if sys.stdout.isatty():
        for line in _coloured(model, vocabulary, streams):
            show(line)
        if streams.characters > _ON_TERMINAL:
            say(f"charlm: the first {_ON_TERMINAL:,} of {streams.characters:,} characters; send it to a file for all.")
    else:
        columns = [f"{name}_{number}" for number in range(1, _GUESSES + 1) for name in ("guess", "p")]
        write("\t".join(["position", "character", "bits", *columns]) + "\n")
        for row in _rows(model, vocabulary, streams):
            write(row)


def _rows(model: LanguageModel[Any], vocabulary: Vocabulary, streams: BatchSource) -> Iterator[str]:
    """Yield a line for each predicted character: where it stands, its mark, its surprise, and the likeliest symbols."""
    marks = [
        _told_apart(*pair) for pair in zip(vocabulary.symbols, vocabulary.marks(range(len(vocabulary))), strict=True)
    ]
    position = 0
    for window, log_p in predictions(model, streams):
        likeliest = np.argsort(-log_p[0], axis=-1, kind="stable")[:, :_GUESSES]  # (T, N)
        for came, scores, best in zip(window.targets[0].tolist(), log_p[0], likeliest, strict=True):
            position += 1
            guesses = [field for index in best for field in (marks[index], f"{np.exp(scores[index]):.4f}")]
            missing = [""] * 2 * (_GUESSES - len(best))
            yield "\t".join([str(position), marks[came], f"{-scores[came] / np.log(2):.4f}", *guesses, *missing]) + "\n"


def _told_apart(symbol: str, mark: str) -> str:
    """Return a symbol's mark; of a byte that is no character by itself, its number."""
    return f"\\x{ord(symbol):02x}" if mark == REPLACEMENT and len(symbol) == 1 and symbol <= "\xff" else mark


def _coloured(model: LanguageModel[Any], vocabulary: Vocabulary, streams: BatchSource) -> Iterator[Text]:
    """Yield a legend and the lines of the text, each character on the colour of its surprise."""
    marks, bits = [], []
    for window, log_p in predictions(model, streams):
        came = window.targets[0].astype(np.intp)
        marks += vocabulary.marks(came)
        bits += (-log_p[0, np.arange(len(came)), came] / np.log(2)).tolist()
        if len(marks) >= _ON_TERMINAL:
            break
    legend = Text("coloured by surprise:  0 bits ")
    for step in range(9):
        legend.append(" ", style=_style(step / 8 * _MOST_BITS))
    yield legend.append(f" {_MOST_BITS:g} or more\n")
    text = "".join(marks[:_ON_TERMINAL])
    for row in rows_of(text, output_console().width):
        line = Text()
        for character, surprise in zip(text[row], bits[row], strict=True):
            line.append(character, style=_style(surprise))
        yield line


def _style(bits: float) -> Style:
    middle, towards = np.array(MIDDLE), np.array(SURPRISE)
    full = min(bits / _MOST_BITS, 1.0) if math.isfinite(bits) else 1.0
    red, green, blue = (middle + (towards - middle) * full).round().astype(int)
    return Style(color="#000000", bgcolor=f"#{red:02x}{green:02x}{blue:02x}")
