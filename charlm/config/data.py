"""Section ``data`` of a config: which text is read, and how it is decoded and split."""

import codecs
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from charlm.config.section import Count, Fraction, OnResume, Paths, Section


class DataConfig(Section):
    """The text to read, and how it is decoded and split."""

    path: Annotated[Paths, OnResume.FREE]
    """A text file, a list of files, or a glob such as "data/*.txt". Files are read in the order given; the matches of
    a glob are sorted by name."""

    unit: Annotated[Literal["character", "byte"], OnResume.FIXED] = "character"
    """What one symbol is: character, or byte (reads any file)."""

    encoding: Annotated[str, OnResume.FIXED] = "utf-8"
    """Text encoding of the files, by a name that Python knows, such as utf-8, cp1252 or utf-16."""

    errors: Annotated[Literal["strict", "replace"], OnResume.FIXED] = "strict"
    """What becomes of bytes that cannot be decoded: strict (they are an error) or replace (they are read as U+FFFD, and
    counted)."""

    newlines: Annotated[Literal["keep", "normalize"] | None, OnResume.FIXED] = None
    """Line ends: keep (as they are) or normalize (CRLF and CR become LF). null: normalize, except with unit: byte."""

    normalization: Annotated[Literal["NFC", "NFD", "NFKC", "NFKD"] | None, OnResume.FIXED] = None
    """Unicode normalization: NFC, NFD, NFKC, NFKD, or null for none. NFD decomposes Hangul syllables into jamo."""

    documents: Annotated[Literal["line", "blank-line", "file", "record"] | None, OnResume.FIXED] = None
    """What one separate item (a name, a poem) of the text is: line, blank-line (items are separated by blank lines),
    file, or record (one value of the column that field names). The model learns where an item ends. null: the files
    are one continuous text; with field, record."""

    field: Annotated[str | None, Field(min_length=1, validate_default=True), OnResume.FIXED] = None
    """A column of .csv, .tsv and .jsonl files, which may be compressed: each of its values is one item. null: files are
    read as they are."""

    minimum_count: Annotated[Count, OnResume.FIXED] = 1
    """Characters that occur fewer times than this become <unk>."""

    split: Annotated[Literal["random", "tail"] | None, OnResume.FIXED] = None
    """How validation and test text are held out: random (separate items by a hash of their text, so that sorted and
    shuffled files are split alike) or tail (the end of the text). null: random for separate items, else tail."""

    validation_fraction: Annotated[float, Field(gt=0, lt=1), OnResume.FIXED] = 0.1
    """Fraction of the text, or of its items, held out for validation."""

    test_fraction: Annotated[Fraction, OnResume.FIXED] = 0.0
    """Fraction of the text, or of its items, held out for a final test, read only where the test split is named."""

    def meant(self) -> Self:
        """Return these settings with the nulls of ``split`` and ``newlines`` replaced by their meaning."""
        split = self.split or ("tail" if self.documents is None else "random")
        newlines = self.newlines or ("keep" if self.unit == "byte" else "normalize")
        return self.model_copy(update={"split": split, "newlines": newlines})

    @model_validator(mode="before")
    @classmethod
    def _a_field_means_records(cls, value: object) -> object:
        if isinstance(value, dict) and value.get("field") is not None and value.get("documents") is None:
            return value | {"documents": "record"}
        return value

    @field_validator("field")
    @classmethod
    def _belongs_to_records(cls, value: str | None, info: ValidationInfo) -> str | None:
        documents = info.data.get("documents")
        if value is None and documents == "record":
            raise ValueError("expected the name of a column, because documents is record")
        if value is not None and documents not in (None, "record"):  # None where it is refused itself
            raise ValueError(f"needs documents: record or null, which is {documents}")
        if value is not None and info.data.get("unit") == "byte":
            raise ValueError("has no effect on bytes; leave it at null or set data.unit: character")
        return value

    @field_validator("encoding")
    @classmethod
    def _is_a_text_encoding(cls, value: str) -> str:
        try:
            known = codecs.lookup(value)._is_text_encoding
        except (LookupError, ValueError):
            known = False
        if not known:
            raise ValueError("expected a text encoding known to Python, such as utf-8, cp1252 or cp949")
        return value

    @field_validator("encoding", "errors", "newlines", "normalization", "minimum_count")
    @classmethod
    def _bytes_are_read_as_they_are(cls, value: object, info: ValidationInfo) -> object:
        default = cls.default(str(info.field_name))
        if info.data.get("unit") == "byte" and value not in (default, "keep"):
            usual = "null" if default is None else default
            raise ValueError(f"has no effect on bytes; leave it at {usual} or set data.unit: character")
        return value

    @field_validator("split")
    @classmethod
    def _items_are_split_at_random(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value == "random" and info.data.get("documents", ...) is None:
            raise ValueError("only separate items are split at random; set data.documents, or leave it at null")
        return value

    @field_validator("test_fraction")
    @classmethod
    def _leaves_text_to_train_on(cls, value: float, info: ValidationInfo) -> float:
        if value + info.data.get("validation_fraction", 0.0) >= 1:
            raise ValueError("expected validation_fraction + test_fraction to be less than 1")
        return value
