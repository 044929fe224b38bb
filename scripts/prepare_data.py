#!/usr/bin/env python3
"""Create a text to train on, from Python's standard library or from a download.

    scripts/prepare_data.py python-docs      data/python-docs.local.txt     English with names and examples
    scripts/prepare_data.py python-source    data/python-source.local.txt   Python code
    scripts/prepare_data.py shakespeare      data/shakespeare.local.txt     tiny shakespeare, 1.1 MB

The first two are made from the standard library of the Python that runs this script: the docstrings of its
modules, classes and functions, or its source files, sorted by path. The same Python version gives the same
text. Git ignores ``data/*.local.txt``; existing files are never overwritten.
"""

import ast
import hashlib
import http.client
import sys
import sysconfig
import urllib.request
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from charlm.errors import CharlmError, ConfigError, TextError
from charlm.whole_file import write_whole_file

SHAKESPEARE_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"

_TESTS = {"test", "tests", "idle_test"}
_PATIENCE = 60.0
"""Timeout of the download, in seconds."""

OutputOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="File to write. Default: data/NAME.local.txt.", show_default=False),
]
MegabytesOption = Annotated[float, typer.Option(min=0.01, help="Maximum size, in millions of bytes.")]
FromOption = Annotated[
    Path | None,
    typer.Option("--from", metavar="FILE", help="Use this copy instead of downloading one.", show_default=False),
]

app = typer.Typer(
    help="Create a text to train on: Python's docstrings, Python's source, or tiny shakespeare.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def python_docs(output: OutputOption = None, megabytes: MegabytesOption = 5.0) -> None:
    """Write the docstrings of this Python's standard library."""
    path = _new_file(output, "python-docs")
    _write(path, joined(docstrings(library_sources(_library())), int(megabytes * 1e6)))


@app.command()
def python_source(output: OutputOption = None, megabytes: MegabytesOption = 5.0) -> None:
    """Write the source files of this Python's standard library."""
    path = _new_file(output, "python-source")
    _write(path, joined(library_sources(_library()), int(megabytes * 1e6)))


@app.command()
def shakespeare(output: OutputOption = None, source: FromOption = None) -> None:
    """Write tiny shakespeare, downloaded or from a copy, after verifying its SHA-256."""
    path = _new_file(output, "shakespeare")
    content, name = (_download(), SHAKESPEARE_URL) if source is None else (_read(source), str(source))
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHAKESPEARE_SHA256:
        raise TextError(
            f"{name}: not tiny shakespeare; the SHA-256 of its {len(content):,} bytes is {digest}, "
            f"expected {SHAKESPEARE_SHA256}. Nothing was written."
        )
    _write(path, content)


def library_sources(library: Path) -> Iterator[str]:
    """Yield the text of the standard library's modules in ``library``, sorted by path.

    Tests, packages installed in the same folder, and files that are not UTF-8 or contain NUL are skipped.
    """
    paths = {path.relative_to(library): path for path in library.rglob("*.py")}
    for place in sorted(paths, key=Path.as_posix):
        if place.parts[0].removesuffix(".py") not in sys.stdlib_module_names or _TESTS.intersection(place.parts):
            continue
        try:
            text = paths[place].read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            continue
        if text and "\0" not in text:
            yield text if text.endswith("\n") else f"{text}\n"


def docstrings(sources: Iterable[str]) -> Iterator[str]:
    """Yield the docstrings of modules, classes and functions, in the order of each source."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for source in sources:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old sources contain escapes that newer Pythons warn about
            tree = ast.parse(source)
        nodes = [node for node in ast.walk(tree) if isinstance(node, documented)]
        for node in sorted(nodes, key=lambda node: getattr(node, "lineno", 0)):
            docstring = ast.get_docstring(node)  # cleaned by inspect.cleandoc
            if docstring:
                yield f"{docstring}\n"


def joined(texts: Iterable[str], most: int) -> bytes:
    """Return ``texts`` with a blank line between them, cut at the last line end within ``most`` bytes."""
    content = bytearray()
    for text in texts:
        content += b"\n" * bool(content) + text.encode()
        if len(content) > most:
            return bytes(content[: content.rfind(b"\n", 0, most) + 1])
    return bytes(content)


def _library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _new_file(output: Path | None, name: str) -> Path:
    """Return the path to write; raises ConfigError, before any work is done, if it exists."""
    path = output or Path("data", f"{name}.local.txt")
    if path.exists():
        raise ConfigError(f"{path}: this file already exists. Remove it, or name another with --output.")
    return path


def _download() -> bytes:
    try:
        with urllib.request.urlopen(SHAKESPEARE_URL, timeout=_PATIENCE) as response:
            content: bytes = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise CharlmError(
            f"cannot download {SHAKESPEARE_URL} ({getattr(error, 'reason', None) or error}); "
            "download it another way and name the copy with --from FILE."
        ) from error
    return content


def _read(source: Path) -> bytes:
    try:
        return source.read_bytes()
    except OSError as error:
        raise TextError(f"{source}: cannot read this file ({error.strerror}).") from error


def _write(path: Path, content: bytes) -> None:
    if not content:
        raise TextError(f"{_library()}: this Python has no sources of its standard library. Use another one.")
    write_whole_file(path, content)
    print(f"{path}: {len(content):,} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")


def main() -> None:
    """Run the command line; print errors on standard error and exit with their exit code."""
    try:
        app()
    except CharlmError as error:
        print(f"prepare_data: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
