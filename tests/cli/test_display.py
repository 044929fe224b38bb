"""The gate to the terminal: what would steer it is written out, all else and charlm's own colours pass."""

import json
import re
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Group
from rich.table import Table
from rich.text import Text

from charlm.cli.delivery import as_json
from charlm.cli.display import cell, facts, show, write
from charlm.text.printable import escaped, escaped_json

STEERING = {
    *map(chr, range(0x20)),
    "\x7f",
    *map(chr, range(0x80, 0xA0)),
    "\u061c",
    "\u200e",
    "\u200f",
    "\u2028",
    "\u2029",
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
    *map(chr, range(0xD800, 0xE000)),
} - {"\n", "\t"}
HOSTILE = "a\x1b]0;pwned\x07\x9b31m\u202eb\r\udcff\n\tc"
WRITTEN_OUT = "a\\x1b]0;pwned\\x07\\x9b31m\\u202eb\\r\\udcff\n\tc"
READABLE = "한글 café ｶﾅ \u3000\u00a0 👩\u200d💻 العربية עברית €\ufeff"


Terminal = Callable[[], None]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Return a function that makes standard output a terminal."""

    def become() -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.delenv("NO_COLOR", raising=False)

    return become


def test_exactly_what_steers_a_terminal_is_escaped() -> None:
    assert {character for character in map(chr, range(0x110000)) if escaped(character) != character} == STEERING
    assert all(escaped(character).isascii() and escaped(character).isprintable() for character in STEERING)


def test_a_terminal_gets_text_escaped(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    terminal()
    write(HOSTILE)
    write(READABLE)
    assert capsys.readouterr().out == WRITTEN_OUT + READABLE


def test_text_in_pieces_is_escaped_like_the_whole(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    terminal()
    for character in HOSTILE:
        write(character)
    assert capsys.readouterr().out == WRITTEN_OUT


def test_a_pipe_gets_text_unchanged_but_for_what_cannot_be_encoded(capsys: pytest.CaptureFixture[str]) -> None:
    write(HOSTILE + READABLE)
    assert capsys.readouterr().out == HOSTILE.replace("\udcff", "\\udcff") + READABLE


def test_content_is_escaped_and_colours_are_not(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    terminal()
    show(Text("\x1b[5mred\u202e", style="red"))
    assert capsys.readouterr().out == "\x1b[31m\\x1b[5mred\\u202e\x1b[0m\n"


def test_no_cell_of_a_table_steers_the_terminal(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    terminal()
    table = Table(title=Text("\x1b[5m"))
    table.add_column(Text("\x9b5m"))
    table.add_row(Text("\u202e"))
    show(Group(table, facts("\x1b]0;pwned", [("\x9d", "\u2066")])))
    shown = capsys.readouterr().out
    assert not STEERING & {*re.sub(r"\x1b\[[0-4;]*m", "", shown)}  # bold, dim and italic are charlm's own
    for written in ("\\x1b[5m", "\\x9b5m", "\\u202e", "\\x1b]0;pwned", "\\x9d", "\\u2066"):
        assert written in shown


def test_columns_fit_what_is_written_out(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    terminal()
    table = Table(box=None, pad_edge=False)
    for name in ("\x1b\x9b", "b"):
        table.add_column(cell(name))
    table.add_row(cell("1"), cell("2"))
    show(table)
    head, row = capsys.readouterr().out.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    assert head.index("b", 8) == row.index("2")


@given(st.dictionaries(st.text(), st.text()))
def test_json_says_the_same_and_steers_nothing(value: dict[str, str]) -> None:
    line = as_json(value)
    assert json.loads(line) == value
    assert not STEERING & {*line}


def test_json_stays_readable() -> None:
    assert as_json({"한글": READABLE}) == f'{{"한글": "{READABLE}"}}\n'
    assert as_json("\x9b\u202e\x7f") == '"\\u009b\\u202e\\u007f"\n'
    assert escaped_json('"\udcff"') == '"\\udcff"'
