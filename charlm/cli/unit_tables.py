"""Results of unit search and ablation, as tables, CSV and JSON values."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from charlm.cli.delivery import as_csv
from charlm.cli.display import cell
from charlm.inspection.ablation import Ablation
from charlm.inspection.units import Finding

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS = ("pattern", "best unit", "first r", "held r", "AUC", "chance", "units")
_SHOWN = 10
"""Number of units that the table of a pattern shows."""


def pattern_table(name: str, found: Sequence[Finding]) -> "RenderableType":
    """Return a table of the best units for one pattern, with a sentence on their significance."""
    rows = [
        (str(finding.unit), *_numbers(finding), "yes" if finding.beats_null else "no") for finding in found[:_SHOWN]
    ]
    columns = ("unit", "first half r", "held-out r", "held-out AUC", "above chance")
    count = sum(finding.beats_null for finding in found)
    chance = (
        f"By chance alone, the best of {len(found):,} signals of units stays below {found[0].null95:.3f} on the "
        "held-out half in 95 % of cases."
    )
    verdict = f"{count:,} {'exceeds' if count == 1 else 'exceed'} it." if count else "No unit follows this pattern."
    return _table(f"units that follow {name}", columns, rows, f"{chance} {verdict}")


def patterns_table(found: Mapping[str, Sequence[Finding]], absent: Sequence[str]) -> "RenderableType":
    """Return a table of the best unit for each pattern."""
    rows = []
    for name, findings in found.items():
        beyond = [finding for finding in findings if finding.beats_null]
        best = (beyond or findings)[0]
        unit = str(best.unit) if beyond else "none"
        rows.append((name, unit, *_numbers(best), f"{best.null95:.3f}", f"{len(beyond):,}"))
    note = (
        "first r is the correlation on the half of the text that ranks the units, held r that on the held-out half. An "
        "AUC near 0 or 1 is a strong relation, 0.5 is none. By chance alone, the best unit stays below the chance "
        "column in 95 % of cases; the units column is the number of signals of units that exceed it."
    )
    if absent:
        note += f"\nNot in both halves of this text, or too long-lasting for its length: {', '.join(absent)}."
    return _table("patterns and the units that follow them", _COLUMNS, rows, note)


def findings_csv(found: Mapping[str, Sequence[Finding]]) -> str:
    """Return all units of all patterns as CSV."""
    records = [{"pattern": name} | record for name, findings in found.items() for record in map(_record, findings)]
    return as_csv([*records[0]] if records else ["pattern"], (record.values() for record in records))


def pattern_values(name: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the units of one pattern as plain values, best first."""
    return {"pattern": name, "units": [_record(finding) for finding in findings]}


def ablation_table(ablations: Sequence[Ablation]) -> "RenderableType":
    """Return a table of the change in bits per character that each ablation causes."""
    rows = []
    for ablation in ablations:
        place = f"{ablation.unit.layer}:{ablation.unit.index}"
        rows.append((place, f"{ablation.value:+.3f}", "everywhere", f"{ablation.change:+.4f}", ""))
        for name, inside in ablation.inside.items():
            rows.append(("", "", name, f"{inside:+.4f}", f"{ablation.outside[name]:+.4f}"))
    title = f"change in bits per character with a unit held at its mean; whole model: {ablations[0].whole:.4f}"
    return _table(title, ("unit", "held at", "pattern", "inside", "outside"), rows, "")


def ablation_values(ablations: Sequence[Ablation]) -> dict[str, Any]:
    """Return ablations as plain values."""
    records = [
        {
            "layer": ablation.unit.layer,
            "index": ablation.unit.index,
            "held_at": ablation.value,
            "bits_per_character": ablation.whole,
            "change": ablation.change,
            "inside": dict(ablation.inside),
            "outside": dict(ablation.outside),
        }
        for ablation in ablations
    ]
    return {"ablations": records}


def _record(finding: Finding) -> dict[str, object]:
    return {
        "layer": finding.unit.layer,
        "index": finding.unit.index,
        "signal": finding.unit.signal,
        "train": finding.train,
        "held_out": finding.held_out,
        "auc": finding.auc,
        "null95": finding.null95,
        "beats_null": finding.beats_null,
    }


def _numbers(finding: Finding) -> tuple[str, str, str]:
    auc = "" if finding.auc is None else f"{finding.auc:.3f}"
    return f"{finding.train:+.3f}", f"{finding.held_out:+.3f}", auc


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], note: str) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1), header_style="dim")
    for place, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*map(cell, row))
    return Group(cell(title, "bold"), table, *([cell(note)] if note else []))
