"""Surprisal of each character of a text: as coloured text, or as rows with the likeliest predictions."""

import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.style import Style
from rich.text import Text

from charlm.cli.display import output_console, say, show, write
from charlm.cli.trace_view import rows_of
from charlm.inspection.guesses import scored_pieces
from charlm.inspection.scale import MIDDLE, SURPRISE
from charlm.models.language_model import LanguageModel
from charlm.text.batches import BatchSource
from charlm.text.decoding import REPLACEMENT
from charlm.text.vocabulary import Vocabulary

_GUESSES = 5
"""Number of predictions in each row."""
_MOST_BITS = 8.0
"""The surprisal, in bits, that has the full colour: a probability of 1/256."""
_ON_TERMINAL = 2000
"""Number of characters shown on a terminal."""


def show_surprisal(model: LanguageModel[Any], vocabulary: Vocabulary, streams: BatchSource) -> None:
    """Show each predicted character of a text read in one lane; on a terminal the first two thousand, coloured."""
    if sys.stdout.isatty():
        for line in _coloured(model, vocabulary, streams):
            show(line)
        if streams.characters > _ON_TERMINAL:
            shown = f"{_ON_TERMINAL:,} of {streams.characters:,} characters"
            say(f"charlm: showing the first {shown}. Redirect the output to a file for all.")
    else:
        columns = [f"{name}_{number}" for number in range(1, _GUESSES + 1) for name in ("guess", "p")]
        write("\t".join(["position", "character", "bits", *columns]) + "\n")
        for row in _rows(model, vocabulary, streams):
            write(row)


def _rows(model: LanguageModel[Any], vocabulary: Vocabulary, streams: BatchSource) -> Iterator[str]:
    """Yield a row for each predicted character: its position, mark and surprisal, and the likeliest predictions."""
    marks = [
        _distinct(*pair) for pair in zip(vocabulary.symbols, vocabulary.marks(range(len(vocabulary))), strict=True)
    ]
    position = 0
    for piece in scored_pieces(model, streams, _GUESSES):
        columns = (piece.targets.tolist(), piece.surprisal, piece.symbols.tolist(), piece.probabilities)
        for target, bits, best, p in zip(*columns, strict=True):
            position += 1
            guesses = [cell for index, each in zip(best, p, strict=True) for cell in (marks[index], f"{each:.4f}")]
            missing = [""] * 2 * (_GUESSES - len(best))
            yield "\t".join([str(position), marks[target], f"{bits:.4f}", *guesses, *missing]) + "\n"


def _distinct(symbol: str, mark: str) -> str:
    """Return a symbol's mark, or the hexadecimal value of a byte that is not a character by itself."""
    return f"\\x{ord(symbol):02x}" if mark == REPLACEMENT and len(symbol) == 1 and symbol <= "\xff" else mark


def _coloured(model: LanguageModel[Any], vocabulary: Vocabulary, streams: BatchSource) -> Iterator[Text]:
    """Yield a legend and the lines of the text, each character with its surprisal as the background colour."""
    marks, bits = [], []
    for piece in scored_pieces(model, streams, 0):
        marks += vocabulary.marks(piece.targets)
        bits += piece.surprisal.tolist()
        if len(marks) >= _ON_TERMINAL:
            break
    legend = Text("coloured by surprisal:  0 bits ")
    for step in range(9):
        legend.append(" ", style=_style(step / 8 * _MOST_BITS))
    yield legend.append(f" {_MOST_BITS:g} or more\n")
    text = "".join(marks[:_ON_TERMINAL])
    for row in rows_of(text, output_console().width):
        line = Text()
        for character, surprisal in zip(text[row], bits[row], strict=True):
            line.append(character, style=_style(surprisal))
        yield line


def _style(bits: float) -> Style:
    middle, towards = np.array(MIDDLE), np.array(SURPRISE)
    full = min(bits / _MOST_BITS, 1.0) if math.isfinite(bits) else 1.0
    red, green, blue = (middle + (towards - middle) * full).round().astype(int)
    return Style(color="#000000", bgcolor=f"#{red:02x}{green:02x}{blue:02x}")
