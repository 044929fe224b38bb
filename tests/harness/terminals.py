"""``charlm`` on a pseudo-terminal, forked from a server that has imported torch: cheaper than `run_on_terminal`."""

import os
import pty
import sys
import termios
from multiprocessing.connection import Connection
from pathlib import Path

from charlm.cli.app import main
from tests.harness.child import Child, Sender
from tests.harness.processes import ENVIRONMENT, SIZE, UNWANTED, read_all


def shown_on_terminal(folder: Path, *arguments: str) -> tuple[int, bytes]:
    """Run ``charlm`` in ``folder`` on a pseudo-terminal; return its exit code and all bytes that reached it."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, SIZE)
    terminal = Connection(theirs)
    with Child(_run, os.fsencode(folder), [os.fsencode(argument) for argument in arguments], terminal) as child:
        terminal.close()
        shown = read_all(ours)
        os.close(ours)
        code = child.join()
        message = child.receive()
    assert message is None, message  # a traceback
    assert code is not None, "it hangs"
    return code, shown


def _run(folder: bytes, arguments: list[bytes], terminal: Connection, _: Sender) -> None:
    os.login_tty(os.dup(terminal.fileno()))  # so that /dev/tty is this terminal, too
    terminal.close()
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)  # as at the start of a process
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    for name in UNWANTED:
        os.environ.pop(name, None)
    os.environ["TERM"] = ENVIRONMENT["TERM"]
    os.chdir(folder)
    sys.argv = ["charlm", *map(os.fsdecode, arguments)]
    main()
