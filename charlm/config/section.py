"""The base class of config sections, and the value types that several settings share."""

from enum import Enum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo


class OnResume(Enum):
    """Whether a setting may change when a run is resumed; every setting has one of these policies."""

    FREE = "free"
    """The setting may change; the change is reported."""
    ASK = "ask"
    """The setting may change only if it is named in ``allow_change``: the change makes it another experiment."""
    FIXED = "fixed"
    """The setting may not change: weights, vocabulary, splits or initial random state depend on it."""

    @classmethod
    def of(cls, field: FieldInfo) -> "OnResume":
        """Return the policy of a setting's field."""
        (policy,) = (mark for mark in field.metadata if isinstance(mark, cls))
        return policy


def is_unicode(name: str) -> str:
    """Return the name; raises ValueError for lone surrogates, which Python reads for bytes that are not UTF-8."""
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise ValueError("expected a name in valid Unicode")
    return name


def _as_tuple(value: object) -> object:
    """Return a path as a tuple of one, and a list of paths as a tuple."""
    items = (value,) if isinstance(value, str) else value
    if isinstance(items, list | tuple) and "-" in items:
        raise ValueError("standard input cannot be a corpus, because a text is read twice; save it as a file first")
    if not isinstance(items, list | tuple) or not items or not all(isinstance(item, str) and item for item in items):
        raise ValueError("expected a file, a list of files or a glob")
    return tuple(map(is_unicode, items))


Paths = Annotated[
    tuple[str, ...],
    BeforeValidator(_as_tuple, json_schema_input_type=str | list[str]),
]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(gt=0, le=2**53)]
Threads = Annotated[int, Field(gt=0, le=512)]
Size = Annotated[int, Field(gt=0, le=2**17)]


class Section(BaseModel):
    """A group of settings: immutable, strictly typed, without unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def default(cls, name: str) -> Any:
        """Return the default of the setting ``name``."""
        return cls.model_fields[name].default
