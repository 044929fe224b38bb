"""Checkpoint: one verified safetensors file with everything needed to sample, score and trace.

    record        format, run, config, vocabulary, progress, corpus, versions
    tensors       model.rnn.weight_ih_l0, …, model.head.bias          always
                  optimizer.*, state.*, rng.*                         in a full checkpoint
                  model.contexts.0, …, model.counts.k                 of a Markov model of order k, instead

`charlm.checkpoint.sealed_file` describes the file format and its verification. Nothing is pickled. Without the prefix
``model.rnn.``, torch's ``load_state_dict`` accepts the weights.
"""

import io
import re
import reprlib
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from charlm.architectures import recurrent_kinds
from charlm.checkpoint.corpus_identity import CorpusIdentity
from charlm.checkpoint.layout import check_layout
from charlm.checkpoint.sealed_file import SealedFile, Tensors, sealed
from charlm.config.settings import Config
from charlm.errors import CheckpointError, ConfigError, DamagedCheckpointError
from charlm.models.language_model import LanguageModel
from charlm.models.markov import MarkovModel, check_counts
from charlm.models.recurrent import RecurrentModel
from charlm.text.vocabulary import Vocabulary
from charlm.version import __version__
from charlm.whole_file import write_whole_file

FORMAT = 3
"""Version of the record and the tensors; newer versions are refused. 2 added Markov models and separate items, 3 the
run's id, the rollback point, the resolved files of the text and the settings of its reading, its split and the masks.
No key of a format goes or changes its meaning; a setting or a key of ``progress`` may come, with a default."""
_READ = range(1, FORMAT + 1)
_MEANT_UNTIL_2 = {"split": "tail", "newlines": "keep"}
"""What a config meant before format 3 by settings of section ``data`` that it did not have."""
_UNREADABLE = (KeyError, TypeError, AttributeError, ValidationError, ConfigError, CheckpointError, RecursionError)
"""Exceptions that an invalid record can raise."""

_RUN_ID: TypeAdapter[str | None] = TypeAdapter(Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None)
Whole = Annotated[int, Field(ge=0, le=2**53)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Progress(BaseModel):
    """The progress of training."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    step: Whole = 0
    epoch: Amount = 0.0
    characters: Whole = 0
    """Number of predictions trained on."""
    seconds: Amount = 0.0
    train_loss: Amount | None = None
    """Mean since the previous evaluation, nats per character."""
    validation_loss: Amount | None = None
    """At the last evaluation, nats per character."""
    best_validation_loss: Amount | None = None
    best_step: Whole | None = None
    """The step with the lowest validation loss."""
    evaluations_without_better: Whole = 0
    nats_since_evaluation: Amount = 0.0
    characters_since_evaluation: Whole = 0
    rate_factor: Amount = 1.0
    """Product of all reductions of the learning rate by the plateau schedule and rollbacks."""
    rollbacks: Whole = 0
    """Number of times training diverged and was rolled back."""
    lanes_began_at_step: Whole = 0
    """The step at which the current lanes started: 0, unless a resumed run changed their number or window."""
    lanes_began_at_epoch: Amount = 0.0
    rollback_step: Whole | None = None
    """The step of the full checkpoint to which a divergence rolls back; None: this one, or there is no rollback."""

    @model_validator(mode="after")
    def _counts_no_step_before_it_is_taken(self) -> Self:
        if max(self.lanes_began_at_step, self.best_step or 0, self.rollback_step or 0) > self.step:
            raise ValueError("it refers to a step that was not yet taken")
        return self


@dataclass(frozen=True)
class Checkpoint:
    """A model with its settings, vocabulary, training progress and, in a full checkpoint, training state."""

    config: Config
    vocabulary: Vocabulary
    progress: Progress
    corpus: CorpusIdentity
    tensors: Tensors
    versions: dict[str, str]
    """The environment the model was trained in: package versions, device, threads."""
    run_id: str | None = None
    """The random id of the run that wrote it; None outside a run, and before format 3."""

    def model(self) -> LanguageModel[Any]:
        """Return the model, computing with NumPy."""
        if not self.config.model.architecture.is_recurrent:
            return MarkovModel.from_tensors(self.config.model.order, len(self.vocabulary), self.part("model"))
        return self.recurrent()

    def recurrent(self) -> RecurrentModel:
        """Return the recurrent model, computing with NumPy; raises ConfigError for a Markov model."""
        architecture = self.config.model.architecture
        if not architecture.is_recurrent:
            raise ConfigError(
                f"{architecture.article} {architecture.name} has no hidden units and no gradients: its state is the "
                f"last {self.config.model.order} characters. Name an {recurrent_kinds()}."
            )
        return RecurrentModel(self.config.model, len(self.vocabulary), self.part("model"), self.vocabulary.end)

    def part(self, name: str) -> Tensors:
        """Return the tensors whose names start with ``name.``, without that prefix."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}

    def weights_only(self) -> Self:
        """Return the checkpoint without the tensors that only resuming needs."""
        kept = {key: value for key, value in self.tensors.items() if key.startswith("model.")}
        return replace(self, tensors=kept)

    @property
    def is_full(self) -> bool:
        """Whether training can resume from this checkpoint."""
        return "rng.cpu" in self.tensors

    def save(self, path: Path) -> None:
        """Write the file atomically; raises StorageError when writing fails."""
        write_whole_file(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the file's bytes, digest included."""
        record = {
            "format": FORMAT,
            "run": self.run_id,
            "config": self.config.model_dump(mode="json"),
            "vocabulary": self.vocabulary.to_json(),
            "progress": self.progress.model_dump(mode="json"),
            "corpus": self.corpus.model_dump(mode="json"),
            "versions": self.versions,
        }
        return sealed(record, self.tensors)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and verify a file that `save` wrote.

        Raises CheckpointError when it cannot be read, has a newer format or contains non-finite numbers; and
        DamagedCheckpointError when there is no such file, or its bytes, parts or name are inconsistent.
        """
        try:
            size = _size(path)
            with path.open("rb") as file:
                checkpoint = cls._read(file, size)
        except CheckpointError as error:
            raise error.at(path) from error
        except OSError as error:
            raise CheckpointError(f"{path}: cannot read this checkpoint ({error.strerror}).") from error
        step = step_of(path)
        if step not in (None, checkpoint.progress.step):
            raise DamagedCheckpointError(
                f"{path}: its name and its content disagree: the name says step {step:,}, the content step "
                f"{checkpoint.progress.step:,}. Use another checkpoint of the run."
            )
        return checkpoint

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Verify and parse a file's bytes; raises like `load`."""
        return cls._read(io.BytesIO(content), len(content))

    @classmethod
    def _read(cls, stream: BinaryIO, size: int) -> Self:
        file = SealedFile(stream, size)
        if type(file.record.get("format")) is not int or file.record["format"] not in _READ:
            raise CheckpointError(
                f"this checkpoint has format {reprlib.repr(file.record.get('format'))}; charlm {__version__} reads "
                f"formats {_READ[0]} to {_READ[-1]}. Use the version of charlm that wrote it, or a newer one."
            )
        try:
            config = Config.model_validate(_as_meant(file.record["config"], file.record["format"]))
            vocabulary = Vocabulary.from_json(file.record["vocabulary"])
            progress = Progress.model_validate(file.record["progress"])
            corpus = CorpusIdentity.model_validate(file.record["corpus"])
            versions = {str(name): str(value) for name, value in file.record["versions"].items()}
            run_id = _RUN_ID.validate_python(file.record.get("run"))
        except _UNREADABLE as error:
            mistakes = f"{error.error_count()} mistakes" if isinstance(error, ValidationError) else repr(error)
            raise DamagedCheckpointError(
                "this checkpoint is damaged, or was written by an incompatible version of charlm: its record cannot "
                f"be read ({reprlib.repr(mistakes)})."
            ) from error
        check_layout(file.layout, config, len(vocabulary), progress.step)
        tensors = file.tensors()
        if name := not_finite(tensors):
            raise CheckpointError(f"the tensor {name} contains non-finite numbers. Use another checkpoint.")
        checkpoint = cls(config, vocabulary, progress, corpus, tensors, versions, run_id)
        if not config.model.architecture.is_recurrent:
            check_counts(config.model.order, len(vocabulary), checkpoint.part("model"))
        return checkpoint


def _as_meant(config: Any, number: int) -> Any:
    """Return a recorded config with what it meant, in format ``number``, by the settings it does not have."""
    return config if number > 2 else config | {"data": _MEANT_UNTIL_2 | config["data"]}


def step_name(step: int) -> str:
    """Return the file name of the full checkpoint at a step."""
    return f"step-{step:08d}.safetensors"


def step_of(path: Path) -> int | None:
    """Return the step in a full checkpoint's file name; None for other names."""
    name = re.fullmatch(r"step-([0-9]{8,18})\.safetensors", path.name)
    return int(name[1]) if name else None


def _size(path: Path) -> int:
    """Return a regular file's size in bytes; raises DamagedCheckpointError for anything else."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: not a valid file name
        reason = getattr(error, "strerror", None) or error
        raise DamagedCheckpointError(f"cannot read this checkpoint ({reason}).") from error
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would block
        raise DamagedCheckpointError("not a regular file, so not a checkpoint.")
    return status.st_size


def not_finite(tensors: Mapping[str, Any]) -> str | None:
    """Return the name of a tensor that contains a non-finite number; None when there is none."""
    floats = (name for name, value in tensors.items() if value.dtype.kind == "f")
    return next((name for name in floats if not np.isfinite(tensors[name]).all()), None)
