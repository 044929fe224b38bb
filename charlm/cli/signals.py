"""What signals ask of a training run; it is asked politely once, and stopped at once the second time.

SIGINT (Ctrl-C), SIGTERM    finish the step, save, end     second time: end now; third time: as the system does
SIGUSR1                     finish the step, save, go on
"""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, Self

_STOPPING = (signal.SIGINT, signal.SIGTERM)


class Requests:
    """Listens to signals while it is entered; whoever drives the training looks after every step."""

    def __init__(self) -> None:
        self.stop: signal.Signals | None = None
        """The signal that asked for the end, if one did."""
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
        """Return whether a signal has asked for the end."""
        return self.stop is not None

    def pop_save_request(self) -> bool:
        """Return whether a checkpoint was asked for since the last call."""
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
        if sys.stderr is not None:  # where it is closed, its number may be a checkpoint's by now
            with suppress(OSError):  # past Python's buffers, which may be in use at this very moment
                os.write(
                    sys.stderr.fileno(), b"\ncharlm: finishing this step and saving; the same again stops at once.\n"
                )


def exit_code(number: signal.Signals) -> int:
    """Return what a shell says of a process that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + number
