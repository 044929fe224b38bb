"""Error messages for a config: each mistake with its place, its key and the nearest known key."""

import difflib
import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from charlm.errors import ConfigError

REFUSED = object()
"""Placeholder for a value that could not be read; the source's problems say why."""
_MOST = 200
"""Mistakes that are listed; a file with more is not a config, and suggesting keys for all would take minutes."""
_LONGEST_NUMBER = 300
"""Bits of the largest integer that is shown in full."""


@dataclass(frozen=True)
class Source:
    """Where the values of a config were written, for messages; empty for values given in Python."""

    places: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    """The place of each key, such as config.yaml:3; the empty key has the place of the whole config."""
    problems: Collection[str] = ()
    """Mistakes found before validation, each with its place."""

    def place_of(self, key: tuple[str, ...]) -> str:
        """Return the place of a key, or of its section, as the prefix of a message; empty for values from Python."""
        nearest = next((key[:length] for length in range(len(key), -1, -1) if key[:length] in self.places), None)
        return "" if nearest is None else f"{self.places[nearest]}: "


def config_error(known: Collection[str], source: Source, error: ValidationError | None = None) -> ConfigError:
    """Return the error that lists a source's problems and pydantic's.

    ``known`` are all settings as ``section.key``. The error's ``names`` are the settings with mistakes.
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
    """Return the message for a key that is not among the ``known`` ones, with the most similar one as a hint."""
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
    hint = f"did you mean {candidates[0]}?" if candidates else "there is no similar key."
    return f"{key}: unknown key; {hint}"


def _key(detail: ErrorDetails) -> tuple[str, ...]:
    """Return the section and the setting that a pydantic error is about."""
    return tuple(str(part) for part in detail["loc"])[:2]


def _describe(detail: ErrorDetails, known: Collection[str], source: Source) -> str:
    """Return the message for one pydantic error: place, key, what was expected and the value."""
    path, got = _key(detail), _short(detail["input"])
    key, place = ".".join(path) or "config", source.place_of(path)
    match detail["type"]:
        case "extra_forbidden":
            return f"{place}{unknown_key(key, known)}"
        case "missing":
            return f"{place}{key}: missing; it has no default"
        case "model_type" | "model_attributes_type":
            return f"{place}{key}: expected a section of keys and values, got {got}"
        case "string_pattern_mismatch":
            return f"{place}{key}: expected auto, cpu, cuda, cuda:N or mps, got {got}"
        case "value_error":
            found = f", got {got}" if len(path) > 1 else ""  # a whole section is too long to show
            return f"{place}{key}: {detail['ctx']['error']}{found}"
        case _:
            return f"{place}{key}: {detail['msg'].replace('Input should be', 'expected')}, got {got}"


def _short(value: object) -> str:
    """Return an abbreviated repr of a value; Python refuses to format integers of thousands of digits."""
    if isinstance(value, int) and value.bit_length() > _LONGEST_NUMBER:
        return "a number of thousands of digits"
    return reprlib.repr(value)
