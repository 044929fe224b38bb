"""Section ``model`` of a config: which kind of model, how wide, how deep."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from charlm.architectures import ARCHITECTURES, Architecture, readers_of
from charlm.config.section import Fraction, OnResume, Section, Size

_READ_BY_COUNTING = ("seed", "evaluation_lanes")
"""The settings of section ``training`` that a model reads that is counted instead of trained."""


class ModelConfig(Section):
    """The model: which cell, how wide, how deep; or how many characters a Markov model looks back."""

    kind: Annotated[Literal["rnn", "lstm", "gru", "markov"], OnResume.FIXED] = "lstm"
    """The recurrent cell: rnn (Elman), lstm or gru; or markov, which counts what follows the last characters."""

    hidden_size: Annotated[Size, OnResume.FIXED] = 128
    """Hidden units in each layer."""

    num_layers: Annotated[int, Field(gt=0, le=1000), OnResume.FIXED] = 2
    """Cells stacked on each other."""

    embedding_size: Annotated[Size | None, OnResume.FIXED] = None
    """Width of a learned embedding; null: the one-hot row goes straight into the cell."""

    nonlinearity: Annotated[Literal["tanh", "relu"], OnResume.FIXED] = "tanh"
    """What squashes an rnn's state: tanh or relu. Only rnn reads it."""

    dropout: Annotated[Fraction, OnResume.ASK] = 0.0
    """Share of units silenced in training, between layers and before the read-out."""

    order: Annotated[int, Field(ge=0, le=32), OnResume.FIXED] = 5
    """How many characters a markov model looks back: 0 none, 1 the Markov chain, k AR(k). Only markov reads it."""

    @property
    def architecture(self) -> Architecture:
        """What a model of this kind consists of."""
        return ARCHITECTURES[self.kind]

    @property
    def description(self) -> str:
        """Kind and size in a few words, such as lstm 2 × 128."""
        if not self.architecture.is_recurrent:
            return f"{self.kind}, order {self.order}"
        return f"{self.kind} {self.num_layers} × {self.hidden_size:,}"

    @field_validator("*")
    @classmethod
    def _is_read_by_this_kind(cls, value: object, info: ValidationInfo) -> object:
        name, kind = str(info.field_name), info.data.get("kind")
        if value != cls.default(name) and kind is not None and not is_read(f"model.{name}", kind):
            readers = ", ".join(readers_of(name))
            raise ValueError(f"only model.kind: {readers} reads this; leave it at {cls.default(name)}")
        return value


def is_read(key: str, kind: str) -> bool:
    """Return whether a model of this kind reads the setting ``section.key``."""
    section, _, name = key.partition(".")
    if section == "model":
        return kind in readers_of(name)
    return section != "training" or ARCHITECTURES[kind].is_recurrent or name in _READ_BY_COUNTING
