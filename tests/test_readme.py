"""What the README says is so: its tree is the listing, its commands and options exist, its pictures are there."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main

from charlm.cli.app import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def shown_commands() -> list[str]:
    lines = [line for kind, block in BLOCKS if kind in ("console", "sh") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith(("$ charlm ", "charlm "))]


def tree_paths() -> list[str]:
    """Return the paths that the annotated tree names, by their indentation."""
    block = next(block for _, block in BLOCKS if "├── charlm/" in block)
    paths, folders = [], []
    for line in block.splitlines()[1:]:
        match = re.match(r"^((?:[│ ]   )*)(?:├── |└── )(\S+)", line)
        if match:
            depth, name = len(match[1]) // 4, match[2]
            folders[depth:] = [name]
            paths.append("".join(folders))
    return paths


def tracked() -> set[str]:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return {file for file in files if file}


def test_the_tree_names_every_module_and_every_file_at_the_top() -> None:
    shown = set(tree_paths())
    files = tracked()
    modules = {file for file in files if file.startswith("charlm/") and file.endswith(".py") and "__" not in file}
    tops = {file.partition("/")[0] + ("/" if "/" in file else "") for file in files if not file.startswith(".")}

    assert modules <= shown, modules - shown
    assert tops <= shown, tops - shown
    for path in shown:
        assert (ROOT / path).exists(), path


def test_every_config_and_script_is_in_the_readme() -> None:
    for file in tracked():
        if file.startswith(("configs/", "scripts/")):
            assert Path(file).stem in README, file


@pytest.mark.parametrize("line", sorted(set(shown_commands())))
def test_a_command_that_is_shown_exists_with_its_options(line) -> None:
    words = shlex.split(re.split(r" [|>] ", line)[0], comments=True)[1:]
    command = COMMANDS[words[0]] if not words[0].startswith("-") else typer.main.get_command(app)
    if hasattr(command, "commands") and len(words) > 1 and words[1] in command.commands:
        command = command.commands[words[1]]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}

    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


def test_every_command_and_option_is_in_the_readme() -> None:
    for name, command in COMMANDS.items():
        assert f"charlm {name}" in README
        for parameter in getattr(command, "params", []):
            assert any(option in README for option in parameter.opts), f"{name} {parameter.opts}"


def test_every_picture_and_link_to_a_file_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_library_example_runs(trained, monkeypatch, capsys) -> None:
    """As printed, but for the run that it opens."""
    example = next(block for kind, block in BLOCKS if kind == "python")
    run = trained["lstm"]
    example = example.replace("runs/quickstart", str(run)).replace('"The fox"', '"The"')

    exec(compile(example, "README.md", "exec"), {})  # the README's own words

    assert capsys.readouterr().out


def test_the_readme_speaks_of_charlm_alone() -> None:
    assert not re.search(r"(^|[\s`(])/(root|home|work|opt)/", README)
