"""``charlm evaluate``: score a text with a model, and with baselines."""

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charlm.cli.delivery import as_json
from charlm.cli.display import facts, say, show, write
from charlm.cli.loading import (
    LARGEST,
    CheckpointOption,
    CorpusOption,
    DeviceOption,
    check_corpus_is_read,
    encode_file,
    open_model,
)
from charlm.errors import ConfigError, TextError

if TYPE_CHECKING:
    from charlm.checkpoint.checkpoint import Checkpoint
    from charlm.evaluation import Score
    from charlm.text.unknown_characters import UnknownCharacter
    from charlm.text.vocabulary import Ids


class Split(StrEnum):
    """Part of the model's own corpus that it was not trained on."""

    validation = "validation"
    test = "test"


def evaluate(
    checkpoint: CheckpointOption = None,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="Score this text, or standard input (-), in one lane."),
    ] = None,
    corpus: CorpusOption = None,
    skip_unknown: Annotated[
        bool,
        typer.Option(
            "--skip-unknown",
            help="Remove the characters that the model's vocabulary lacks from the text of --file before it is read.",
        ),
    ] = False,
    split: Annotated[
        Split | None, typer.Option(help="Score a split of the model's own corpus, in as many lanes as in training.")
    ] = None,
    lanes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=LARGEST,
            help="Read the text as this many parallel lanes, each from a fresh state, which is faster.",
            show_default=False,
        ),
    ] = None,
    per_character: Annotated[
        bool,
        typer.Option(
            "--per-character",
            help="Show the surprisal of each character: coloured text on a terminal, otherwise tab-separated rows with "
            "the five likeliest predictions.",
        ),
    ] = False,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines",
            help="Also score baselines: uniform, Markov models counted on the training text, and xz -9 (of running "
            "text).",
        ),
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    device: DeviceOption = "cpu",
) -> None:
    """Score a text in nats, bits and perplexity; without --file, the model's own validation text."""
    from charlm.baselines import baseline_bits
    from charlm.checkpoint.corpus import read_corpus, split_of
    from charlm.evaluation import evaluate as score_of
    from charlm.runs.lookup import open_checkpoint
    from charlm.text.streams import evaluation_streams

    if file is not None and split is not None:
        raise ConfigError("--file and --split exclude each other. Give one of them.")
    if skip_unknown and file is None:
        raise ConfigError("--skip-unknown: a split is read as in training. Give a text with --file.")
    check_corpus_is_read(corpus, read=file is None or baselines, otherwise="without --file, or with --baselines")
    if per_character and (json_ or baselines or lanes not in (None, 1)):
        raise ConfigError("--per-character excludes --json and --baselines, and needs one lane. Leave the others out.")
    path, opened = open_checkpoint(checkpoint)
    part = (split or Split.validation).value
    own = read_corpus(opened, part, corpus) if file is None else None
    ids, unknown = (split_of(own, part), []) if own else _read(opened, str(file), skip_unknown)
    usual = 1 if file is not None or per_character else opened.config.training.evaluation_lanes
    streams = evaluation_streams(ids, lanes or usual, opened.vocabulary.end)
    model = open_model(opened, device)
    source = file or f"{part} split"
    if per_character:
        from charlm.cli.surprisal import show_surprisal

        show_surprisal(model, opened.vocabulary, streams)
        return
    score = score_of(model, opened.vocabulary, streams)
    beside = baseline_bits(own or read_corpus(opened, "training", corpus), ids, streams) if baselines else {}
    figures = _figures(score)
    if skip_unknown:
        figures["skipped_characters"] = sum(each.count for each in unknown)
    if json_:
        record = {"checkpoint": str(path), "text": source, "lanes": streams.lanes} | figures
        skipped = {"skipped": list(map(asdict, unknown))} if skip_unknown else {}
        write(as_json(record | skipped | ({"baselines": beside} if baselines else {})))
        return
    rows = [(name.replace("_", " "), _shown(value)) for name, value in figures.items()]
    fresh = "1, from a fresh state" if streams.lanes == 1 else f"{streams.lanes}, each from a fresh state"
    show(facts(f"{path} on {source}", [*rows, ("lanes", fresh)]))
    if baselines:
        _show_baselines(beside | {f"this {opened.config.model.kind}": score.bits_per_character}, opened)


def _show_baselines(bits: "dict[str, float]", checkpoint: "Checkpoint") -> None:
    from charlm.cli.bars import bars

    show(bars("bits per character", bits))
    if checkpoint.vocabulary.end is not None:
        say("charlm: xz is left out: separate items have no order, from which xz would profit.")


def _read(checkpoint: "Checkpoint", file: str, skip_unknown: bool) -> "tuple[Ids, list[UnknownCharacter]]":
    """Return the ids of a file's text and its unknown characters."""
    ids, unknown = encode_file(file, checkpoint.config.data, checkpoint.vocabulary, skip_unknown=skip_unknown)
    if len(ids) < 2:
        raise TextError(f"{file}: scoring needs two characters or more, because the first is not predicted.")
    return ids, unknown


def _figures(score: "Score") -> dict[str, Any]:
    return {
        "characters": score.characters,
        "nats_per_character": score.nats_per_character,
        "bits_per_character": score.bits_per_character,
        "bits_per_byte": score.bits_per_byte,
        "perplexity": score.perplexity,
        "accuracy": score.accuracy,
        "unknown_characters": score.unknown,
    }


def _shown(value: float | None) -> str:
    if value is None:
        return "unknown: the text contains characters outside the vocabulary"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
