"""A config file and ``--set`` options → Config, or all mistakes at once with their places."""

import difflib
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from charlm.config.section import Section
from charlm.config.settings import Config
from charlm.config.strict_yaml import REFUSED, parse_yaml
from charlm.errors import ConfigError

KEYS = {
    f"{section}.{key}": field
    for section, outer in Config.model_fields.items()
    if isinstance(outer.annotation, type) and issubclass(outer.annotation, Section)
    for key, field in outer.annotation.model_fields.items()
}
"""Every setting as ``section.key``."""

Origins = dict[tuple[str, ...], str]

_LONGEST = 1 << 20
"""Bytes of a config that are read."""
_LONGEST_NUMBER = 300
"""Bits of an integer that is shown in full."""


def read_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, put ``section.key=value`` overrides on top, and check the whole.

    An override's value is any YAML value; ``section={...}`` replaces the section. Raises ConfigError that
    lists every mistake with its file and line (or its ``--set``), what was expected and the nearest key.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise ConfigError(f"{path}: more than {_LONGEST:,} bytes are no config. Name another file.")
        text = content.decode("utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot read this config ({error.strerror}). `charlm config init` prints one to start from."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start:,} is not UTF-8; save the config as UTF-8.") from error
    document = parse_yaml(text)
    problems = [f"{path}:{line}: {problem}" for line, problem in document.problems]
    if problems and document.value is None:
        raise _all_mistakes(problems)
    tree = {} if document.value is None else document.value
    if not isinstance(tree, dict):
        raise _all_mistakes([*problems, f"{path}:1: expected sections ({', '.join(Config.model_fields)})"])
    tree = {name: {} if value is None else value for name, value in tree.items()}  # a section all commented out
    origins: Origins = {tuple(map(str, place)): f"{path}:{line}" for place, line in document.lines.items() if place}
    origins[()] = str(path)
    for override in overrides:
        problems += _apply(override, tree, origins)
    return _validate(tree, origins, problems)


def _apply(override: str, tree: dict[str, Any], origins: Origins) -> list[str]:
    """Put one ``--set`` into the tree; return what is wrong with it."""
    here = f"--set {override}"
    dotted, equals, text = override.partition("=")
    keys = tuple(dotted.strip().split("."))
    if not equals or not all(keys):
        return [f"{here}: expected section.key=value"]
    document = parse_yaml(text)
    if document.problems:
        return [f"{here}: {problem}" for _, problem in document.problems]
    if len(keys) > 2 or (len(keys) == 2 and keys[0] not in Config.model_fields):
        return [f"{here}: {unknown_key('.'.join(keys))}"]
    target = tree
    if len(keys) == 2:
        if tree.get(keys[0]) is None:
            tree[keys[0]] = {}
        target = tree[keys[0]]
        if not isinstance(target, dict):
            return []  # the file's section is none, which is told as a mistake of its own
    for place in [place for place in origins if place[: len(keys)] == keys]:
        del origins[place]
    target[keys[-1]] = document.value
    origins[keys] = here
    _clear_the_other_length(keys, document.value, tree, origins)
    return []


def _clear_the_other_length(keys: tuple[str, ...], value: object, tree: dict[str, Any], origins: Origins) -> None:
    """Let ``--set training.steps=N`` overrule the file's epochs, and the other way round."""
    other = {"training.steps": "epochs", "training.epochs": "steps"}.get(".".join(keys))
    if other and value is not None and not origins.get(("training", other), "").startswith("--set"):
        tree["training"][other] = None


def _validate(tree: dict[str, Any], origins: Origins, problems: list[str]) -> Config:
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        details = [detail for detail in error.errors() if detail["input"] is not REFUSED]
        problems += list(dict.fromkeys(_describe(detail, origins) for detail in details))
    if problems:
        raise _all_mistakes(problems)
    return config


def _describe(detail: ErrorDetails, origins: Origins) -> str:
    """Turn pydantic's finding into place, key, what was expected and what stood there."""
    place = tuple(str(part) for part in detail["loc"])[:2]
    nearest = next(place[:length] for length in range(len(place), -1, -1) if place[:length] in origins)
    key, got = ".".join(place), _short(detail["input"])
    match detail["type"]:
        case "extra_forbidden":
            return f"{origins[nearest]}: {unknown_key(key)}"
        case "missing":
            return f"{origins[nearest]}: {key}: missing, and there is no default"
        case "model_type" | "model_attributes_type":
            return f"{origins[nearest]}: {key}: expected a section of keys and values, got {got}"
        case "string_pattern_mismatch":
            return f"{origins[nearest]}: {key}: expected auto, cpu, cuda, cuda:N or mps, got {got}"
        case "value_error":
            found = f", got {got}" if len(place) > 1 else ""  # what stands in a whole section is no news
            return f"{origins[nearest]}: {key}: {detail['ctx']['error']}{found}"
        case _:
            return f"{origins[nearest]}: {key}: {detail['msg'].replace('Input should be', 'expected')}, got {got}"


def _short(value: object) -> str:
    """Return a value as a mistake shows it; Python writes out no integer of thousands of digits."""
    if isinstance(value, int) and value.bit_length() > _LONGEST_NUMBER:
        return "a number of thousands of digits"
    return reprlib.repr(value)


def unknown_key(key: str) -> str:
    """Say that a key is unknown, and which known one may have been meant."""
    section, _, name = key.rpartition(".")
    if not section:
        candidates = [known for known in KEYS if known.endswith(f".{key}")]
        candidates += difflib.get_close_matches(key, Config.model_fields, n=1)
    else:
        siblings = [known.partition(".")[2] for known in KEYS if known.startswith(f"{section}.")]
        candidates = [known for known in KEYS if known.endswith(f".{name}")]
        candidates += [f"{section}.{near}" for near in difflib.get_close_matches(name, siblings, n=1)]
        candidates += difflib.get_close_matches(key, KEYS, n=1)
    hint = f"did you mean {candidates[0]}?" if candidates else "`charlm config show` lists the known ones."
    return f"{key}: unknown key; {hint}"


def _all_mistakes(problems: list[str]) -> ConfigError:
    count = f"{len(problems)} mistakes" if len(problems) > 1 else "a mistake"
    return ConfigError("\n  ".join([f"{count} in the config:", *problems]))
