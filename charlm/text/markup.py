"""Whether a text is markup around other texts: a table, lines of JSON, or a web page."""

import csv
import json
import re
from itertools import islice
from pathlib import Path

from charlm.text.compression import without_compression

_LOOKED_AT = 1 << 16
"""Number of characters at the start of a text that are looked at."""
_TABLES = {".csv": ("CSV", ","), ".tsv": ("TSV", "\t")}
_PAGE = re.compile(r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!doctype\s+html|<html[\s>])", re.IGNORECASE | re.DOTALL)


def markup_of(begin: str, source: str) -> str | None:
    """Return CSV, TSV, JSONL or HTML for a file of this name whose text begins so; None for any other text.

    Commas are in every prose, so a table is one whose name says so and whose rows have as many values as its first.
    """
    begin = begin[:_LOOKED_AT]
    ending = Path(without_compression(source)).suffix.lower()
    if _PAGE.match(begin):
        return "HTML"
    if begin.lstrip().startswith("{") and (ending == ".jsonl" or _is_json_lines(begin)):
        return "JSONL"
    name, delimiter = _TABLES.get(ending, ("", ""))
    return name if name and _is_table(begin, delimiter) else None


def _is_json_lines(begin: str) -> bool:
    """Return whether the first two lines are JSON objects."""
    lines = list(islice(filter(None, map(str.strip, begin.split("\n"))), 2))
    try:
        return len(lines) == 2 and all(isinstance(json.loads(line), dict) for line in lines)
    except (ValueError, RecursionError):
        return False


def _is_table(begin: str, delimiter: str) -> bool:
    """Return whether the first rows have the same number of values, which is more than one."""
    rows = csv.reader(begin.splitlines(keepends=True), delimiter=delimiter)
    try:
        lengths = [len(row) for row in islice(rows, 3) if row]
    except csv.Error:
        return False
    return len(lengths) > 1 and len(set(lengths)) == 1 and lengths[0] > 1
