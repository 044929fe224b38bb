"""``charlm sample``: generate text with a model."""

import secrets
import sys
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charlm.cli.delivery import as_json
from charlm.cli.display import say, show, write
from charlm.cli.loading import (
    LARGEST,
    CheckpointOption,
    CorpusOption,
    DeviceOption,
    check_corpus_is_read,
    open_model,
    read_prompt,
    say_unknown,
    unescape,
)
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from charlm.checkpoint.checkpoint import Checkpoint
    from charlm.generation import Writer
    from charlm.memorization import Memorization
    from charlm.models.language_model import LanguageModel, Symbols
    from charlm.models.recurrent import RecurrentModel
    from charlm.sampling import SamplingOptions
    from charlm.text.vocabulary import Ids

_MOST_KEPT = 10_000_000
"""Number of characters of all texts that are kept until the last one is complete."""


def sample(
    checkpoint: CheckpointOption = None,
    prompt: Annotated[
        str | None, typer.Option(help=r"Text to continue; \n and \t are escapes.", show_default=False)
    ] = None,
    prompt_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Read the prompt from a file, or from standard input (-) without its final newline."
        ),
    ] = None,
    length: Annotated[int, typer.Option(min=0, max=LARGEST, help="Number of characters to generate.")] = 500,
    temperature: Annotated[
        float, typer.Option(help="Below 1 favours likely characters, above 1 evens them out, 0 takes the likeliest.")
    ] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Sample from the K likeliest characters only.")] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Sample from the likeliest characters that together reach this probability."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**63 - 1, help="Random seed; the same seed gives the same text.")
    ] = None,
    num_samples: Annotated[
        int, typer.Option(min=1, max=100_000, help="Number of texts to generate, as one batch.")
    ] = 1,
    stop: Annotated[
        str | None, typer.Option(metavar="TEXT", help=r"Stop before the first TEXT; \n and \t are escapes.")
    ] = None,
    clamp: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER:INDEX=VALUE",
            help="Hold a hidden unit at a value while generating; repeatable.",
            show_default=False,
        ),
    ] = None,
    next_: Annotated[
        int | None,
        typer.Option(
            "--next",
            min=1,
            max=LARGEST,
            metavar="N",
            help="Show the N likeliest next characters and their probabilities instead of generating text.",
            show_default=False,
        ),
    ] = None,
    novelty: Annotated[
        bool,
        typer.Option("--novelty", help="Mark what appears verbatim in the training text, and report how much is new."),
    ] = False,
    corpus: CorpusOption = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of plain text.")] = False,
    device: DeviceOption = "cpu",
) -> None:
    """Generate text after a prompt, up to --length or until the model ends the item."""
    from charlm.generation import Writer, columns
    from charlm.runs.lookup import open_checkpoint
    from charlm.sampling import SamplingOptions
    from charlm.sampling import sample as write_on

    if prompt is not None and prompt_file is not None:
        raise ConfigError("--prompt and --prompt-file exclude each other. Give one of them.")
    if next_ is not None and (novelty or stop is not None or num_samples > 1):
        raise ConfigError("--next generates no text. Leave --stop, --num-samples and --novelty out.")
    if novelty and stop is not None:
        raise ConfigError("--novelty compares whole samples. Leave --stop out, or choose a --length.")
    check_corpus_is_read(corpus, read=novelty, otherwise="with --novelty")
    if next_ is None and (json_ or novelty or num_samples > 1):
        _check_fits(length, num_samples)
    options = SamplingOptions(temperature, top_k, top_p)
    path, opened = open_checkpoint(checkpoint)
    before = unescape(prompt or "") if prompt_file is None else read_prompt(prompt_file, opened)
    model = _clamped_model(opened, clamp, device) if clamp else open_model(opened, device)
    used_seed = secrets.randbits(32) if seed is None else seed
    rows = write_on(model, opened.vocabulary, before, options=options, seed=used_seed, num_samples=num_samples)
    if seed is None and next_ is None:
        say(f"charlm: {path}, seed {used_seed}")
    say_unknown(before, opened.vocabulary)
    writer = Writer(opened, before, None if stop is None else unescape(stop))
    if next_ is not None:
        _show_next(model, opened, before, options, next_, json_)
    elif json_ or novelty:
        samples = columns(islice(rows, length), num_samples)
        found = _comparison(opened, map(writer.item, samples), corpus) if novelty else None
        if found and not json_:
            _show_comparison(found, writer.between)
            return
        settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": used_seed}
        texts = {"prompt": writer.prompt, "samples": list(map(writer.text, samples))}
        record = {"checkpoint": str(path)} | settings | texts | ({"novelty": found.values()} if found else {})
        write(as_json(record))
    else:
        _write(writer, islice(rows, length), num_samples)


def _check_fits(length: int, num_samples: int) -> None:
    """Raise ConfigError for texts that would fill the memory, because they are written when all are complete."""
    if length * num_samples > _MOST_KEPT:
        raise ConfigError(
            f"--length {length:,} × --num-samples {num_samples:,}: more than {_MOST_KEPT:,} characters, which are kept "
            f"until all texts are complete. Use --length {_MOST_KEPT // num_samples:,}; one text without --json and "
            "--novelty may be longer, because it is written while it is generated."
        )


def _show_next(
    model: "LanguageModel[Any]",
    checkpoint: "Checkpoint",
    prompt: str,
    options: "SamplingOptions",
    count: int,
    json_: bool,
) -> None:
    from charlm.cli.next_characters import show_next
    from charlm.sampling import next_probabilities

    vocabulary = checkpoint.vocabulary
    show_next(next_probabilities(model, vocabulary, prompt, options), vocabulary, count, json_)


def _comparison(checkpoint: "Checkpoint", samples: "Iterable[Ids]", corpus: list[str] | None) -> "Memorization":
    from charlm.memorization import compare

    return compare(checkpoint, list(samples), corpus)


def _show_comparison(found: "Memorization", between: str) -> None:
    from charlm.cli.memorization import marked_texts, new_shares_table, sentence

    write(f"{between.join(marked_texts(found))}\n\n{sentence(found)}\n\n")
    show(new_shares_table(found))


def _write(writer: "Writer", rows: "Iterable[Symbols]", num_samples: int) -> None:
    """Write one text while it is generated, or several after they are complete; the last ends with a newline, too."""
    from charlm.generation import columns

    if num_samples == 1:
        for piece in writer.pieces(int(row[0]) for row in rows):
            write(piece)
    else:
        write(writer.between.join(map(writer.text, columns(rows, num_samples))))
    if num_samples > 1 or sys.stdout.isatty():
        write("\n")


def _clamped_model(checkpoint: "Checkpoint", clamp: list[str], device: str) -> "RecurrentModel":
    """Return the model on NumPy with some units held at a value."""
    from charlm.cli.unit_names import parse_all_held

    if device != "cpu":
        raise ConfigError("--clamp works only on the CPU. Leave --device at cpu.")
    return checkpoint.recurrent().clamped(parse_all_held("--clamp", clamp, checkpoint.config.model))
