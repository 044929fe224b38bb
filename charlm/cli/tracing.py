"""Output of a trace in each format: terminal, csv, json, npz, png, html."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.cli.delivery import Format, as_csv, as_json, deliver, refuse_binary_on_terminal
from charlm.cli.loading import pictures
from charlm.cli.unit_names import parse_unit
from charlm.errors import ConfigError
from charlm.inspection.export import to_npz, trace_table, trace_values
from charlm.inspection.guesses import guesses
from charlm.inspection.trace import Trace, TraceSelection, Unit, trace
from charlm.text.vocabulary import Ids

if TYPE_CHECKING:
    from rich.text import Text

    from charlm.cli.delivery import Drawing

_LIVELIEST = 5
"""Number of units shown when none is requested: those that vary most."""
_GUESSES = 5
"""Number of predictions that the page shows at each position."""
_MOST_NUMBERS, _MOST_DRAWN = 40_000_000, 5_000
"""Largest number of values in a page, and of characters in a picture."""


@dataclass(frozen=True)
class TraceRequest:
    """The signals and units to trace, and the title of the output."""

    selection: TraceSelection
    units: Sequence[str]
    """As LAYER:INDEX; empty: those that vary most, or all, depending on the format."""
    title: str


def write_trace(checkpoint: Checkpoint, ids: Ids, request: TraceRequest, format_: Format, output: Path | None) -> None:
    """Trace ids (T,) and write the result to standard output or to a file."""
    model = checkpoint.recurrent()
    names, layers = request.selection.check(model)
    places = [parse_unit("--unit", place, checkpoint.config.model) for place in request.units]
    refuse_binary_on_terminal(format_, output)
    _check_size(format_, len(ids), len(names) * len(layers) * checkpoint.config.model.hidden_size)
    traced = trace(model, ids, names, layers)
    chosen = [Unit(name, layer, index) for name in traced.signals for layer, index in places]
    deliver(_content(checkpoint, traced, chosen, format_, request.title), output)


def _check_size(format_: Format, characters: int, numbers: int) -> None:
    """Raise ConfigError for pages too large for a browser and pictures too wide to read."""
    if format_ is Format.html and characters * numbers > _MOST_NUMBERS:
        raise ConfigError(
            f"a page of {characters:,} characters × {numbers:,} values is too large for a browser. Use "
            f"--max-characters {max(_MOST_NUMBERS // numbers, 1)}, or fewer --signal and --layers."
        )
    if format_ is Format.png and characters > _MOST_DRAWN:
        raise ConfigError(f"a picture of {characters:,} characters is too wide. Use --max-characters {_MOST_DRAWN}.")


def _content(
    checkpoint: Checkpoint, traced: Trace, chosen: list[Unit], format_: Format, title: str
) -> "str | bytes | Drawing":
    """Return the trace in the format, for `deliver`."""
    vocabulary = checkpoint.vocabulary
    units = chosen or [unit for signal in traced.signals for unit in traced.units(signal)]
    symbols = [vocabulary.symbols[index] for index in traced.ids]
    match format_:
        case Format.csv:
            return as_csv(*trace_table(traced, units, vocabulary.marks(traced.ids)))
        case Format.json:
            return as_json(trace_values(traced, units, symbols))
        case Format.npz:
            return to_npz(traced, symbols)
        case Format.png:
            marks = vocabulary.marks(traced.ids)
            picture: bytes = pictures().trace_png(traced, chosen or _liveliest(traced), marks, checkpoint.config.model)
            return picture
        case Format.html:
            from charlm.pages.inspector import inspector_page

            expected = guesses(checkpoint.recurrent(), traced.ids, _GUESSES)
            return inspector_page(title, traced, expected, vocabulary, checkpoint.config.model)
        case _:
            return partial(_drawing, checkpoint, traced, chosen)


def _drawing(checkpoint: Checkpoint, traced: Trace, chosen: list[Unit], width: int) -> "Iterator[Text]":
    from charlm.cli.trace_view import trace_lines

    marks = "".join(checkpoint.vocabulary.marks(traced.ids))
    return trace_lines(traced, chosen or _liveliest(traced), marks, checkpoint.config.model, width)


def _liveliest(traced: Trace) -> list[Unit]:
    return [unit for signal in traced.signals for unit in traced.most_varying(signal, _LIVELIEST)]
