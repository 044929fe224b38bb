"""A trace, written as a drawing on the terminal, a table, an archive, a picture or a page."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.cli.display import output_console, show, write_bytes
from charlm.cli.loading import pictures
from charlm.cli.unit_names import parse_unit
from charlm.errors import ConfigError
from charlm.inspection.export import to_csv, to_json, to_npz
from charlm.inspection.guesses import guesses
from charlm.inspection.trace import Trace, TraceSelection, Unit, trace
from charlm.text.vocabulary import Ids
from charlm.whole_file import write_whole_file

if TYPE_CHECKING:
    from rich.text import Text

_LIVELIEST = 5
"""Units shown when none is asked for."""
_FILE_WIDTH = 100
"""Columns of the terminal's drawing when it goes into a file."""
_GUESSES = 5
"""Next characters that the page shows at each place."""
_MOST_NUMBERS, _MOST_DRAWN = 40_000_000, 5_000
"""Numbers that a page can hold, and characters that a picture can."""


@dataclass(frozen=True)
class TraceRequest:
    """What is to be shown of a model, and how it is called."""

    watched: TraceSelection
    units: Sequence[str]
    """As LAYER:INDEX; none: the liveliest, or all."""
    title: str


def write_trace(checkpoint: Checkpoint, ids: Ids, wanted: TraceRequest, format_: str, output: Path | None) -> None:
    """Trace ids (T,) and write what is wanted, on standard output or into a file."""
    model = checkpoint.recurrent()
    names, layers = wanted.watched.check(model)
    places = [parse_unit("--unit", place, checkpoint.config.model) for place in wanted.units]
    if format_ in ("npz", "png") and output is None and sys.stdout.isatty():
        raise ConfigError(f"{format_} is no text for a terminal; name a file with --output FILE.")
    _check_size(format_, len(ids), len(names) * len(layers) * checkpoint.config.model.hidden_size)
    traced = trace(model, ids, names, layers)
    chosen = [Unit(name, layer, index) for name in traced.signals for layer, index in places]
    if format_ == "terminal" and output is None:
        for line in _drawing(checkpoint, traced, chosen, output_console().width):
            show(line)
        return
    content = _content(checkpoint, traced, chosen, format_, wanted.title)
    if output is None:
        write_bytes(content)
    else:
        write_whole_file(output, content)


def _check_size(format_: str, characters: int, numbers: int) -> None:
    """Raise ConfigError for what no browser could open and nobody could see."""
    if format_ == "html" and characters * numbers > _MOST_NUMBERS:
        raise ConfigError(
            f"a page of {characters:,} characters × {numbers:,} numbers is more than a browser should hold. Use "
            f"--max-characters {max(_MOST_NUMBERS // numbers, 1)}, or fewer --signal and --layers."
        )
    if format_ == "png" and characters > _MOST_DRAWN:
        raise ConfigError(f"a picture of {characters:,} characters shows nothing. Use --max-characters {_MOST_DRAWN}.")


def _content(checkpoint: Checkpoint, traced: Trace, chosen: list[Unit], format_: str, title: str) -> bytes:
    """Return the trace as a file's bytes."""
    vocabulary = checkpoint.vocabulary
    units = chosen or [unit for signal in traced.signals for unit in traced.units(signal)]
    symbols = [vocabulary.symbols[index] for index in traced.ids]
    match format_:
        case "csv":
            return to_csv(traced, units, vocabulary.marks(traced.ids)).encode()
        case "json":
            return to_json(traced, units, symbols).encode()
        case "npz":
            return to_npz(traced, symbols)
        case "png":
            marks = vocabulary.marks(traced.ids)
            picture: bytes = pictures().trace_png(traced, chosen or _liveliest(traced), marks, checkpoint.config.model)
            return picture
        case "html":
            from charlm.pages.inspector import inspector_page

            expected = guesses(checkpoint.recurrent(), traced.ids, _GUESSES)
            return inspector_page(title, traced, expected, vocabulary, checkpoint.config.model).encode()
        case _:
            drawing = _drawing(checkpoint, traced, chosen, _FILE_WIDTH)
            return "".join(f"{line.plain}\n" for line in drawing).encode()


def _drawing(checkpoint: Checkpoint, traced: Trace, chosen: list[Unit], width: int) -> "Iterator[Text]":
    from charlm.cli.trace_view import activity

    marks = "".join(checkpoint.vocabulary.marks(traced.ids))
    return activity(traced, chosen or _liveliest(traced), marks, checkpoint.config.model, width)


def _liveliest(traced: Trace) -> list[Unit]:
    return [unit for signal in traced.signals for unit in traced.most_varying(signal, _LIVELIEST)]
