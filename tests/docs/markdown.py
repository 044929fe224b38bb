"""The pages of the documentation, and what is in them: code blocks, command lines, links."""

import re
import shlex
import subprocess
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
"""The text of each page, by its path in the repository."""

_LOOP = re.compile(r"for (\w+) in (.*?); do (.*); done")


@dataclass(frozen=True)
class Block:
    """A fenced code block."""

    page: str
    kind: str
    text: str


@dataclass(frozen=True)
class Shown:
    """A command line of charlm as a page shows it, and its output where the page shows that too."""

    page: str
    line: str
    arguments: tuple[str, ...]
    """Those of charlm itself: no variables before it, no pipe or file after it."""
    output: tuple[str, ...] = ()


def blocks(page: str, *kinds: str) -> list[Block]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)
    return [Block(page, kind, text) for kind, text in found if not kinds or kind in kinds]


def prose(page: str) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^```\w*\n.*?^```$", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)


def shown_commands() -> list[Shown]:
    """Return every command line of charlm in a code block, loops written out."""
    found = []
    for page in PAGES:
        for block in blocks(page, "sh", "console"):
            lines = re.sub(r" *\\\n *", " ", block.text).splitlines()
            for number, line in enumerate(lines):
                if block.kind == "console" and not line.startswith("$ "):
                    continue
                output = tuple(takewhile(lambda other: not other.startswith("$ "), lines[number + 1 :]))
                for single in _written_out(line.removeprefix("$ ")):
                    for arguments in _calls_of_charlm(single):
                        shown = output if block.kind == "console" else ()
                        found.append(Shown(page, single, arguments, shown))
    return found


def _written_out(line: str) -> list[str]:
    """Return the lines that a loop of the shell runs."""
    loop = _LOOP.fullmatch(line)
    if not loop:
        return [line]
    variable, values, body = loop.groups()
    return [body.replace(f"${variable}", value) for value in values.split()]


def _calls_of_charlm(line: str) -> list[tuple[str, ...]]:
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    calls: list[list[str]] = [[]]
    for word in words:
        if set(word) <= set("|;&<>()"):
            calls.append([])
        else:
            calls[-1].append(word)
    own = [[word for word in call if not re.match(r"[A-Z_]+=", word)] if call else [] for call in calls]
    return [tuple(call[1:]) for call in own if call[:1] == ["charlm"]]


def anchors(page: str) -> set[str]:
    """Return the names that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def tracked() -> set[str]:
    """Return the files that git knows, new ones that it does not ignore included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return {file for file in listed if (ROOT / file).exists()}
