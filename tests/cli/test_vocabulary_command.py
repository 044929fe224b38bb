"""What a user sees of ``charlm vocabulary``."""

import json
from pathlib import Path

from rich.cells import cell_len

from charlm.checkpoint.checkpoint import Checkpoint
from tests.conftest import TEXT, Run, make_config, train

HELLO = Path(__file__).parents[2] / "data" / "hello.txt"


def test_hello_is_shown_as_the_textbook_draws_it(charlm: Run) -> None:
    result = charlm("vocabulary", "--file", str(HELLO), "--text", "hello")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout == (
        "4 symbols\n"
        "   id  symbol  code point\n"
        "    0  e       U+0065 LATIN SMALL LETTER E\n"
        "    1  h       U+0068 LATIN SMALL LETTER H\n"
        "    2  l       U+006C LATIN SMALL LETTER L\n"
        "    3  o       U+006F LATIN SMALL LETTER O\n"
        "\n"
        "              e h l o\n"
        "   h \u2192 1     [0 1 0 0]\n"
        "   e \u2192 0     [1 0 0 0]\n"
        "   l \u2192 2     [0 0 1 0]\n"
        "   l \u2192 2     [0 0 1 0]\n"
        "   o \u2192 3     [0 0 0 1]\n"
    )


def test_json_holds_symbols_ids_and_rows(charlm: Run) -> None:
    result = charlm("vocabulary", "--file", str(HELLO), "--text", "hole", "--json")
    assert json.loads(result.stdout) == {
        "unit": "character",
        "normalization": None,
        "symbols": ["e", "h", "l", "o"],
        "special": {},
        "text": "hole",
        "ids": [1, 3, 2, 0],
        "one_hot": [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0]],
    }
    assert set(json.loads(charlm("vocabulary", "--file", str(HELLO), "--json").stdout)) == {
        "unit",
        "normalization",
        "symbols",
        "special",
    }


def test_a_models_vocabulary_is_its_own(charlm: Run, trained: dict[str, Path]) -> None:
    shown = charlm("vocabulary", "--checkpoint", str(trained["gru"]), "--json")
    assert json.loads(shown.stdout) == Checkpoint.load(trained["gru"] / "best.safetensors").vocabulary.to_json()
    assert json.loads(shown.stdout)["symbols"] == sorted(set(TEXT))


def test_without_a_text_no_rows_are_drawn(charlm: Run) -> None:
    assert "\n\n" not in charlm("vocabulary", "--file", str(HELLO)).stdout
    assert charlm("vocabulary", "--file", str(HELLO), "--text", "").stdout.endswith("\n")


def test_characters_that_show_nothing_get_marks_and_escapes_reach_them(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(b"a\tb\nc \\n\x07")
    result = charlm("vocabulary", "--file", "text.txt", "--text", r"a\t\n\\n")
    lines = result.stdout.splitlines()
    assert lines[0] == "9 symbols"
    assert lines[2:6] == [
        "    0  \u2407       U+0007",
        "    1  \u2192       U+0009",
        "    2  \u21b5       U+000A",
        "    3          U+0020 SPACE",
    ]
    ids = [line.split()[2] for line in lines[-5:]]
    assert ids == ["5", "1", "2", "4", "8"]  # a, tab, newline, backslash, n


def test_a_large_vocabulary_names_the_column_instead_of_drawing_it(charlm: Run, tmp_path: Path) -> None:
    for size, drawn in ((48, True), (49, False)):
        (tmp_path / "text.txt").write_text("".join(map(chr, range(0x100, 0x100 + size))), encoding="utf-8")
        last = charlm("vocabulary", "--file", "text.txt", "--text", "\u0101").stdout.splitlines()[-1]
        row = f"[0 1{' 0' * 46}]" if drawn else "a one in column 1 of 49"
        assert last == f"   \u0101 \u2192 1     {row}"


def test_a_one_stands_under_its_symbol_even_where_symbols_are_wide(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a\ud55c\uae00b", encoding="utf-8")
    head, *rows = charlm("vocabulary", "--file", "text.txt", "--text", "ab\uae00\ud55c").stdout.splitlines()[-5:]
    for symbol, row in zip("ab\uae00\ud55c", rows, strict=True):
        one = row.index("1", row.index("["))
        assert cell_len(row[:one]) == cell_len(head[: head.index(symbol)])


def test_a_symbol_that_stands_for_no_character_is_shown_by_its_name(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT + "\u20ac", encoding="utf-8")
    config = make_config(tmp_path / "text.txt", tmp_path / "runs", data={"minimum_count": 2})
    run = str(train(config)[0])
    lines = charlm("vocabulary", "--checkpoint", run, "--text", "T\u20acz").stdout.splitlines()
    unknown = len(set(TEXT))
    assert lines[0] == f"{unknown + 1} symbols"
    assert lines[2 + unknown] == f"   {unknown}  \ufffd       <unk>"
    assert [line.split()[2] for line in lines[-3:]] == [str(sorted(set(TEXT)).index("T")), str(unknown), str(unknown)]


def test_a_byte_model_shows_bytes(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    config = make_config(tmp_path / "text.txt", tmp_path / "runs", data={"unit": "byte"})
    run = str(train(config)[0])
    lines = charlm("vocabulary", "--checkpoint", run, "--text", "\u00e9").stdout.splitlines()
    assert lines[0] == "256 symbols"
    assert lines[2 + 0x41].split() == ["65", "A", "byte", "0x41"]
    assert lines[2 + 0xC3].split() == ["195", "\ufffd", "byte", "0xc3"]
    assert [line.split()[2] for line in lines[-2:]] == ["195", "169"]  # the two bytes of its UTF-8


def test_markup_among_symbols_is_text(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "[b].txt").write_text("[red]x[/red]:smile:", encoding="utf-8")
    result = charlm("vocabulary", "--file", "[b].txt", "--text", "[/red]:")
    assert [line.split()[0] for line in result.stdout.splitlines()[-7:]] == list("[/red]:")
