"""A number past all reason gets one sentence, neither a traceback nor all of the memory."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from charlm.cli.app import app
from tests.conftest import Run

APPS = [group.typer_instance for group in app.registered_groups if group.typer_instance]
BASES = {
    "sample": ("--length", "2"),
    "evaluate": ("--file", "text.txt"),
    "inspect-hidden": ("--text", "The"),
    "inspect-gradients": ("--text", "The"),
}
"""What each command with counts needs besides them and a checkpoint."""
ABSURD = ["1" + "0" * 21, str(2**63), "-1", "9" * 5000]


def counts() -> Iterator[tuple[str, str]]:
    """Yield each option that takes an integer, with its command."""
    for command in [*app.registered_commands, *(each for group in APPS for each in group.registered_commands)]:
        assert command.callback is not None
        for name, parameter in inspect.signature(command.callback).parameters.items():
            kind, option, *_ = get_args(parameter.annotation)
            if "int" in re.findall(r"\w+", str(kind) if get_args(kind) else kind.__name__):
                yield str(command.name), next(iter(option.param_decls or ()), f"--{name.replace('_', '-')}")


def test_every_command_with_counts_is_tried() -> None:
    assert {name for name, _ in counts()} == BASES.keys()
    assert ("sample", "--top-k") in counts()


@pytest.mark.parametrize(("command", "option"), [*counts()])
@pytest.mark.parametrize("value", ABSURD, ids=["10**21", "2**63", "-1", "5000 digits"])
def test_an_absurd_count_is_refused_in_words(
    command: str, option: str, value: str, charlm: Run, trained: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("The fox said", encoding="utf-8")
    result = charlm(command, "-c", str(trained["lstm"]), *BASES[command], option, value)

    assert result.exit_code == 2, (result.stderr, result.exception)
    assert option in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--num-samples", "1000000000"),
        ("--num-samples", "100000"),
        ("--length", "1000000000", "--json"),
        ("--length", "10000001", "--novelty"),
        ("--length", "5000001", "--num-samples", "2"),
    ],
    ids=" ".join,
)
def test_texts_that_are_kept_whole_have_a_bound(options: tuple[str, ...], charlm: Run, lstm: str) -> None:
    result = charlm("sample", "-c", lstm, *options)

    assert result.exit_code == 2, (result.stderr, result.exception)
    assert options[0] in result.stderr
    assert result.stdout == ""


@pytest.fixture
def lstm(trained: dict[str, Path]) -> str:
    return str(trained["lstm"])


def test_many_short_texts_are_within_it(charlm: Run, lstm: str) -> None:
    result = charlm("sample", "-c", lstm, "--seed", "1", "--length", "1", "--num-samples", "2000")
    assert result.exit_code == 0
    assert result.stdout.count("\n----\n") == 1999


def test_the_largest_seed_is_that_of_a_config(charlm: Run, lstm: str) -> None:
    assert charlm("sample", "-c", lstm, "--length", "3", "--seed", str(2**63 - 1)).exit_code == 0
