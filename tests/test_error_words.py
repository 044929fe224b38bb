"""Errors speak to a caller in Python; only `charlm.cli` knows options and commands, and has a remedy for every kind."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import charlm
from charlm.cli.app import app
from charlm.cli.messages import OPTIONS, REMEDIES, message, option
from charlm.errors import CharlmError, ConfigError, DamagedCheckpointError

PACKAGE = Path(charlm.__file__).parent
BELOW = sorted(path for path in PACKAGE.rglob("*.py") if PACKAGE / "cli" not in path.parents)
TEMPLATES = sorted(path for path in PACKAGE.rglob("*") if path.suffix in (".html", ".js"))

COMMAND_LINE = re.compile(r"(?<![\w-])--[a-z][a-z-]*|`charlm [a-z]")
"""An option, or a command to type."""
IN_TEMPLATE = re.compile(r"(?<![\w'\"(-])--[a-z][a-z-]*|`charlm [a-z]")
"""The same where custom properties of CSS look alike: those are quoted or in parentheses."""


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each string constant, also within f-strings, that is not a docstring."""
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            yield node.lineno, node.value


def keywords(name: str) -> dict[str, str]:
    """Return each constant that is passed below the command line as the keyword ``name``, and a file that does so."""
    found = {}
    for path in BELOW:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and "Error" in ast.unparse(node.func):
                found |= {
                    value.value: name_of(path)
                    for keyword in node.keywords
                    if keyword.arg == name
                    for value in branches(keyword.value)
                    if isinstance(value, ast.Constant)
                }
    return found


def branches(value: ast.expr) -> list[ast.expr]:
    """Return what a conditional expression may be; anything else is itself."""
    return [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]


def arguments() -> set[str]:
    """Return the names of all parameters and of all fields of classes below the command line."""
    names: set[str] = set()
    for path in BELOW:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.arg):
                names.add(node.arg)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
    return names


def options_of(command: typer.core.TyperCommand | typer.core.TyperGroup) -> set[str]:
    own = {name for parameter in command.params for name in parameter.opts}
    return own.union(*map(options_of, getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("path", BELOW, ids=name_of)
def test_no_string_below_the_command_line_names_an_option(path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [f"line {line}: {text}" for line, text in strings(tree) if COMMAND_LINE.search(text)]

    assert found == []


@pytest.mark.parametrize("path", TEMPLATES, ids=name_of)
def test_no_template_names_an_option(path) -> None:
    text = re.sub(r"<style>.*?</style>|style=\"[^\"]*\"", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)

    assert IN_TEMPLATE.findall(text) == []


def test_the_scan_finds_options_in_strings_and_in_parts_of_them_but_not_in_docstrings() -> None:
    source = (
        'def f(name):\n    """Like ``--signal``."""\n    return f"{name}: use --file" + "see `charlm runs`" + "a--b"\n'
    )

    assert {text for _, text in strings(ast.parse(source)) if COMMAND_LINE.search(text)} == {
        ": use --file",
        "see `charlm runs`",
    }


def test_every_kind_of_error_has_a_remedy_on_the_command_line_and_every_remedy_its_kind() -> None:
    assert keywords("kind").keys() == REMEDIES.keys()


def test_a_remedy_may_repeat_itself_for_each_name() -> None:
    error = ConfigError("these settings differ:\n  a\n", "Allow them.", kind="changes experiment", names=["a.b", "c.d"])

    assert str(error) == "these settings differ:\n  a\nAllow them."
    assert message(error) == "these settings differ:\n  a\nTo allow it, add --allow-change a.b --allow-change c.d."


def test_every_field_is_an_argument_and_the_command_line_has_an_option_for_it() -> None:
    fields = keywords("field").keys()
    known = options_of(typer.main.get_command(app))

    assert fields
    assert fields <= arguments()
    assert {option(field) for field in fields} <= known
    assert OPTIONS.keys() <= fields


def test_an_error_names_its_field_and_its_remedy_in_pythons_words() -> None:
    error = ConfigError("must be positive, got -1.", "Choose a larger one.", field="top_k")

    assert str(error) == "top_k: must be positive, got -1. Choose a larger one."
    assert message(error) == "--top-k: must be positive, got -1. Choose a larger one."


def test_the_command_line_words_the_remedy_of_a_known_kind_itself() -> None:
    error = ConfigError("run: damaged.", "Begin anew.", kind="no whole checkpoint", names=["runs/{a}/best"])

    assert str(error) == "run: damaged. Begin anew."
    assert (
        message(error) == "run: damaged. Start a new run from its best weights: --name NEW --init-from runs/{a}/best."
    )


def test_braces_in_a_remedy_of_no_known_kind_stay_as_they_are() -> None:
    assert message(CharlmError("a.", "Use {b}.", kind="another")) == "a. Use {b}."


def test_a_place_keeps_everything_else_of_an_error() -> None:
    error = DamagedCheckpointError("cut short.", "Use a copy.", field="length", kind="a kind", names=["n"])

    placed = error.at("runs/a").at("above")

    assert type(placed) is DamagedCheckpointError
    assert str(placed) == "length: above: runs/a: cut short. Use a copy."
    assert (placed.field, placed.kind, placed.names) == ("length", "a kind", ("n",))
