"""What training shows of a model's own text steers no terminal, and a terminal that is gone stops no training."""

import errno
import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from charlm.cli import progress
from charlm.cli.progress import Bar, Lines, reading_shown
from charlm.config.settings import DataConfig
from charlm.runs.step_report import Rollback, StepReport
from charlm.text.corpus import Corpus


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


@pytest.fixture
def long_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    """Return a text that takes long enough to read: any does."""
    (tmp_path / "text.txt").write_text("the fox " * 1000, encoding="utf-8")
    monkeypatch.setattr(progress, "_LONG", 0.0)
    return DataConfig(path=(str(tmp_path / "text.txt"),))


def test_reading_a_long_text_is_shown_on_a_terminal_and_then_taken_away(
    long_text: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    counts = []
    monkeypatch.setattr(progress.Reading, "update", lambda self, count: counts.append(count) or self._bar.refresh())
    with reading_shown(quiet=False) as tell:
        Corpus.read(long_text)
        tell("a note")
    assert sum(counts) == 2 * 8000
    before, _, after = terminal.getvalue().partition("charlm: a note\n")
    assert "reading the text" in before
    assert before.endswith("\r")
    assert not after.strip()
    Corpus.read(long_text)
    assert sum(counts) == 2 * 8000


@pytest.mark.parametrize("quiet", [True, False])
def test_reading_is_not_shown_where_nobody_watches_or_wants_it(
    long_text: DataConfig, quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal() if quiet else io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    with reading_shown(quiet):
        Corpus.read(long_text)
    assert terminal.getvalue() == ""


def test_a_short_text_is_read_without_a_word(long_text: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LONG", 1e9)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with reading_shown(quiet=False):
        Corpus.read(long_text)
    assert terminal.getvalue() == ""


def test_a_terminal_that_is_gone_stops_no_reading(long_text: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with reading_shown(quiet=False):
        terminal.code = errno.EIO
        assert len(Corpus.read(long_text).ids) == 8000
