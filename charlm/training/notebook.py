"""How training from Python is watched: a progress bar in a notebook, nothing elsewhere."""

import sys
from typing import Any

from charlm.runs.step_report import Rollback, StepReport, bits_per_character
from charlm.training.loop import Observer, Silence


class NotebookBar:
    """A tqdm bar for a notebook's cell, with the loss and the best validation loss in bits a character."""

    def __init__(self, first_step: int, total_steps: int) -> None:
        from tqdm.auto import tqdm  # noqa: PLC0415 - chooses between a notebook's widget and text

        self._bar: Any = tqdm(total=total_steps, initial=first_step, unit="step", desc="training")
        self._best = ""

    def update(self, report: StepReport) -> None:
        """Move the bar."""
        if report.best and report.validation_loss is not None:
            self._best = f", best validation {bits_per_character(report.validation_loss):.3f}"
        loss = f"{bits_per_character(report.train_loss):.3f} bits/char"
        self._bar.set_postfix_str(f"{loss}{self._best}", refresh=False)
        self._bar.update(report.step - self._bar.n)

    def show_sample(self, text: str) -> None:
        """Do nothing: the samples stand in the run's metrics and on its page."""

    def show_rollback(self, rollback: Rollback) -> None:
        """Take the bar back."""
        self._bar.n = rollback.step
        self._bar.refresh()

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


def observer_here(first_step: int, total_steps: int) -> Observer:
    """Return a bar where this is a notebook, and an observer that shows nothing elsewhere."""
    return NotebookBar(first_step, total_steps) if _in_notebook() else Silence()


def _in_notebook() -> bool:
    """Return whether a Jupyter kernel runs this code, told as ``tqdm.autonotebook`` tells it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config
