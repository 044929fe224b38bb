"""``charlm`` in a new Python process, as a shell starts it: redirected, on a terminal, or without a package.

Slower than `charlm_process`, and needed where interpreter start, standard streams or imports matter.
"""

import json
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COMMAND = (sys.executable, "-m", "charlm")
UNWANTED = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "COLORTERM", "PYTHONUNBUFFERED")
"""Variables of the test environment that would change the output."""
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in UNWANTED} | {
    "OMP_NUM_THREADS": "1",
    "TERM": "xterm-256color",
}

SIZE = (30, 100)
"""Rows and columns of the pseudo-terminal."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it wrote; a negative code is the signal that killed it."""

    code: int
    stdout: str
    stderr: str


def run_in_shell(
    folder: Path, *arguments: str, redirect: str, unbuffered: bool = False
) -> "subprocess.CompletedProcess[str]":
    """Run ``charlm`` in ``folder`` with a shell's redirection, such as ``>&-``, and wait for its end."""
    python, *rest = COMMAND
    script = f'exec "$0" "$@" {redirect}'
    return subprocess.run(
        ["/bin/sh", "-c", script, python, *rest, *arguments],
        cwd=folder,
        env=ENVIRONMENT | {"PYTHONUNBUFFERED": "1" if unbuffered else ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def run_on_terminal(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Run ``charlm`` in ``folder`` on a pseudo-terminal; return its exit code and all that it wrote."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, SIZE)
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=ENVIRONMENT | (environment or {}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,  # signals of this terminal must not reach the tests
    )
    os.close(theirs)
    shown = read_all(ours)
    os.close(ours)
    return process.wait(timeout=120), shown.decode("utf-8").replace("\r\n", "\n")


def read_all(descriptor: int) -> bytes:
    """Read until the other side is closed."""
    content = b""
    while piece := _read(descriptor):
        content += piece
    return content


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # Linux raises this on a terminal whose last writer has closed it
        return b""


_WITHOUT_TORCH = """
import json, sys
from charlm.cli.app import app

for arguments in json.loads(sys.argv[1]):
    try:
        app(arguments)
    except SystemExit as end:
        assert end.code == 0, (arguments, end.code)
    assert "torch" not in sys.modules, arguments
print("all done", file=sys.stderr)
"""
_WITHOUT_AN_EXTRA = """
import json, sys
sys.modules[sys.argv[2]] = None  # as where the extra was not installed
from charlm.cli.app import app

for arguments in json.loads(sys.argv[1]):
    try:
        app(arguments)
    except SystemExit as end:
        print("exit", end.code, file=sys.stderr)
"""


def assert_torch_not_imported(folder: Path, lines: Sequence[Sequence[str]]) -> None:
    """Run these command lines in one process, which must succeed without importing torch."""
    child = _run_python(folder, _WITHOUT_TORCH, json.dumps(lines))
    assert child.returncode == 0, child.stderr
    assert child.stderr.endswith("all done\n")


def stderr_without(package: str, folder: Path, lines: Sequence[Sequence[str]]) -> str:
    """Run these command lines in one process that lacks a package; return standard error with the exit codes."""
    child = _run_python(folder, _WITHOUT_AN_EXTRA, json.dumps(lines), package)
    assert child.returncode == 0, child.stderr
    return child.stderr


def _run_python(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
        errors="replace",  # an archive is not text
        timeout=120,
        check=False,
    )
