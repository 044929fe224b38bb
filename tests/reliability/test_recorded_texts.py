"""A stranger's checkpoint names files: no command searches for them, waits for them or reads without end.

Commands run in `tests.harness.sandbox`, within its bounds of memory and time.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TEXT
from tests.harness.handmade import Parts, put_at
from tests.harness.processes import Outcome
from tests.harness.repetitions import pairs
from tests.harness.sandbox import READING, TRAINING, Sandbox, assert_messages_readable, assert_refused

pytestmark = pytest.mark.slow

Command = Callable[..., Outcome]
CONFIG = """\
data: {path: text.txt}
model: {hidden_size: 5}
training: {batch_size: 3, sequence_length: 11, steps: 8, evaluate_every: 4, evaluation_lanes: 2, device: cpu}
run: {name: tiny}
"""
BEST = Path("runs/tiny/best.safetensors")
HOSTILE = "hostile.safetensors"
COMMANDS = {
    "evaluate": ("evaluate", "--checkpoint", HOSTILE),
    "baselines": ("evaluate", "--checkpoint", HOSTILE, "--file", "text.txt", "--baselines"),
    "inspect-hidden": ("inspect-hidden", "--checkpoint", HOSTILE),
    "inspect-gradients": ("inspect-gradients", "--checkpoint", HOSTILE, "--lags", "5"),
    "novelty": ("sample", "--checkpoint", HOSTILE, "--novelty", "--seed", "1", "--length", "20"),
}
"""All commands that read the text that a model was trained on."""
SHORT = 10
"""Seconds that a refusal may take on a busy machine."""


@pytest.fixture(scope="module")
def run() -> Iterator[Command]:
    """Return a function that runs a command in a folder, in a sandbox."""
    reading, training = Sandbox(READING), Sandbox(READING + TRAINING)

    def run(folder: Path, *arguments: str) -> Outcome:
        return (training if arguments[0] in ("train", "inspect-gradients") else reading).run(folder, *arguments)

    yield run
    reading.end()
    training.end()


@pytest.fixture(scope="module")
def template(run: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "template"
    folder.mkdir()
    (folder / "text.txt").write_bytes(TEXT.encode())
    (folder / "tiny.yaml").write_text(CONFIG, encoding="utf-8")
    assert run(folder, "train", "--config", "tiny.yaml", "--quiet").code == 0
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path / "here")
    return tmp_path / "here"


def hostile(folder: Path, names: list[str], sizes: list[Any] | None) -> None:
    """Write a checkpoint of a text of these names: of today's format with sizes, or of an older one."""
    parts = Parts.of((folder / BEST).read_bytes())
    put_at(parts.record, "config.data.path", names)
    put_at(parts.record, "corpus.path", names)
    for key, values in (("files", names), ("sizes", sizes)):
        put_at(parts.record, f"corpus.{key}", values) if sizes is not None else parts.record["corpus"].pop(key)
    (folder / HOSTILE).write_bytes(parts.written())


def refused(run: Command, folder: Path, command: str, codes: tuple[int, ...] = (2,)) -> Outcome:
    began = time.monotonic()
    outcome = run(folder, *COMMANDS[command])
    assert time.monotonic() - began < SHORT
    assert outcome.code in codes, outcome
    assert_refused(outcome, outcome.code)
    return outcome


TEXTS: dict[str, list[str]] = {
    "every file there is": ["/**/*"],
    "the kernel's messages": ["/proc/kmsg"],
    "the kernel's memory": ["/proc/kcore"],
    "zeros without end": ["/dev/zero"],
    "a pipe": ["pipe"],
    "the terminal": ["/dev/stdin"],
    "a link in a circle": ["circle"],
    "a file of a hundred gigabytes": ["sparse"],
    "one file very often": ["text.txt"] * 500_000,
    "very many files": [f"/{index:x}" for index in range(200_000)],
    "a name without an end": ["x" * 5_000_000],
}


@pytest.mark.parametrize(("command", "name"), pairs(list(COMMANDS), list(TEXTS)))
@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "older"])
def test_a_hostile_text_is_refused_at_once(run: Command, recorded: bool, name: str, command: str, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "circle").symlink_to("circle")
    with (folder / "sparse").open("wb") as file:
        file.truncate(100 << 30)
    names = TEXTS[name]
    sizes = [10**14 if len(names) == 1 else len(TEXT)] * len(names) if recorded else None
    if name == "a file of a hundred gigabytes" and not recorded:
        (folder / "sparse").unlink()  # an older checkpoint records no size that could differ
    hostile(folder, names, sizes)
    refused(run, folder, command, (2, 4))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_recorded_text_is_read_from_anywhere(run: Command, command: str, folder: Path, tmp_path: Path) -> None:
    """So that what is refused above is refused for what was changed."""
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(folder / BEST, tmp_path / "elsewhere" / HOSTILE)
    (tmp_path / "elsewhere/text.txt").write_bytes(TEXT[:99].encode())
    outcome = run(tmp_path / "elsewhere", *COMMANDS[command])

    assert outcome.code == 0, outcome
    assert_messages_readable(outcome)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_text_that_was_moved_is_read_where_the_user_says(run: Command, command: str, folder: Path) -> None:
    hostile(folder, [str(folder / "text.txt")], [len(TEXT)])
    (folder / "own").mkdir()
    arguments = [argument.replace("text.txt", "own/few.txt") for argument in COMMANDS[command]]
    (folder / "own/few.txt").write_bytes(TEXT[:99].encode())
    before = run(folder, *arguments)
    (folder / "moved").mkdir()
    (folder / "text.txt").rename(folder / "moved/old.txt")
    lost = run(folder, *arguments)
    found = run(folder, *arguments, "--corpus", "moved/*.txt")
    other = run(folder, *arguments, "--corpus", "own/few.txt")

    assert before.code == 0, before
    assert_refused(lost, 2)
    assert "name its files with --corpus" in lost.stderr
    assert found == before
    assert_refused(other, 2)
    assert other.stderr.startswith(
        "charlm: --corpus: own/few.txt: this is not, or no longer, the text that the model was trained on."
    )


def test_a_run_in_a_folder_that_was_moved_is_resumed_and_then_read_there(run: Command, folder: Path) -> None:
    arguments = ("train", "--config", "tiny.yaml", "--quiet")
    assert run(folder, *arguments, "--name", "new").code == 0
    moved = folder.with_name("moved")
    folder.rename(moved)
    evaluate = ("evaluate", "--checkpoint", "runs/new/step-00000008.safetensors")
    before = run(moved, *evaluate)
    assert before.code == 2
    assert f"{folder / 'text.txt'}: no such file. text.txt in this folder may be the same text" in before.stderr
    assert run(moved, "evaluate", "--checkpoint", "new", "--file", "text.txt").code == 0

    resumed = run(moved, *arguments, "--name", "new", "--resume", "--set", "training.steps=12")
    assert resumed.code == 0, resumed
    assert run(moved, "evaluate", "--checkpoint", "runs/new/step-00000012.safetensors").code == 0
