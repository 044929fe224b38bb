"""Characters that a vocabulary lacks, as a text has them, and the words that list them."""

from collections.abc import Sequence
from dataclasses import dataclass

_SHOWN = 10
"""Maximum number of unknown characters that a message lists."""


@dataclass(frozen=True)
class UnknownCharacter:
    """A character that a vocabulary lacks, with its first position in the text and its count."""

    character: str
    position: int
    count: int

    def __str__(self) -> str:
        times = f", {self.count:,} times" if self.count > 1 else ""
        return f"{self.character!r} (U+{ord(self.character):04X}) at position {self.position:,}{times}"


def listed(unknown: Sequence[UnknownCharacter]) -> str:
    """Return the first characters, with their positions and counts."""
    return ", ".join(map(str, unknown[:_SHOWN])) + (", …" if len(unknown) > _SHOWN else "")


def unknown_note(unknown: Sequence[UnknownCharacter], *, skipped: bool = False) -> str | None:
    """Return a message that lists the characters read as ``<unk>`` or skipped, or None where there are none."""
    return f"{'skipped' if skipped else 'read as unknown'}: {listed(unknown)}" if unknown else None
