"""What many tests share: one thread, a small text, and models trained on it once."""

import signal
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest
import torch
import typer.testing
from hypothesis import HealthCheck, settings
from typer.testing import CliRunner, Result

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.cli.app import app
from charlm.config.settings import Config
from charlm.config.writing import resolved_yaml
from charlm.training.loop import Silence, run_loop
from charlm.training.start import prepare_training
from tests.harness.repetitions import set_endurance

torch.set_num_threads(1)  # tiny tensors lose time to a second thread
typer.testing._get_command = cache(typer.testing._get_command)  # else every call builds all commands anew
# A busy machine is not a failure. The gate draws the same examples each time, half as many as Hypothesis would;
# --endurance draws all of them, and --hypothesis-profile=explore others each time.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("endurance", settings.get_profile("explore"), derandomize=True)
settings.register_profile("steady", settings.get_profile("endurance"), max_examples=50)
settings.load_profile("steady")

TEXT = 'The fox said "come in" (twice).\nNobody laughed; 3 boats\tlay still.\n' * 12
"""A small text with quotes, parentheses, a digit, a tab and line ends."""

Run = Callable[..., Result]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--endurance``."""
    parser.addoption("--endurance", action="store_true", help="repeat long tests in full, not a tenth as often")


def pytest_configure(config: pytest.Config) -> None:
    """Choose how often long tests repeat, before they are collected; in every worker.

    A job in the background starts with signals that are ignored, and so would all that the tests start.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    set_endurance(config.getoption("endurance"))
    if config.getoption("endurance"):
        settings.load_profile("endurance")


@pytest.fixture
def charlm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs the command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, text: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, list(arguments), input=text)

    return run


def make_config(text: Path, directory: Path, *, kind: str = "lstm", **sections: dict[str, object]) -> Config:
    """Return a config that trains a tiny model on ``text`` within a second; sections overrule it."""
    tree: dict[str, dict[str, object]] = {
        "data": {"path": str(text)},
        "model": {"kind": kind, "hidden_size": 7, "num_layers": 2},
        "training": {"batch_size": 3, "sequence_length": 11, "steps": 8, "evaluate_every": 4, "evaluation_lanes": 2},
        "run": {"name": kind, "directory": str(directory)},
    }
    for name, values in sections.items():
        tree[name] = tree[name] | values
    return Config.model_validate(tree)


def lay_out(folder: Path, **sections: dict[str, object]) -> Path:
    """Put a text and ``tiny.yaml``, a config of `make_config`, into a folder to work in; return the folder."""
    (folder / "text.txt").write_text(TEXT, encoding="utf-8", newline="")
    config = make_config(Path("text.txt"), Path("runs"), **sections)
    (folder / "tiny.yaml").write_text(resolved_yaml(config), encoding="utf-8")
    return folder


def train(config: Config) -> tuple[Path, Checkpoint]:
    """Train to the end as the command does, but for the page; return the run's folder and its last full checkpoint."""
    with prepare_training(config, note=pytest.fail) as start:
        run = start.open_run()
        run_loop(start.trainer, run, observer=Silence())
    return run.path, start.trainer.checkpoint()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the run folders of an rnn, an lstm and a gru, by kind; tests must not write there."""
    folder = tmp_path_factory.mktemp("trained")
    text = folder / "text.txt"
    text.write_text(TEXT, encoding="utf-8", newline="")
    kinds: Sequence[str] = ("rnn", "lstm", "gru")
    return {kind: train(make_config(text, folder / "runs", kind=kind))[0] for kind in kinds}
