"""Processes that a test may kill: children of a fork server that has imported torch once, so that each costs little."""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Self
from unittest import mock

_CONTEXT = multiprocessing.get_context("forkserver")
_IMPORTED_ONCE = ["charlm.cli.app", "charlm.training.start", "charlm.training.loop", "torch._dynamo"]
_IMPORTED_ONCE += ["tests.reliability.test_kills", "tests.reliability.test_crashes"]
_LONGEST_WAIT = 120.0
"""Seconds after which a child that says nothing hangs."""


class Words:
    """The child's end of a pipe to the test."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def say(self, word: str) -> None:
        """Say it in one write, so that a kill leaves it whole or unsaid."""
        self._pipe.send_bytes(word.encode())


class Child:
    """A process that runs ``target(*arguments, words)``; it is dead when the block ends."""

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        _CONTEXT.set_forkserver_preload(_IMPORTED_ONCE)
        with mock.patch.dict(os.environ, OMP_NUM_THREADS="1"):  # a process with threads must not fork
            forkserver.ensure_running()
        self._pipe, theirs = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_run, args=(target, arguments, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.last = ""
        """The last word that was heard."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._pipe.close()
        self._process.close()

    def hear(self) -> str | None:
        """Return the next word, as soon as it is said; None when the child has ended."""
        assert self._pipe.poll(_LONGEST_WAIT), f"the child hangs; its last word was {self.last!r}"
        try:
            self.last = self._pipe.recv_bytes().decode()
        except EOFError:
            return None
        return self.last

    def end(self, seconds: float = _LONGEST_WAIT) -> int | None:
        """Wait for the child's own end, so long at most; return its exit code, if it came."""
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> bool:
        """Send SIGKILL and hear the last words; return whether that is what the child died of."""
        if self._process.exitcode is None:
            self._process.kill()
        self._process.join(_LONGEST_WAIT)
        while self.hear() is not None:
            pass
        return self._process.exitcode == -signal.SIGKILL


def _run(target: Callable[..., None], arguments: tuple[object, ...], pipe: Connection) -> None:
    words = Words(pipe)
    try:
        target(*arguments, words)
    except Exception:
        words.say(traceback.format_exc())
        raise SystemExit(1) from None
