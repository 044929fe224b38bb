"""The command line as a real process: with its own standard streams, or on a terminal."""

import json
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

COMMAND = (sys.executable, "-m", "charlm")
UNWANTED = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "COLORTERM", "PYTHONUNBUFFERED")
"""What would change the output, where the tests themselves run with it."""
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in UNWANTED} | {
    "OMP_NUM_THREADS": "1",
    "TERM": "xterm-256color",
}

SIZE = (30, 100)
"""Rows and columns of the pseudo-terminal."""


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
    """Run ``charlm`` in ``folder`` on a pseudo-terminal; return its exit code and all that it showed."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, SIZE)
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=ENVIRONMENT | (environment or {}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,  # what befalls this terminal is no business of ours
    )
    os.close(theirs)
    shown = b""
    while piece := _read(ours):
        shown += piece
    os.close(ours)
    return process.wait(timeout=120), shown.decode("utf-8").replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux says so when the last writer has gone
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


def check_torch_is_left_alone(folder: Path, lines: Sequence[Sequence[str]]) -> None:
    """Run these command lines in one process, and hold that all end well and none imports torch."""
    child = _run_python(folder, _WITHOUT_TORCH, json.dumps(lines))
    assert child.returncode == 0, child.stderr
    assert child.stderr.endswith("all done\n")


def told_without(package: str, folder: Path, lines: Sequence[Sequence[str]]) -> str:
    """Run these command lines in one process that lacks a package; return all messages, each with its exit code."""
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
        errors="replace",  # an archive is no text
        timeout=120,
        check=False,
    )
