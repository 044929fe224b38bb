"""One column of a table → the items of a text: .csv, .tsv (read by `csv`) and .jsonl (by `json`), row by row.

CSV is that of RFC 4180: values may be quoted, and quoted ones may hold delimiters and line ends; TSV is the same with
tabs. Both name their columns in the first row. JSONL has one object a line. Only strings are read.
"""

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher
from itertools import islice
from pathlib import Path

from charlm.errors import TextError
from charlm.text.code_points import END_UNIT
from charlm.text.compression import without_compression
from charlm.text.files import listed

_END = chr(END_UNIT)
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON = ".jsonl"
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
"""What an escape in JSON can hold and a text cannot."""
_LONGEST = 1 << 26
"""Maximum number of characters in a line and in a value, so that a missing quote does not fill the memory."""
_LONGEST_NAME = 100
"""Number of characters by which a column's name is compared with others."""
_ROWS = 256
"""Number of rows that are read at a time."""
_PIECE = 1 << 20
"""Number of characters that are gathered before they are given on."""


def column(texts: Iterable[str], source: str, field: str) -> Iterator[str]:
    """Yield the values of the column ``field`` in pieces, with an `END_UNIT` after each.

    ``source`` is the name of the file whose text, in pieces, is ``texts``. Raises TextError, with the line, where that
    is not a table, and where there is no such column.
    """
    path = os.path.realpath(source)
    ending = Path(without_compression(path)).suffix.lower()
    if ending == _JSON:
        yield from _gathered(_json_values(_lines(texts, source), source, field))
    elif ending in _DELIMITERS:
        yield from _gathered(_table_values(_lines(texts, source), source, field, _DELIMITERS[ending]))
    else:
        raise TextError(
            f"{source}: data.field reads a column of a file whose name ends in .csv, .tsv or .jsonl, also compressed. "
            "Give the file such a name; or, for other texts, set data.field: null."
        )


def _gathered(values: Iterable[str]) -> Iterator[str]:
    """Yield the values in pieces of many, an end mark after each."""
    held: list[str] = []
    length = 0
    for value in values:
        held += (value, _END)
        length += len(value) + 1
        if length >= _PIECE:
            yield "".join(held)
            held, length = [], 0
    yield "".join(held)


def _lines(texts: Iterable[str], source: str) -> Iterator[str]:
    """Yield the lines of a text given in pieces, each with its end: LF, CRLF or CR."""
    held = ""
    number = 0
    for text in texts:
        *whole, held = io.StringIO(held + text, newline="") if held + text else [""]
        if held.endswith("\n"):
            whole, held = [*whole, held], ""
        number += len(whole)
        yield from whole
        if len(held) > _LONGEST:
            raise TextError(f"{source}: line {number + 1:,} is longer than {_LONGEST:,} characters. Break it up.")
    if held:
        yield held


def _table_values(lines: Iterable[str], source: str, field: str, delimiter: str) -> Iterator[str]:
    rows = _rows(lines, source, delimiter)
    names, _ = next(rows, ([], 0))
    if not names:
        raise TextError(f"{source}: the first line is empty; in a table it names the columns.")
    if field not in names:
        raise _no_column(field, names).at(f"{source}: the first line")
    if names.count(field) > 1:
        raise TextError(f"{source}: two columns are called {field!r}. Rename one of them.")
    index = names.index(field)
    for row, line in rows:
        if row and len(row) != len(names):  # an empty line is no row
            raise TextError(
                f"{source}: the row that ends in line {line:,} has {len(row):,} values, and the first line names "
                f"{len(names):,} columns. Quote values that contain the delimiter, or repair the row."
            )
        yield row[index] if row else ""


def _rows(lines: Iterable[str], source: str, delimiter: str) -> Iterator[tuple[list[str], int]]:
    """Yield each row with the number of its last line; raises TextError where one cannot be read."""
    rows, last = csv.reader(lines, delimiter=delimiter, strict=True), 0
    while True:
        some: list[tuple[list[str], int]] = []
        try:
            with _any_length():  # setting the limit for each row would take half of the time
                some.extend((row, rows.line_num) for row in islice(rows, _ROWS))
        except csv.Error as error:
            first = (some[-1][1] if some else last) + 1
            raise TextError(
                f"{source}: the row that begins in line {first:,} is not of a table ({error}). Check its quotes: a "
                'value with quotes in it is quoted as a whole, and they are doubled ("").'
            ) from error
        if not some:
            return
        last = some[-1][1]
        yield from some


@contextmanager
def _any_length() -> Iterator[None]:
    """Let `csv` read values of up to `_LONGEST` characters; its limit is one of the whole process."""
    before = csv.field_size_limit(_LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _json_values(lines: Iterable[str], source: str, field: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _json_value(line, field)
        except TextError as error:
            raise error.at(f"{source}: line {number:,}") from error


def _json_value(line: str, field: str) -> str:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        if isinstance(error, json.JSONDecodeError):  # without the line, which is that within the line
            why = f"{error.msg} at column {error.colno:,}"
        raise TextError(f"this is not JSON ({why}). Write one object in each line.") from error
    if not isinstance(record, dict):
        raise TextError("this is not a JSON object. Write one in each line.")
    if field not in record:
        raise _no_column(field, list(record))
    value = record[field]
    if not isinstance(value, str):
        raise TextError(
            f"{field!r} is not a string, and only strings are read. Write it as one, or leave the line out."
        )
    if _NO_TEXT.search(value):
        raise TextError(f"{field!r} contains a NUL or a lone surrogate, which no text has. Leave the line out.")
    return value


def _no_column(field: str, names: Sequence[str]) -> TextError:
    """Return the error that lists the columns, those of similar names first."""
    near = sorted(names, key=lambda name: -SequenceMatcher(None, field, name[:_LONGEST_NAME]).ratio())
    columns = f"there are {listed([repr(name) for name in near])}" if near else "there is none"
    return TextError(f"no column is called {field!r}; {columns}. Name one of them in data.field.")
