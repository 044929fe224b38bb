"""The observer of training from Python: a progress bar in a notebook, nothing elsewhere."""

import sys
from typing import Any

from charlm.runs.step_report import Rollback, StepReport, bits_per_character
from charlm.training.loop import Observer, Silence


class NotebookBar:
    """A tqdm progress bar for a notebook cell, with the loss and the best validation loss in bits per character."""

    def __init__(self, first_step: int, total_steps: int) -> None:
        from tqdm.auto import tqdm  # noqa: PLC0415 - selects a notebook widget or text

        self._bar: Any = tqdm(total=total_steps, initial=first_step, unit="step", desc="training")
        self._best = ""

    def update(self, report: StepReport) -> None:
        """Advance the bar."""
        if report.best and report.validation_loss is not None:
            self._best = f", best validation {bits_per_character(report.validation_loss):.3f}"
        loss = f"{bits_per_character(report.train_loss):.3f} bits/char"
        self._bar.set_postfix_str(f"{loss}{self._best}", refresh=False)
        self._bar.update(report.step - self._bar.n)

    def show_sample(self, text: str) -> None:
        """Do nothing: samples are in the run's metrics and on its page."""

    def show_rollback(self, rollback: Rollback) -> None:
        """Move the bar back to the step of the rollback."""
        self._bar.n = rollback.step
        self._bar.refresh()

    def close(self) -> None:
        """Close the bar and leave it on display."""
        self._bar.close()


def observer_here(first_step: int, total_steps: int) -> Observer:
    """Return a progress bar in a notebook, and an observer that shows nothing elsewhere."""
    return NotebookBar(first_step, total_steps) if _in_notebook() else Silence()


def _in_notebook() -> bool:
    """Return whether this code runs in a Jupyter kernel, by the test of ``tqdm.autonotebook``."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config
