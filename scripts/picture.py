#!/usr/bin/env python3
"""Draw docs/inspect-hidden.svg, the terminal output of `charlm inspect-hidden`, for the README.

python scripts/picture.py runs/quickstart/best.safetensors 0:41 0:115
"""

from io import StringIO
from pathlib import Path

import typer
from rich.console import Console
from rich.terminal_theme import TerminalTheme

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.cli.trace_view import trace_lines
from charlm.inspection.trace import Unit, trace
from charlm.whole_file import write_whole_file

TEXT = (
    'The widow Grey put down her net. "Where is the boat?" asked Nell. "It is under the snow," said old Tom (it was).'
)
WIDTH = 78
PAPER = TerminalTheme((255, 255, 255), (40, 40, 40), [(40, 40, 40)] * 8)

# Installed fonts and no URLs, so that the picture is self-contained.
FORMAT = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>{lines}</defs>
<rect width="100%" height="100%" fill="#ffffff" rx="8" />
<g transform="translate({terminal_x}, 12)" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""


def main(checkpoint: Path, units: list[str], output: Path = Path("docs/inspect-hidden.svg")) -> None:
    """Draw the hidden state of UNITS, each LAYER:INDEX; the first one colours the text."""
    loaded = Checkpoint.load(checkpoint)
    ids = loaded.vocabulary.encode(TEXT)
    places = [unit.split(":") for unit in units]
    chosen = [Unit("hidden", int(layer), int(index)) for layer, index in places]
    marks = "".join(loaded.vocabulary.marks(ids))
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor")
    for line in trace_lines(trace(loaded.recurrent(), ids, ["hidden"]), chosen, marks, loaded.config.model, WIDTH):
        console.print(line)
    svg = console.export_svg(theme=PAPER, code_format=FORMAT, unique_id="charlm")
    write_whole_file(output, svg.encode())


if __name__ == "__main__":
    typer.run(main)
