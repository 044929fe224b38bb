"""The command line in a child process that pauses at chosen calls until the test has acted.

Built on `child`: forked from a server that has imported torch, so that hundreds of them are cheap.
"""

import importlib
import inspect
import itertools
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial, reduce, wraps
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from charlm import generation
from charlm.__main__ import main
from tests.harness.child import TIMEOUT, Child, Sender
from tests.harness.interruptions import SAMPLE_LENGTH
from tests.harness.processes import Outcome, read_all

STEP = "charlm.training.trainer:clip_gradient"
"""In the middle of a step: gradients are computed, weights not yet changed."""
EVALUATION = "charlm.training.trainer:Trainer.evaluate"
FSYNC = "os:fsync"
RENAME = "os:replace"
NEXT_CHARACTER = "charlm.models.recurrent:RecurrentModel.step"
READ_BACK = "charlm.checkpoint.checkpoint:Checkpoint.load"
TEXT_READ = "charlm.text.corpus:Corpus.read"

_PAUSED = "paused"


class CharlmProcess:
    """``charlm`` with these arguments in ``folder``; each of ``before`` is called in the process first.

    Standard error is a pipe unless a descriptor, such as a terminal's, is given.
    """

    def __init__(
        self, folder: Path, *arguments: str, before: Sequence["partial[None]"] = (), stderr: int | None = None
    ) -> None:
        resumed, self._resume = Pipe(duplex=False)
        self.out, out = Pipe(duplex=False)
        self._err, err = Pipe(duplex=False)
        if stderr is not None:
            err.close()
            err = Connection(stderr, readable=False)
        self._stderr = b""
        self._child = Child(_run, folder, arguments, tuple(before), resumed, out, err)
        for theirs in (resumed, out, err):
            theirs.close()
        self.pid = int(self._child.receive() or 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self._child.__exit__(*reason)
        for ours in (self._resume, self.out, self._err):
            ours.close()

    def wait_for_pause(self) -> Self:
        """Wait until it pauses."""
        message = self._child.receive()
        assert message == _PAUSED, f"it did not pause: {message or read_all(self._err.fileno()).decode()}"
        return self

    def resume(self) -> None:
        """Let it continue from where it pauses."""
        self._resume.send_bytes(b"continue")

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait_for_stderr(self, text: str) -> None:
        """Wait until it has written ``text`` to standard error."""
        while text.encode() not in self._stderr:
            assert select.select([self._err], [], [], TIMEOUT)[0], f"it hangs, having written {self._stderr!r}"
            piece = os.read(self._err.fileno(), 1 << 16)
            assert piece, f"it ended, having written {self._stderr!r}"
            self._stderr += piece

    def wait(self) -> Outcome:
        """Wait for it to end by itself."""
        message = self._child.receive()
        assert message is None, message  # it paused once more, or raised what is not an error of charlm
        code = self._child.join()
        assert code is not None, "it hangs"
        stderr = self._stderr + read_all(self._err.fileno())
        return Outcome(code, read_all(self.out.fileno()).decode(), stderr.decode())


def run_charlm(folder: Path, *arguments: str, before: Sequence["partial[None]"] = ()) -> Outcome:
    """Run ``charlm`` in a process of its own and wait for its end."""
    with CharlmProcess(folder, *arguments, before=before) as process:
        return process.wait()


def pause_at(place: str, call: int = 1) -> "partial[None]":
    """Return what makes a process pause before the function at ``place`` is called for that time."""
    return partial(call_before, place, call, _pause)


def call_before(
    place: str, call: int, action: Callable[[], None], patch: Callable[[Any, str, Any], None] = setattr
) -> None:
    """Call ``action`` before the function at ``place``, ``module:path.to.name``, is called for that time."""
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner: Any = reduce(getattr, owners, importlib.import_module(module))
    original = getattr(owner, name)
    calls = itertools.count(1)

    @wraps(original)
    def action_first(*arguments: Any, **options: Any) -> Any:
        if next(calls) == call:
            action()
        return original(*arguments, **options)

    patch(owner, name, staticmethod(action_first) if inspect.ismethod(original) else action_first)


_pipes: list[tuple[Sender, Connection]] = []
"""In the child: how it reports a pause, and learns that it may continue."""


def _pause() -> None:
    [(sender, resumed)] = _pipes
    sender.send(_PAUSED)
    try:
        resumed.recv_bytes()
    except EOFError:  # the test has ended
        os._exit(1)


def _run(
    folder: Path,
    arguments: tuple[str, ...],
    before: tuple["partial[None]", ...],
    resumed: Connection,
    out: Connection,
    err: Connection,
    sender: Sender,
) -> None:
    for pipe, descriptor in ((out, 1), (err, 2)):
        os.dup2(pipe.fileno(), descriptor)
        pipe.close()
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)  # as at the start of a process
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background would ignore it
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    os.chdir(folder)
    sys.argv = ["charlm", *arguments]
    generation._SAMPLE_LENGTH = SAMPLE_LENGTH  # as `Project` does, so that their runs can be compared
    _pipes.append((sender, resumed))
    for prepare in before:
        prepare()
    sender.send(str(os.getpid()))
    main()
