"""Commands that pages show parse, run, and print what is shown, as far as that does not depend on long training.

Models of the shipped configs, trained for two steps, stand in for those of the pages.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner, Result

from charlm.cli.app import app
from tests.docs.markdown import PAGES, ROOT, Shown, prose, shown_commands

GROUP: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = GROUP.commands
SHOWN = shown_commands()
SETTINGS = ("training.steps=2", "training.epochs=null", "training.learning_rate=1e-4")
SHORT = [word for setting in SETTINGS for word in ("--set", setting)]
CHARACTERS = 40_000
"""Of the tales that the stand-ins read, so that scores and baselines take little time."""
STAND_INS = {
    "tales-rnn": ["--config", "configs/tales-rnn.yaml", *SHORT],
    "tales-rnn-relu": ["--config", "configs/tales-rnn-relu.yaml", *SHORT],
    "tales-gru": ["--config", "configs/tales-gru.yaml", *SHORT],
    "tales-lstm": ["--config", "configs/tales-lstm.yaml", *SHORT],
    "window-8": ["--config", "configs/tales-lstm.yaml", *SHORT, "--set", "training.sequence_length=8"],
    "hello": ["--config", "configs/hello.yaml"],
    "quickstart": ["--config", "configs/quickstart.yaml", *SHORT],
}
"""Runs that pages speak of; the last is the latest run."""
REAL = [shown for shown in SHOWN if shown.arguments[0] == "vocabulary" or "hiden_size" in shown.line]
"""Commands whose output needs no trained model."""


def unique(shown: list[Shown]) -> list[Any]:
    by_line = {one.arguments: one for one in shown}
    return [pytest.param(one, id=re.sub(r"\W+", "-", " ".join(one.arguments))[:60]) for one in by_line.values()]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the configs, the texts, and a run for each of those that pages speak of."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "configs").symlink_to(ROOT / "configs")
    (folder / "elsewhere").mkdir()
    (folder / "data").mkdir()
    for text in ("hello.txt", "names.txt"):
        (folder / "data" / text).symlink_to(ROOT / "data" / text)
    tales = (ROOT / "data" / "tales.txt").read_text(encoding="utf-8")
    for text in ("tales.txt", "shakespeare.local.txt"):
        (folder / "data" / text).write_text(tales[:CHARACTERS], encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, arguments in STAND_INS.items():
            result = call("train", *arguments, "--name", name)
            assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    return project


@cache
def call(*arguments: str) -> Result:
    """Run a command line once; all tests share what it printed."""
    return CliRunner().invoke(app, list(arguments), input="The fox" if "-" in arguments else None)


def parsed(arguments: tuple[str, ...]) -> Any:
    """Return the context of the innermost command; raises what a wrong command line raises."""
    context, command, rest = None, GROUP, list(arguments)
    while True:
        context = command.make_context(command.name or "charlm", rest, parent=context)
        left = [*getattr(context, "_protected_args", []), *context.args]
        if not hasattr(command, "commands") or not left:
            return context
        _, command, rest = command.resolve_command(context, left)


def labels(lines: list[str]) -> list[str]:
    """Return what stands before two spaces at the beginning of each line."""
    found = [re.match(r" *([A-Za-z][\w ,-]*?\d?)(?:  +\S|$)", line) for line in lines]
    return [match[1] for match in found if match]


@pytest.mark.parametrize("shown", unique(SHOWN))
def test_a_command_that_is_shown_parses(shown):
    parsed(shown.arguments)


@pytest.mark.parametrize("shown", unique([one for one in SHOWN if not {"--resume", "--init-from"} & {*one.arguments}]))
def test_a_command_that_is_shown_runs(shown, here):
    """Training only plans what it would do."""
    plan = ["--dry-run"] if shown.arguments[0] == "train" else []
    result = call(*shown.arguments, *plan)
    assert result.exit_code == (2 if "hiden_size" in shown.line else 0), result.output


@pytest.mark.parametrize("shown", unique(REAL))
def test_output_that_needs_no_model_is_as_shown(shown, here):
    if shown.output:
        assert call(*shown.arguments).output.splitlines() == list(shown.output)


def test_training_ends_with_the_lines_that_are_shown(here):
    settings = ("--set", "training.epochs=1", "--set", "run.directory=elsewhere")
    result = call("train", "--config", "configs/hello.yaml", *settings)
    shown = next(one for one in SHOWN if one.arguments[0] == "train" and len(one.output) > 5)
    assert labels(list(shown.output)[-5:]) == labels(result.output.splitlines()[-5:])


@pytest.mark.parametrize(
    "shown", unique([one for one in SHOWN if one.arguments[0] in ("evaluate", "runs") and one.output])
)
def test_tables_have_the_rows_that_are_shown(shown, here):
    made = call(*shown.arguments).output.splitlines()
    assert set(labels(list(shown.output))) <= set(labels(made))


def test_the_unit_finder_prints_the_table_that_is_shown(here):
    shown = next(one for one in SHOWN if "--find" in one.arguments and one.output)
    made = call(*shown.arguments).output.splitlines()
    assert [line.split() for line in made[:2]] == [line.split() for line in shown.output[:2]]
    summary, made_summary = (re.sub(r"[\d.,]+", "#", lines[-1]) for lines in (shown.output, made))
    assert summary.partition(" cases")[0] == made_summary.partition(" cases")[0]


def test_the_trace_has_the_lines_that_are_shown(here):
    shown = next(
        one for one in SHOWN if one.arguments[0] == "inspect-hidden" and one.output and "0:41" in one.arguments
    )
    made = call(*shown.arguments).output.splitlines()
    assert made[:3] == list(shown.output[:3])
    assert [line[:13] for line in made[3:5]] == [line[:13] for line in shown.output[3:5]]


def test_novelty_prints_what_is_shown(here):
    shown = next(one for one in SHOWN if "--novelty" in one.arguments and one.output)
    made = call(*shown.arguments).output
    table = next(line for line in shown.output if "share of n-grams" in line)
    assert table in made
    assert next(line for line in shown.output if "longest stretch" in line).partition(" has ")[0] in made


def test_the_next_character_is_as_shown(here):
    """It needs one second of training, which is done for real; the last digits depend on the machine."""
    shown = next(one for one in SHOWN if "--next" in one.arguments and one.output)
    made = call(*shown.arguments, "-c", "hello").output.splitlines()
    assert made[0] == shown.output[0]
    assert [line.split()[0] for line in made[1:]] == [line.split()[0] for line in shown.output[1:]]
    assert float(made[1].split()[1]) > 0.9


@pytest.mark.parametrize(
    "shown", unique([one for one in SHOWN if one.arguments[0] == "sample" and "--length" in one.arguments])
)
def test_a_sample_that_is_shown_has_the_length_that_was_asked_for(shown):
    if not shown.output or "--novelty" in shown.arguments:
        return
    values = parsed(shown.arguments).params
    text = "\n".join(shown.output)
    assert text.startswith(values["prompt"])
    assert len(text) == len(values["prompt"]) + values["length"]


def test_every_command_and_option_is_documented():
    text = "\n".join(PAGES[page] for page in PAGES if page != "docs/api.md")
    for name, command in COMMANDS.items():
        assert f"charlm {name}" in text
        for inner in (command, *getattr(command, "commands", {}).values()):
            for parameter in inner.params:
                options = [option for option in parameter.opts if option.startswith("--")]
                assert not options or any(option in text for option in options), f"{name} {options}"


@pytest.mark.parametrize("page", PAGES)
def test_options_that_prose_names_exist(page):
    known = {"--help", "--version", "--from"}
    for command in (
        *COMMANDS.values(),
        *(inner for one in COMMANDS.values() for inner in getattr(one, "commands", {}).values()),
    ):
        known |= {option for parameter in command.params for option in parameter.opts}
    named = {
        option
        for code in re.findall(r"`([^`\n]+)`", prose(page))
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", code)
    }
    assert named - known - {"--options"} == set()


def test_files_that_commands_read_are_there():
    for shown in SHOWN:
        for word in shown.arguments:
            if word.startswith(("configs/", "data/")) and ".local." not in word:
                assert (ROOT / word).exists(), shown.line
