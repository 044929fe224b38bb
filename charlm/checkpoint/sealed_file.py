"""A safetensors file with a checksum: tensors, one JSON record, and a SHA-256 of the whole file.

    8 bytes       length of the header
    header        JSON: the offsets of each tensor, and __metadata__.charlm, the record, itself JSON
    tensors       one after the other, without gaps

The record ends with "sha256": the digest of all bytes of the file, its own 64 digits replaced by zeros. It is checked
on the bytes that are then parsed, since neither torch nor safetensors detects a flipped bit. Files are untrusted: what
the header claims is checked against the file's size before anything is read or allocated for it.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from charlm.errors import CheckpointError, DamagedCheckpointError

Tensors = dict[str, NDArray[Any]]
Layout = dict[str, tuple[str, tuple[int, ...]]]
"""The type, by safetensors' name such as F32, and the shape of each tensor."""

_KEY = "charlm"
_BLANK = "0" * 64
_BEFORE_DIGEST, _BEHIND_DIGEST = rb"\"sha256\": \"", rb'\"}"}'
"""The bytes around the digest, at the end of JSON within JSON. No string in the record can contain those that follow
it, because its quotes would be escaped once more."""
_LONGEST_HEADER = 1 << 24
"""Maximum size in bytes; a vocabulary of all of Unicode takes 13 million."""


def sealed(record: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the bytes of a file with this record and these tensors, digest included."""
    arrays = {name: np.asarray(value, order="C") for name, value in sorted(tensors.items())}
    told = {key: value for key, value in record.items() if key != "sha256"} | {"sha256": _BLANK}
    metadata = {_KEY: _json(told)}
    content = safetensors.numpy.save(arrays, metadata)
    place = _place_of_digest(content)
    return content[:place] + hashlib.sha256(content).hexdigest().encode() + content[place + len(_BLANK) :]


def _json(record: Mapping[str, Any]) -> str:
    """Return the record as JSON that can be encoded in UTF-8; a file name may contain lone surrogates."""
    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(record)
    return text


class SealedFile:
    """A file read in two steps: the header first, the tensors after the header was checked.

    Raises DamagedCheckpointError when the file is truncated or damaged, and CheckpointError when another program
    wrote it.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self._head = stream.read(8)
        length = int.from_bytes(self._head, "little")
        if len(self._head) < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise DamagedCheckpointError("this checkpoint is truncated, or not a safetensors file.")
        header = stream.read(length)
        self._head += header
        try:
            tree = json.loads(header)
            self.record: Any = json.loads(tree.pop("__metadata__")[_KEY])
            self.layout: Layout = {
                name: (str(entry["dtype"]), tuple(map(int, entry["shape"]))) for name, entry in tree.items()
            }
            self._end = max((int(entry["data_offsets"][1]) for entry in tree.values()), default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError) as error:
            raise DamagedCheckpointError(
                "not a charlm checkpoint, or its header is damaged. Use another file."
            ) from error
        if not isinstance(self.record, dict):
            raise CheckpointError("not a charlm checkpoint.")

    def tensors(self) -> Tensors:
        """Read the rest of the file, verify the digest, and return the tensors."""
        if self._end != self._size - len(self._head):
            raise DamagedCheckpointError(
                f"this checkpoint is damaged: its header specifies {self._end:,} bytes of tensors, but it has "
                f"{self._size - len(self._head):,}. Use another checkpoint of the run, or a copy."
            )
        content = self._head + self._stream.read(self._end)
        _verify(content, self.record.get("sha256"))
        try:
            return safetensors.numpy.load(content)
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"its digest is correct, but its tensors cannot be read ({error}).") from error


def _verify(content: bytes, digest: object) -> None:
    place = _place_of_digest(content)
    there = content[place : place + len(_BLANK)]
    blanked = hashlib.sha256(content[:place])
    blanked.update(_BLANK.encode())
    blanked.update(content[place + len(_BLANK) :])
    if place < 0 or there != str(digest).encode() or blanked.hexdigest().encode() != there:
        raise DamagedCheckpointError(
            "this checkpoint is damaged: its bytes do not match its SHA-256. "
            "Use another checkpoint of the run (step-*.safetensors), or a copy."
        )


def _place_of_digest(content: bytes) -> int:
    """Return the offset of the record's digest; −1 when there is none."""
    end = 8 + int.from_bytes(content[:8], "little")
    place = content.find(_BEHIND_DIGEST, 0, end) - len(_BLANK)
    return place if content[: max(place, 0)].endswith(_BEFORE_DIGEST) else -1
