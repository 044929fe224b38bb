"""The command line in child processes with bounded memory and time, for files that nobody should trust.

``python -m tests.harness.sandbox MODULE...`` imports the modules once and forks for every command that it reads; a
command that needs no torch is forked from a small process. `charlm_process` has no bounds, but can pause.
"""

import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from charlm.cli.app import main
from tests.harness.processes import Outcome

BOUND = 1 << 30
"""Bytes of address space that a command may allocate beyond what it has at its start. The longest header that charlm
reads has 16 MB, and JSON of empty lists grows thirtyfold in Python."""
LONGEST = 30
"""Seconds that a command may take; one that reads a valid file takes a tenth of a second."""
LONGEST_MESSAGE = 2000
"""Characters of one message on standard error."""
MOST_MESSAGES = 6

READING = [
    "charlm.checkpoint.checkpoint",
    "charlm.config.reading",
    "charlm.config.writing",
    "charlm.evaluation",
    "charlm.sampling",
]
READING += ["charlm.cli.trace_view", "charlm.inspection.trace", "charlm.text.corpus", "charlm.runs.lookup"]
READING += ["rich.console", "rich.table", "threadpoolctl"]
TRAINING = ["charlm.training.start", "charlm.training.loop", "charlm.training.plan", "torch._dynamo"]
"""The optimizer imports the last."""

_ROOT = Path(__file__).parents[2]


class Sandbox:
    """A process that has imported ``modules`` and forks for every command."""

    def __init__(self, modules: list[str]) -> None:
        command = [sys.executable, "-m", __name__, *modules]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}  # a process with threads must not fork
        self._process = subprocess.Popen(
            command, cwd=_ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(self, folder: Path, *arguments: str) -> Outcome:
        """Run the command line in ``folder``, whose neighbours ``.out`` and ``.err`` take its output."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        streams = [f"{folder}.{name}" for name in ("out", "err")]
        self._process.stdin.write(json.dumps([str(folder), streams, *arguments]) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return Outcome(code, *(Path(path).read_text("utf-8", errors="replace") for path in streams))

    def end(self) -> None:
        """End the process and wait for it."""
        self._process.communicate()


@contextmanager
def memory_bound(size: int) -> Iterator[None]:
    """Limit this process to so many bytes of address space beyond what it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def assert_refused(outcome: Outcome, code: int = 4) -> None:
    """Assert that the command failed with a message of charlm's and wrote nothing to standard output."""
    assert outcome.code == code, outcome
    assert outcome.stderr.startswith("charlm: "), outcome
    assert_messages_readable(outcome)
    assert outcome.stdout == ""


def assert_messages_readable(outcome: Outcome) -> None:
    """Assert that messages are few, short and printable, and neither a traceback nor a library's warning."""
    assert "Traceback" not in outcome.stderr, outcome
    assert "Warning" not in outcome.stderr, outcome
    assert all(character == "\n" or character.isprintable() for character in outcome.stderr), ascii(outcome.stderr)
    messages = outcome.stderr.split("\ncharlm: ")
    assert max(map(len, messages)) <= LONGEST_MESSAGE, outcome.stderr
    assert len(messages) <= MOST_MESSAGES, outcome.stderr


def serve_commands(modules: list[str]) -> None:
    """Read commands from standard input; answer each with its exit code."""
    for module in modules:
        importlib.import_module(module)
    gc.freeze()  # so that no child copies pages that it only reads
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            _run_bounded(*json.loads(line))
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


def _run_bounded(folder: str, streams: list[str], *arguments: str) -> NoReturn:
    for descriptor, path in enumerate([os.devnull, *streams]):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), descriptor)
    os.chdir(folder)
    sys.argv = ["charlm", *arguments]
    code = 1
    try:
        signal.alarm(LONGEST)
        with memory_bound(BOUND):
            main()
    except SystemExit as ending:
        code = int(ending.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve_commands(sys.argv[1:])
