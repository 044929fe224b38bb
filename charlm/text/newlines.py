"""Line ends of a text given in pieces: CRLF and CR become LF."""

from collections.abc import Iterable, Iterator


def newlines_normalized(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the joined ``pieces`` with LF at the end of each line, in pieces; a CR may be the last of its piece."""
    held = ""
    for piece in pieces:
        text = held + piece
        held = "\r" if text.endswith("\r") else ""
        yield text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n")
    if held:
        yield "\n"
