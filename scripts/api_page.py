#!/usr/bin/env python3
"""Write docs/api.md: every public name of charlm with its signature and docstrings.

python scripts/api_page.py
"""

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import charlm
import charlm.errors
from charlm.config.settings import Config
from charlm.evaluation import Score
from charlm.runs.metrics import Evaluation
from charlm.whole_file import write_whole_file

PAGE = Path(__file__).parent.parent / "docs" / "api.md"
NAMES: list[str] = list(vars(charlm)["__all__"])
ERRORS = [name for name in NAMES if name.endswith("Error")]
VALUES = (Score, Evaluation)
"""Return types of public functions that have no public name."""

_WIDTH = 100
_INTRODUCTION = """# API reference

The public names of `charlm`. They are imported on first use, so `import charlm` loads neither NumPy nor torch. See
[Python](python.md) for the guide.

`python scripts/api_page.py` generates this page from the docstrings.
"""

Definition = ast.FunctionDef | ast.ClassDef


def page() -> str:
    """Return the text of docs/api.md."""
    names = [name for name in NAMES if name not in (*ERRORS, "__version__", "Config")]
    parts = [_INTRODUCTION, _contents([*sorted(names, key=_order), "Config"])]
    parts += [_entry(name, getattr(charlm, name)) for name in sorted(names, key=_order)]
    parts += [_settings(), _errors(), "## Values\n\nReturn types of some of these functions."]
    parts += [_entry(value.__name__, value, level=3) for value in VALUES]
    parts.append("## `__version__`\n\nThe version of charlm, a string.")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _order(name: str) -> tuple[bool, str]:
    """Return the sort key of a name: functions before classes."""
    return not isinstance(getattr(charlm, name), FunctionType), name


def _contents(names: list[str]) -> str:
    links = [f"- [`{name}`](#{name.lower()})" for name in names]
    return "\n".join([*links, "- [Errors](#errors)", "- [Values](#values)", "- [`__version__`](#__version__)"])


def _entry(name: str, value: Any, level: int = 2) -> str:
    """Return the section of a function, or of a class with its members."""
    heading = f"{'#' * level} `{name}`"
    node = _definition(value)
    if isinstance(node, ast.FunctionDef):
        return f"{heading}\n\n{_code(f'charlm.{name}', node)}\n\n{inspect.getdoc(value)}"
    members = "\n\n".join(_members(name, node))
    return f"{heading}\n\n{inspect.getdoc(value)}\n\n{members}"


def _members(owner: str, node: ast.ClassDef) -> Iterator[str]:
    """Yield the members of a class: attributes and properties as a list, then a section for each method."""
    attributes = [f"- `{name}`: {text}".rstrip(": ") for name, text in _attributes(node)]
    if attributes:
        yield "\n".join(attributes)
    for method in _methods(node):
        text = inspect.cleandoc(ast.get_docstring(method) or "")
        yield _method(owner, method, text)


def _method(owner: str, method: ast.FunctionDef, text: str) -> str:
    special = {"__getitem__": f"{_variable(owner)}[{{}}]", "__len__": f"len({_variable(owner)})"}
    title = special.get(method.name, f"{_variable(owner)}.{method.name}")
    if "{}" in title:
        title = title.format(method.args.args[1].arg)
    if method.name in special:
        returns = ast.unparse(method.returns) if method.returns else "None"
        return f"```python\n{title} -> {returns}\n```\n\n{text}"
    return f"{_code(title, method)}\n\n{text}"


def _variable(owner: str) -> str:
    return {"ModelTrace": "trace"}.get(owner, owner.lower())


def _attributes(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Yield the name and the description of each public attribute and property, in the order of the source."""
    body = list(node.body)
    for method in (item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"):
        body += method.body
    for index, item in enumerate(body):
        name = _assigned(item)
        if name and not name.startswith("_") and name != "model_config":
            yield name, _string(body[index + 1]) if index + 1 < len(body) else ""
        elif isinstance(item, ast.FunctionDef) and _is_property(item):
            yield item.name, " ".join((ast.get_docstring(item) or "").split())


def _assigned(item: ast.stmt) -> str:
    """Return the name of the attribute that a statement assigns or annotates; empty for other statements."""
    target: ast.expr | None = item.target if isinstance(item, ast.AnnAssign) else None
    if isinstance(item, ast.Assign):
        target = item.targets[0]
    if isinstance(target, ast.Name):
        return target.id
    return target.attr if isinstance(target, ast.Attribute) else ""


def _string(item: ast.stmt) -> str:
    if isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) and isinstance(item.value.value, str):
        return " ".join(item.value.value.split())
    return ""


def _methods(node: ast.ClassDef) -> list[ast.FunctionDef]:
    shown = ("__getitem__", "__len__")
    functions = [item for item in node.body if isinstance(item, ast.FunctionDef) and not _is_property(item)]
    return [item for item in functions if not item.name.startswith("_") or item.name in shown]


def _is_property(item: ast.FunctionDef) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in item.decorator_list)


def _code(title: str, node: ast.FunctionDef) -> str:
    return f"```python\n{title}{_call(node)}\n```"


def _call(node: ast.FunctionDef) -> str:
    """Return the parameters and the result as in the source, one parameter per line if the signature is long."""
    parameters = list(_parameters(node.args))
    result = f" -> {ast.unparse(node.returns).strip(chr(39))}" if node.returns else ""
    line = f"({', '.join(parameters)}){result}"
    if len(line) <= _WIDTH - 20:
        return line
    return "(\n" + "".join(f"    {parameter},\n" for parameter in parameters) + f"){result}"


def _parameters(arguments: ast.arguments) -> Iterator[str]:
    positional = [argument for argument in arguments.args if argument.arg not in ("self", "cls")]
    without = len(positional) - len(arguments.defaults)
    for index, argument in enumerate(positional):
        yield _parameter(argument, arguments.defaults[index - without] if index >= without else None)
    if arguments.vararg:
        yield f"*{ast.unparse(arguments.vararg)}"
    elif arguments.kwonlyargs:
        yield "*"
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _parameter(argument, default)


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    shown = ast.unparse(argument)
    return shown if default is None else f"{shown} = {ast.unparse(default)}"


def _definition(value: Any) -> Definition:
    """Return the definition of a function or class in its module's source."""
    for node in _module(value.__module__).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == value.__name__:
            return node
    raise LookupError(f"{value} is not defined in {value.__module__}")


@cache
def _module(name: str) -> ast.Module:
    return ast.parse(inspect.getsource(sys.modules[name]))


def _settings() -> str:
    """Return a table of settings for each section of the config, from its JSON Schema."""
    schema = Config.model_json_schema()
    text = [
        "## `Config`",
        f"{inspect.getdoc(Config)} Settings are frozen; unknown ones are refused.",
        "`charlm.Config.model_validate({...})` creates one from nested dicts, the structure of the YAML file; "
        "`config.model_dump()` returns such dicts.",
    ]
    for name, field in schema["properties"].items():
        reference = field.get("$ref") or field["allOf"][0]["$ref"]
        section = schema["$defs"][reference.rpartition("/")[2]]
        rows = [
            f"| `{key}` | {_type(setting)} | {_default(setting)} | {_cell(setting.get('description', ''))} |"
            for key, setting in section["properties"].items()
        ]
        table = "\n".join(["| setting | values | default | meaning |", "|---|---|---|---|", *rows])
        text.append(f"### `{name}`\n\n{section['description']}\n\n{table}")
    return "\n\n".join(text)


def _cell(text: str) -> str:
    """Return a text escaped for a cell of a Markdown table."""
    return " ".join(text.split()).replace("<", "&lt;").replace("|", "\\|")


def _type(setting: dict[str, Any]) -> str:
    """Return a description of the values that a setting accepts."""
    if "anyOf" in setting:
        return " or ".join(dict.fromkeys(map(_type, setting["anyOf"])))
    if "enum" in setting:
        return ", ".join(f"`{value}`" for value in setting["enum"])
    words: dict[str, str] = {"null": "`null`", "array": "list", "boolean": "`true`, `false`"}
    kind = str(setting.get("type", "value"))
    return words.get(kind, kind)


def _default(setting: dict[str, Any]) -> str:
    return f"`{json.dumps(setting['default'])}`" if "default" in setting else "required"


def _errors() -> str:
    """Return the section on errors: their hierarchy, exit codes, and the attributes of the base class."""
    drawing = inspect.cleandoc(charlm.errors.__doc__ or "").split("\n\n")
    tree = next(inspect.cleandoc(part) for part in drawing if "├──" in part)
    rows = [f"| `charlm.{name}` | {getattr(charlm, name).exit_code} | {_first_line(name)} |" for name in ERRORS]
    root = "\n\n".join(_members("error", _class(charlm.CharlmError)))
    table = "\n".join(["| error | exit code | meaning |", "|---|---:|---|", *rows])
    return f"## Errors\n\n```text\n{tree}\n```\n\n{table}\n\nAttributes of every error:\n\n{root}"


def _first_line(name: str) -> str:
    return (inspect.getdoc(getattr(charlm, name)) or "").split("\n")[0]


def _class(value: type) -> ast.ClassDef:
    node = _definition(value)
    assert isinstance(node, ast.ClassDef)
    return node


if __name__ == "__main__":
    write_whole_file(PAGE, page().encode())
