"""A model at rest: one verified safetensors file, enough by itself to sample, score and trace.

    8 bytes       length of the header
    header        JSON: where each tensor lies, and __metadata__.charlm, itself JSON:
                  format, config, vocabulary, progress, corpus, versions, sha256
    tensors       model.rnn.weight_ih_l0, …, model.head.bias          always
                  optimizer.*, state.*, rng.*                         in a full checkpoint

The digest covers every byte of the file with its own 64 places zeroed, and is checked at every load on
the very bytes that are then parsed: neither torch nor safetensors notices a flipped bit. There is no
pickle anywhere. Strip ``model.rnn.`` and torch's ``load_state_dict`` takes the weights.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from charlm import __version__
from charlm.config.settings import Config
from charlm.errors import CheckpointError
from charlm.models.recurrent import RecurrentModel
from charlm.text.vocabulary import Vocabulary
from charlm.whole_file import write_whole_file

FORMAT = 1
"""Version of the layout above; a reader refuses what is newer."""

_KEY = "charlm"
_BLANK = "0" * 64

Tensors = dict[str, NDArray[Any]]


class Progress(BaseModel):
    """How far training had come."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    step: int = 0
    epoch: float = 0.0
    characters: int = 0
    """Predictions trained on."""
    seconds: float = 0.0
    train_loss: float | None = None
    """Nats per character since the evaluation before."""
    validation_loss: float | None = None
    """Nats per character at the last evaluation."""
    best_validation_loss: float | None = None
    evaluations_without_better: int = 0
    rate_factor: float = 1.0
    """What the plateau schedule has multiplied the learning rate by."""


class CorpusIdentity(BaseModel):
    """Which text a model was trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: list[str]
    sha256: str


@dataclass(frozen=True)
class Checkpoint:
    """Everything a model is: settings, vocabulary, weights, and how it came about."""

    config: Config
    vocabulary: Vocabulary
    progress: Progress
    corpus: CorpusIdentity
    tensors: Tensors
    versions: dict[str, str]
    """What the model was trained with: packages, device, threads."""

    def model(self) -> RecurrentModel:
        """Return the model, ready to read, on NumPy."""
        return RecurrentModel(self.config.model, len(self.vocabulary), self.part("model"))

    def part(self, name: str) -> Tensors:
        """Return the tensors under ``name.``, without that prefix."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}

    def weights_only(self) -> Self:
        """Return the same checkpoint without what only resuming needs."""
        kept = {key: value for key, value in self.tensors.items() if key.startswith("model.")}
        return replace(self, tensors=kept)

    def save(self, path: Path) -> None:
        """Write the file whole or not at all; raises StorageError when the disk refuses."""
        write_whole_file(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the file's bytes, digest included."""
        record = {
            "format": FORMAT,
            "config": self.config.model_dump(mode="json"),
            "vocabulary": self.vocabulary.to_json(),
            "progress": self.progress.model_dump(mode="json"),
            "corpus": self.corpus.model_dump(mode="json"),
            "versions": self.versions,
            "sha256": _BLANK,
        }
        tensors = {name: np.ascontiguousarray(value) for name, value in sorted(self.tensors.items())}
        content = safetensors.numpy.save(tensors, {_KEY: json.dumps(record, ensure_ascii=False)})
        return content.replace(_BLANK.encode(), hashlib.sha256(content).hexdigest().encode(), 1)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and verify a file that `save` wrote.

        Raises CheckpointError when it is missing, damaged, not charlm's, or of a newer format.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"{path}: cannot read this checkpoint ({error.strerror}).") from error
        try:
            return cls.from_bytes(content)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Verify and parse a file's bytes; raises CheckpointError when they are not whole or not charlm's."""
        record = _record(content)
        if record.get("format") != FORMAT:
            raise CheckpointError(
                f"this checkpoint has format {record.get('format')!r}, and charlm {__version__} reads format {FORMAT}. "
                "Use the charlm that wrote it, or a newer one."
            )
        _verify(content, str(record.get("sha256")))
        try:
            return cls(
                config=Config.model_validate(record["config"]),
                vocabulary=Vocabulary.from_json(record["vocabulary"]),
                progress=Progress.model_validate(record["progress"]),
                corpus=CorpusIdentity.model_validate(record["corpus"]),
                tensors=safetensors.numpy.load(content),
                versions=dict(record["versions"]),
            )
        except (KeyError, TypeError, ValidationError, safetensors.SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"its digest is right, but charlm cannot read what it holds ({reason}).") from error


def _record(content: bytes) -> Mapping[str, Any]:
    """Return charlm's own JSON out of the header."""
    length = int.from_bytes(content[:8], "little")
    try:
        if len(content) < 8 or length > len(content) - 8:
            raise CheckpointError("this checkpoint is cut short or no safetensors file at all.")
        record = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_KEY])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            "this is not a checkpoint that charlm wrote, or its header is damaged. Make one with `charlm train`."
        ) from error
    if not isinstance(record, dict):
        raise CheckpointError("this is not a checkpoint that charlm wrote.")
    return record


def _verify(content: bytes, digest: str) -> None:
    place = content.find(digest.encode())
    blanked = content[:place] + _BLANK.encode() + content[place + len(_BLANK) :]
    if len(digest) != len(_BLANK) or place < 0 or hashlib.sha256(blanked).hexdigest() != digest:
        raise CheckpointError(
            "this checkpoint is damaged: its bytes do not match its SHA-256. "
            "Use another one of the run (step-*.safetensors) or a copy."
        )
