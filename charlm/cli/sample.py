"""``charlm sample``: write text with a model."""

import json
import secrets
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charlm.cli.display import say, write
from charlm.cli.opening import (
    CheckpointOption,
    DeviceOption,
    blas_threads,
    open_checkpoint,
    open_model,
    read_prompt,
    strangers_note,
    unescape,
)
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from charlm.checkpoint import Checkpoint
    from charlm.models.language_model import Symbols
    from charlm.models.recurrent import RecurrentModel
    from charlm.text.vocabulary import Vocabulary

_BETWEEN = "\n----\n"
"""What stands between several samples."""


def sample(
    checkpoint: CheckpointOption = None,
    prompt: Annotated[
        str | None, typer.Option(help=r"Text to go on from; \n and \t are understood.", show_default=False)
    ] = None,
    prompt_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Read the prompt from a file, or from standard input (-)."),
    ] = None,
    length: Annotated[int, typer.Option(min=0, help="New characters to write.")] = 500,
    temperature: Annotated[float, typer.Option(help="Low is careful, high is wild, 0 takes the likeliest.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Choose among the K likeliest characters only.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Choose among the likeliest that together reach this probability.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed writes the same text.")] = None,
    num_samples: Annotated[int, typer.Option(min=1, help="Texts to write, as one batch.")] = 1,
    stop: Annotated[
        str | None, typer.Option(metavar="TEXT", help=r"End before the first TEXT; \n and \t are understood.")
    ] = None,
    clamp: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER:INDEX=VALUE",
            help="Hold a hidden unit at a value while writing; repeatable.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of plain text.")] = False,
    device: DeviceOption = "cpu",
) -> None:
    """Write text: the prompt, then what the model makes of it."""
    from charlm.sampling import Choice
    from charlm.sampling import sample as write_on

    if prompt is not None and prompt_file is not None:
        raise ConfigError("give the prompt once: either --prompt or --prompt-file.")
    choice = Choice(temperature, top_k, top_p)
    path, opened = open_checkpoint(checkpoint)
    before = unescape(prompt or "") if prompt_file is None else read_prompt(prompt_file, opened)
    model = _held(opened, clamp, device) if clamp else open_model(opened, device)
    used_seed = secrets.randbits(32) if seed is None else seed
    rows = write_on(model, opened.vocabulary, before, choice=choice, seed=used_seed, num_samples=num_samples)
    writer = _Writer(opened.vocabulary, before, None if stop is None else unescape(stop))
    if seed is None:
        say(f"charlm: {path}, seed {used_seed}")
    if note := strangers_note(opened.vocabulary, before):
        say(f"charlm: {note}")
    with blas_threads(model, num_samples):
        if as_json:
            settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": used_seed}
            texts = {"prompt": writer.prompt, "samples": writer.texts(islice(rows, length), num_samples)}
            write(json.dumps({"checkpoint": str(path)} | settings | texts, ensure_ascii=False) + "\n")
            return
        if num_samples == 1:
            for piece in writer.pieces(int(row[0]) for row in islice(rows, length)):
                write(piece)
        else:
            write(_BETWEEN.join(writer.texts(islice(rows, length), num_samples)))
    if sys.stdout.isatty():
        write("\n")


def _held(checkpoint: "Checkpoint", clamp: list[str], device: str) -> "RecurrentModel":
    """Return the model on NumPy with some units held."""
    from charlm.cli.places import parse_held

    if device != "cpu":
        raise ConfigError("--clamp holds units where they can be reached, on NumPy; leave --device at cpu.")
    return checkpoint.model().holding(dict(parse_held("--clamp", text, checkpoint.config.model) for text in clamp))


class _Writer:
    """Turns new ids into text: the prompt, then what follows it, up to the stop."""

    def __init__(self, vocabulary: "Vocabulary", prompt: str, stop: str | None) -> None:
        self._vocabulary = vocabulary
        self._prompt_ids = vocabulary.encode(prompt).tolist()
        self._stop = stop
        self.prompt = vocabulary.decode(self._prompt_ids)

    def pieces(self, ids: Iterable[int]) -> Iterator[str]:
        """Yield the text as it comes. One decoder reads prompt and continuation: an accent may join them."""
        from charlm.sampling import until
        from charlm.text.decoding import decoded

        decoder = self._vocabulary.decoder()
        yield from map(decoder.feed, self._prompt_ids)
        yield from until(decoded(ids, decoder), self._stop)

    def texts(self, rows: "Iterable[Symbols]", num_samples: int) -> list[str]:
        """Return the text of each of several samples."""
        columns: list[Any] = list(zip(*rows, strict=True)) or [()] * num_samples
        return ["".join(self.pieces(map(int, column))) for column in columns]
