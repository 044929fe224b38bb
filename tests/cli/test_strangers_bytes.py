"""Nothing that a model, a text or a file's name contains steers a terminal, on any path of any command.

Each command runs on a pseudo-terminal over a hostile model, in a folder and with files of hostile names.
"""

import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from charlm.cli.app import app
from tests.harness.terminals import shown_on_terminal

STEERING = "\x1b]0;pwned\x07\x1b[5m\x9b5m\x9d0;pwned\x9c\u202egnp\u2066\u200f\u061c\u2028\x85\x7f\x08\x0b"
"""A window's title, blinking in C0 and C1, text from right to left, and line ends of other systems."""
TEXT = "".join(f'The {STEERING[start:]}fox said "{STEERING[: start + 5]}".\n' for start in range(len(STEERING))) * 2
NAME = "\x1b]0;pwned\x07\x1b[5m\x9b5m\u202e"
BAD = NAME + os.fsdecode(b"\xff")
"""A name that is not UTF-8, either."""
CONFIG = r"""
data: {{path: "{path}"}}
model: {model}
training: {training}
run: {{name: {name}, directory: "{directory}"}}
"""
PATH = NAME.encode("unicode_escape").decode()
RECURRENT = "{batch_size: 2, sequence_length: 9, steps: 2, evaluation_lanes: 2, device: cpu}"
CONFIGS = {
    "markov": {"model": "{kind: markov, order: 3}", "training": "{evaluation_lanes: 2}"},
    "lstm": {"model": "{hidden_size: 4, num_layers: 1}", "training": RECURRENT},
}
MARKOV, LSTM = f"runs/markov{BAD}", f"runs/lstm{BAD}"
LINES: dict[str, list[list[str]]] = {
    "": [
        [NAME],
        [f"--{BAD}"],
        ["sample", f"--{BAD}"],
        ["sample", BAD],
        ["sample", "--length", NAME],
        ["runs", BAD],
        ["evaluate", "--split", NAME],
    ],
    "train": [
        ["--config", f"markov{BAD}.yaml", "--dry-run"],
        ["--config", f"markov{BAD}.yaml"],
        ["--config", f"lstm{BAD}.yaml", "--dry-run"],
        ["--config", f"lstm{BAD}.yaml"],
        ["--config", f"lstm{BAD}.yaml", "--set", "run.keep=3", "--resume"],
        ["--config", f"lstm{BAD}.yaml", "--name", NAME],
        ["--config", f"lstm{BAD}.yaml", "--set", f"data.path={BAD}.txt"],
        ["--config", f"missing{BAD}"],
        ["--resume", "--name", BAD],
        ["--resume", "--set", f"run.directory={BAD}"],
        ["--config", f"lstm{BAD}.yaml", "--init-from", BAD],
    ],
    "sample": [
        ["-c", MARKOV, "--seed", "1", "--length", "900"],
        ["-c", MARKOV, "--length", "900"],
        ["-c", MARKOV, "--seed", "1", "--num-samples", "3"],
        ["-c", MARKOV, "--seed", "1", "--json"],
        ["-c", MARKOV, "--seed", "1", "--novelty"],
        ["-c", MARKOV, "--seed", "1", "--novelty", "--json"],
        ["-c", MARKOV, "--next", "20"],
        ["-c", MARKOV, "--next", "20", "--json"],
        ["-c", LSTM, "--seed", "1", "--temperature", "9"],
        ["-c", LSTM, "--prompt", f"The {STEERING}"],
        ["-c", LSTM, "--prompt-file", f"{BAD}.txt", "--length", "9", "--seed", "1"],
        ["-c", LSTM, "--prompt", BAD],
        ["-c", BAD],
        ["-c", LSTM, "--clamp", NAME],
    ],
    "evaluate": [
        ["-c", MARKOV],
        ["-c", MARKOV, "--file", f"{BAD}.txt"],
        ["-c", MARKOV, "--file", f"{BAD}.txt", "--baselines"],
        ["-c", MARKOV, "--file", f"{BAD}.txt", "--json"],
        ["-c", MARKOV, "--file", f"{BAD}.txt", "--per-character"],
        ["-c", MARKOV, "--file", BAD],
        ["-c", MARKOV, "--file", f"lstm{BAD}.yaml", "--skip-unknown"],
        ["-c", MARKOV, "--corpus", f"{BAD}.txt"],
        ["-c", MARKOV, "--corpus", f"lstm{BAD}.yaml"],
        ["-c", MARKOV, "--corpus", f"{BAD}*"],
    ],
    "vocabulary": [
        ["--file", f"{BAD}.txt"],
        ["--file", f"{BAD}.txt", "--json"],
        ["-c", MARKOV, "--text", STEERING],
        ["-c", MARKOV, "--text", STEERING, "--json"],
        ["-c", MARKOV, "--text", "\u2067"],
        ["--file", BAD],
    ],
    "inspect-hidden": [
        ["-c", LSTM, "--file", f"{BAD}.txt"],
        ["-c", LSTM, "--text", STEERING],
        *(["-c", LSTM, "--file", f"{BAD}.txt", "--format", name] for name in ("csv", "json", "html")),
        ["-c", LSTM, "--file", f"{BAD}.txt", "--find", "all"],
        ["-c", LSTM, "--file", f"{BAD}.txt", "--find", "\x9d0|\u202e"],
        ["-c", LSTM, "--file", f"{BAD}.txt", "--find", "\x9d0|\u202e", "--ablate", "0:1"],
        ["-c", LSTM, "--file", f"{BAD}.txt", "--find", "\x9d0|\u202e", "--format", "json"],
        ["-c", LSTM, "--unit", NAME],
        ["-c", LSTM, "--text", "The", "--output", f"{NAME}/missing"],
        ["-c", LSTM, "--text", STEERING, "--format", "csv", "--output", "tty"],
        ["-c", LSTM, "--text", STEERING, "--format", "csv", "--output", "/proc/self/fd/1"],
        *(["-c", LSTM, "--text", "The", "--format", "npz", "--output", name] for name in ("/proc/self/fd/1", "tty")),
    ],
    "inspect-gradients": [
        ["-c", LSTM, "--lags", "3"],
        ["-c", LSTM, "--lags", "3", "--file", f"{BAD}.txt", "--config", f"lstm{BAD}.yaml"],
        *(["-c", LSTM, "--lags", "3", "--format", name] for name in ("csv", "json", "html")),
        *(["-c", LSTM, "--lags", "3", "--format", "csv", "--output", name] for name in ("/proc/self/fd/1", "tty")),
        ["-c", LSTM, "--text", STEERING],
        *(["-c", LSTM, "--text", STEERING, "--format", name] for name in ("csv", "json", "html")),
        ["-c", MARKOV],
    ],
    "config init": [[], ["--output", f"{BAD}.txt"]],
    "config show": [
        ["--config", f"lstm{BAD}.yaml"],
        ["--config", f"lstm{BAD}.yaml", "--set", f"{NAME}=1"],
        ["--config", f"{BAD}.txt"],
        ["--config", BAD],
    ],
    "config schema": [[]],
    "runs list": [[], ["--json"], ["--directory", BAD], ["--directory", "."]],
    "runs show": [[MARKOV], [LSTM], [LSTM, "--json"], [BAD]],
    "runs compare": [[MARKOV, LSTM], [MARKOV, LSTM, "--json"], [MARKOV, LSTM, "--output", f"{BAD}.html"], [LSTM, LSTM]],
}
"""The arguments with which each command is run; under the empty name those that no command takes."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_MOVES = re.compile(r"\x1b\[A|\r")
"""How tqdm moves its bar."""
_RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def leaves(command: object, name: str = "") -> Iterator[str]:
    """Yield the full name of each command below a group."""
    below = getattr(command, "commands", None)
    if below is None:
        yield name
    for word, inner in (below or {}).items():
        yield from leaves(inner, f"{name} {word}".strip())


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with hostile texts, configs and runs, whose models have hostile vocabularies."""
    folder = tmp_path_factory.mktemp("strangers") / BAD
    folder.mkdir()
    with chdir(folder):
        for name in (NAME, BAD):
            Path(f"{name}.txt").write_text(TEXT, encoding="utf-8", newline="")
        for name, sections in CONFIGS.items():
            for place, directory in ((f"{name}{BAD}.yaml", f"runs/{PATH}"), ("plain.yaml", "runs")):
                content = CONFIG.format(path=f"{PATH}.txt", name=name, directory=directory, **sections)
                Path(place).write_text(content, encoding="utf-8")
            result = CliRunner().invoke(app, ["train", "--config", "plain.yaml", "--quiet"])
            assert result.exit_code == 0, result.stderr
            Path(f"runs/{name}").rename(f"runs/{name}{BAD}")
        Path("runs/latest").write_text(f"markov{NAME}\n", encoding="utf-8")
        Path("runs/broken").mkdir()
        Path("runs/broken/config.yaml").write_text(f'"{PATH}": 1', encoding="utf-8")
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    folder: Path = shutil.copytree(template, tmp_path / BAD)
    try:
        os.mknod(folder / "tty", stat.S_IFCHR | 0o666, os.makedev(5, 0))  # root could destroy /dev/tty
    except PermissionError:
        (folder / "tty").symlink_to("/dev/tty")
    return folder


def test_every_command_has_a_line_here() -> None:
    assert set(leaves(typer.main.get_command(app))) == LINES.keys() - {""}


@pytest.mark.slow
@pytest.mark.parametrize("command", LINES, ids=lambda name: name.replace(" ", "_") or "usage")
def test_no_strangers_bytes_reach_a_terminal_raw(command: str, folder: Path) -> None:
    codes, told = [], ""
    for arguments in LINES[command]:
        code, shown = shown_on_terminal(folder, *command.split(), *arguments)
        text = shown.decode("utf-8")
        assert "Traceback" not in text, (arguments, text)
        assert code in (0, 2, 4, 74), (arguments, code, text)
        assert "\x1b[5m" not in text, (arguments, ascii(text))
        plain = _MOVES.sub("", _COLOURS.sub("", text))
        assert _RAW.search(plain) is None, (arguments, ascii(plain))
        codes.append(code)
        told += plain
    assert 0 in codes or not command, told
    if command not in ("config schema", "vocabulary"):  # which shows marks
        assert re.search(r"\\x1b\]0;pwned|\\u001b\]0;pwned", told.replace("\n", "")), told


@pytest.mark.slow
def test_a_pipe_gets_what_the_model_wrote(folder: Path) -> None:
    with chdir(folder):
        result = CliRunner().invoke(app, ["sample", "-c", MARKOV, "--seed", "1", "--length", "900"])
    assert result.exit_code == 0
    assert set(STEERING) <= set(result.stdout)
