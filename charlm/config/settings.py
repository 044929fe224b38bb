"""Every setting of a run: what it means, its type, its default.

The YAML file mirrors this tree. The text under each field is the setting's one description: the
commented starter (``charlm config init``) and the JSON Schema (``charlm config schema``) are made of it.
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

__all__ = ["KEYS", "Config", "DataConfig", "ModelConfig", "RunConfig", "TrainingConfig", "is_read"]


class RunConfig(Section):
    """What a run is called and what it keeps."""

    name: Annotated[str, OnResume.FREE] = "run"
    """The run's folder. A name that is taken gets a number: name-2."""

    directory: Annotated[str, Field(min_length=1), AfterValidator(is_unicode), OnResume.FREE] = "runs"
    """Where the folders of all runs lie."""

    save_every: Annotated[Count | None, OnResume.FREE] = None
    """Steps between full checkpoints; null: one at each evaluation."""

    keep: Annotated[Count, OnResume.FREE] = 2
    """Newest full checkpoints that are kept, besides the best."""

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
            raise ValueError("expected a folder's name: no slash, no dot or dash in front, and not 'latest'")
        return value


class Config(Section):
    """Everything that defines a run.

    Raises ConfigError with all mistakes at once, each with its ``section.key``.
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
                f"model.kind: {model.kind} is counted in one pass on the CPU, and reads nothing of this section but "
                f"seed and evaluation_lanes; leave {', '.join(others)} at the default"
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
