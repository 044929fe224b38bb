"""scripts/prepare_data.py: loaded by its path, since scripts are no package; once run as a person runs it."""

import ast
import hashlib
import importlib.util
import inspect
import io
import os
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "prepare_data.py"
PLAY = "First Citizen:\nBefore we proceed — hear me.\n".encode()

MODULE = '''\
"""The module.

    Indented alike:

        an example, which stays deeper.
"""
async def late(): "Awaited."
class Zoo:
    """A class."""
    def first(self):
        """
        A method,
        in two lines.
        """
        "no docstring"
    def bare(self): pass
def escaped(): """An old \\d escape."""
'''
SOURCES = {
    "abc.py": MODULE,
    "json/__init__.py": "",
    "json/tool.py": 'def main(): "Ends without a line end."',
    "json-later.py": '"""No module of the library: its name is not one."""\n',
    "os.py": '\ufeff"""Begins with a mark; in UTF-8: é."""\r\n',
    "json/tests/test_tool.py": '"""A test."""\n',
    "idlelib/idle_test/test_run.py": '"""Another test."""\n',
    "site-packages/torch.py": '"""Installed beside."""\n',
    "re/_nul.py": '"""Binary: \0."""\n',
}

Main = Callable[..., int]


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prepare_data", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    for name, source in SOURCES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.encode())
    (folder / "re" / "_latin.py").write_bytes(b'"""Latin-1: \xe9."""\n')
    return folder


@pytest.fixture
def main(script: ModuleType, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Main:
    """Return a function that runs the script over the small library, in an empty folder, and without network."""
    (tmp_path / "here" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(script, "_library", lambda: library)
    monkeypatch.setattr(script, "SHAKESPEARE_SHA256", hashlib.sha256(PLAY).hexdigest())
    monkeypatch.setattr(script.urllib.request, "urlopen", no_network)

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["prepare_data.py", *arguments])
        with pytest.raises(SystemExit) as stop:
            script.main()
        return int(stop.value.code or 0)

    return run


def no_network(url: str, timeout: float) -> Any:
    raise urllib.error.URLError("no route to host")


def files() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


def test_docstrings_are_those_of_modules_classes_and_functions_in_order(main: Main) -> None:
    assert main("python-docs") == 0
    assert Path("data/python-docs.local.txt").read_text(encoding="utf-8") == (
        "The module.\n\nIndented alike:\n\n    an example, which stays deeper.\n\n"
        "Awaited.\n\nA class.\n\nA method,\nin two lines.\n\nAn old \\d escape.\n\n"
        "Ends without a line end.\n\nBegins with a mark; in UTF-8: é.\n"
    )


def test_sources_leave_out_tests_packages_and_what_is_no_text(main: Main) -> None:
    assert main("python-source") == 0
    assert (
        Path("data/python-source.local.txt").read_bytes()
        == (f"{MODULE}\n{SOURCES['json/tool.py']}\n\n" + '"""Begins with a mark; in UTF-8: é."""\n').encode()
    )


@pytest.mark.parametrize("most", [10, 150, 151, 928, 929, 10_000])
def test_the_limit_cuts_after_the_last_whole_line_within_it(script: ModuleType, most: int) -> None:
    texts = ["é" * size + "\n" for size in range(30)]
    whole = "\n".join(texts).encode()
    cut = script.joined(texts, most)
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n") and place < most]
    assert cut == whole[: max(ends)]


def test_megabytes_bound_the_bytes_and_a_smaller_text_begins_a_larger_one(
    main: Main, library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (library / "zlib.py").write_text("".join(f"row_{row} = {row}\n" for row in range(5000)), encoding="utf-8")
    contents = []
    for megabytes in ("0.01", "0.02"):
        assert main("python-source", "--megabytes", megabytes, "--output", f"{megabytes}.txt") == 0
        contents.append(Path(f"{megabytes}.txt").read_bytes())
    small, large = contents
    assert 9_900 < len(small) <= 10_000
    assert 19_900 < len(large) <= 20_000
    assert large.startswith(small)
    assert capsys.readouterr().out.startswith(f"0.01.txt: {len(small):,} bytes")


@pytest.mark.slow
def test_run_as_a_program_it_reads_its_own_interpreters_library(tmp_path: Path) -> None:
    output = tmp_path / "docs.txt"
    arguments = ["python-docs", "--megabytes", "0.05", "--output", str(output)]
    for _ in range(2):  # two processes hash strings differently; the text must not show it
        output.unlink(missing_ok=True)
        done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=True)
        text = output.read_text(encoding="utf-8")
        assert hashlib.sha256(text.encode()).hexdigest() in done.stdout
    first = sorted(name for name in sys.stdlib_module_names if name.startswith("__"))[0]
    source = Path(inspect.getsourcefile(__import__(first)) or "").read_text(encoding="utf-8")
    assert text.startswith(f"{ast.get_docstring(ast.parse(source))}\n\n")
    assert 49_000 < output.stat().st_size <= 50_000
    assert os.access(SCRIPT, os.X_OK)


@pytest.mark.parametrize("name", ["python-docs", "python-source", "shakespeare"])
def test_a_file_that_is_there_is_refused_and_kept(main: Main, capsys: pytest.CaptureFixture[str], name: str) -> None:
    kept = Path(f"data/{name}.local.txt")
    kept.write_text("mine", encoding="utf-8")
    assert main(name) == 2
    assert f"{kept}: this file already exists" in capsys.readouterr().err
    assert kept.read_text(encoding="utf-8") == "mine"
    assert files() == [str(kept)]


def test_shakespeare_is_taken_from_a_copy_byte_for_byte(main: Main, tmp_path: Path) -> None:
    copy = tmp_path / "copy.txt"
    copy.write_bytes(PLAY)
    assert main("shakespeare", "--from", str(copy)) == 0
    assert Path("data/shakespeare.local.txt").read_bytes() == PLAY


def test_shakespeare_is_downloaded(main: Main, script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(PLAY)

    monkeypatch.setattr(script.urllib.request, "urlopen", answer)
    assert main("shakespeare", "--output", "play.txt") == 0
    assert Path("play.txt").read_bytes() == PLAY
    assert asked == [script.SHAKESPEARE_URL]


@pytest.mark.parametrize("content", [b"", PLAY[:-1], PLAY + b"\n", PLAY.replace(b"F", b"G")])
def test_another_text_than_shakespeare_writes_nothing(
    main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    copy = tmp_path / "copy.txt"
    copy.write_bytes(content)
    assert main("shakespeare", "--from", str(copy)) == 2
    assert f"{copy}: not tiny shakespeare" in capsys.readouterr().err
    assert files() == []


def test_a_failed_download_names_the_way_out_in_one_line(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("shakespeare") == 1
    message = capsys.readouterr().err
    assert "no route to host" in message
    assert "--from FILE" in message
    assert message.count("\n") == 1
    assert files() == []


def test_a_missing_copy_a_missing_folder_and_a_missing_library_are_explained(
    main: Main, library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("shakespeare", "--from", "nowhere.txt") == 2
    assert main("python-docs", "--output", "nowhere/docs.txt") == 74
    for path in library.rglob("*.py"):
        path.unlink()
    assert main("python-docs") == 2
    messages = capsys.readouterr().err.splitlines()
    assert [message.split(": ")[1] for message in messages] == ["nowhere.txt", "nowhere/docs.txt", str(library)]
    assert files() == []
