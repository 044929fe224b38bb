"""Characters (or bytes) ⇄ ids, and their one-hot rows.

    "hello"  over the symbols  e h l o

      h → 1 → [0 1 0 0]
      e → 0 → [1 0 0 0]
      l → 2 → [0 0 1 0]
      l → 2 → [0 0 1 0]
      o → 3 → [0 0 0 1]

Symbols are sorted by code point; special symbols follow them. A byte is stored as the character
with that code point, so both units share one lookup table over code points.
"""

import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FailFast, ValidationError, model_validator

from charlm.errors import CheckpointError, UnknownCharactersError
from charlm.text.code_points import END_UNIT, CodePoints, code_points
from charlm.text.decoding import REPLACEMENT, Decoder
from charlm.text.normalization import Form
from charlm.text.printable import marked
from charlm.text.unknown_characters import UnknownCharacter, listed

TextUnit = Literal["character", "byte"]
Ids = NDArray[np.unsignedinteger[Any]]

UNKNOWN = "<unk>"
END = "<end>"
"""The special symbol after every item of a text of separate items, and before the first."""
_NOT_THERE = -1
_LONGEST_SPECIAL = 40


@dataclass(frozen=True)
class Vocabulary:
    """The symbols of a model; a symbol's index is its id."""

    symbols: tuple[str, ...]
    unit: TextUnit = "character"
    normalization: Form | None = None
    special: Mapping[str, int] = field(default_factory=dict)
    """The id of each symbol that is not a character, by name; sampling excludes them by default."""

    @classmethod
    def of_code_points(
        cls, counts: NDArray[np.int64], normalization: Form | None = None, minimum_count: int = 1
    ) -> Self:
        """Build from ``counts[code point]``; characters rarer than ``minimum_count`` share ``<unk>``.

        Counts that include `END_UNIT` add an ``<end>``.
        """
        characters = counts.copy()
        characters[END_UNIT : END_UNIT + 1] = 0
        symbols = tuple(map(chr, np.flatnonzero(characters >= minimum_count)))
        special = [END] if counts[END_UNIT : END_UNIT + 1].any() else []
        if np.any((characters > 0) & (characters < minimum_count)):
            special.append(UNKNOWN)
        return cls((*symbols, *special), "character", normalization, _places(len(symbols), special))

    @classmethod
    def of_text(cls, text: str, normalization: Form | None = None, minimum_count: int = 1) -> Self:
        """Build from the characters of one text."""
        text = text if normalization is None else unicodedata.normalize(normalization, text)
        return cls.of_code_points(np.bincount(code_points(text)), normalization, minimum_count)

    @classmethod
    def of_bytes(cls, special: Sequence[str] = ()) -> Self:
        """Return the vocabulary of all 256 bytes, which can encode any file, followed by ``special`` symbols."""
        return cls((*map(chr, range(256)), *special), "byte", None, _places(256, special))

    def united(self, other: Self) -> Self:
        """Return a vocabulary of the symbols of both; both must have the same unit and normalization."""
        symbols = tuple(sorted({*self._characters, *other._characters}))
        special = sorted({*self.special, *other.special})
        return type(self)((*symbols, *special), self.unit, self.normalization, _places(len(symbols), special))

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned integer type for every id: one byte up to 256 symbols."""
        return np.min_scalar_type(max(len(self) - 1, 0))

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        """Id of each code point, or ``_NOT_THERE``; the last entry is for all code points above the table."""
        characters = self._units
        table = np.full(max(characters, default=0) + 2, self.special.get(UNKNOWN, _NOT_THERE), np.int32)
        table[characters] = np.arange(len(characters))
        return table

    @property
    def end(self) -> int | None:
        """The id of ``<end>``; None where the text is not made of separate items."""
        return self.special.get(END)

    @property
    def _units(self) -> list[int]:
        """Code point of each symbol that has one, by id; ``<end>`` comes right after the characters."""
        return [*map(ord, self._characters), *([] if self.end is None else [END_UNIT])]

    @property
    def _characters(self) -> tuple[str, ...]:
        return self.symbols[: len(self.symbols) - len(self.special)]

    def to_units(self, text: str) -> CodePoints:
        """Return ``text`` as code points, normalized, or as its UTF-8 bytes."""
        if self.unit == "byte":
            return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8).astype("<u4")
        return code_points(text if self.normalization is None else unicodedata.normalize(self.normalization, text))

    def encode(self, text: str) -> Ids:
        """Return the ids (N,) of a text, which is normalized first.

        Raises UnknownCharactersError, which lists each unknown character with its code point and position,
        unless the vocabulary has ``<unk>``.
        """
        return self.encode_units(self.to_units(text))

    def encode_units(self, units: CodePoints, position: int = 0) -> Ids:
        """Return the ids (N,) of normalized code points that start at ``position`` of their text."""
        ids = self._table[np.minimum(units, len(self._table) - 1)]
        if UNKNOWN not in self.special and np.any(ids == _NOT_THERE):
            raise self.unknown_error(self._unknown_characters(units, position))
        return ids.astype(self.dtype)

    def encode_item(self, text: str) -> Ids:
        """Return the ids of a text at the beginning of an item: preceded by ``<end>``, where there is one."""
        before = [] if self.end is None else [self.end]
        return np.concatenate([np.array(before, self.dtype), self.encode(text)])

    def unknown_characters(self, text: str, position: int = 0) -> list[UnknownCharacter]:
        """Return the characters of ``text`` that this vocabulary lacks, in order of first occurrence."""
        return self._unknown_characters(self.to_units(text), position)

    def _unknown_characters(self, units: CodePoints, position: int) -> list[UnknownCharacter]:
        places = np.flatnonzero(~np.isin(units, np.array(self._units)))
        found, first, counts = np.unique(units[places], return_index=True, return_counts=True)
        return [
            UnknownCharacter(chr(found[index]), position + int(places[first[index]]), int(counts[index]))
            for index in np.argsort(first)
        ]

    def unknown_error(self, unknown: Sequence[UnknownCharacter]) -> UnknownCharactersError:
        """Return the error that lists characters this vocabulary lacks."""
        what, them = ("1 character is", "it") if len(unknown) == 1 else (f"{len(unknown):,} characters are", "them")
        return UnknownCharactersError(
            f"{what} not in the model's vocabulary of {len(self):,} symbols: {listed(unknown)}.",
            f"Replace or remove {them}, or train on a text that contains {them} (with data.minimum_count above 1, "
            "unknown characters become <unk>).",
        )

    def decoder(self) -> Decoder:
        """Return a decoder that turns ids into text one at a time."""
        shown = ["\n" if name == END else name for name in self.symbols]
        return Decoder(shown, unit=self.unit, recompose=self.normalization in ("NFD", "NFKD"))

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        """Return the text of ids (N,): decomposed text recomposed (NFC), bytes as UTF-8, ``<end>`` as a newline."""
        decoder = self.decoder()
        return "".join(decoder.feed(int(index)) for index in ids) + decoder.finish()

    def marks(self, ids: Sequence[int] | NDArray[Any]) -> list[str]:
        """Return one printable character for each id (N,): the symbol itself, or a mark for an invisible one."""
        highest = "\x7f" if self.unit == "byte" else chr(sys.maxunicode)  # other bytes are not whole characters
        shown = [marked(symbol) if len(symbol) == 1 and symbol <= highest else REPLACEMENT for symbol in self.symbols]
        if self.end is not None:
            shown[self.end] = "␃"
        return [shown[index] for index in ids]

    def one_hot(self, ids: Sequence[int] | NDArray[Any]) -> NDArray[np.uint8]:
        """Return the one-hot rows (N, V) of ids (N,): one in the id's column, zero elsewhere."""
        rows = np.zeros((len(ids), len(self)), np.uint8)
        rows[np.arange(len(ids)), np.asarray(ids, dtype=np.intp)] = 1
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-serializable dictionary that `from_json` reads back."""
        return {
            "unit": self.unit,
            "normalization": self.normalization,
            "symbols": list(self.symbols),
            "special": dict(self.special),
        }

    @classmethod
    def from_json(cls, values: object) -> Self:
        """Return the vocabulary that `to_json` wrote; raises CheckpointError when the values are not valid."""
        try:
            record = _Record.model_validate(values)
        except ValidationError as error:
            raise CheckpointError(f"the vocabulary is not valid: {error.errors()[0]['msg']}") from error
        return cls(tuple(record.symbols), record.unit, record.normalization, record.special)


class _Record(BaseModel):
    """The shape of a vocabulary in JSON."""

    model_config = ConfigDict(strict=True, extra="forbid")

    unit: TextUnit
    normalization: Form | None
    symbols: Annotated[list[str], FailFast()]
    special: dict[str, int]

    @model_validator(mode="after")
    def _symbols_are_what_they_seem(self) -> Self:
        characters = self.symbols[: len(self.symbols) - len(self.special)]
        specials = dict(zip(self.symbols[len(characters) :], range(len(characters), len(self.symbols)), strict=True))
        if not all(len(symbol) == 1 for symbol in characters) or sorted(set(characters)) != characters:
            raise ValueError("symbols are not single characters sorted by code point")
        if END in self.special and specials.get(END) != len(characters):
            raise ValueError("<end> does not follow the characters")
        if not characters or any("\ud800" <= symbol <= "\udfff" for symbol in characters):
            raise ValueError("symbols are not characters")
        if not all(name.isprintable() and 1 < len(name) < _LONGEST_SPECIAL for name in self.special):
            raise ValueError(f"a special symbol's name is not 2 to {_LONGEST_SPECIAL - 1} printable characters")
        if specials != self.special or not all(type(place) is int for place in self.special.values()):
            raise ValueError("special symbols do not follow the others")
        if self.unit == "byte" and characters[-1:] > ["\xff"]:
            raise ValueError("a symbol is not a byte")
        return self


def _places(characters: int, special: Sequence[str]) -> dict[str, int]:
    """Return the id of each special symbol; their ids follow those of ``characters`` characters."""
    return {name: characters + index for index, name in enumerate(special)}
