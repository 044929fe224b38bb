"""A strict subset of YAML 1.2: ``1e-3`` is a number, keys are unique, nothing is executed.

PyYAML implements YAML 1.1, in which ``1e-3`` is text, ``no`` is false, ``012`` is ten and the last of
two equal keys wins silently. This reader uses PyYAML's parser, but resolves plain scalars by the core
schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from charlm.config.mistakes import REFUSED

Path = tuple[str | int, ...]

_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_CORE_SCHEMA = {"null": _NULL, "bool": _BOOL, "int": _INT, "float": _FLOAT}  # in the order of precedence


_REFUSED_TAG = "refused"


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the form PyYAML requires

    def __init__(self, text: str, problems: list[tuple[int, str]]) -> None:
        super().__init__(text)
        self._problems = problems

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Report aliases, which can expand without bounds, and tags, which can name code, as problems."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call] # untyped in PyYAML's stubs
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            self._problems.append((line, "aliases (*name) are not allowed in a config; repeat the value"))
            mark: Any = event.start_mark
            return yaml.ScalarNode(_REFUSED_TAG, "", mark, mark)
        node = super().compose_node(parent, index)
        tag = getattr(event, "tag", None)
        if node is not None and tag not in (None, "!"):
            self._problems.append((line, f"the tag {tag} is not allowed in a config"))
            node.tag = _REFUSED_TAG
        return node


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def ignore_aliases(self, data: object) -> bool:
        """Return True: repeated values are written in full."""
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Return text as a scalar that reads back unchanged; PyYAML would fold U+0085 into a space."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "\x85" in text else None)


_Dumper.add_representer(str, _Dumper.represent_text)
for _name, _pattern in _CORE_SCHEMA.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, None)
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, None)


@dataclass
class Document:
    """The content of a YAML text, its line numbers and its mistakes."""

    value: Any = None
    """The content as dictionaries, lists and scalars."""
    lines: dict[Path, int] = field(default_factory=dict)
    """The line, counted from 1, of each key or item."""
    problems: list[tuple[int, str]] = field(default_factory=list)
    """Line and message of each mistake in the YAML itself."""


def parse_yaml(text: str) -> Document:
    """Return one YAML document; its mistakes are collected, not raised."""
    document = Document()
    try:
        node = _Loader(text, document.problems).get_single_node()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        document.problems.append((line, f"not valid YAML: {error.problem or error.context}"))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.problems.append((line, f"not valid YAML: {str(error).splitlines()[0]}"))
    except (
        yaml.YAMLError,
        RecursionError,
        ValueError,
        OverflowError,
    ) as error:  # PyYAML raises Python's own, too
        document.problems.append((1, f"not valid YAML: {str(error).splitlines()[0]}"))
    else:
        if node is not None:
            document.value = _convert(node, (), document)
    document.problems.sort(key=lambda problem: problem[0])
    return document


def dump_yaml(value: object) -> str:
    """Return plain values as YAML that `parse_yaml` reads back as the same values."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False)


def _convert(node: yaml.Node, path: Path, document: Document) -> Any:
    line = node.start_mark.line + 1
    document.lines.setdefault(path, line)
    if node.tag == _REFUSED_TAG:
        return REFUSED
    if isinstance(node, yaml.MappingNode):
        return dict(_pairs(node, path, document))
    if isinstance(node, yaml.SequenceNode):
        return [_convert(item, (*path, index), document) for index, item in enumerate(node.value)]
    try:
        return _scalar(node)
    except ValueError as error:  # Python refuses to parse integers of thousands of digits
        document.problems.append((line, f"not a number: {error}"))
        return REFUSED


def _pairs(node: yaml.MappingNode, path: Path, document: Document) -> Iterator[tuple[str, Any]]:
    first: dict[str, int] = {}
    for key_node, value_node in node.value:
        key, line = key_node.value, key_node.start_mark.line + 1
        if key_node.tag == _REFUSED_TAG:
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            document.problems.append((line, "a key must be a plain scalar"))
        elif key in first:
            document.problems.append(
                (line, f"{'.'.join(map(str, (*path, key)))}: duplicate key, first on line {first[key]}")
            )
        else:
            first[key] = line
            document.lines[(*path, key)] = line
            yield key, _convert(value_node, (*path, key), document)


def _scalar(node: yaml.Node) -> Any:
    kind, text = node.tag.rpartition(":")[2], node.value
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return int(text, 0) if text.startswith(("0x", "0o")) else int(text)
    if kind == "float":
        return float(text.replace(".", "") if text[-1].isalpha() else text)
    return text
