"""What settings are made of: closed sections, and the kinds of values that several settings share."""

from enum import Enum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo


class OnResume(Enum):
    """What becomes of a run that goes on with another value of a setting; each setting has one of these."""

    FREE = "free"
    """It goes on, and the change is noted."""
    ASK = "ask"
    """It goes on if the change is allowed by name: what follows is no longer the experiment that was begun."""
    FIXED = "fixed"
    """It does not: weights, vocabulary, splits and first random numbers are made with this setting."""

    @classmethod
    def of(cls, field: FieldInfo) -> "OnResume":
        """Return the policy of a setting, by its field."""
        (policy,) = (mark for mark in field.metadata if isinstance(mark, cls))
        return policy


def is_unicode(name: str) -> str:
    """Refuse half characters, which a name in bytes may leave and no file of charlm's can hold."""
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise ValueError("expected a name in Unicode")
    return name


def _as_tuple(value: object) -> object:
    """Let one path stand for a list of one."""
    items = (value,) if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not items or not all(isinstance(item, str) and item for item in items):
        raise ValueError("expected a file, a list of files or a glob")
    return tuple(map(is_unicode, items))


Paths = Annotated[
    tuple[str, ...],
    BeforeValidator(_as_tuple, json_schema_input_type=str | list[str]),
]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(gt=0, le=2**53)]
Size = Annotated[int, Field(gt=0, le=2**17)]


class Section(BaseModel):
    """A group of settings: immutable, strictly typed, closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def default(cls, name: str) -> Any:
        """Return the default of the setting ``name``."""
        return cls.model_fields[name].default
