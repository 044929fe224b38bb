"""How training is watched: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

import sys
import time

from tqdm import tqdm

from charlm.cli.display import printable, say
from charlm.runs.step_report import Rollback, StepReport, bits_per_character
from charlm.training.divergence import MOST_ROLLBACKS

_INTERVAL = 10.0
"""Seconds between plain lines, evaluations aside."""


class Bar:
    """A tqdm bar with loss, bits a character, speed and time left; for a terminal."""

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
        """Move the bar; print a line for an evaluation."""
        self._bar.set_postfix_str(
            f"loss {report.loss:.3f}  {bits_per_character(report.loss):.3f} bits/char  "
            f"{report.characters_per_second:,.0f} chars/s",
            refresh=False,
        )
        self._bar.update(report.step - self._bar.n)
        if report.validation_loss is not None:
            self._bar.write(line(report, None), file=sys.stderr)

    def show_sample(self, text: str) -> None:
        """Show what the model writes now, above the bar."""
        self._bar.write(f"{indented(text)}\n", file=sys.stderr)

    def show_rollback(self, rollback: Rollback) -> None:
        """Say so above the bar, and take the bar back too."""
        self._bar.write(warning(rollback), file=sys.stderr)
        self._bar.n = rollback.step

    def close(self) -> None:
        """Leave the bar as it stands, and go on below it."""
        self._bar.close()


class Lines:
    """One plain line at each evaluation, and every few seconds between; for logs."""

    def __init__(self, total_steps: int) -> None:
        self._total_steps = total_steps
        self._last = time.monotonic()

    def update(self, report: StepReport) -> None:
        """Print a line if it is time for one."""
        now = time.monotonic()
        if report.validation_loss is not None or now - self._last >= _INTERVAL:
            say(line(report, self._total_steps))
            self._last = now

    def show_sample(self, text: str) -> None:
        """Print what the model writes now."""
        say(indented(text))

    def show_rollback(self, rollback: Rollback) -> None:
        """Print a line about it."""
        say(warning(rollback))

    def close(self) -> None:
        """Do nothing: every line is whole."""


class Silence:
    """Nothing but warnings."""

    def update(self, report: StepReport) -> None:
        """Take no notice."""

    def show_sample(self, text: str) -> None:
        """Show nothing."""

    def show_rollback(self, rollback: Rollback) -> None:
        """Print a line about it: this is a warning."""
        say(warning(rollback))

    def close(self) -> None:
        """Do nothing."""


def line(report: StepReport, total_steps: int | None) -> str:
    """Return one line about a step; with ``total_steps``, the time left too."""
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
        f"charlm: WARNING: {rollback.reason}\ncharlm: WARNING: back to step {rollback.step:,}, at "
        f"{rollback.rate_factor:g} × the learning rate; this is rollback {rollback.count} of {MOST_ROLLBACKS}."
    )


def indented(text: str) -> str:
    """Return a sample set off from the lines around it."""
    return "\n".join(f"    | {row}" for row in printable(text).splitlines())
