"""Progress of training: a bar on a terminal, plain lines elsewhere, only warnings with ``--quiet``."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from tqdm import tqdm

from charlm.cli.display import is_watched, printable, say
from charlm.runs.step_report import Rollback, StepReport, bits_per_character
from charlm.text.watching import reading_watched
from charlm.training.divergence import MOST_ROLLBACKS

_LONG = 2.0
"""Seconds that reading a text takes before its progress is shown."""
_INTERVAL = 10.0
"""Seconds between plain lines; evaluations are printed in addition."""


class Bar:
    """A tqdm bar with the loss, bits per character, speed and time left, for a terminal.

    When the terminal is gone, nothing more is shown, and training goes on.
    """

    def __init__(self, first_step: int, total_steps: int) -> None:
        self._bar = tqdm(
            total=total_steps,
            initial=first_step,
            file=sys.stderr,
            unit="step",
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt}{postfix}  {elapsed}<{remaining}",
        )

    def update(self, report: StepReport) -> None:
        """Advance the bar, and print a line for an evaluation."""
        with _while_watched(self._bar):
            self._bar.set_postfix_str(
                f"loss {report.loss:.3f}  {bits_per_character(report.loss):.3f} bits/char  "
                f"{report.characters_per_second:,.0f} chars/s",
                refresh=False,
            )
            self._bar.update(report.step - self._bar.n)
        if report.validation_loss is not None:
            self._write(line(report, None))

    def show_sample(self, text: str) -> None:
        """Print the model's current sample above the bar."""
        self._write(f"{indented(text)}\n")

    def show_rollback(self, rollback: Rollback) -> None:
        """Print a warning above the bar, and move the bar back."""
        self._write(warning(rollback))
        self._bar.n = rollback.step

    def close(self) -> None:
        """Close the bar, and continue on the line below it."""
        with _while_watched(self._bar):
            self._bar.close()

    def _write(self, text: str) -> None:
        with _while_watched(self._bar):
            if not self._bar.disable:
                self._bar.write(text, file=sys.stderr)


class Reading:
    """A bar while a text is read, on a terminal and when that takes long; nothing with ``quiet``."""

    def __init__(self, quiet: bool) -> None:
        self._bar = tqdm(
            desc="charlm: reading the text twice",
            file=sys.stderr,
            unit="B",
            unit_scale=True,
            leave=False,
            delay=_LONG,
            disable=quiet or not is_watched(),
        )

    def update(self, count: int) -> None:
        """Count the bytes that were read."""
        with _while_watched(self._bar):
            self._bar.update(count)

    def tell(self, sentence: str) -> None:
        """Print a sentence where the bar was."""
        with _while_watched(self._bar):
            self._bar.clear()
        say(f"charlm: {sentence}")

    def close(self) -> None:
        """Take the bar away."""
        with _while_watched(self._bar):
            self._bar.close()


@contextmanager
def reading_shown(quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show the progress of texts that are read in this block; yield a function that prints sentences beside it."""
    with closing(Reading(quiet)) as reading, reading_watched(reading.update):
        yield reading.tell


class Lines:
    """A plain line at each evaluation and every few seconds between them, for logs."""

    def __init__(self, total_steps: int) -> None:
        self._total_steps = total_steps
        self._last = time.monotonic()

    def update(self, report: StepReport) -> None:
        """Print a line if one is due."""
        now = time.monotonic()
        if report.validation_loss is not None or now - self._last >= _INTERVAL:
            say(line(report, self._total_steps))
            self._last = now

    def show_sample(self, text: str) -> None:
        """Print the model's current sample."""
        say(indented(text))

    def show_rollback(self, rollback: Rollback) -> None:
        """Print a warning."""
        say(warning(rollback))

    def close(self) -> None:
        """Do nothing: each line is already complete."""


class Silence:
    """Warnings only, for ``--quiet``."""

    def update(self, report: StepReport) -> None:
        """Do nothing."""

    def show_sample(self, text: str) -> None:
        """Do nothing."""

    def show_rollback(self, rollback: Rollback) -> None:
        """Print a warning."""
        say(warning(rollback))

    def close(self) -> None:
        """Do nothing."""


@contextmanager
def _while_watched(bar: "tqdm[Any]") -> Iterator[None]:
    """Disable the bar for good when it cannot be shown."""
    try:
        yield
    except OSError:
        bar.disable = True


def line(report: StepReport, total_steps: int | None) -> str:
    """Return a line that describes a step, with the time left if ``total_steps`` is given."""
    of_total = "" if total_steps is None else f"/{total_steps}"
    parts = [f"step {report.step}{of_total}", f"epoch {report.epoch:.2f}"]
    parts.append(f"loss {report.train_loss:.4f} ({bits_per_character(report.train_loss):.3f} bits/char)")
    if report.validation_loss is not None:
        bits = bits_per_character(report.validation_loss)
        parts.append(f"validation {report.validation_loss:.4f} ({bits:.3f} bits/char){' best' if report.best else ''}")
    parts.append(f"{report.characters_per_second:,.0f} chars/s")
    if total_steps is not None:
        left = report.seconds / report.step * (total_steps - report.step)
        parts.append(f"{left:,.0f} s left")
    return "  ".join(parts)


def warning(rollback: Rollback) -> str:
    """Return the lines that report a rollback."""
    return (
        f"charlm: WARNING: {printable(rollback.reason)}\ncharlm: WARNING: back to step {rollback.step:,}, at "
        f"{rollback.rate_factor:g} × the learning rate; this is rollback {rollback.count} of {MOST_ROLLBACKS}."
    )


def indented(text: str) -> str:
    """Return a sample with each line indented and prefixed."""
    return "\n".join(f"    | {row}" for row in printable(text).splitlines())
