"""Signal handling of a training run.

SIGINT (Ctrl-C), SIGTERM    finish the step, save, exit       second time: exit at once; third: the default action
SIGHUP (terminal closed)    finish the step, save, exit       however often it comes
SIGUSR1                     finish the step, save, continue

A signal that the process ignored before, as SIGHUP under nohup and SIGINT in a script's background job, stays ignored.
"""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, Self

_URGENT = (signal.SIGINT, signal.SIGTERM)
"""Signals that stop at once when they come a second time.

Not SIGHUP: of one closed terminal both the shell and the kernel send it, and systemd sends it right after SIGTERM.
"""
_STOPPING = (*_URGENT, signal.SIGHUP)


class Requests:
    """Context manager that records requests made by signals; the training loop checks them after every step."""

    def __init__(self) -> None:
        self.stop: signal.Signals | None = None
        """The first signal that requested the end, if any."""
        self._save = False
        self._warned = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        handlers = dict.fromkeys(_STOPPING, self._ask_to_stop) | {signal.SIGUSR1: self._ask_to_save}
        self._before = {
            number: signal.signal(number, handler)
            for number, handler in handlers.items()
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def should_stop(self) -> bool:
        """Return whether a signal has requested the end."""
        return self.stop is not None

    def pop_save_request(self) -> bool:
        """Return whether a checkpoint was requested since the last call."""
        asked, self._save = self._save, False
        return asked

    def _ask_to_save(self, number: int, frame: FrameType | None) -> None:
        self._save = True

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        urgent = number in _URGENT
        if urgent and self._warned:
            self._stop_at_once(number)
        repeated, self._warned = self.stop is not None, self._warned or urgent  # before the answer, which invites more
        if not repeated:
            self.stop, self._save = signal.Signals(number), True
        if urgent or not repeated:
            _answer(b"; a second signal stops at once" if urgent else b"")

    def _stop_at_once(self, number: int) -> None:
        for urgent in self._before.keys() & _URGENT:
            signal.signal(urgent, signal.SIG_DFL)
        raise SystemExit(exit_code(signal.Signals(number)))


def _answer(warning: bytes) -> None:
    """Say on standard error that the request was received; bypasses Python's buffers, which may be in use."""
    if sys.stderr is not None:  # if it is closed, its descriptor may have been reused for a checkpoint
        with suppress(OSError):  # the terminal may be gone
            os.write(sys.stderr.fileno(), b"\ncharlm: finishing this step and saving%s.\n" % warning)


def exit_code(number: signal.Signals) -> int:
    """Return the exit code that a shell reports for a process ended by this signal: 129 for SIGHUP, 130 for Ctrl-C."""
    return 128 + number
