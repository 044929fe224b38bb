"""``charlm inspect-gradients``: gradient norm by lag, and saliency, of trained models and untrained configs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from charlm.cli.delivery import Format, as_csv, as_json, deliver, refuse_binary_on_terminal
from charlm.cli.loading import (
    CorpusOption,
    check_corpus_is_read,
    pictures,
    read_file,
    read_text,
    read_validation,
    unescape,
)
from charlm.errors import ConfigError
from charlm.text.printable import escaped

if TYPE_CHECKING:
    from charlm.cli.delivery import Drawing
    from charlm.config.settings import Config
    from charlm.inspection.gradient_by_lag import GradientByLag, Saliency
    from charlm.models.network import RecurrentNetwork
    from charlm.text.vocabulary import Ids, Vocabulary

Found = TypeVar("Found", "GradientByLag", "Saliency")
GradientFormat = Literal["terminal", "csv", "json", "png", "html"]
"""Output formats of gradients: all but npz."""


@dataclass(frozen=True)
class Subject:
    """A model to measure, with its name and the text that it reads."""

    name: str
    network: "RecurrentNetwork"
    vocabulary: "Vocabulary"
    ids: "Ids"


def inspect_gradients(
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--checkpoint",
            "-c",
            metavar="PATH",
            help="A checkpoint file, a run's folder or a run's name; repeatable. Default: the best of the latest run.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="An untrained model with this config; repeatable.", show_default=False),
    ] = None,
    lags: Annotated[int, typer.Option(min=1, max=10_000, help="Largest lag, in characters.")] = 100,
    positions: Annotated[
        int, typer.Option(min=1, max=100_000, help="Number of positions in the text to average over.")
    ] = 64,
    file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Read this text instead of each model's own validation text."),
    ] = None,
    corpus: CorpusOption = None,
    text: Annotated[
        str | None,
        typer.Option(
            help="Show instead how strongly the prediction after this text depends on each of its characters; "
            r"\n and \t are escapes.",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[GradientFormat, typer.Option("--format", help="Output format.")] = "terminal",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write to this file instead of standard output.")
    ] = None,
) -> None:
    """Measure the gradient of the loss with respect to the state 0, 1, 2 … characters back."""
    from charlm.inspection.gradient_by_lag import Saliency
    from charlm.inspection.gradients import gradient_by_lag, saliency

    if text is not None and file is not None:
        raise ConfigError(
            "--file and --text exclude each other. Use --file for the gradient at each lag, --text for one prediction."
        )
    if file == "-" and len(checkpoint or ()) + len(config or ()) > 1:
        raise ConfigError("--file -: several models cannot share standard input. Save the text as a file.")
    trained: list[str | None] = [*(checkpoint or [])] or ([] if config else [None])
    read = bool(trained) and text is None and file is None
    check_corpus_is_read(corpus, read=read, otherwise="for a checkpoint, without --text and --file")
    chosen = Format(format_)
    refuse_binary_on_terminal(chosen, output)
    subjects = [_trained(name, file, text, corpus) for name in trained]
    subjects += [_untrained(path, file, text) for path in config or ()]
    named = _named(subjects)
    if text is None:
        by_lag = {name: gradient_by_lag(each.network, each.ids, lags, positions) for name, each in named}
        deliver(_by_lag(by_lag, chosen), output)
    else:
        by_character = {
            name: Saliency(each.vocabulary.marks(each.ids), saliency(each.network, each.ids)) for name, each in named
        }
        deliver(_saliency(by_character, chosen), output)


def _trained(name: str | None, file: str | None, text: str | None, corpus: list[str] | None) -> Subject:
    from charlm.models.network import RecurrentNetwork
    from charlm.runs.lookup import open_checkpoint

    path, opened = open_checkpoint(name)
    _check_has_gradient(str(path), opened.config, text)
    network = RecurrentNetwork(opened.config.model, len(opened.vocabulary))
    network.load_tensors(opened.part("model"))
    if text is not None:
        ids = read_text(unescape(text), opened.vocabulary)
    elif file is not None:
        ids = read_file(file, opened.config.data, opened.vocabulary)
    else:
        ids = read_validation(opened, corpus)
    return Subject(name or path.parent.name, network, opened.vocabulary, ids)


def _untrained(path: Path, file: str | None, text: str | None) -> Subject:
    from charlm.config.reading import read_config
    from charlm.models.network import RecurrentNetwork
    from charlm.text.corpus import Corpus

    config = read_config(path)
    _check_has_gradient(str(path), config, text)
    corpus = Corpus.read(config.data)
    network = RecurrentNetwork(config.model, len(corpus.vocabulary), config.training.seed)
    if text is not None:
        ids = read_text(unescape(text), corpus.vocabulary)
    else:
        ids = corpus.validation if file is None else read_file(file, config.data, corpus.vocabulary)
    return Subject(f"{path.stem}, untrained", network, corpus.vocabulary, ids)


def _check_has_gradient(name: str, config: "Config", text: str | None) -> None:
    """Raise ConfigError if the model has no gradient with respect to earlier states."""
    if not config.model.architecture.is_recurrent:
        raise ConfigError(f"{name}: a Markov model has no gradients. Use an rnn, lstm or gru.")
    if config.data.documents is not None and text is None:
        raise ConfigError(
            f"{name}: this model resets its state after each item, so lags are limited to one item. "
            "Use --text with one item."
        )


def _named(subjects: Sequence[Subject]) -> list[tuple[str, Subject]]:
    """Return each subject with a unique name."""
    named: dict[str, Subject] = {}
    for subject in subjects:
        names = chain([subject.name], (f"{subject.name} ({number})" for number in count(2)))
        named[next(name for name in names if name not in named)] = subject
    return list(named.items())


def _by_lag(found: "Mapping[str, GradientByLag]", format_: Format) -> "str | bytes | Drawing":
    """Return the gradients at each lag in the format, for `deliver`."""
    from charlm.cli.gradient_chart import lag_chart
    from charlm.inspection.gradient_by_lag import lag_table, lag_values
    from charlm.pages.gradients import lag_page

    match format_:
        case Format.csv:
            return as_csv(*lag_table(found))
        case Format.json:
            return as_json(lag_values(found))
        case Format.png:
            return bytes(pictures().lag_png(_drawable(found)))
        case Format.html:
            return lag_page(found)
        case _:
            return partial(lag_chart, found)


def _drawable(found: "Mapping[str, Found]") -> "dict[str, Found]":
    """Return the results by escaped names: fonts have no glyphs for bytes of a file's name that are not UTF-8."""
    return {escaped(name): each for name, each in found.items()}


def _saliency(found: "Mapping[str, Saliency]", format_: Format) -> "str | bytes | Drawing":
    """Return the saliency of each model in the format, for `deliver`."""
    from charlm.cli.gradient_chart import saliency_drawing
    from charlm.inspection.gradient_by_lag import saliency_table, saliency_values
    from charlm.pages.gradients import saliency_page

    match format_:
        case Format.csv:
            return as_csv(*saliency_table(found))
        case Format.json:
            return as_json(saliency_values(found))
        case Format.png:
            return bytes(pictures().saliency_png(_drawable(found)))
        case Format.html:
            return saliency_page(found)
        case _:
            return partial(saliency_drawing, found)
