"""The settings of a run: their meanings, types and defaults.

The YAML file has the same structure. The docstring of a field is its description in the commented starter
config (``charlm config init``) and in the JSON Schema (``charlm config schema``).
"""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from charlm.config.data import DataConfig
from charlm.config.mistakes import Source, config_error
from charlm.config.model import ModelConfig, is_read
from charlm.config.section import Count, OnResume, Section, is_unicode
from charlm.config.training import TrainingConfig
from charlm.home_folder import from_home

__all__ = ["KEYS", "Config", "DataConfig", "ModelConfig", "RunConfig", "TrainingConfig", "is_read"]


def _in_home(name: str) -> str:
    return str(from_home(name)) if name.startswith("~") else name


class RunConfig(Section):
    """The run's name, its location and the checkpoints it keeps."""

    name: Annotated[str, OnResume.FREE] = "run"
    """Name of the run's folder. If it exists, a number is appended: name-2."""

    directory: Annotated[
        str, Field(min_length=1), AfterValidator(is_unicode), AfterValidator(_in_home), OnResume.FREE
    ] = "runs"
    """Folder that contains the folders of all runs; a ~ at its start is the home folder."""

    save_every: Annotated[Count | None, OnResume.FREE] = None
    """Number of steps between full checkpoints, from which training can resume; null: one at each evaluation."""

    keep: Annotated[Count | None, OnResume.FREE] = 2
    """Number of newest full checkpoints to keep, besides the best weights and the rollback point; null: all."""

    @field_validator("name")
    @classmethod
    def _can_be_a_folder(cls, value: str) -> str:
        if (
            not value.strip()
            or value == "latest"
            or value[0] in ".-"
            or "/" in value
            or "\\" in value
            or not value.isprintable()
        ):
            raise ValueError("expected a folder name without slashes, not starting with a dot or dash, not 'latest'")
        return value


class Config(Section):
    """All settings of a run.

    Raises ConfigError that lists all mistakes, each with its ``section.key``.
    """

    data: DataConfig
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    run: RunConfig = RunConfig()

    @field_validator("training")
    @classmethod
    def _counting_is_not_trained(cls, value: TrainingConfig, info: ValidationInfo) -> TrainingConfig:
        model, plain = info.data.get("model"), TrainingConfig()
        if model is None or model.architecture.is_recurrent:
            return value
        if value.device in ("auto", "cpu"):
            plain = plain.model_copy(update={"device": value.device})
        others = [
            name
            for name in TrainingConfig.model_fields
            if not is_read(f"training.{name}", model.kind) and getattr(value, name) != getattr(plain, name)
        ]
        if others:
            raise ValueError(
                f"model.kind: {model.kind} is counted in one pass on the CPU and uses only seed and "
                f"evaluation_lanes of this section; leave {', '.join(others)} at the default"
            )
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _all_mistakes_at_once(
        cls, value: Any, validate: ModelWrapValidatorHandler["Config"], info: ValidationInfo
    ) -> "Config":
        source = info.context if isinstance(info.context, Source) else Source()
        try:
            config = validate(value)
        except ValidationError as error:
            raise config_error(KEYS, source, error) from error
        if source.problems:
            raise config_error(KEYS, source)
        return config


KEYS: dict[str, FieldInfo] = {
    f"{section}.{key}": field
    for section, outer in Config.model_fields.items()
    if isinstance(outer.annotation, type) and issubclass(outer.annotation, Section)
    for key, field in outer.annotation.model_fields.items()
}
"""Every setting as ``section.key``."""
