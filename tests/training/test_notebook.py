"""A notebook shows a bar; a plain Python process shows nothing."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import tqdm.auto

from charlm.runs.step_report import Rollback, StepReport
from charlm.training.loop import Silence
from charlm.training.notebook import NotebookBar, observer_here


class Bar:
    """Notes what a bar of tqdm is told."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.n: int = options["initial"]
        self.words: list[str] = []
        self.closed = False

    def update(self, count: int) -> None:
        self.n += count

    def set_postfix_str(self, words: str, refresh: bool = True) -> None:
        self.words.append(words)

    def refresh(self) -> None:
        self.words.append(f"at {self.n}")

    def close(self) -> None:
        self.closed = True


def report(step: int, validation_loss: float | None = None, *, best: bool = False) -> StepReport:
    return StepReport(step, 1.0, 100 * step, 0.7, 0.6931471805599453, 0.002, 1.0, 50.0, 2.0, validation_loss, best)


def in_a_notebook(monkeypatch: pytest.MonkeyPatch, config: dict[str, object] | None) -> None:
    shell = None if config is None else SimpleNamespace(config=config)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


@pytest.mark.parametrize("config", [None, {}, {"TerminalIPythonApp": 1}])
def test_outside_a_notebook_nothing_is_shown(config, monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_notebook(monkeypatch, config)
    assert isinstance(observer_here(0, 10), Silence)
    monkeypatch.delitem(sys.modules, "IPython")
    assert isinstance(observer_here(0, 10), Silence)


def test_in_a_notebook_a_bar_follows_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[Bar] = []
    monkeypatch.setattr(tqdm.auto, "tqdm", lambda **options: bars.append(Bar(**options)) or bars[-1])
    in_a_notebook(monkeypatch, {"IPKernelApp": {}})
    observer = observer_here(3, 10)
    (bar,) = bars
    observer.update(report(4))
    observer.update(report(5, 1.3862943611198906, best=True))
    observer.show_sample("The fox")
    at_step_4: Any = SimpleNamespace(progress=SimpleNamespace(step=4))
    observer.show_rollback(Rollback("loss nan", at_step_4, 1, 0.5))
    observer.close()

    assert isinstance(observer, NotebookBar)
    assert (bar.options["initial"], bar.options["total"]) == (3, 10)
    assert bar.words == ["1.000 bits/char", "1.000 bits/char, best validation 2.000", "at 4"]
    assert bar.closed
