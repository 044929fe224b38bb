"""What a command made goes to standard output or whole into a file, and its JSON can always be written."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from charlm.cli.delivery import Format, as_csv, as_json, deliver, refuse_binary_on_terminal
from charlm.errors import ConfigError, StorageError


def drawing(width: int) -> Iterator[Text]:
    yield Text(f"{width} columns", style="bold red")
    yield Text("two")


def table() -> Table:
    made = Table(box=None, pad_edge=False)
    made.add_column("name", style="red")
    made.add_row("fox")
    return made


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text ㅎ\n", "text ㅎ\n"),
        (b"bytes\n", "bytes\n"),
        (drawing, "100 columns\ntwo\n"),
        (table(), "name\nfox\n"),
    ],
    ids=["text", "bytes", "drawing", "table"],
)
def test_a_file_holds_all_of_it_without_colours(content, expected, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    deliver(content, tmp_path / "file")

    assert (tmp_path / "file").read_text(encoding="utf-8") == expected
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "expected"),
    [("text ㅎ\n", "text ㅎ\n"), (drawing, "160 columns\ntwo\n"), (table(), "name\nfox\n")],
    ids=["text", "drawing", "table"],
)
def test_without_a_file_it_goes_to_standard_output(content, expected, capsys) -> None:
    deliver(content, None)

    assert capsys.readouterr().out == expected


def test_bytes_go_to_standard_output_as_they_are(capfdbinary) -> None:
    deliver(b"\x00\xff", None)

    assert capfdbinary.readouterr().out == b"\x00\xff"


def test_a_file_that_cannot_be_written_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        deliver("text", tmp_path / "no" / "file")


def test_json_is_one_line_with_letters_as_they_are() -> None:
    assert as_json({"한글": ["é", 1, None, True]}) == '{"한글": ["é", 1, null, true]}\n'


def test_what_json_cannot_say_is_null_however_deep_it_lies() -> None:
    values = {"a": [math.inf, (1.5, math.nan)], "b": {"c": -math.inf}}

    assert json.loads(as_json(values)) == {"a": [None, [1.5, None]], "b": {"c": None}}


def test_a_lone_surrogate_is_escaped_so_that_it_can_be_written() -> None:
    line = as_json({"name": "a\udcff"})

    assert line.encode() == b'{"name": "a\\udcff"}\n'
    assert json.loads(line) == {"name": "a\udcff"}


def test_csv_quotes_what_it_must() -> None:
    assert as_csv(["a", "b"], [(1, 'x"y'), (None, "p,q")]) == 'a,b\n1,"x""y"\n,"p,q"\n'


@pytest.mark.parametrize("format_", Format)
def test_only_binary_formats_are_kept_from_a_terminal(format_: Format, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    refuse_binary_on_terminal(format_, tmp_path / "file")
    if format_ in (Format.npz, Format.png):
        with pytest.raises(ConfigError, match=f"^--format {format_}: .* --output FILE"):
            refuse_binary_on_terminal(format_, None)
    else:
        refuse_binary_on_terminal(format_, None)
