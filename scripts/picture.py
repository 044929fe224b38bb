#!/usr/bin/env python3
"""Draw docs/inspect-hidden.svg: what `charlm inspect-hidden` shows on a terminal, for the README.

    python scripts/picture.py runs/quickstart/best.safetensors 0:17

The unit is any that is worth looking at; `--list` names those whose values go most with standing between quotation
marks in the model's validation text.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.terminal_theme import TerminalTheme

from charlm.checkpoint import Checkpoint
from charlm.cli.activity import activity
from charlm.inspection.trace import Unit, trace
from charlm.text.corpus import Corpus

TEXT = (
    'The widow Grey put down her net. "Where is the boat?" asked Nell. "It is under the snow," said old Tom (it was).'
)
PAPER = TerminalTheme((255, 255, 255), (40, 40, 40), [(40, 40, 40)] * 8)

# A plain font and no address, so that the picture is complete in itself.
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


def main(
    checkpoint: Path,
    unit: Annotated[str, typer.Argument(metavar="LAYER:INDEX")] = "0:0",
    output: Path = Path("docs/inspect-hidden.svg"),
    list_: Annotated[bool, typer.Option("--list", help="Name the units that go most with quotation marks.")] = False,
) -> None:
    """Draw the picture, or list units that are worth one."""
    loaded = Checkpoint.load(checkpoint)
    if list_:
        for index, correlation in quote_units(loaded)[:10]:
            typer.echo(f"0:{index}  {correlation:+.3f}")
        return
    layer, index = map(int, unit.split(":"))
    ids = loaded.vocabulary.encode(TEXT)
    chosen = [Unit("hidden", layer, index)]
    marks = "".join(loaded.vocabulary.marks(ids))
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=78, file=nowhere, force_terminal=True, color_system="truecolor")
        for line in activity(trace(loaded.model(), ids, ["hidden"]), chosen, marks, squashed=True, width=78):
            console.print(line)
        svg = console.export_svg(theme=PAPER, code_format=FORMAT, unique_id="charlm")
    output.write_text(svg, encoding="utf-8")


def quote_units(checkpoint: Checkpoint) -> list[tuple[int, float]]:
    """Return the first layer's units by the correlation of their hidden state with being between quotation marks."""
    ids = Corpus.read(checkpoint.config.data, checkpoint.vocabulary).validation
    quotes = ids == checkpoint.vocabulary.symbols.index('"')
    inside: NDArray[np.float64] = ((np.cumsum(quotes) % 2 == 1) & ~quotes).astype(float)
    values = trace(checkpoint.model(), ids, ["hidden"]).signals["hidden"][:, 0]
    correlations = [float(np.corrcoef(values[:, index], inside)[0, 1]) for index in range(values.shape[1])]
    return sorted(enumerate(correlations), key=lambda found: -abs(found[1]))


if __name__ == "__main__":
    typer.run(main)
