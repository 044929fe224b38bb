"""`training.threads` holds from the first weight to the last sample, is recorded, and is undone afterwards."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch

import charlm as package
from charlm.errors import ConfigError
from charlm.models.network import RecurrentNetwork
from charlm.training.threads import computing_threads
from charlm.training.trainer import Trainer
from tests.conftest import make_config
from tests.harness.interruptions import Project


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Hold that nothing in this file changes the process for what comes after it."""
    assert torch.get_num_threads() == 1
    yield
    assert torch.get_num_threads() == 1


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[int]]:
    """Return the numbers of threads at the moments of training, by moment."""
    numbers: dict[str, set[int]] = {}

    def watch(kind: type, name: str) -> None:
        original = getattr(kind, name)

        def watched(*arguments: object, **named: object) -> object:
            numbers.setdefault(name, set()).add(torch.get_num_threads())
            return original(*arguments, **named)

        monkeypatch.setattr(kind, name, watched)

    for kind, name in ((Trainer, "__init__"), (Trainer, "evaluate"), (Trainer, "checkpoint")):
        watch(kind, name)
    watch(RecurrentNetwork, "forward")
    return numbers


def test_in_python_it_holds_for_all_of_training_and_no_longer(project, seen) -> None:
    run = package.train(config=make_config(project.text, project.runs, training={"threads": 2, "device": "cpu"}))

    assert seen == {name: {2} for name in ("__init__", "evaluate", "checkpoint", "forward")}
    assert run.model().checkpoint.versions["threads"] == "2"


def test_on_the_command_line_too(project, seen) -> None:
    project.finished("tale", {"training.threads": 2})

    assert seen == {name: {2} for name in ("__init__", "evaluate", "checkpoint", "forward")}
    assert project.newest("tale").versions["threads"] == "2"


def test_null_leaves_it_to_torch(project, seen) -> None:
    project.finished("tale", {"training.threads": None})

    assert set.union(*seen.values()) == {1}


def test_it_is_undone_when_training_fails(project) -> None:
    sections = {"training": {"threads": 2, "batch_size": 500}}
    with pytest.raises(package.TextError):
        package.train(config=make_config(project.text, project.runs, **sections))


def test_it_is_undone_when_the_block_raises() -> None:
    with suppress(KeyError), computing_threads(2):
        assert torch.get_num_threads() == 2
        raise KeyError


def test_the_plan_says_it(project) -> None:
    assert "threads            2\n" in project.train("tale", {"training.threads": 2}, "--dry-run").stdout
    assert "threads            1, chosen by torch\n" in project.train("tale", {}, "--dry-run").stdout


@pytest.mark.slow
def test_a_run_that_goes_on_with_another_number_says_so(project) -> None:
    project.interrupted("tale", {"training.threads": 2}, 5, "asked to stop")

    result = project.train("tale", {"training.threads": 1}, "--resume")

    assert result.exit_code == 0, result.output
    assert "training.threads  2 → 1  (may change)" in result.stderr
    assert "threads was 2, is 1" in result.stderr


def test_counting_uses_no_threads() -> None:
    with pytest.raises(ConfigError, match="leave threads at the default"):
        package.Config.model_validate({"data": {"path": "a"}, "model": {"kind": "markov"}, "training": {"threads": 2}})
