"""The unit finder and ablation, run over a text."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.cli.display import drawn, show, write
from charlm.cli.unit_names import parse_unit
from charlm.cli.unit_tables import (
    ablation_table,
    ablations_json,
    findings_csv,
    pattern_json,
    pattern_table,
    patterns_json,
    patterns_table,
)
from charlm.errors import ConfigError, TextError
from charlm.inspection.ablation import ablate
from charlm.inspection.patterns import PATTERNS, Values, pattern
from charlm.inspection.trace import TraceSelection
from charlm.inspection.units import Finding, find
from charlm.text.decoding import REPLACEMENT
from charlm.text.vocabulary import Ids
from charlm.whole_file import write_whole_file

if TYPE_CHECKING:
    from rich.console import RenderableType

_EVERYTHING = "all"


@dataclass(frozen=True)
class Search:
    """What is asked of the units: a pattern, all of them, or what the model loses without some units."""

    pattern: str | None
    ablated: Sequence[str]
    """As LAYER:INDEX; none: rank the units instead."""
    watched: TraceSelection


def search(checkpoint: Checkpoint, ids: Ids, wanted: Search, format_: str, output: Path | None) -> None:
    """Search ids (T,) and write what was found, on standard output or into a file."""
    if format_ not in ("terminal", "csv", "json") or (wanted.ablated and format_ == "csv"):
        raise ConfigError(
            f"--format {format_}: what was found comes as terminal or json{'' if wanted.ablated else ' or csv'}."
        )
    names = [] if wanted.pattern is None else list(PATTERNS) if wanted.pattern == _EVERYTHING else [wanted.pattern]
    text = _one_for_one(checkpoint, ids)
    patterns = {name: pattern(name, text) for name in names}
    if wanted.ablated:
        places = [parse_unit("--ablate", place, checkpoint.config.model) for place in wanted.ablated]
        ablations = [ablate(checkpoint.recurrent(), ids, *place, patterns) for place in places]
        _put(ablations_json(ablations) if format_ == "json" else ablation_table(ablations), output)
        return
    found = find(checkpoint.recurrent(), ids, patterns, wanted.watched)
    if wanted.pattern != _EVERYTHING and not found:
        raise TextError(
            f"--find {wanted.pattern}: it does not come and go in both halves of this text. Use a longer one."
        )
    _put(_shown(found, patterns, format_), output)


def _shown(
    found: Mapping[str, Sequence[Finding]], patterns: Mapping[str, Values], format_: str
) -> "str | RenderableType":
    several = len(patterns) > 1
    match format_:
        case "csv":
            return findings_csv(found)
        case "json":
            return patterns_json(found) if several else pattern_json(*next(iter(found.items())))
        case _ if several:
            return patterns_table(found, [name for name in patterns if name not in found])
        case _:
            return pattern_table(*next(iter(found.items())))


def _put(content: "str | RenderableType", output: Path | None) -> None:
    if output is None:
        write(content) if isinstance(content, str) else show(content)
        return
    write_whole_file(output, (content if isinstance(content, str) else drawn(content)).encode())


def _one_for_one(checkpoint: Checkpoint, ids: Ids) -> str:
    """Return the text with one character an id, whatever stands for it."""
    highest = "\x7f" if checkpoint.vocabulary.unit == "byte" else chr(sys.maxunicode)  # other bytes are parts of one
    characters = [
        symbol if len(symbol) == 1 and symbol <= highest else REPLACEMENT for symbol in checkpoint.vocabulary.symbols
    ]
    return "".join(characters[index] for index in ids)
