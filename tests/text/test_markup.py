import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.config.settings import DataConfig
from charlm.text.corpus import Corpus
from charlm.text.markup import markup_of

ROOT = Path(__file__).parent.parent.parent
PROSE = """\
It was, she said, a long, slow winter, and nobody, least of all the miller, thought of the mill.
He, on the other hand, had thought of it, often, and with regret, since the thaw.
Then, one day, without a word, he left, and the wheel, for the first time, stood still, silent.
"""
TABLE = 'id,text,stars\n1,"good, ""very"" good\nand more",5\n2,bad,1\n'
PAGE = "<!DOCTYPE html>\n<html><body>hello</body></html>\n"


@pytest.mark.parametrize(
    ("name", "begin", "kind"),
    [
        ("reviews.csv", TABLE, "CSV"),
        ("REVIEWS.CSV.gz", TABLE, "CSV"),
        ("t.tsv", "id\ttext\n1\ta\n", "TSV"),
        ("t.csv", "a,b\n" + '1,"' + "x" * 200_000, "CSV"),
        ("t.jsonl", '{"text": "a"}\n', "JSONL"),
        ("t.jsonl", '\n{"text": "' + "a" * 200_000, "JSONL"),
        ("t.txt", '{"text": "a"}\n\n{"text": "b"}\nand so on', "JSONL"),
        ("t.txt", PAGE, "HTML"),
        ("t", "\n<HTML lang=en>", "HTML"),
        ("t.xhtml", '<?xml version="1.0"?>\n<!-- a page -->\n<!doctype html>', "HTML"),
    ],
)
def test_markup_is_known_by_its_beginning(name: str, begin: str, kind: str) -> None:
    assert markup_of(begin, name) == kind


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("t.txt", TABLE),  # only a name says that commas are more than commas
        ("prose.txt", PROSE),
        ("prose.csv", PROSE),
        ("lines.csv", "text\nann\nbob\n"),
        ("one.csv", "a,b"),
        ("t.json", '{\n  "text": "a"\n}\n'),
        ("t.json", '{"text": "a"}\n'),
        ("code.py", "{'a': 1}\n{'b': 2}\n"),
        ("code.c", "{\n{\n"),
        ("deep", "{" * 100_000 + "\n" + "{" * 100_000),
        ("tag.txt", "<htmlish> is no tag"),
        ("about.md", "The tag <html> begins a page."),
        ("empty.csv", ""),
        ("empty.jsonl", ""),
    ],
)
def test_other_texts_are_not_markup(name: str, begin: str) -> None:
    assert markup_of(begin, name) is None


FOLDERS = ("data/*.txt", "charlm/**/*.py", "configs/*.yaml", "docs/*.md", "*.md")


def test_no_text_and_no_code_of_the_repository_is_taken_for_markup() -> None:
    found = [path for pattern in FOLDERS for path in ROOT.glob(pattern)]
    assert len(found) > 100
    assert [path for path in found if markup_of(path.read_text("utf-8"), str(path))] == []


@given(st.text(), st.sampled_from(["t.csv", "t.tsv", "t.jsonl", "t.txt", "", "t.csv.gz"]))
def test_any_text_is_markup_or_none(begin: str, name: str) -> None:
    assert markup_of(begin, name) in {None, "CSV", "TSV", "JSONL", "HTML"}


@given(st.lists(st.lists(st.text('ab,"\n é'), min_size=2, max_size=2), min_size=2, max_size=4))
def test_every_table_that_csv_writes_is_one(rows: list[list[str]]) -> None:
    table = io.StringIO()
    csv.writer(table).writerows(rows)
    assert markup_of(table.getvalue(), "t.csv") == "CSV"
    lines = "".join(json.dumps({"text": row[0]}) + "\n" for row in rows)
    assert markup_of(lines, "t.txt") == markup_of(lines, "t.jsonl") == "JSONL"


def test_a_corpus_says_so_once_for_each_kind(tmp_path: Path) -> None:
    for name, text in {"a.csv": TABLE, "b.csv": TABLE, "c.html": PAGE, "d.txt": PROSE}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    a, b, c, d = (str(tmp_path / name) for name in ("a.csv", "b.csv", "c.html", "d.txt"))
    column = "data.field: NAME reads one column of a .csv, .tsv or .jsonl file."
    assert Corpus.read(DataConfig(path=(a, b, c, d))).notes == (
        f"{a}, {b} look like CSV and are read as raw text; {column}",
        f"{c} looks like HTML and is read as raw text; take the tags out first, unless the model is to learn them.",
    )
    assert Corpus.read(DataConfig(path=(a,))).notes == (f"{a} looks like CSV and is read as raw text; {column}",)
    assert Corpus.read(DataConfig(path=(d,))).notes == ()
    assert Corpus.read(DataConfig(path=(a,), unit="byte")).notes == ()
    read = DataConfig.model_validate({"path": a, "field": "text", "validation_fraction": 0.5})
    assert Corpus.read(read).notes == ()
