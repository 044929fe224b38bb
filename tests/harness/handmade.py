"""Checkpoint files taken apart and assembled without charlm's own writer."""

import hashlib
import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import safetensors.numpy
from numpy.typing import NDArray

HUGE = 9 * 10**4298
"""As long as Python reads an integer at all."""


@dataclass
class Parts:
    """A checkpoint taken apart: its record, where its tensors lie, and their bytes."""

    record: Any
    tree: Any
    body: bytes

    @classmethod
    def of(cls, content: bytes) -> Self:
        start = 8 + int.from_bytes(content[:8], "little")
        tree = json.loads(content[8:start])
        record = json.loads(tree.pop("__metadata__")["charlm"])
        del record["sha256"]
        return cls(record, tree, content[start:])

    def tensors(self) -> dict[str, NDArray[Any]]:
        return safetensors.numpy.load(self.written())

    def put(self, tensors: dict[str, NDArray[Any]]) -> None:
        """Replace all tensors."""
        self.tree, self.body = {}, b""
        for name, values in tensors.items():
            end = len(self.body) + values.nbytes
            dtype = {"f": "F", "u": "U", "i": "I", "b": "BOOL"}[values.dtype.kind]
            dtype += "" if values.dtype.kind == "b" else str(8 * values.itemsize)
            self.tree[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": [len(self.body), end]}
            self.body += values.tobytes()

    def header(self) -> bytes:
        record = json.dumps({**self.record, "sha256": "0" * 64} if isinstance(self.record, dict) else self.record)
        return json.dumps({"__metadata__": {"charlm": record}, **self.tree}).encode()

    def written(self) -> bytes:
        return by_hand(self.header(), self.body)


def by_hand(header: bytes, body: bytes = b"") -> bytes:
    """Return a file of these bytes, with the right digest where the header has a place for one."""
    content = len(header).to_bytes(8, "little") + header + body
    place = content.rfind(b"0" * 64, 0, 8 + len(header))
    if place < 0:
        return content
    return content[:place] + hashlib.sha256(content).hexdigest().encode() + content[place + 64 :]


def everything_in(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return what lies in a folder; pipes are not read and links not followed."""
    found = {}
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        content = (
            path.read_bytes() if stat.S_ISREG(mode) else str(path.readlink()).encode() if stat.S_ISLNK(mode) else b""
        )
        found[str(path.relative_to(folder))] = (mode, content)
    return found


def put_at(tree: Any, place: str, value: object) -> None:
    """Put a value into a tree of JSON, at ``section.key``."""
    *sections, last = place.split(".")
    for section in sections:
        tree = tree[section]
    tree[last] = value
