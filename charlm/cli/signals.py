"""Signal handling of a training run.

SIGINT (Ctrl-C), SIGTERM    finish the step, save, exit       second time: exit at once; third: the default action
SIGUSR1                     finish the step, save, continue
"""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, Self

_STOPPING = (signal.SIGINT, signal.SIGTERM)


class Requests:
    """Context manager that records requests made by signals; the training loop checks them after every step."""

    def __init__(self) -> None:
        self.stop: signal.Signals | None = None
        """The signal that requested the end, if any."""
        self._save = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._ask_to_stop) for number in _STOPPING}
        self._before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._ask_to_save)
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
        if self.stop is not None:
            for stopping in _STOPPING:
                signal.signal(stopping, signal.SIG_DFL)
            raise SystemExit(exit_code(signal.Signals(number)))
        self.stop, self._save = signal.Signals(number), True
        if sys.stderr is not None:  # if it is closed, its descriptor may have been reused for a checkpoint
            with suppress(OSError):  # bypass Python's buffers, which the interrupted code may be using
                os.write(
                    sys.stderr.fileno(), b"\ncharlm: finishing this step and saving; a second signal stops at once.\n"
                )


def exit_code(number: signal.Signals) -> int:
    """Return the exit code that a shell reports for a process ended by this signal: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + number
