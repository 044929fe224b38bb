"""The text a model was trained on, as its checkpoint records it."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self
from urllib.parse import unquote_to_bytes

from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

if TYPE_CHECKING:
    from charlm.text.corpus import Corpus

MOST_FILES = 100_000
"""Largest number of files that are recorded, or read again."""
MOST_REPEATS = 100
"""How often one file may be read again, at most, so that a record cannot make much of a small one."""
_LONGEST_RECORD = 3 << 20
"""Largest size of the recorded names in the header, in bytes; the largest vocabulary leaves that much of it."""
_URI = "file://"


class CorpusIdentity(BaseModel):
    """The text a model was trained on: its files, how large each is, and the digest of their bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: Annotated[list[str], FailFast()]
    """The files as the config named them: paths and globs."""
    sha256: str
    files: Annotated[list[str], FailFast(), Field(max_length=MOST_FILES)] = []
    """The absolute path of each file, in the order of reading; a name that is not Unicode is a URI.

    Empty in formats 1 and 2, and where there are too many to record.
    """
    sizes: Annotated[list[Annotated[int, Field(ge=0, le=2**63)]], FailFast(), Field(max_length=MOST_FILES)] = []
    """The number of bytes of each of them."""

    @model_validator(mode="after")
    def _each_file_has_a_size(self) -> Self:
        if len(self.files) != len(self.sizes):
            raise ValueError("it has another number of files than of sizes")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_recorded(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        left_out = () if self.files else ("files", "sizes")
        return {name: value for name, value in serialize(self).items() if name not in left_out}

    @classmethod
    def of(cls, corpus: "Corpus") -> Self:
        """Return the identity of a text that was read."""
        names = [_recorded(file.path) for file in corpus.files]
        identity = cls(path=list(corpus.paths), sha256=corpus.sha256)
        if not _can_be_recorded(names):
            return identity
        return identity.model_copy(update={"files": names, "sizes": [file.size for file in corpus.files]})

    @property
    def names(self) -> list[str]:
        """The names of the files to read again: those recorded, or else those that the config named."""
        return self.files or self.path

    def place(self, name: str) -> Path:
        """Return the path of one of `names`."""
        if not self.files or not name.startswith(_URI):  # an absolute path does not
            return Path(name)
        return Path(os.fsdecode(unquote_to_bytes(name.removeprefix(_URI))))


def _can_be_recorded(names: list[str]) -> bool:
    """Return whether these are few enough, and none is repeated too often, for the text to be read again."""
    if len(names) > MOST_FILES or max(Counter(names).values(), default=0) > MOST_REPEATS:
        return False
    inner = json.dumps(names, ensure_ascii=False)  # the record is JSON within JSON
    return len(json.dumps(inner, ensure_ascii=False).encode()) <= _LONGEST_RECORD


def _recorded(path: Path) -> str:
    """Return a path as Unicode; JSON has no characters for the bytes of a name that is not."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return path.as_uri()
    return str(path)
