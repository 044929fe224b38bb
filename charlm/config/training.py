"""Section ``training`` of a config: how a recurrent network is trained."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from charlm.config.section import Count, OnResume, Section, Threads


class TrainingConfig(Section):
    """Truncated backpropagation through time (truncated BPTT) and its optimizer."""

    batch_size: Annotated[Count, OnResume.ASK] = 32
    """Number of parallel lanes: contiguous stretches of the text that are read at the same time."""

    sequence_length: Annotated[Count, OnResume.ASK] = 64
    """Number of characters in a window; gradients do not flow across windows (truncated BPTT)."""

    carry_state: Annotated[bool, OnResume.ASK] = True
    """Whether the hidden state is carried from one window to the next; false resets it at every window."""

    epochs: Annotated[Count | None, OnResume.FREE] = 20
    """Number of passes over the training text. Exactly one of epochs and steps is set."""

    steps: Annotated[Count | None, Field(validate_default=True), OnResume.FREE] = None
    """Number of optimizer steps, as an alternative to epochs. One step reads one window of every lane."""

    learning_rate: Annotated[float, Field(gt=0), OnResume.ASK] = 0.002
    """Peak learning rate of the AdamW optimizer."""

    schedule: Annotated[Literal["constant", "cosine", "plateau"], OnResume.ASK] = "cosine"
    """Learning-rate schedule after warmup: constant, cosine (decays to zero), or plateau (halved after every two
    evaluations without a lower validation loss)."""

    warmup_fraction: Annotated[float, Field(ge=0, le=1), OnResume.ASK] = 0.05
    """Fraction of all steps over which the learning rate rises linearly from zero."""

    weight_decay: Annotated[float, Field(ge=0), OnResume.ASK] = 0.01
    """Decoupled weight decay of the weight matrices; biases are not decayed."""

    gradient_clip: Annotated[Annotated[float, Field(gt=0)] | None, OnResume.ASK] = 1.0
    """Maximum global norm of the gradient; a larger gradient is scaled down to it. null: no clipping."""

    on_divergence: Annotated[Literal["stop", "rollback"], OnResume.FREE] = "stop"
    """What to do when the loss or the gradient is not finite: stop, or rollback (continue from the last checkpoint at
    half the learning rate, at most three times)."""

    patience: Annotated[Count | None, OnResume.FREE] = None
    """Number of evaluations without a lower validation loss after which training stops; null: never."""

    evaluate_every: Annotated[Count | None, OnResume.FREE] = None
    """Number of steps between evaluations; null: one evaluation per epoch."""

    evaluation_lanes: Annotated[Count, OnResume.ASK] = 8
    """Number of parallel lanes in which the validation or test text is scored, each starting from a zero state."""

    seed: Annotated[int, Field(ge=0, lt=2**63), OnResume.FIXED] = 1
    """Seed of all random numbers: initial weights, dropout and the order of separate items."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:(0|[1-9][0-9]{0,2}))?)$"), OnResume.FREE] = "auto"
    """Device: auto (cuda if available, else cpu), cpu, cuda, cuda:N or mps."""

    threads: Annotated[Threads | None, OnResume.FREE] = None
    """Number of threads that training computes with on the CPU; null: torch's own choice. Results can differ in their
    last bits between two numbers."""

    precision: Annotated[Literal["float32", "bfloat16"], OnResume.ASK] = "float32"
    """Precision of training: float32, or bfloat16 mixed precision where the device supports it."""

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
