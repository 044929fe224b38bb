"""Section ``model`` of a config: the kind of model and its size."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from charlm.architectures import ARCHITECTURES, Architecture, readers_of
from charlm.config.section import Fraction, OnResume, Section, Size

_READ_BY_COUNTING = ("seed", "evaluation_lanes")
"""The settings of section ``training`` that a counted model, such as a Markov model, reads."""


class ModelConfig(Section):
    """The kind of model and its size."""

    kind: Annotated[Literal["rnn", "lstm", "gru", "markov"], OnResume.FIXED] = "lstm"
    """Kind of model: a recurrent network with cell rnn (Elman), lstm or gru; or markov, which counts which characters
    follow each context."""

    hidden_size: Annotated[Size, OnResume.FIXED] = 128
    """Number of hidden units in each layer."""

    num_layers: Annotated[int, Field(gt=0, le=1000), OnResume.FIXED] = 2
    """Number of stacked recurrent layers."""

    embedding_size: Annotated[Size | None, OnResume.FIXED] = None
    """Size of a learned embedding of each symbol; null: the first layer's input is the one-hot vector."""

    nonlinearity: Annotated[Literal["tanh", "relu"], OnResume.FIXED] = "tanh"
    """Activation function of an rnn: tanh or relu. Only used by kind rnn."""

    dropout: Annotated[Fraction, OnResume.ASK] = 0.0
    """Dropout probability in training, applied between layers and before the read-out."""

    weight_dropout: Annotated[Fraction, OnResume.ASK] = 0.0
    """Probability of dropping a recurrent weight in training (weight drop); drawn once for each window, for all its
    lanes and steps."""

    locked_dropout: Annotated[Fraction, OnResume.ASK] = 0.0
    """Probability of dropping a unit in training at the places of dropout; drawn once for each lane and window, for all
    its steps. It replaces dropout, which must be 0 with it."""

    input_dropout: Annotated[Fraction, OnResume.ASK] = 0.0
    """Probability of dropping a symbol of the vocabulary at the input in training; drawn once for each lane and window,
    for all occurrences of the symbol."""

    order: Annotated[int, Field(ge=0, le=32), OnResume.FIXED] = 5
    """Context length of a markov model, in characters: 0 uses character frequencies alone, 1 is a Markov chain. Only
    used by kind markov."""

    @property
    def architecture(self) -> Architecture:
        """The architecture of this kind of model."""
        return ARCHITECTURES[self.kind]

    @property
    def description(self) -> str:
        """Kind and size, such as "lstm 2 × 128"."""
        if not self.architecture.is_recurrent:
            return f"{self.kind}, order {self.order}"
        return f"{self.kind} {self.num_layers} × {self.hidden_size:,}"

    @field_validator("*")
    @classmethod
    def _is_read_by_this_kind(cls, value: object, info: ValidationInfo) -> object:
        name, kind = str(info.field_name), info.data.get("kind")
        if value != cls.default(name) and kind is not None and not is_read(f"model.{name}", kind):
            readers = ", ".join(readers_of(name))
            raise ValueError(f"only used by model.kind: {readers}; leave it at {cls.default(name)}")
        return value

    @field_validator("locked_dropout")
    @classmethod
    def _excludes_dropout(cls, value: float, info: ValidationInfo) -> float:
        if value and info.data.get("dropout"):
            raise ValueError("replaces model.dropout at the same places; set one of the two to 0")
        return value


def is_read(key: str, kind: str) -> bool:
    """Return whether a model of this kind reads the setting ``section.key``."""
    section, _, name = key.partition(".")
    if section == "model":
        return kind in readers_of(name)
    return section != "training" or ARCHITECTURES[kind].is_recurrent or name in _READ_BY_COUNTING
