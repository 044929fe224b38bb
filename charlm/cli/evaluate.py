"""``charlm evaluate``: how well a model predicts a text."""

import json
from enum import StrEnum
from typing import Annotated

import typer

from charlm.cli.display import facts, show, write
from charlm.cli.opening import (
    CheckpointOption,
    DeviceOption,
    blas_threads,
    open_checkpoint,
    open_model,
    read_file,
    read_split,
)
from charlm.errors import ConfigError, TextError


class Split(StrEnum):
    """A part of the model's own corpus that it was not trained on."""

    validation = "validation"
    test = "test"


def evaluate(
    checkpoint: CheckpointOption = None,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="Score this text, or standard input (-), as one lane."),
    ] = None,
    split: Annotated[
        Split | None, typer.Option(help="Score a split of the model's own corpus, in training's lanes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    device: DeviceOption = "cpu",
) -> None:
    """Score a text in nats, bits and perplexity; without --file, the model's own validation text."""
    from charlm.evaluation import evaluate as score_of
    from charlm.text.streams import evaluation_streams, one_lane

    if file is not None and split is not None:
        raise ConfigError("say what to score once: either --file or --split.")
    path, opened = open_checkpoint(checkpoint)
    if file is not None:
        ids = read_file(file, opened.config.data, opened.vocabulary)
        if len(ids) < 2:
            raise TextError(f"{file}: one character leaves nothing to predict; scoring needs two or more.")
        streams = one_lane(ids)
    else:
        streams = evaluation_streams(read_split(opened, (split or Split.validation).value), opened.config.training)
    model = open_model(opened, device)
    with blas_threads(model, streams.lanes):
        score = score_of(model, opened.vocabulary, streams)
    source = file or f"{(split or Split.validation).value} split"
    figures = {
        "characters": score.characters,
        "nats_per_character": score.nats_per_character,
        "bits_per_character": score.bits_per_character,
        "bits_per_byte": score.bits_per_byte,
        "perplexity": score.perplexity,
    }
    if as_json:
        write(json.dumps({"checkpoint": str(path), "text": source, "lanes": streams.lanes} | figures) + "\n")
        return
    rows = [(name.replace("_", " "), _shown(value)) for name, value in figures.items()]
    show(facts(f"{path} on {source}", rows))


def _shown(value: float | None) -> str:
    if value is None:
        return "unknown: the text holds characters outside the vocabulary"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
