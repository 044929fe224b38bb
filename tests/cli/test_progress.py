"""What training shows of a model's own text steers no terminal, and a terminal that is gone stops no training."""

import errno
import io
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from charlm.cli.progress import Bar, Lines
from charlm.runs.step_report import Rollback, StepReport


@pytest.mark.parametrize("progress", [lambda: Bar(0, 3), lambda: Lines(3)], ids=["bar", "lines"])
def test_a_sample_with_controls_is_shown_with_them_written_out(progress, capsys) -> None:
    watched = progress()
    watched.show_sample("a\x1b[2Jb\nc")
    watched.close()
    shown = capsys.readouterr().err
    assert "    | a\\x1b[2Jb\n    | c" in shown


class Terminal(io.StringIO):
    """A terminal that can be closed."""

    def __init__(self) -> None:
        super().__init__()
        self.code = 0
        self.attempts = 0

    def write(self, text: str) -> int:
        if self.code:
            self.attempts += 1
            raise OSError(self.code, os.strerror(self.code))
        return super().write(text)

    def isatty(self) -> bool:
        return True


STEPS = [StepReport(step, 0.1, 9, 2.0, 2.0, 0.01, 1.0, 9.0, 0.1, 2.0 if step % 2 else None) for step in (1, 2, 3, 4)]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENXIO, errno.EPIPE, errno.ENOSPC], ids=errno.errorcode.get)
def test_a_bar_on_a_terminal_that_is_gone_shows_nothing_more(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = Bar(0, len(STEPS))
    bar.update(STEPS[0])
    assert "validation 2.0000" in terminal.getvalue()

    terminal.code = code
    bar.update(STEPS[1])
    bar.show_sample("fox")
    attempts = terminal.attempts
    at_step_1: Any = SimpleNamespace(progress=SimpleNamespace(step=1))
    bar.show_rollback(Rollback("not finite", at_step_1, 1, 0.5))
    for report in STEPS[1:]:
        bar.update(report)
    bar.close()
    assert terminal.attempts == attempts

    terminal.code = 0
    bar.close()
    assert "fox" not in terminal.getvalue()
