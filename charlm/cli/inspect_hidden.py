"""``charlm inspect-hidden``: watch hidden units, cell states and gates over time."""

import re
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.display import output_console, say, show, write_bytes
from charlm.cli.opening import (
    CheckpointOption,
    blas_threads,
    open_checkpoint,
    read_file,
    read_split,
    strangers_note,
    unescape,
)
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from rich.text import Text

    from charlm.checkpoint import Checkpoint
    from charlm.inspection.trace import Trace, Unit
    from charlm.text.vocabulary import Ids

_LIVELIEST = 5
"""Units shown on a terminal when none is asked for."""
_SHOWN = 500
"""Characters of the validation text shown on a terminal when no text is given."""
_FILE_WIDTH = 100
"""Columns of the terminal's drawing when it goes into a file."""


class Format(StrEnum):
    """What a trace is written as."""

    terminal = "terminal"
    csv = "csv"
    json = "json"
    npz = "npz"


def inspect_hidden(
    checkpoint: CheckpointOption = None,
    text: Annotated[
        str | None, typer.Option(help=r"Text to read; \n and \t are understood.", show_default=False)
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Read the text from a file, or from standard input (-)."),
    ] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER:INDEX", help="A unit to watch, counted from 0; repeatable.", show_default=False),
    ] = None,
    signal: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="hidden, or cell, input, forget, output, candidate (lstm), reset, update, candidate (gru); "
            "repeatable. Left out: hidden, and all of them for npz.",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.terminal,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write here instead of standard output.")] = None,
    max_characters: Annotated[
        int | None, typer.Option(min=1, help="Read no more than this.", show_default=False)
    ] = None,
) -> None:
    """Trace hidden units while the model reads; without a text, its own validation text.

    Without --unit the terminal shows the five units that vary most, csv and json hold all.
    """
    from charlm.inspection.trace import trace

    if text is not None and file is not None:
        raise ConfigError("give the text once: either --text or --file.")
    _, opened = open_checkpoint(checkpoint)
    model = opened.model()
    given = text is not None or file is not None
    limit = max_characters or (None if given or format_ is not Format.terminal else _SHOWN)
    ids = _read(opened, text, file)[:limit]
    names = signal or (None if format_ is Format.npz else ["hidden"])
    with blas_threads(model, 1):
        traced = trace(model, ids, names)
    chosen = [_find(traced, name, place) for name in traced.signals for place in unit or ()]
    _write(opened, traced, chosen, format_, output)


def _read(checkpoint: "Checkpoint", text: str | None, file: str | None) -> "Ids":
    if file is not None:
        return read_file(file, checkpoint)
    if text is None:
        return read_split(checkpoint, "validation")
    ids = checkpoint.vocabulary.encode(unescape(text))
    if note := strangers_note(checkpoint.vocabulary, unescape(text)):
        say(f"charlm: {note}")
    return ids


def _find(trace: "Trace", signal: str, place: str) -> "Unit":
    """Return the unit that ``LAYER:INDEX`` means; raises ConfigError when there is none."""
    from charlm.inspection.trace import Unit

    _, layers, size = trace.signals[signal].shape
    match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", place)
    if match is None or int(match[1]) >= layers or int(match[2]) >= size:
        raise ConfigError(
            f"--unit {place}: expected LAYER:INDEX; this model has layers 0 to {layers - 1} "
            f"and units 0 to {size - 1} in each."
        )
    return Unit(signal, int(match[1]), int(match[2]))


def _write(
    checkpoint: "Checkpoint", trace: "Trace", chosen: "list[Unit]", format_: Format, output: Path | None
) -> None:
    from charlm.whole_file import write_whole_file

    if format_ is Format.npz and output is None and sys.stdout.isatty():
        raise ConfigError("npz is no text for a terminal; name a file with --output FILE.")
    if format_ is Format.terminal and output is None:
        for line in _drawing(checkpoint, trace, chosen, output_console().width):
            show(line)
        return
    content = _content(checkpoint, trace, chosen, format_)
    if output is None:
        write_bytes(content)
    else:
        write_whole_file(output, content)


def _content(checkpoint: "Checkpoint", trace: "Trace", chosen: "list[Unit]", format_: Format) -> bytes:
    """Return the trace as a file's bytes."""
    from charlm.inspection.export import to_csv, to_json, to_npz

    vocabulary = checkpoint.vocabulary
    units = chosen or [unit for signal in trace.signals for unit in trace.units(signal)]
    symbols = [vocabulary.symbols[index] for index in trace.ids]
    match format_:
        case Format.csv:
            return to_csv(trace, units, vocabulary.marks(trace.ids)).encode()
        case Format.json:
            return to_json(trace, units, symbols).encode()
        case Format.npz:
            return to_npz(trace, symbols)
        case Format.terminal:
            drawing = _drawing(checkpoint, trace, chosen, _FILE_WIDTH)
            return "".join(f"{line.plain}\n" for line in drawing).encode()


def _drawing(checkpoint: "Checkpoint", trace: "Trace", chosen: "list[Unit]", width: int) -> "Iterator[Text]":
    from charlm.cli.activity import activity

    model = checkpoint.config.model
    units = chosen or [unit for signal in trace.signals for unit in trace.most_varying(signal, _LIVELIEST)]
    squashed = not (model.kind == "rnn" and model.nonlinearity == "relu")
    marks = "".join(checkpoint.vocabulary.marks(trace.ids))
    return activity(trace, units, marks, squashed=squashed, width=width)
