"""Text that samples share with the training text: marked in the samples, as a sentence, and as a table."""

from itertools import cycle

import numpy as np
from rich.table import Table
from rich.text import Text

from charlm.cli.bars import bar
from charlm.memorization import Memorization
from charlm.novelty import Novelty
from charlm.text.vocabulary import Ids

_MARKED = 16
"""Length of the shortest stretch that is marked; shorter ones are common in any text of the language."""


def sentence(memorization: Memorization) -> str:
    """Return a sentence that says how much was copied."""
    vocabulary = memorization.vocabulary
    if vocabulary.end is not None:
        ended, copied = memorization.ended_items, memorization.copied_items
        cut = len(memorization.samples) - ended
        unended = f"; {cut} did not end" if cut else ""
        return f"{copied} of {ended} appear verbatim in the training text; {ended - copied} are new{unended}."
    length, text = memorization.longest
    if length == 0:
        return "No part of the samples appears in the training text."
    return f"The longest stretch that appears verbatim in the training text has {length:,} {vocabulary.unit}s: {text!r}"


def marked_texts(memorization: Memorization) -> list[str]:
    """Return each sample with its long verbatim stretches enclosed in ⟦ and ⟧."""
    return [
        _marked(memorization, ids, found) for ids, found in zip(memorization.samples, memorization.found, strict=True)
    ]


def new_shares_table(memorization: Memorization) -> Table:
    """Return the share of new n-grams for each n, with bars."""
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_column(no_wrap=True)
    meaning = Text("share of n-grams that are not in the training text")
    table.add_row(Text("n", style="bold"), Text("new", style="bold"), meaning)
    for n, share in memorization.new_shares.items():
        table.add_row(Text(str(n)), Text(f"{share:.1%}"), Text(bar(share)))
    return table


def _marked(memorization: Memorization, ids: Ids, found: Novelty) -> str:
    vocabulary = memorization.vocabulary
    inside = found.covered(_MARKED) | memorization.is_copied_item(ids, found)
    own = slice(None) if vocabulary.end is None else slice(1, -1 if ids[-1] == vocabulary.end else None)
    ids, inside = ids[own], inside[own]
    edges = np.flatnonzero(np.diff(inside.astype(np.int8), prepend=0, append=0)).tolist()  # starts and ends in turn
    text, marked, shown = vocabulary.decode(ids), "", 0
    for edge, mark in zip(edges, cycle("⟦⟧"), strict=False):
        place = len(vocabulary.decode(ids[:edge]))  # an id may be part of a character: do not split it
        marked, shown = f"{marked}{text[shown:place]}{mark}", place
    return marked + text[shown:]
