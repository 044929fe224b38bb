"""What is wrong with a config, in words: each mistake with its place, its key and the nearest known key."""

import difflib
import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from charlm.errors import ConfigError

REFUSED = object()
"""Stands in a config for a value that could not be read, and whose mistake is among the source's problems."""
_MOST = 200
"""Mistakes that are put into words; a file with more is not a config, and comparing its keys would take minutes."""
_LONGEST_NUMBER = 300
"""Bits of an integer that is shown in full."""


@dataclass(frozen=True)
class Source:
    """Where the values of a config come from, for messages; left empty, they were given in Python."""

    places: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    """The place of each key, and of the whole under the empty key, such as config.yaml:3."""
    problems: Collection[str] = ()
    """Mistakes that were found before any value was looked at, each with its place."""

    def place_of(self, key: tuple[str, ...]) -> str:
        """Return where a key stands, or else the section around it, to put before a message; empty for Python."""
        nearest = next((key[:length] for length in range(len(key), -1, -1) if key[:length] in self.places), None)
        return "" if nearest is None else f"{self.places[nearest]}: "


def config_error(known: Collection[str], source: Source, error: ValidationError | None = None) -> ConfigError:
    """Return the error that lists a source's own problems, and what pydantic found wrong with its values.

    ``known`` are all settings as ``section.key``. The error's names are the settings that are wrong.
    """
    if error is not None and error.error_count() > _MOST:
        return ConfigError(
            f"{source.place_of(())}{error.error_count():,} mistakes: this is not a config.", kind="wrong config"
        )
    found = [] if error is None else [detail for detail in error.errors() if detail["input"] is not REFUSED]
    lines = dict.fromkeys([*source.problems, *(_describe(detail, known, source) for detail in found)])
    count = f"{len(lines)} mistakes" if len(lines) > 1 else "a mistake"
    names = dict.fromkeys(".".join(_key(detail)) for detail in found)
    return ConfigError("\n  ".join([f"{count} in the config:", *lines]), kind="wrong config", names=tuple(names))


def unknown_key(key: str, known: Collection[str]) -> str:
    """Say that a key is none of the ``known`` ones, and which of these may have been meant."""
    section, _, name = key.rpartition(".")
    if not section:
        candidates = [setting for setting in known if setting.endswith(f".{key}")]
        sections = dict.fromkeys(setting.partition(".")[0] for setting in known)
        candidates += difflib.get_close_matches(key, sections, n=1)
    else:
        siblings = [setting.partition(".")[2] for setting in known if setting.startswith(f"{section}.")]
        candidates = [setting for setting in known if setting.endswith(f".{name}")]
        candidates += [f"{section}.{near}" for near in difflib.get_close_matches(name, siblings, n=1)]
        candidates += difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {candidates[0]}?" if candidates else "no known key resembles it."
    return f"{key}: unknown key; {hint}"


def _key(detail: ErrorDetails) -> tuple[str, ...]:
    """Return the section and the setting that pydantic found something wrong with."""
    return tuple(str(part) for part in detail["loc"])[:2]


def _describe(detail: ErrorDetails, known: Collection[str], source: Source) -> str:
    """Return place, key, what was expected and what was found."""
    path, got = _key(detail), _short(detail["input"])
    key, place = ".".join(path) or "config", source.place_of(path)
    match detail["type"]:
        case "extra_forbidden":
            return f"{place}{unknown_key(key, known)}"
        case "missing":
            return f"{place}{key}: missing, and there is no default"
        case "model_type" | "model_attributes_type":
            return f"{place}{key}: expected a section of keys and values, got {got}"
        case "string_pattern_mismatch":
            return f"{place}{key}: expected auto, cpu, cuda, cuda:N or mps, got {got}"
        case "value_error":
            found = f", got {got}" if len(path) > 1 else ""  # the content of a whole section is too much
            return f"{place}{key}: {detail['ctx']['error']}{found}"
        case _:
            return f"{place}{key}: {detail['msg'].replace('Input should be', 'expected')}, got {got}"


def _short(value: object) -> str:
    """Return a value as a mistake shows it; Python writes out no integer of thousands of digits."""
    if isinstance(value, int) and value.bit_length() > _LONGEST_NUMBER:
        return "a number of thousands of digits"
    return reprlib.repr(value)
