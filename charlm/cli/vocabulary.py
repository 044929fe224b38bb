"""``charlm vocabulary``: show symbols, ids, and the one-hot rows of a text."""

import unicodedata
from typing import TYPE_CHECKING, Annotated

import typer
from rich.cells import cell_len, set_cell_size

from charlm.cli.delivery import as_json
from charlm.cli.display import write
from charlm.cli.loading import CheckpointOption, unescape
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from charlm.text.vocabulary import Vocabulary

_WIDEST = 48
"""Largest vocabulary whose one-hot rows are shown in full; longer rows do not fit a terminal."""


def vocabulary(
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="Show the vocabulary of this text.", show_default=False),
    ] = None,
    checkpoint: CheckpointOption = None,
    text: Annotated[
        str | None,
        typer.Option("--text", help=r"Show the ids and one-hot rows of this text; \n and \t are escapes."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the vocabulary of a text or a model, and a text as one-hot rows."""
    symbols = _find(file, checkpoint)
    shown_text = None if text is None else unescape(text)
    ids = [] if shown_text is None else symbols.encode(shown_text).tolist()
    if json_:
        shown = {} if shown_text is None else {"text": shown_text, "ids": ids, "one_hot": symbols.one_hot(ids).tolist()}
        write(as_json(symbols.to_json() | shown))
        return
    write(_symbol_lines(symbols))
    if shown_text is not None:
        write("\n" + _one_hot_lines(symbols, ids))


def _find(file: str | None, checkpoint: str | None) -> "Vocabulary":
    if (file is None) == (checkpoint is None):
        raise ConfigError("give either --file FILE or --checkpoint PATH.")
    if file is None:
        from charlm.runs.lookup import open_checkpoint

        return open_checkpoint(checkpoint)[1].vocabulary
    from charlm.config.settings import DataConfig
    from charlm.text.corpus import read_vocabulary

    usual = DataConfig(path=("a text",))
    return read_vocabulary(usual.model_copy(update={"path": (file,)}))  # unvalidated: a file's name need not be UTF-8


def _symbol_lines(symbols: "Vocabulary") -> str:
    lines = [f"{len(symbols):,} symbols", "   id  symbol  code point"]
    for index, (symbol, mark) in enumerate(zip(symbols.symbols, symbols.marks(range(len(symbols))), strict=True)):
        if symbol in symbols.special:
            what = symbol
        elif symbols.unit == "byte":
            what = f"byte 0x{ord(symbol):02x}"
        else:
            what = f"U+{ord(symbol):04X} {unicodedata.name(symbol, '')}".rstrip()
        lines.append(f"{index:5}  {set_cell_size(mark, 6)}  {what}")
    return "\n".join(lines) + "\n"


def _one_hot_lines(symbols: "Vocabulary", ids: list[int]) -> str:
    """Return one one-hot row per character, with the one in the column of its id."""
    columns = symbols.marks(range(len(symbols)))
    if len(symbols) > _WIDEST:
        head, rows = [], [f"a one in column {index} of {len(symbols):,}" for index in ids]
    else:
        width = max(map(cell_len, columns))
        head = [" " * 14 + " ".join(set_cell_size(mark, width) for mark in columns).rstrip()]
        rows = [f"[{' '.join(str(digit).ljust(width) for digit in row).rstrip()}]" for row in symbols.one_hot(ids)]
    lines = [
        f"{' ' * (4 - cell_len(columns[index]))}{columns[index]} → {index:<5} {row}"
        for index, row in zip(ids, rows, strict=True)
    ]
    return "\n".join(head + lines) + "\n"
