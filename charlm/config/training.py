"""Section ``training`` of a config: how a network is trained."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from charlm.config.section import Count, OnResume, Section


class TrainingConfig(Section):
    """Truncated backpropagation through time, and how its steps are taken."""

    batch_size: Annotated[Count, OnResume.ASK] = 32
    """Parallel lanes: stretches of the text that are read side by side."""

    sequence_length: Annotated[Count, OnResume.ASK] = 64
    """Steps in a window, after which the gradient is cut (truncated BPTT)."""

    carry_state: Annotated[bool, OnResume.ASK] = True
    """Whether the hidden state flows on across the cut; false starts every window fresh."""

    epochs: Annotated[Count | None, OnResume.FREE] = 20
    """Passes over the training text. Exactly one of epochs and steps is set."""

    steps: Annotated[Count | None, Field(validate_default=True), OnResume.FREE] = None
    """Windows to train on, instead of epochs."""

    learning_rate: Annotated[float, Field(gt=0), OnResume.ASK] = 0.002
    """The highest learning rate (AdamW)."""

    schedule: Annotated[Literal["constant", "cosine", "plateau"], OnResume.ASK] = "cosine"
    """How the rate moves: constant, cosine (down to zero), or plateau (halved when validation stalls)."""

    warmup_fraction: Annotated[float, Field(ge=0, le=1), OnResume.ASK] = 0.05
    """Share of all steps over which the rate rises from zero."""

    weight_decay: Annotated[float, Field(ge=0), OnResume.ASK] = 0.01
    """Decoupled weight decay of the weight matrices; biases are left alone."""

    gradient_clip: Annotated[Annotated[float, Field(gt=0)] | None, OnResume.ASK] = 1.0
    """Longest gradient (global norm); longer ones are scaled down. null: never."""

    on_divergence: Annotated[Literal["stop", "rollback"], OnResume.FREE] = "stop"
    """What to do when loss or gradient are no longer finite: stop, or rollback (to the last checkpoint, at half the
    learning rate, at most three times)."""

    patience: Annotated[Count | None, OnResume.FREE] = None
    """Evaluations without a better validation loss before training stops; null: never."""

    evaluate_every: Annotated[Count | None, OnResume.FREE] = None
    """Steps between evaluations; null: once an epoch."""

    evaluation_lanes: Annotated[Count, OnResume.ASK] = 8
    """Stretches in which the validation or test text is read side by side, each from a fresh state."""

    seed: Annotated[int, Field(ge=0, lt=2**63), OnResume.FIXED] = 1
    """Where all randomness starts: first weights and dropout."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:(0|[1-9][0-9]{0,2}))?)$"), OnResume.FREE] = "auto"
    """Where to compute: auto (cuda if there is one, else cpu), cpu, cuda, cuda:N or mps."""

    precision: Annotated[Literal["float32", "bfloat16"], OnResume.ASK] = "float32"
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
