"""Parsing of unit names: LAYER:INDEX, both counted from 0."""

import re
from collections.abc import Sequence

from charlm.config.settings import ModelConfig
from charlm.errors import ConfigError
from charlm.inspection.trace import layers_of


def parse_unit(option: str, place: str, model: ModelConfig) -> tuple[int, int]:
    """Return the layer and index of ``LAYER:INDEX``; raises ConfigError if the model has no such unit."""
    match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", place)
    if match is None or int(match[1]) >= model.num_layers or int(match[2]) >= model.hidden_size:
        raise ConfigError(
            f"{option} {place}: expected LAYER:INDEX; {layers_of(model.num_layers)}, "
            f"and units 0 to {model.hidden_size - 1} in each."
        )
    return int(match[1]), int(match[2])


def parse_held(option: str, text: str, model: ModelConfig) -> tuple[tuple[int, int], float]:
    """Return the unit and value of ``LAYER:INDEX=VALUE``; raises ConfigError for anything else."""
    place, _, value = text.partition("=")
    if not re.fullmatch(r"[-+]?(\d{1,9}(\.\d{0,15})?|\.\d{1,15})", value.strip()):
        raise ConfigError(f"{option} {text}: expected LAYER:INDEX=VALUE, such as 0:41=1.")
    return parse_unit(option, place.strip(), model), float(value)


def parse_all_held(option: str, texts: Sequence[str], model: ModelConfig) -> dict[tuple[int, int], float]:
    """Return the value of each unit; raises ConfigError like `parse_held`, and for a unit that is given twice."""
    held: dict[tuple[int, int], float] = {}
    for text in texts:
        unit, value = parse_held(option, text, model)
        if unit in held:
            raise ConfigError(f"{option} {text}: this unit is given twice. Give one value for each unit.")
        held[unit] = value
    return held
