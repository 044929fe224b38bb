"""Section ``data`` of a config: which text, and how it is read and divided."""

import codecs
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from charlm.config.section import Count, Fraction, OnResume, Paths, Section


class DataConfig(Section):
    """Which text, and how it is read and divided."""

    path: Annotated[Paths, OnResume.FREE]
    """A text file, a list of files, or a glob such as "data/*.txt". Order is kept; a glob sorts by name."""

    unit: Annotated[Literal["character", "byte"], OnResume.FIXED] = "character"
    """What the model reads one of at a time: character, or byte (any file at all)."""

    encoding: Annotated[str, OnResume.FIXED] = "utf-8"
    """How the file's bytes stand for characters."""

    normalization: Annotated[Literal["NFC", "NFD", "NFKC", "NFKD"] | None, OnResume.FIXED] = None
    """Unicode normalization: null, NFC, NFD, NFKC or NFKD. NFD splits Hangul into jamo."""

    documents: Annotated[Literal["line", "blank-line", "file"] | None, OnResume.FIXED] = None
    """What separates items of their own (names, poems, files): line, blank-line or file; null: it is all one text."""

    minimum_count: Annotated[Count, OnResume.FIXED] = 1
    """Characters seen less often than this become <unk>."""

    validation_fraction: Annotated[float, Field(gt=0, lt=1), OnResume.FIXED] = 0.1
    """Share of the text kept for validation: a contiguous tail, never shuffled, never trained on."""

    test_fraction: Annotated[Fraction, OnResume.FIXED] = 0.0
    """Share of the text kept for a final test: a further tail, read only where the test split is asked for."""

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
