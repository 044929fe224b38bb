"""A safetensors file whose every byte is vouched for: tensors, one JSON record, and a SHA-256 of the whole.

    8 bytes       length of the header
    header        JSON: where each tensor lies, and __metadata__.charlm, the record, itself JSON
    tensors       one after the other, without gaps

The record ends with "sha256": the digest of all bytes of the file with its own 64 places zeroed. It is checked
on the very bytes that are then parsed: neither torch nor safetensors notices a flipped bit. A file is data from
a stranger: what its header claims is held against the file's size before anything is read or allocated for it.
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
"""The type, in safetensors' words such as F32, and the shape of each tensor."""

_KEY = "charlm"
_BLANK = "0" * 64
_BEFORE_DIGEST, _BEHIND_DIGEST = rb"\"sha256\": \"", rb'\"}"}'
"""What encloses the digest, at the end of JSON within JSON. No string of the record can hold what follows it:
its quotes would be escaped once more."""
_LONGEST_HEADER = 1 << 24
"""Bytes; a vocabulary of all of Unicode fills 13 million of them."""


def sealed(record: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the bytes of a file that holds both, digest included."""
    arrays = {name: np.asarray(value, order="C") for name, value in sorted(tensors.items())}
    told = {key: value for key, value in record.items() if key != "sha256"} | {"sha256": _BLANK}
    metadata = {_KEY: _json(told)}
    content = safetensors.numpy.save(arrays, metadata)
    place = _place_of_digest(content)
    return content[:place] + hashlib.sha256(content).hexdigest().encode() + content[place + len(_BLANK) :]


def _json(record: Mapping[str, Any]) -> str:
    """Return the record as text that UTF-8 can hold: a file's name may have lone surrogates."""
    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(record)
    return text


class SealedFile:
    """A file that is opened in two steps: the header at once, the tensors when it has been found good.

    Raises DamagedCheckpointError when the bytes are not whole, and CheckpointError when they are another program's.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self._head = stream.read(8)
        length = int.from_bytes(self._head, "little")
        if len(self._head) < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise DamagedCheckpointError("this checkpoint is cut short, or not a safetensors file at all.")
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
                "this is not a checkpoint that charlm wrote, or its header is damaged. Use another file."
            ) from error
        if not isinstance(self.record, dict):
            raise CheckpointError("this is not a checkpoint that charlm wrote.")

    def tensors(self) -> Tensors:
        """Read the rest of the file, verify the whole, and return its tensors."""
        if self._end != self._size - len(self._head):
            raise DamagedCheckpointError(
                f"this checkpoint is damaged: its header speaks of {self._end:,} bytes of tensors, and "
                f"{self._size - len(self._head):,} are there. Use another one of the run or a copy."
            )
        content = self._head + self._stream.read(self._end)
        _verify(content, self.record.get("sha256"))
        try:
            return safetensors.numpy.load(content)
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"its digest is right, but its tensors cannot be read ({error}).") from error


def _verify(content: bytes, digest: object) -> None:
    place = _place_of_digest(content)
    there = content[place : place + len(_BLANK)]
    blanked = hashlib.sha256(content[:place])
    blanked.update(_BLANK.encode())
    blanked.update(content[place + len(_BLANK) :])
    if place < 0 or there != str(digest).encode() or blanked.hexdigest().encode() != there:
        raise DamagedCheckpointError(
            "this checkpoint is damaged: its bytes do not match its SHA-256. "
            "Use another one of the run (step-*.safetensors) or a copy."
        )


def _place_of_digest(content: bytes) -> int:
    """Return where the record's digest begins; −1 for nowhere."""
    end = 8 + int.from_bytes(content[:8], "little")
    place = content.find(_BEHIND_DIGEST, 0, end) - len(_BLANK)
    return place if content[: max(place, 0)].endswith(_BEFORE_DIGEST) else -1
