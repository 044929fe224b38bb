"""Every setting of a run: what it means, its type, its default.

The YAML file mirrors this tree. The text under each field is the setting's one description: the
commented starter (``charlm config init``) and the JSON Schema (``charlm config schema``) are made of it.
"""

import codecs
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from charlm.config.section import Count, Fraction, Paths, Section, Size, is_unicode


class DataConfig(Section):
    """Which text, and how it is read and divided."""

    path: Paths
    """A text file, a list of files, or a glob such as "data/*.txt". Order is kept; a glob sorts by name."""

    unit: Literal["character", "byte"] = "character"
    """What the model reads one of at a time: character, or byte (any file at all)."""

    encoding: str = "utf-8"
    """How the file's bytes stand for characters."""

    normalization: Literal["NFC", "NFD", "NFKC", "NFKD"] | None = None
    """Unicode normalization: null, NFC, NFD, NFKC or NFKD. NFD splits Hangul into jamo."""

    documents: Literal["line", "blank-line", "file"] | None = None
    """What separates items of their own (names, poems, files): line, blank-line or file; null: it is all one text."""

    minimum_count: Count = 1
    """Characters seen less often than this become <unk>."""

    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the text kept for validation: a contiguous tail, never shuffled, never trained on."""

    test_fraction: Fraction = 0.0
    """Share of the text kept for a final test: a further tail, read by `evaluate --split test` alone."""

    @field_validator("encoding")
    @classmethod
    def _is_a_text_encoding(cls, value: str) -> str:
        try:
            known = codecs.lookup(value)._is_text_encoding
        except (LookupError, ValueError):
            known = False
        if not known:
            raise ValueError("expected a text encoding that Python knows, such as utf-8, cp1252 or cp949")
        return value

    @field_validator("encoding", "normalization", "minimum_count")
    @classmethod
    def _bytes_are_read_as_they_are(cls, value: object, info: ValidationInfo) -> object:
        default = cls.default(str(info.field_name))
        if info.data.get("unit") == "byte" and value != default:
            raise ValueError(f"bytes are read as they are; leave this at {default!r} or set data.unit: character")
        return value

    @field_validator("test_fraction")
    @classmethod
    def _leaves_text_to_train_on(cls, value: float, info: ValidationInfo) -> float:
        if value + info.data.get("validation_fraction", 0.0) >= 1:
            raise ValueError("expected validation_fraction + test_fraction to stay under 1")
        return value


class ModelConfig(Section):
    """The model: which cell, how wide, how deep; or how many characters a Markov model looks back."""

    kind: Literal["rnn", "lstm", "gru", "markov"] = "lstm"
    """The recurrent cell: rnn (Elman), lstm or gru; or markov, which counts what follows the last characters."""

    hidden_size: Size = 128
    """Hidden units in each layer."""

    num_layers: Annotated[int, Field(gt=0, le=1000)] = 2
    """Cells stacked on each other."""

    embedding_size: Size | None = None
    """Width of a learned embedding; null: the one-hot row goes straight into the cell."""

    nonlinearity: Literal["tanh", "relu"] = "tanh"
    """What squashes an rnn's state: tanh or relu. Only rnn reads it."""

    dropout: Fraction = 0.0
    """Share of units silenced in training, between layers and before the read-out."""

    order: Annotated[int, Field(ge=0, le=32)] = 5
    """How many characters a markov model looks back: 0 none, 1 the Markov chain, k AR(k). Only markov reads it."""

    @property
    def description(self) -> str:
        """Kind and size in a few words, such as lstm 2 × 128."""
        if self.kind == "markov":
            return f"markov, order {self.order}"
        return f"{self.kind} {self.num_layers} × {self.hidden_size:,}"

    @field_validator("hidden_size", "num_layers", "embedding_size", "nonlinearity", "dropout", "order")
    @classmethod
    def _is_read_by_this_kind(cls, value: object, info: ValidationInfo) -> object:
        name, kind = str(info.field_name), info.data.get("kind")
        if value != cls.default(name) and kind is not None and not is_read(f"model.{name}", kind):
            readers = ", ".join(kind for kind in ("rnn", "lstm", "gru", "markov") if is_read(f"model.{name}", kind))
            raise ValueError(f"only model.kind: {readers} reads this; leave it at {cls.default(name)}")
        return value


def is_read(key: str, kind: str) -> bool:
    """Return whether a model of this kind reads the setting ``section.key``."""
    if kind != "markov":
        return key != "model.order" and (key != "model.nonlinearity" or kind == "rnn")
    section, _, name = key.partition(".")
    return {"model": name in ("kind", "order"), "training": name in ("seed", "evaluation_lanes")}.get(section, True)


class TrainingConfig(Section):
    """Truncated backpropagation through time, and how its steps are taken."""

    batch_size: Count = 32
    """Parallel lanes: stretches of the text that are read side by side."""

    sequence_length: Count = 64
    """Steps in a window, after which the gradient is cut (truncated BPTT)."""

    carry_state: bool = True
    """Whether the hidden state flows on across the cut; false starts every window fresh."""

    epochs: Count | None = 20
    """Passes over the training text. Exactly one of epochs and steps is set."""

    steps: Annotated[Count | None, Field(validate_default=True)] = None
    """Windows to train on, instead of epochs."""

    learning_rate: Annotated[float, Field(gt=0)] = 0.002
    """The highest learning rate (AdamW)."""

    schedule: Literal["constant", "cosine", "plateau"] = "cosine"
    """How the rate moves: constant, cosine (down to zero), or plateau (halved when validation stalls)."""

    warmup_fraction: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of all steps over which the rate rises from zero."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Decoupled weight decay of the weight matrices; biases are left alone."""

    gradient_clip: Annotated[float, Field(gt=0)] | None = 1.0
    """Longest gradient (global norm); longer ones are scaled down. null: never."""

    on_divergence: Literal["stop", "rollback"] = "stop"
    """What to do when loss or gradient are no longer finite: stop, or rollback (to the last checkpoint, at half the
    learning rate, at most three times)."""

    patience: Count | None = None
    """Evaluations without a better validation loss before training stops; null: never."""

    evaluate_every: Count | None = None
    """Steps between evaluations; null: once an epoch."""

    evaluation_lanes: Count = 8
    """Stretches in which the validation or test text is read side by side, each from a fresh state."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """Where all randomness starts: first weights and dropout."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:(0|[1-9][0-9]{0,2}))?)$")] = "auto"
    """Where to compute: auto (cuda if there is one, else cpu), cpu, cuda, cuda:N or mps."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Numbers to compute with: float32, or bfloat16 where the machine has it."""

    @model_validator(mode="before")
    @classmethod
    def _steps_clear_the_default_epochs(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("steps") is not None and "epochs" not in values:
            return values | {"epochs": None}
        return values

    @field_validator("steps")
    @classmethod
    def _exactly_one_length(cls, value: int | None, info: ValidationInfo) -> int | None:
        if "epochs" in info.data and (value is None) == (info.data["epochs"] is None):
            raise ValueError("expected exactly one of training.epochs and training.steps")
        return value


class RunConfig(Section):
    """What a run is called and what it keeps."""

    name: str = "run"
    """The run's folder. A name that is taken gets a number: name-2."""

    directory: Annotated[str, Field(min_length=1), AfterValidator(is_unicode)] = "runs"
    """Where the folders of all runs lie."""

    save_every: Count | None = None
    """Steps between full checkpoints; null: one at each evaluation."""

    keep: Count = 2
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
    """Everything that defines a run."""

    data: DataConfig
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    run: RunConfig = RunConfig()

    @field_validator("training")
    @classmethod
    def _counting_is_not_trained(cls, value: TrainingConfig, info: ValidationInfo) -> TrainingConfig:
        model, plain = info.data.get("model"), TrainingConfig()
        if model is not None and model.kind == "markov" and value.device in ("auto", "cpu"):
            plain = plain.model_copy(update={"device": value.device})
        others = [
            name
            for name in TrainingConfig.model_fields
            if model is not None
            and not is_read(f"training.{name}", model.kind)
            and getattr(value, name) != getattr(plain, name)
        ]
        if others:
            raise ValueError(
                "model.kind: markov is counted in one pass on the CPU, and reads nothing of this section but seed and "
                f"evaluation_lanes; leave {', '.join(others)} at the default"
            )
        return value
