"""A function in a process of its own that a test may kill.

The processes are children of a fork server that has imported torch once, so that each costs little. Every test process
has its own fork server. `charlm_process` builds on this to run the command line; `processes` starts a new Python
instead, and `sandbox` bounds memory and time.
"""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Self
from unittest import mock

TIMEOUT = 120.0
"""Seconds after which a child that sends nothing hangs."""

_CONTEXT = multiprocessing.get_context("forkserver")
_PRELOADED = ["charlm.cli.app", "charlm.training.start", "charlm.training.loop", "torch._dynamo"]
_PRELOADED += ["tests.reliability.test_kills", "tests.reliability.test_crashes"]


class Sender:
    """The child's end of a pipe to the test."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def send(self, message: str) -> None:
        """Send a message in one write, so that a kill leaves it whole or unsent."""
        self._pipe.send_bytes(message.encode())


class Child:
    """A process that runs ``target(*arguments, sender)``; it is killed when the block ends."""

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        _CONTEXT.set_forkserver_preload(_PRELOADED)
        with mock.patch.dict(os.environ, OMP_NUM_THREADS="1"):  # a process with threads must not fork
            forkserver.ensure_running()
        self._pipe, theirs = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_run, args=(target, arguments, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.last_message = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._pipe.close()
        self._process.close()

    def receive(self) -> str | None:
        """Wait for the next message and return it; None when the child has ended."""
        assert self._pipe.poll(TIMEOUT), f"the child hangs; its last message was {self.last_message!r}"
        try:
            self.last_message = self._pipe.recv_bytes().decode()
        except EOFError:
            return None
        return self.last_message

    def join(self, seconds: float = TIMEOUT) -> int | None:
        """Wait at most so long for the child to end by itself; return its exit code, or None if it still runs."""
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> bool:
        """Send SIGKILL and receive what was sent before; return whether the child died of it."""
        if self._process.exitcode is None:
            self._process.kill()
        self._process.join(TIMEOUT)
        while self.receive() is not None:
            pass
        return self._process.exitcode == -signal.SIGKILL


def _run(target: Callable[..., None], arguments: tuple[object, ...], pipe: Connection) -> None:
    sender = Sender(pipe)
    try:
        target(*arguments, sender)
    except Exception:
        sender.send(traceback.format_exc())
        raise SystemExit(1) from None
