"""``charlm inspect-hidden``: trace hidden units, cell states and gates over time, and find units by pattern."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.architectures import ARCHITECTURES
from charlm.cli.delivery import Format
from charlm.cli.loading import (
    LARGEST,
    CheckpointOption,
    CorpusOption,
    check_corpus_is_read,
    read_file,
    read_text,
    read_validation,
)
from charlm.cli.loading import unescape as unescaped
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from charlm.checkpoint.checkpoint import Checkpoint
    from charlm.text.vocabulary import Ids

_SIGNALS = ", ".join(
    f"{', '.join(row.signal_names[1:])} ({row.kind})" for row in ARCHITECTURES.values() if len(row.signals) > 1
)
"""The signals of each kind besides the hidden state, which all of them have."""
_READ = {Format.terminal: 500, Format.png: 500, Format.html: 2000}
"""Number of characters of the validation text that are read when no text is given, by format."""
_SEARCHED = 20_000
"""Number of characters that are searched for patterns when no text is given."""


def inspect_hidden(
    checkpoint: CheckpointOption = None,
    text: Annotated[str | None, typer.Option(help=r"Text to read; \n and \t are escapes.", show_default=False)] = None,
    file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Read the text from a file, or from standard input (-)."),
    ] = None,
    corpus: CorpusOption = None,
    unit: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER:INDEX", help="A unit to trace, counted from 0; repeatable.", show_default=False),
    ] = None,
    signal: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"hidden, or {_SIGNALS}, or all; repeatable. Default: hidden; all for npz and --find.",
            show_default=False,
        ),
    ] = None,
    layers: Annotated[
        list[int] | None,
        typer.Option(min=0, metavar="LAYER", help="Trace this layer only, from 0; repeatable.", show_default=False),
    ] = None,
    find: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Rank all units by how strongly they correlate with a pattern of the text: quotes, parentheses, "
            "brackets, position-in-line, since-newline, word-start, position-in-word, upper-case, digit, white-space, "
            "indentation, all, or a regular expression.",
            show_default=False,
        ),
    ] = None,
    ablate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER:INDEX",
            help="Hold this unit at its mean and score the text again; with --find, inside and outside the pattern; "
            "repeatable.",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.terminal,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write to this file instead of standard output.")
    ] = None,
    max_characters: Annotated[
        int | None, typer.Option(min=1, max=LARGEST, help="Read at most this many characters.", show_default=False)
    ] = None,
) -> None:
    """Trace hidden units while the model reads a text, by default its own validation text.

    Without --unit, the terminal and png formats show the five units that vary most; the other formats contain all.
    """
    from charlm.cli import tracing, unit_search
    from charlm.inspection.trace import TraceSelection
    from charlm.runs.lookup import open_checkpoint

    if text is not None and file is not None:
        raise ConfigError("--text and --file exclude each other. Give one of them.")
    if unit and (find is not None or ablate is not None):
        raise ConfigError("--unit excludes --find and --ablate. Leave --unit out, or leave the others out.")
    if ablate is not None and (signal is not None or layers is not None):
        raise ConfigError("--ablate excludes --signal and --layers, because it holds hidden units. Leave them out.")
    given = text is not None or file is not None
    check_corpus_is_read(corpus, read=not given, otherwise="without --text and --file")
    path, opened = open_checkpoint(checkpoint)
    searching = find is not None or ablate is not None
    usual = _SEARCHED if searching else _READ.get(format_)
    ids = _read(opened, text, file, corpus)[: max_characters or (None if given else usual)]
    if searching:
        selection = TraceSelection(_signals(signal, everything=True), layers)
        unit_search.search(opened, ids, unit_search.Search(find, ablate or [], selection), format_, output)
    else:
        selection = TraceSelection(_signals(signal, everything=format_ is Format.npz), layers)
        tracing.write_trace(opened, ids, tracing.TraceRequest(selection, unit or [], str(path)), format_, output)


def _signals(signal: list[str] | None, *, everything: bool) -> list[str] | None:
    """Return the requested signal names; None means all signals of the cell."""
    if signal is None:
        return None if everything else ["hidden"]
    return None if "all" in signal else list(dict.fromkeys(signal))


def _read(checkpoint: "Checkpoint", text: str | None, file: str | None, corpus: list[str] | None) -> "Ids":
    if file is not None:
        return read_file(file, checkpoint.config.data, checkpoint.vocabulary)
    if text is None:
        return read_validation(checkpoint, corpus)
    return read_text(unescaped(text), checkpoint.vocabulary)
