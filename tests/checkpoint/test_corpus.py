"""The text of a model is read again from the files that its checkpoint records, and from no others."""

import bz2
import errno
import glob
import gzip
import hashlib
import json
import lzma
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charlm.checkpoint import corpus_identity
from charlm.checkpoint.checkpoint import Checkpoint
from charlm.checkpoint.corpus import read_corpus
from charlm.checkpoint.corpus_identity import MOST_FILES, MOST_REPEATS, CorpusIdentity
from charlm.config.settings import Config
from charlm.errors import CheckpointError, TextError
from charlm.text import files
from charlm.text.corpus import Corpus
from charlm.training.ngram import count
from tests.conftest import TEXT
from tests.harness.handmade import Parts, put_at


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(name: str | Path, content: str = TEXT) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode())
    return path.absolute()


def counted(*paths: str, **data: object) -> Checkpoint:
    """Return a model of a text, as it comes from its file."""
    tree = {"data": {"path": list(paths)} | data, "model": {"kind": "markov", "order": 1}}
    config = Config.model_validate(tree)
    _, checkpoint = count(config, Corpus.read(config.data))
    return Checkpoint.from_bytes(checkpoint.to_bytes())


def of_an_older_format(checkpoint: Checkpoint, *path: str) -> Checkpoint:
    """Return a model whose checkpoint does not record files, of a text named like this."""
    identity = CorpusIdentity(path=list(path) or checkpoint.corpus.path, sha256=checkpoint.corpus.sha256)
    return replace(checkpoint, corpus=identity)


def recording(checkpoint: Checkpoint, **record: object) -> Checkpoint:
    return replace(checkpoint, corpus=CorpusIdentity.model_validate(checkpoint.corpus.model_dump() | record))


def refusal(checkpoint: Checkpoint) -> str:
    with pytest.raises(TextError) as caught:
        read_corpus(checkpoint, "validation")
    assert caught.value.kind == "no corpus"
    assert str(caught.value).startswith("the validation text of this model cannot be read: ")
    return str(caught.value)


Watch = Callable[[], list[str]]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Return a function that returns a list, which takes the name of every file that is opened from then on.

    Searching for files is an error from then on.
    """

    def watch() -> list[str]:
        names: list[str] = []
        opening = os.open
        for searching in ("glob", "iglob"):
            monkeypatch.setattr(glob, searching, lambda *_, **__: pytest.fail("a pattern was searched for"))

        def noting(name: Any, *arguments: Any, **options: Any) -> int:
            names.append(os.fspath(name))
            return opening(name, *arguments, **options)

        monkeypatch.setattr(os, "open", noting)
        monkeypatch.setattr(files, "byte_pieces", lambda path: pytest.fail(f"{path} is read without a bound"))
        return names

    return watch


# What is recorded


def test_the_record_names_each_file_that_was_read_with_its_size_in_the_order_of_reading() -> None:
    for name, part in {"b2": TEXT, "b1": TEXT[:100], "a": TEXT[:50]}.items():
        written(f"texts/{name}.txt", part)
    corpus = counted("texts/b*.txt", "texts/a.txt", "./texts/../texts/b2.txt").corpus

    assert corpus.path == ["texts/b*.txt", "texts/a.txt", "./texts/../texts/b2.txt"]
    assert corpus.files == [str(Path.cwd() / "texts" / f"{name}.txt") for name in ("b1", "b2", "a", "b2")]
    assert corpus.sizes == [100, len(TEXT), 50, len(TEXT)]


def test_a_link_is_recorded_as_the_file_that_was_read(tmp_path: Path) -> None:
    old, new = written("old.txt"), written("new.txt", TEXT + "\n")
    link = tmp_path / "link.txt"
    link.symlink_to(old)
    checkpoint = counted("link.txt")
    link.unlink()
    link.symlink_to(new)

    assert checkpoint.corpus.files == [str(old)]
    assert read_corpus(checkpoint, "validation").vocabulary.decode(read_corpus(checkpoint, "training").ids) == TEXT


@pytest.mark.parametrize("name", ["한글 file.txt", "file:x.txt", os.fsdecode(b"\xff%41.txt"), "a[1]*.txt"])
def test_any_name_comes_back_from_the_record(name: str, tmp_path: Path, watch: Watch) -> None:
    folder = tmp_path / os.fsdecode(b"\xed") if "\udcff" in name else tmp_path
    path = written(folder / name)
    config = Config.model_validate({"data": {"path": "text.txt"}, "model": {"kind": "markov", "order": 1}})
    corpus = Corpus.read_files([files.TextFile(path)], config.data)
    checkpoint = Checkpoint.from_bytes(count(config, corpus)[1].to_bytes())
    opened = watch()

    assert read_corpus(checkpoint, "validation").ids.tolist() == corpus.ids.tolist()
    assert set(opened) == {str(path)}
    assert json.dumps(checkpoint.corpus.files, ensure_ascii=False).encode()


def test_a_checkpoint_without_the_record_is_written_as_it_was() -> None:
    written("text.txt")
    identity = of_an_older_format(counted("text.txt")).corpus

    assert identity.model_dump(mode="json") == {"path": ["text.txt"], "sha256": identity.sha256}


@pytest.mark.parametrize(
    ("bound", "value", "paths"),
    [("MOST_FILES", 2, ["a", "b", "c"]), ("MOST_REPEATS", 2, ["a", "a", "a"]), ("_LONGEST_RECORD", 30, ["a", "b"])],
)
def test_more_files_than_a_record_holds_are_trained_on_and_not_recorded(
    bound: str, value: int, paths: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in paths:
        written(name)
    monkeypatch.setattr(corpus_identity, bound, value)
    checkpoint = counted(*paths)

    assert (checkpoint.corpus.files, checkpoint.corpus.sizes) == ([], [])
    assert len(checkpoint.to_bytes()) < 20_000


def test_the_largest_record_leaves_room_for_the_largest_vocabulary() -> None:
    """A vocabulary of all of Unicode takes 13 million bytes of a header of at most 16."""
    longest = [f"/{'f' * 100}/한글/{index}" for index in range(26_000)]
    inner = json.dumps({"files": longest}, ensure_ascii=False)

    assert corpus_identity._can_be_recorded(longest)
    assert not corpus_identity._can_be_recorded(longest * 2)
    assert len(json.dumps(inner).encode()) + 13_500_000 < 1 << 24


# What is read


@pytest.mark.parametrize("documents", [None, "file"])
def test_the_text_is_read_again_from_another_folder(
    documents: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: Watch
) -> None:
    paths = [str(written(f"texts/{number}.txt", TEXT[: 50 * number])) for number in (1, 2, 3)] + [str(written("0.txt"))]
    checkpoint = counted("texts/*.txt", "0.txt", documents=documents)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    written(tmp_path / "texts/4.txt")  # it would match now
    opened = watch()
    corpus = read_corpus(checkpoint, "validation")

    assert corpus.sha256 == checkpoint.corpus.sha256
    assert opened == paths * 2  # once to count and once to encode
    assert list(map(str, (file.path for file in corpus.files))) == paths


def test_a_file_that_was_named_twice_is_read_twice_and_no_other_is() -> None:
    one, two = str(written("one.txt")), str(written("two.txt"))
    checkpoint = counted("one.txt", "two.txt", "one.txt")
    assert read_corpus(checkpoint, "validation").sha256 == checkpoint.corpus.sha256

    assert "no longer, the text" in refusal(recording(checkpoint, files=[one, two], sizes=[len(TEXT)] * 2))


def test_the_config_of_a_checkpoint_names_nothing_that_is_opened(watch: Watch) -> None:
    other, text = str(written("other.txt")), str(written("text.txt"))
    checkpoint = counted("text.txt")
    data = checkpoint.config.data.model_copy(update={"path": (other, "/**/*")})
    checkpoint = replace(checkpoint, config=checkpoint.config.model_copy(update={"data": data}))
    opened = watch()

    assert read_corpus(checkpoint, "validation").ids.size == len(TEXT)
    assert set(opened) == {text}


def test_an_older_checkpoint_reads_the_file_that_it_names_from_the_working_directory(watch: Watch) -> None:
    written("text.txt")
    checkpoint = of_an_older_format(counted("text.txt"))
    opened = watch()

    assert read_corpus(checkpoint, "validation").sha256 == checkpoint.corpus.sha256
    assert set(opened) == {"text.txt"}


def test_an_older_checkpoint_searches_for_no_pattern(watch: Watch) -> None:
    written("text.txt")
    checkpoint = counted("text.txt")
    opened = watch()
    words = refusal(of_an_older_format(checkpoint, "*.txt"))

    assert "*.txt: no such file. The checkpoint does not record which files this pattern matched." in words
    assert opened == []


# What a caller names


@pytest.mark.parametrize("older", [False, True], ids=["recorded", "older"])
@pytest.mark.parametrize("documents", [None, "file"])
def test_a_text_that_has_moved_is_read_where_a_caller_says(
    documents: str | None, older: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        written(f"texts/{number}.txt", TEXT[: 50 * number])
    written("0.txt")
    checkpoint = counted("texts/*.txt", "0.txt", documents=documents)
    expected = read_corpus(checkpoint, "validation")
    shutil.move("texts", "moved")
    shutil.move("0.txt", "moved/last.txt")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    checkpoint = of_an_older_format(checkpoint) if older else checkpoint
    refusal(checkpoint)
    corpus = read_corpus(checkpoint, "validation", ["../moved/[0-9].txt", str(tmp_path / "moved/last.txt")])

    assert corpus.ids.tolist() == expected.ids.tolist()
    assert (corpus.validation_start, corpus.vocabulary) == (expected.validation_start, checkpoint.vocabulary)


OTHERS: dict[str, tuple[list[str], str]] = {
    "another text": (["other.txt"], "other.txt: this is not, or no longer, the text that the model was trained on."),
    "a text of other characters": (
        ["strange.txt"],
        "strange.txt: this is not, or no longer, the text that the model was trained on.",
    ),
    "a part of the text": (["one.txt"], "one.txt: this is not, or no longer, the text that the model was trained on."),
    "another order": (
        ["two.txt", "one.txt"],
        "two.txt, one.txt: this is not, or no longer, the text that the model was trained on.",
    ),
    "an empty text": (["empty.txt"], "empty.txt: this is not, or no longer, the text that the model was trained on."),
    "bytes that are no text": (["bytes.txt"], "bytes.txt: byte 0xff at offset 0 is not utf-8"),
    "a missing file": (["nope.txt"], "nope.txt: no such file (looked in "),
    "a glob of nothing": (["nope*.txt"], "nope*.txt: no such file (looked in "),
    "a folder": (["folder"], "folder: this is a folder"),
    "a pipe": (["pipe"], "pipe: not a regular file"),
}


@pytest.mark.parametrize(("paths", "words"), OTHERS.values(), ids=OTHERS)
def test_any_other_text_that_a_caller_names_is_refused(paths: list[str], words: str) -> None:
    written("one.txt")
    written("two.txt", TEXT[:99])
    checkpoint = counted("one.txt", "two.txt")
    for name, content in {"other": TEXT.upper(), "strange": TEXT + "\u20ac", "empty": ""}.items():
        written(f"{name}.txt", content)
    Path("bytes.txt").write_bytes(b"\xff\xfe")
    Path("folder").mkdir()
    os.mkfifo("pipe")

    with pytest.raises(TextError) as caught:
        read_corpus(checkpoint, "validation", paths)
    assert str(caught.value).startswith(f"corpus: {words}")
    assert str(caught.value).endswith(
        " Name the text that the model was trained on, unchanged; several files in the order of training."
    )


def test_what_the_checkpoint_records_is_not_looked_at_where_a_caller_names_the_text() -> None:
    written("one.txt")
    checkpoint = recording(counted("one.txt"), files=["/proc/kmsg"], sizes=[0], path=["/**/*"])
    assert read_corpus(checkpoint, "validation", ["one.txt"]).sha256 == checkpoint.corpus.sha256


COMPRESS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_compressed_text_is_read_again_by_the_size_of_its_content(ending: str, watch: Watch) -> None:
    path = Path(f"text.{ending}").absolute()
    path.write_bytes(COMPRESS[ending](TEXT.encode()))
    checkpoint = counted(path.name)
    assert checkpoint.corpus.sizes == [len(TEXT)]
    assert checkpoint.corpus.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()
    path.write_bytes(COMPRESS[ending](TEXT[:9].encode()) + COMPRESS[ending](TEXT[9:].encode()))  # packed in another way
    opened = watch()

    assert read_corpus(checkpoint, "validation").ids.size == len(TEXT)
    assert opened == [str(path)] * 2
    for content in (TEXT + "\n", TEXT[:-1], "", TEXT * 10_000):
        path.write_bytes(COMPRESS[ending](content.encode()))
        assert f"{path} has changed since training" in refusal(checkpoint)
    path.write_bytes(COMPRESS[ending](TEXT.replace("fox", "box").encode()))
    assert f"{path}: this is not, or no longer, the text that the model was trained on" in refusal(checkpoint)
    path.write_bytes(COMPRESS[ending](TEXT.encode())[:-3])
    assert f"{path}: ends in the middle of its" in refusal(checkpoint)


def test_a_table_is_read_again_by_its_column() -> None:
    Path("table.csv.gz").write_bytes(gzip.compress(b"id,text\n" + b"".join(b"1,fox %d\n" % n for n in range(20))))
    checkpoint = counted("table.csv.gz", field="text", validation_fraction=0.25)

    corpus = read_corpus(checkpoint, "validation")
    assert corpus.sizes == "20 items: 15 train, 5 validation, 0 test"
    assert corpus.vocabulary.symbols[:-1] == tuple(sorted(set("fox 0123456789")))


# What is refused


def test_a_text_that_has_moved_is_named_where_it_was_and_not_opened_where_it_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: Watch
) -> None:
    written("project/data/text.txt")
    monkeypatch.chdir("project")
    checkpoint = counted("data/text.txt")
    monkeypatch.chdir(tmp_path)
    shutil.move("project", "moved")
    gone = tmp_path / "project/data/text.txt"
    opened = watch()

    assert f"{gone}: no such file. Restore" in refusal(checkpoint)
    monkeypatch.chdir("moved")
    assert (
        f"{gone}: no such file. data/text.txt in this folder may be the same text, but only the recorded file is read. "
        "Restore the corpus, give its files as corpus, or use another text."
    ) in refusal(checkpoint)
    assert opened == []


@pytest.mark.parametrize("content", [TEXT + "\n", TEXT[:-1], ""], ids=["grown", "cut", "emptied"])
def test_a_file_of_another_size_has_changed_and_is_not_opened(content: str, watch: Watch) -> None:
    path = written("text.txt")
    checkpoint = counted("text.txt")
    written("text.txt", content)
    opened = watch()

    assert f"{path} has changed since training" in refusal(checkpoint)
    assert opened == []


def test_a_file_of_the_same_size_has_changed_by_its_digest() -> None:
    path = written("text.txt")
    checkpoint = counted("text.txt")
    written("text.txt", TEXT.replace("fox", "box"))

    assert f"{path}: this is not, or no longer, the text that the model was trained on" in refusal(checkpoint)


def test_no_more_is_read_than_was_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that grows while it is read; the size was right when it was looked at."""
    path = written("text.txt")
    monkeypatch.setattr(files, "check_size", lambda *_: path.write_bytes(TEXT.encode() * 99))

    assert b"".join(files.recorded_pieces(path, len(TEXT))) == TEXT.encode()
    with pytest.raises(TextError, match="has changed since training"):
        list(files.recorded_pieces(path, len(TEXT) * 100))


def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    monkeypatch.setattr(files, "check_size", lambda *_: None)

    with pytest.raises(TextError, match="has changed since training"):
        list(files.recorded_pieces(pipe, 9))


def pipe(path: Path) -> None:
    os.mkfifo(path)


NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (Path.mkdir, "not a regular file"),
    "a pipe": (pipe, "not a regular file"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "a link to itself": (lambda path: path.symlink_to(path), "cannot read this file"),
    "a link to nothing": (lambda path: path.symlink_to("nothing"), "no such file"),
    "nothing": (lambda _: None, "no such file"),
}


@pytest.mark.parametrize("older", [False, True], ids=["recorded", "older"])
@pytest.mark.parametrize(("become", "words"), NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_regular_file_is_not_opened(
    become: Callable[[Path], object], words: str, older: bool, watch: Watch
) -> None:
    path = written("text.txt")
    checkpoint = counted("text.txt")
    path.unlink()
    become(path)
    opened = watch()

    assert f"text.txt: {words}" in refusal(of_an_older_format(checkpoint) if older else checkpoint)
    assert opened == []


@pytest.mark.skipif(not os.path.ismount("/proc"), reason="Linux keeps its files there")
@pytest.mark.parametrize("name", ["/proc/kmsg", "/proc/kcore", "/proc/self/status", "/sys/kernel/notes"])
@pytest.mark.parametrize("older", [False, True], ids=["recorded", "older"])
def test_files_of_the_kernel_are_not_opened(name: str, older: bool, watch: Watch) -> None:
    written("text.txt")
    checkpoint = counted("text.txt")
    size = Path(name).stat().st_size if Path(name).exists() else 0
    record = {"path": [name]} if older else {"path": [name], "files": [name], "sizes": [size]}
    opened = watch()

    words = refusal(replace(checkpoint, corpus=CorpusIdentity(sha256=checkpoint.corpus.sha256, **record)))
    assert f"{name}: a file of the kernel" in words or f"{name}: no such file" in words
    assert opened == []


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "text.txt/b.txt", "", "x" * 10**6])
@pytest.mark.parametrize("older", [False, True], ids=["recorded", "older"])
def test_a_name_that_no_file_can_have_is_refused_in_few_words(name: str, older: bool) -> None:
    written("text.txt")
    checkpoint = counted("text.txt")
    record = {} if older else {"files": [name], "sizes": [1]}
    identity = CorpusIdentity(path=[name], sha256=checkpoint.corpus.sha256, **record)

    assert len(refusal(replace(checkpoint, corpus=identity))) < 800


def test_a_file_that_may_not_be_read_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    path = written("text.txt")
    checkpoint = counted("text.txt")

    def refusing(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refusing)
    assert f"{path}: cannot read this file (Permission denied)" in refusal(checkpoint)


@pytest.mark.parametrize("older", [False, True], ids=["recorded", "older"])
def test_one_file_is_not_read_hundreds_of_times(older: bool, watch: Watch) -> None:
    path = str(written("text.txt"))
    checkpoint = counted("text.txt")
    many = MOST_REPEATS + 1
    record = {} if older else {"files": [path] * many, "sizes": [len(TEXT)] * many}
    identity = CorpusIdentity(path=[path] * many, sha256=checkpoint.corpus.sha256, **record)
    opened = watch()

    assert "101 times" in refusal(replace(checkpoint, corpus=identity))
    assert opened == []


def test_an_older_checkpoint_of_very_many_names_is_refused_in_few_words(watch: Watch) -> None:
    written("text.txt")
    checkpoint = counted("text.txt")
    names = ["text.txt", *(f"{index}.txt" for index in range(MOST_FILES))]
    opened = watch()

    words = refusal(of_an_older_format(checkpoint, *names))
    assert "100,001 files are recorded" in words
    assert len(words) < 400
    assert opened == []


def test_a_record_of_more_files_than_charlm_writes_is_damaged() -> None:
    path = str(written("text.txt"))
    parts = Parts.of(counted("text.txt").to_bytes())
    for key, value in (("files", path), ("sizes", 1)):
        put_at(parts.record, f"corpus.{key}", [value] * (MOST_FILES + 1))
    with pytest.raises(CheckpointError, match="record cannot be read"):
        Checkpoint.from_bytes(parts.written())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("files", None),
        ("sizes", None),
        ("sizes", []),
        ("sizes", [1, 2]),
        ("sizes", [-1]),
        ("sizes", [1.0]),
        ("sizes", [2**64]),
        ("sizes", ["1"]),
        ("files", [1]),
        ("files", "text.txt"),
        ("times", [1]),
    ],
)
def test_an_odd_record_is_damaged(key: str, value: object) -> None:
    written("text.txt")
    parts = Parts.of(counted("text.txt").to_bytes())
    put_at(parts.record, f"corpus.{key}", value)
    with pytest.raises(CheckpointError, match="record cannot be read"):
        Checkpoint.from_bytes(parts.written())
