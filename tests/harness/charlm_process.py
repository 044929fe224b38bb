"""``charlm`` in a process of its own that stops at chosen places and waits there until the test has acted."""

import importlib
import inspect
import itertools
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce, wraps
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from charlm.cli.app import main
from tests.harness.forked import Child, Words

STEP = "charlm.training.trainer:clip_gradient"
"""In the midst of a step: the gradient is there, the weights are as they were."""
EVALUATION = "charlm.training.trainer:Trainer.evaluate"
FSYNC = "os:fsync"
RENAME = "pathlib:Path.replace"
NEXT_CHARACTER = "charlm.models.recurrent:RecurrentModel.step"
READ_BACK = "charlm.checkpoint.checkpoint:Checkpoint.load"
TEXT_READ = "charlm.text.corpus:Corpus.read"

_LONGEST_WAIT = 120.0
_PAUSED = "paused"


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it said."""

    code: int
    stdout: str
    stderr: str


class CharlmProcess:
    """``charlm`` with these arguments, in that folder; ``before`` is called in the process first.

    Standard error is a pipe unless a descriptor, such as a terminal's, is given.
    """

    def __init__(
        self, folder: Path, *arguments: str, before: Sequence["partial[None]"] = (), stderr: int | None = None
    ) -> None:
        go, self._go = Pipe(duplex=False)
        self.out, out = Pipe(duplex=False)
        self._err, err = Pipe(duplex=False)
        if stderr is not None:
            err.close()
            err = Connection(stderr, readable=False)
        self._heard = b""
        self._child = Child(_run, folder, arguments, tuple(before), go, out, err)
        for theirs in (go, out, err):
            theirs.close()
        self.pid = int(self._child.hear() or 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self._child.__exit__(*reason)
        for ours in (self._go, self.out, self._err):
            ours.close()

    def pauses(self) -> Self:
        """Wait until it has come to the next place where it was told to pause."""
        word = self._child.hear()
        assert word == _PAUSED, f"it did not come there: {word or read_all(self._err.fileno()).decode()}"
        return self

    def go_on(self) -> None:
        """Let it go on from where it pauses."""
        self._go.send_bytes(b"go")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def says(self, text: str) -> None:
        """Wait until it has said so on standard error."""
        while text.encode() not in self._heard:
            assert select.select([self._err], [], [], _LONGEST_WAIT)[0], f"it hangs, having said {self._heard!r}"
            piece = os.read(self._err.fileno(), 1 << 16)
            assert piece, f"it ended, having said {self._heard!r}"
            self._heard += piece

    def ends(self) -> Ended:
        """Wait for its own end."""
        word = self._child.hear()
        assert word is None, word  # it paused once more, or it has met with what is no mistake of the user
        code = self._child.end()
        assert code is not None, "it hangs"
        return Ended(code, read_all(self.out.fileno()).decode(), (self._heard + read_all(self._err.fileno())).decode())


def run_charlm(folder: Path, *arguments: str, before: Sequence["partial[None]"] = ()) -> Ended:
    """Let ``charlm`` run to its end in a process of its own."""
    with CharlmProcess(folder, *arguments, before=before) as actor:
        return actor.ends()


def read_all(descriptor: int) -> bytes:
    """Read until the other side is closed."""
    content = b""
    while piece := _read(descriptor):
        content += piece
    return content


def pause_at(place: str, call: int = 1) -> "partial[None]":
    """Return what makes an actor pause each time it comes there for that time."""
    return partial(at, place, call, _pause)


def at(place: str, call: int, then: Callable[[], None], patch: Callable[[Any, str, Any], None] = setattr) -> None:
    """Call ``then`` before the function at ``place``, ``module:path.to.name``, is called for that time."""
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner: Any = reduce(getattr, owners, importlib.import_module(module))
    original = getattr(owner, name)
    calls = itertools.count(1)

    @wraps(original)
    def first_then(*arguments: Any, **options: Any) -> Any:
        if next(calls) == call:
            then()
        return original(*arguments, **options)

    patch(owner, name, staticmethod(first_then) if inspect.ismethod(original) else first_then)


_cues: list[tuple[Words, Connection]] = []
"""In the actor's process: how it says that it pauses, and hears that it may go on."""


def _pause() -> None:
    [(words, go)] = _cues
    words.say(_PAUSED)
    try:
        go.recv_bytes()
    except EOFError:  # the test has gone
        os._exit(1)


def _run(
    folder: Path,
    arguments: tuple[str, ...],
    before: tuple["partial[None]", ...],
    go: Connection,
    out: Connection,
    err: Connection,
    words: Words,
) -> None:
    for pipe, descriptor in ((out, 1), (err, 2)):
        os.dup2(pipe.fileno(), descriptor)
        pipe.close()
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)  # as at the start of a process
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background would ignore it
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    os.chdir(folder)
    sys.argv = ["charlm", *arguments]
    _cues.append((words, go))
    for prepare in before:
        prepare()
    words.say(str(os.getpid()))
    main()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # what Linux says of a terminal when the last writer has gone
        return b""
