"""A config file and overrides → Config, or one error that lists all mistakes with their places."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from charlm.config.mistakes import Source, config_error, unknown_key
from charlm.config.settings import KEYS, Config, RunConfig
from charlm.config.strict_yaml import parse_yaml
from charlm.errors import ConfigError
from charlm.home_folder import from_home

_LONGEST = 1 << 20
"""Maximum size of a config file, in bytes."""
_OTHER_LENGTH: dict[tuple[str, ...], str] = {("training", "steps"): "epochs", ("training", "epochs"): "steps"}


def read_config(path: Path, overrides: Sequence[str] = (), prefix: str = "") -> Config:
    """Return the settings of a YAML file after applying ``section.key=value`` overrides.

    An override's value is any YAML value; ``section={...}`` replaces the section. Raises ConfigError that lists every
    mistake with its file and line (or ``prefix`` and its override), what was expected, and the nearest key.
    """
    draft = _Draft.read(from_home(path))
    for override in overrides:
        draft.apply(override, f"{prefix}{override}")
    return draft.config()


def overridden_run(overrides: Sequence[str], prefix: str = "") -> RunConfig:
    """Return section ``run`` as overrides alone set it, before it is known which file they apply to.

    Raises ConfigError like `read_config`, for mistakes in this section and for overrides that set nothing.
    """
    draft = _Draft({}, {}, [])
    for override in overrides:
        draft.apply(override, f"{prefix}{override}")
    anything = {"path": "text"}  # the only setting without a default
    draft.tree = {"data": anything, "run": draft.tree.get("run", {})}
    return draft.config().run


def override(key: str, value: object) -> str:
    """Return the override that sets ``key`` to a value, whatever its characters mean in YAML."""
    return f"{key}={json.dumps(value, ensure_ascii=False)}"


@dataclass
class _Draft:
    """Settings before validation, and where each was written."""

    tree: dict[str, Any]
    places: dict[tuple[str, ...], str]
    problems: list[str]
    overridden: set[tuple[str, ...]] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> "_Draft":
        """Return the settings of a file; raises ConfigError when its content is not a mapping of sections."""
        document = parse_yaml(_text(path))
        problems = [f"{path}:{line}: {problem}" for line, problem in document.problems]
        if problems and document.value is None:
            raise config_error(KEYS, Source(problems=problems))
        tree = {} if document.value is None else document.value
        if not isinstance(tree, dict):
            sections = f"{path}:1: expected sections ({', '.join(Config.model_fields)})"
            raise config_error(KEYS, Source(problems=[*problems, sections]))
        tree = {name: {} if value is None else value for name, value in tree.items()}  # no keys in a section
        places = {tuple(map(str, key)): f"{path}:{line}" for key, line in document.lines.items() if key}
        return cls(tree, places | {(): str(path)}, problems)

    def config(self) -> Config:
        """Return the validated settings; raises ConfigError that lists every mistake."""
        return Config.model_validate(self.tree, context=Source(self.places, self.problems))

    def apply(self, override: str, place: str) -> None:
        """Apply one override to the tree, or add its mistake to the problems."""
        dotted, equals, text = override.partition("=")
        keys = tuple(dotted.strip().split("."))
        document = parse_yaml(text if text.strip() != "-" else "'-'")  # a dash is a name, not a list of nothing
        if not equals or not all(keys):
            self.problems.append(f"{place}: expected section.key=value")
        elif document.problems:
            self.problems += [f"{place}: {problem}" for _, problem in document.problems]
        elif len(keys) > 2 or (len(keys) == 2 and keys[0] not in Config.model_fields):
            self.problems.append(f"{place}: {unknown_key('.'.join(keys), KEYS)}")
        else:
            self._put(keys, document.value, place)

    def _put(self, keys: tuple[str, ...], value: object, place: str) -> None:
        """Set a section or one of its settings."""
        target = self.tree
        if len(keys) == 2:
            if self.tree.get(keys[0]) is None:
                self.tree[keys[0]] = {}
            target = self.tree[keys[0]]
            if not isinstance(target, dict):
                return  # the file's section is not a mapping, which validation reports
        for replaced in [key for key in self.places if key[: len(keys)] == keys]:
            del self.places[replaced]
            self.overridden.discard(replaced)
        target[keys[-1]] = value
        self.places[keys] = place
        self.overridden.add(keys)
        other = _OTHER_LENGTH.get(keys)
        if other and value is not None and ("training", other) not in self.overridden:
            self.tree["training"][other] = None  # overriding steps clears the file's epochs, and vice versa


def _text(path: Path) -> str:
    """Return the content of a config file; raises ConfigError when it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise ConfigError(f"{path}: larger than {_LONGEST:,} bytes, so not a config. Name another file.")
        return content.decode("utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot read this config ({error.strerror}).", "Name a readable file.", kind="no config"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start:,} is not UTF-8. Save the config as UTF-8.") from error
