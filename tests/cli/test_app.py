"""The command line as a whole: its version, its help, and how it ends."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

import charlm as package
from tests.conftest import Run
from tests.harness.processes import COMMAND, ENVIRONMENT

pytestmark = pytest.mark.slow

COMMANDS = ("train", "sample", "inspect-hidden", "evaluate", "vocabulary", "config")


def test_the_version_is_the_package_s(charlm: Run) -> None:
    assert charlm("--version").stdout == f"charlm {package.__version__}\n"


def test_help_names_every_command_and_each_command_has_its_own(charlm: Run) -> None:
    whole = charlm("--help")
    assert whole.exit_code == 0
    for command in COMMANDS:
        assert f" {command} " in whole.stdout
        own = charlm(command, "-h")
        assert own.exit_code == 0
        assert f"charlm {command} " in own.stdout
        assert own.stdout == charlm(command, "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        "--help",
        "--version",
        "config init",
        "sample -c RUN --seed 1",
        "sample -c RUN --seed 1 --length 0 --prompt fox",
        "sample -c RUN --seed 1 --num-samples 2",
        "inspect-hidden -c RUN",
        "inspect-hidden -c RUN --format npz",
        "evaluate -c RUN",
        "vocabulary -c RUN",
    ],
)
def test_a_reader_that_went_away_ends_a_command_quietly(
    arguments: str, trained: dict[str, Path], tmp_path: Path
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run(
        [*COMMAND, *arguments.replace("RUN", str(trained["lstm"])).split()],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (process.returncode, process.stderr) == (0, b"")


def test_ctrl_c_ends_with_130_and_no_traceback(trained: dict[str, Path], tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "sample", "-c", str(trained["lstm"]), "--seed", "1", "--length", "100000000"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # What runs in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - there are no threads here
    )
    assert process.stdout is not None
    process.stdout.read(1)  # it is writing now
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == b""
