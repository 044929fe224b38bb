"""One column of a table is a text of items: what was written as a value is read as one, from any pieces."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charlm.config.settings import Config, DataConfig
from charlm.errors import ConfigError, TextError, UnknownCharactersError
from charlm.text import files, records
from charlm.text.code_points import END_UNIT
from charlm.text.corpus import Corpus, read_vocabulary
from charlm.text.encoding import encode_bytes, encode_text
from charlm.text.records import column
from charlm.text.vocabulary import Ids, Vocabulary
from tests.harness.texts import texts

END = chr(END_UNIT)
VALUES = st.lists(
    st.text("ab,\"'\t\r\n ;{}\\é한", max_size=8) | texts.map(lambda text: text.replace("\0", "")), max_size=6
)
cuts = st.lists(st.integers(0, 200), max_size=6)


def values(table: str, name: str = "t.csv", field: str = "text", cuts: list[int] | None = None) -> list[str]:
    ends = [0, *sorted(min(cut, len(table)) for cut in cuts or []), len(table)]
    whole = "".join(column((table[start:end] for start, end in pairwise(ends)), name, field))
    assert whole == "" or whole.endswith(END)
    return whole.split(END)[:-1]


def as_table(rows: list[str], delimiter: str, terminator: str) -> str:
    quoting: Literal[0, 1] = csv.QUOTE_MINIMAL if terminator == "\r\n" else csv.QUOTE_ALL  # csv leaves a CR unquoted
    table = io.StringIO()
    writer = csv.writer(table, delimiter=delimiter, lineterminator=terminator, quoting=quoting)
    writer.writerow(["id", "text", "no, \"te'xt"])
    writer.writerows([number, row, "-"] for number, row in enumerate(rows))
    return table.getvalue()


def as_lines(rows: list[str], ensure_ascii: bool) -> str:
    return "".join(json.dumps({"id": 1, "text": row}, ensure_ascii=ensure_ascii) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "delimiter"), [("t.csv", ","), ("T.TSV", "\t"), ("t.csv.gz", ","), ("t.tsv.xz", "\t")]
)
@given(VALUES, st.sampled_from(["\n", "\r\n"]), cuts)
@example(["a\r\nb", "\r", '"', ""], "\r\n", [25, 26, 27, 28, 29, 30])
def test_what_csv_writes_is_read_from_any_pieces(
    name: str, delimiter: str, rows: list[str], terminator: str, cuts: list[int]
) -> None:
    assert values(as_table(rows, delimiter, terminator), name, cuts=cuts) == rows


@given(VALUES, st.booleans(), cuts)
@example(["a\u2028b\x85\x1c", "😀"], False, [1, 2])
@example(["😀"], True, [])
def test_what_json_writes_is_read_from_any_pieces(rows: list[str], ensure_ascii: bool, cuts: list[int]) -> None:
    table = as_lines(rows, ensure_ascii)
    assert values(table, "t.jsonl", cuts=cuts) == rows
    assert values(table.replace("\n", "\r\n\r\n"), "t.jsonl", cuts=cuts) == rows
    assert values(table.rstrip("\n"), "t.jsonl.bz2", cuts=cuts) == rows


def test_old_line_ends_and_empty_lines_are_read() -> None:
    assert values('id,text\r1,a\r\r2,"b\rc"') == ["a", "", "b\rc"]


def test_a_value_may_be_longer_than_csvs_own_limit_which_stays_as_it_was() -> None:
    before = csv.field_size_limit(1_000)
    try:
        assert values(f"text\n{'x' * 200_000}\ny") == ["x" * 200_000, "y"]
        assert csv.field_size_limit() == 1_000
    finally:
        csv.field_size_limit(before)


def test_values_are_given_on_before_the_table_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_PIECE", 4)
    monkeypatch.setattr(records, "_ROWS", 1)
    read = []

    def lines() -> Iterator[str]:
        for line in ["text\n", "aaaa\n", "bbbb\n", "cccc\n"]:
            read.append(line)
            yield line

    assert next(iter(column(lines(), "t.csv", "text"))) == f"aaaa{END}"
    assert len(read) < 4


# As a text


def read(path: Path, **settings: object) -> Corpus:
    data = {"path": str(path), "field": "text", "split": "tail", "validation_fraction": 0.5}
    return Corpus.read(DataConfig.model_validate(data | settings))


def items(corpus: Corpus) -> list[str]:
    return split(corpus.ids, corpus.vocabulary)


def split(ids: Ids, vocabulary: Vocabulary) -> list[str]:
    ends = [index for index, unit in enumerate(ids) if unit == vocabulary.end]
    assert (ends[0], ends[-1]) == (0, len(ids) - 1)
    return [vocabulary.decode(ids[start + 1 : end]) for start, end in pairwise(ends)]


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PIECE", 5)
    monkeypatch.setattr(records, "_PIECE", 3)


def test_each_value_is_an_item_without_the_white_space_around_it_and_empty_ones_are_none(tmp_path: Path) -> None:
    rows = ["", " \n", "\n \n  one\n\ntwo \r\n", "   ", "three\r\n four", "", "five ", "\n\n"]
    for name, content in {
        "t.csv": as_table(rows, ",", "\r\n"),
        "t.tsv": as_table(rows, "\t", "\n"),
        "t.jsonl": as_lines(rows, True),
    }.items():
        (tmp_path / name).write_bytes(content.encode())
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
        corpus = read(tmp_path / name)
        assert items(corpus) == ["  one\n\ntwo", "three\n four", "five"]
        assert read(tmp_path / f"{name}.gz").ids.tolist() == corpus.ids.tolist()
        assert items(read(tmp_path / name, newlines="keep"))[1] == "three\r\n four"


@settings(max_examples=40)
@given(rows=VALUES, documents=st.sampled_from([None, "record"]), form=st.sampled_from([None, "NFC", "NFKD"]))
@example(rows=["e", "\u0301"], documents=None, form="NFC")
def test_items_are_encoded_one_after_another(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], documents: str | None, form: str | None
) -> None:
    path = tmp_path_factory.mktemp("table") / "t.jsonl"
    rows = ["one", *rows, "\u0301two", "three"]
    path.write_text(as_lines(rows, True), encoding="utf-8", newline="")
    corpus = read(path, documents=documents, normalization=form)
    plain = DataConfig.model_validate({"path": "t", "documents": "file", "normalization": form})
    expected = [corpus.vocabulary.end]
    for row in rows:
        row = row.replace("\r\n", "\n").replace("\r", "\n")  # noqa: PLW2901
        while row[: len(row) - len(row.lstrip(" \t\n"))].count("\n"):
            row = row[row.index("\n") + 1 :]  # noqa: PLW2901
        row = row.rstrip(" \t\n")  # noqa: PLW2901
        if row:
            expected += encode_text(row, plain, corpus.vocabulary)[0].tolist()[1:]
    assert corpus.ids.tolist() == expected


def test_a_new_table_is_scored_by_its_column_and_a_string_as_one_item(tmp_path: Path) -> None:
    data = DataConfig.model_validate({"path": "t.csv", "field": "text"})
    vocabulary = Vocabulary.from_json(read_vocabulary_of(tmp_path, data).to_json())
    ids, unknown = encode_bytes([b"text,id\nab,", b"1\nb,2\n"], "new.csv", data, vocabulary)
    assert (split(ids, vocabulary), unknown) == (["ab", "b"], [])
    assert split(encode_text("a\n\nb\n", data, vocabulary)[0], vocabulary) == ["a\n\nb"]
    with pytest.raises(UnknownCharactersError, match=r"new\.csv: 1 character is"):
        encode_bytes([b"text\nabz\n"], "new.csv", data, vocabulary)
    with pytest.raises(TextError, match=r"standard input: data\.field reads"):
        encode_bytes([b"text\nab\n"], "standard input", data, vocabulary)


def read_vocabulary_of(folder: Path, data: DataConfig) -> Vocabulary:
    (folder / "t.csv").write_bytes(b'text\n"a\n\nb"\nb\n')
    return read_vocabulary(data.model_copy(update={"path": (str(folder / "t.csv"),)}))


# What is refused


DEEP = '{"text": ' + "[" * 100_000


@pytest.mark.parametrize(
    ("name", "table", "words"),
    [
        (
            "t.txt",
            "text\na",
            r"t\.txt: data\.field reads a column of a file whose name ends in \.csv, \.tsv or \.jsonl",
        ),
        ("t.gz", "text\na", r"t\.gz: data\.field reads"),
        ("t.csv", "", r"t\.csv: the first line is empty"),
        ("t.csv", "\ntext\n", r"t\.csv: the first line is empty"),
        ("t.csv", "id,Text,label\n", r"first line: no column is called 'text'; there are 'Text', .* Name one of them"),
        ("t.csv", "id;text\n1;a", r"there are 'id;text'\."),
        ("t.csv", "text,text\na,b\n", "two columns are called 'text'"),
        ("t.csv", "id,text\n1,a\n2,b,c\n", r"t\.csv: the row that ends in line 3 has 3 values.* names 2 columns"),
        ("t.csv", 'id,text\n1,"a\n\nb"\n2\n', "the row that ends in line 5 has 1 values"),
        (
            "t.csv",
            'id,text\n1,"a\n2,b\n',
            r"the row that begins in line 2 is not of a table \(unexpected end of data\)",
        ),
        ("t.csv", 'id,text\n1,"a"b\n', r"the row that begins in line 2 is not of a table \(',' expected after '\"'\)"),
        ("t.jsonl", '{"text": "a"}\n\n{"Text": "b"}\n', "line 3: no column is called 'text'; there are 'Text'"),
        ("t.jsonl", "{}", "line 1: no column is called 'text'; there is none"),
        ("t.jsonl", '{"text": 3}', "line 1: 'text' is not a string, and only strings are read"),
        ("t.jsonl", '{"text": null}', "'text' is not a string"),
        ("t.jsonl", '["text"]', "line 1: this is not a JSON object"),
        ("t.jsonl", '{"text": "a"}\n{"text": "a', r"line 2: this is not JSON \("),
        ("t.jsonl", DEEP, r"line 1: this is not JSON \(nested too deeply\)"),
        ("t.jsonl", '{"text": "a", "n": ' + "1" * 5_000 + "}", r"line 1: this is not JSON \(Exceeds the limit"),
        ("t.jsonl", '{"text": "a\\ud800b"}', "line 1: 'text' contains a NUL or a lone surrogate"),
        ("t.jsonl", '{"text": "\\udc00\\ud800"}', "a lone surrogate"),
        ("t.jsonl", '{"text": "a\\u0000"}', "contains a NUL"),
    ],
)
def test_what_is_no_such_table_is_refused_with_its_line(name: str, table: str, words: str) -> None:
    with pytest.raises(TextError, match=words) as caught:
        values(table, name)
    assert len(str(caught.value)) < 700


def test_columns_of_similar_names_come_first_and_not_all_are_listed() -> None:
    names = [f"column {number}" for number in range(500)]
    with pytest.raises(TextError, match=r"there are 'txet', 'column 0', 'column \d+' and 498 more\."):
        values(",".join([*names, "txet"]) + "\n")


def test_a_line_without_an_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_LONGEST", 100)
    taken = []

    def endless() -> Iterator[str]:
        yield "text\n"
        while True:
            taken.append(1)
            yield "aaaaaaaaaa"

    with pytest.raises(TextError, match=r"t\.csv: line 2 is longer than 100 characters"):
        list(column(endless(), "t.csv", "text"))
    assert len(taken) < 20
    with pytest.raises(TextError, match=r"in line \d+ is not of a table \(field larger than field limit \(100\)\)"):
        values('text\n"' + "abc\n" * 50)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"field": "text", "documents": "line"}, "data.field: needs documents: record or null, which is line"),
        ({"field": "text", "unit": "byte"}, "data.field: has no effect on bytes"),
        ({"documents": "record"}, "data.field: expected the name of a column, because documents is record"),
        ({"field": ""}, "data.field"),
    ],
)
def test_a_field_belongs_to_records_of_characters(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Config.model_validate({"data": {"path": "t.csv"} | settings})


def test_a_field_means_records() -> None:
    data = DataConfig.model_validate({"path": "t.csv", "field": "text"})
    assert data.documents == "record"
    assert DataConfig.model_validate(data.model_dump()) == data
