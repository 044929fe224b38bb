"""The listing is the architecture: small files, small functions, nothing heavy at import."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "charlm").rglob("*.py"))
TOPS = {"charlm", "charlm.__main__", "charlm.inspection", "charlm.library", "charlm.models"}
NEEDS_TORCH = {
    "charlm.inspection.gradients",
    "charlm.models.device",
    "charlm.models.masks",
    "charlm.models.network",
    "charlm.models.precision",
    "charlm.models.step_loop",
}
NEEDS_TORCH_BUT = {"charlm.training.divergence", "charlm.training.fine_tuning", "charlm.training.ngram"}
"""The modules of the room `training` that do without torch; all others of it may import it."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_stays_small_and_says_what_it_is(path) -> None:
    source = path.read_text(encoding="utf-8")

    assert source.count("\n") <= 250
    assert ast.get_docstring(ast.parse(source)), "a module opens with what it is"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_function_fits_a_screen(path) -> None:
    """Typer commands apart: their options are their length."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.body and not is_command(path, node):
            assert (node.end_lineno or 0) - node.lineno < 40, node.name


def is_command(path: Path, node: ast.FunctionDef) -> bool:
    return path.parent.name == "cli" and node.name == path.stem


def test_every_module_is_under_the_contract_without_torch_or_named_as_needing_it() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if contract["type"] == "forbidden")
    free = set(contract["source_modules"])
    assert not free & NEEDS_TORCH
    assert free >= NEEDS_TORCH_BUT

    for name in map(name_of, MODULES):
        package = name.removesuffix(".__init__")
        covered = any(package == module or package.startswith(f"{module}.") for module in free)
        is_top = package in TOPS or ".cli" in package
        trains = package.startswith("charlm.training") and package not in NEEDS_TORCH_BUT
        assert covered or is_top or trains or package in NEEDS_TORCH, f"{package} needs a place in the contract"


def test_nothing_prints_but_the_command_line() -> None:
    for path in MODULES:
        if path.parent.name != "cli":
            source = path.read_text(encoding="utf-8")
            called = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
            assert not any(isinstance(name, ast.Name) and name.id == "print" for name in called), path
            assert not re.search(r"sys\.std(out|err)\b", source), path


def test_one_place_catches_charlms_errors_and_none_catches_all() -> None:
    sources = {path.name: path.read_text(encoding="utf-8") for path in MODULES}

    assert [name for name, source in sources.items() if "except CharlmError" in source] == ["app.py"]
    assert not any(re.search(r"except Exception|except:", source) for source in sources.values())


def test_errors_are_the_tree_that_their_docstring_draws() -> None:
    from charlm import errors

    drawn = re.findall(r"(\w+Error) +(\d+) ", errors.__doc__ or "")
    real = {
        name: str(value.exit_code)
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.CharlmError)
    }
    assert dict(drawn) == real
