"""Unit search and ablation on a text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.cli.delivery import Format, as_json, deliver
from charlm.cli.unit_names import parse_unit
from charlm.cli.unit_tables import (
    ablation_table,
    ablation_values,
    findings_csv,
    pattern_table,
    pattern_values,
    patterns_table,
)
from charlm.errors import ConfigError, TextError
from charlm.inspection.ablation import ablate
from charlm.inspection.patterns import EVERY, Values, aligned_text, patterns_named
from charlm.inspection.trace import TraceSelection
from charlm.inspection.units import Finding, find
from charlm.text.vocabulary import Ids

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Search:
    """A search for units that follow one pattern or all of them, or an ablation of some units."""

    pattern: str | None
    ablated: Sequence[str]
    """As LAYER:INDEX; empty: rank the units instead."""
    selection: TraceSelection


def search(checkpoint: Checkpoint, ids: Ids, request: Search, format_: Format, output: Path | None) -> None:
    """Search the units on ids (T,) and write the result to standard output or to a file."""
    known = [Format.terminal, Format.json] if request.ablated else [Format.terminal, Format.json, Format.csv]
    if format_ not in known:
        raise ConfigError(f"--format {format_}: not available here. Use {' or '.join(known)}.")
    text = aligned_text(checkpoint.vocabulary, ids)
    patterns = {} if request.pattern is None else patterns_named(request.pattern, text)
    if request.ablated:
        places = [parse_unit("--ablate", place, checkpoint.config.model) for place in request.ablated]
        ablations = [ablate(checkpoint.recurrent(), ids, *place, patterns) for place in places]
        shown = as_json(ablation_values(ablations)) if format_ is Format.json else ablation_table(ablations)
        deliver(shown, output)
        return
    found = find(checkpoint.recurrent(), ids, patterns, request.selection)
    if request.pattern != EVERY and not found:
        raise TextError(
            f"--find {request.pattern}: this pattern does not vary in both halves of the text. Use a longer one."
        )
    deliver(_shown(found, patterns, format_), output)


def _shown(
    found: Mapping[str, Sequence[Finding]], patterns: Mapping[str, Values], format_: Format
) -> "str | RenderableType":
    several = len(patterns) > 1
    match format_:
        case Format.csv:
            return findings_csv(found)
        case Format.json:
            records = [pattern_values(*item) for item in found.items()]
            return as_json({"patterns": records} if several else records[0])
        case _ if several:
            return patterns_table(found, [name for name in patterns if name not in found])
        case _:
            return pattern_table(*next(iter(found.items())))
