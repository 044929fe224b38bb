"""Config → YAML: the resolved settings of a run, and a commented starter config."""

import textwrap

from charlm.config.settings import KEYS, Config
from charlm.config.strict_yaml import dump_yaml

_EXAMPLE_PATH = "data/tales.txt"


def resolved_yaml(config: Config) -> str:
    """Return all settings, defaults included, as YAML that reads back as the same config."""
    return dump_yaml(config.model_dump(mode="json"))


def starter_yaml(headline: str = "A charlm config.") -> str:
    """Return a config with all settings at their defaults, each preceded by its description."""
    lines = [f"# {headline}"]
    for dotted, field in KEYS.items():
        section, key = dotted.split(".")
        if f"{section}:" not in lines:
            lines += ["", f"{section}:"]
        lines += textwrap.wrap(str(field.description), 100, initial_indent="  # ", subsequent_indent="  # ")
        value = _EXAMPLE_PATH if field.is_required() else field.default
        lines.append(f"  {dump_yaml({key: value}).strip()}")
    return "\n".join(lines) + "\n"
