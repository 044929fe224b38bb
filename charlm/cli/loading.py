"""Options and functions that several commands share: open a checkpoint's model, read a text."""

import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charlm.cli.display import say
from charlm.errors import ConfigError, TextError
from charlm.home_folder import from_home

if TYPE_CHECKING:
    from charlm.checkpoint.checkpoint import Checkpoint
    from charlm.config.settings import DataConfig
    from charlm.models.language_model import LanguageModel
    from charlm.text.unknown_characters import UnknownCharacter
    from charlm.text.vocabulary import Ids, Vocabulary

CheckpointOption = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        "-c",
        metavar="PATH",
        help="A checkpoint file, a run's folder or a run's name. Default: the best of the latest run.",
        show_default=False,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option("--device", help="cpu uses NumPy and needs no torch; cuda, cuda:N and mps use torch."),
]

CorpusOption = Annotated[
    list[str] | None,
    typer.Option(
        "--corpus",
        metavar="PATH",
        help="The text that the model was trained on, if it is not where it was: a file or a glob; repeatable. It must "
        "be unchanged.",
        show_default=False,
    ),
]

LARGEST = 1_000_000_000
"""Largest count that an option accepts."""

_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\"}


def unescape(text: str) -> str:
    r"""Return ``text`` with the escapes ``\n``, ``\t`` and ``\\`` replaced by their characters."""
    return re.sub(r"\\([nt\\])", lambda match: _ESCAPES[match[1]], text)


def open_model(checkpoint: "Checkpoint", device: str) -> "LanguageModel[Any]":
    """Return the model, on NumPy for the CPU and on torch for other devices."""
    if device == "cpu":
        return checkpoint.model()
    if not checkpoint.config.model.architecture.is_recurrent:
        raise ConfigError(f"--device {device}: a Markov model runs on the CPU only. Use --device cpu.")
    from charlm.models.device import find_device
    from charlm.models.network import NetworkModel, RecurrentNetwork

    if not re.fullmatch(r"cuda(:\d+)?|mps", device):
        raise ConfigError(f"--device {device}: expected cpu, cuda, cuda:N or mps.")
    network = RecurrentNetwork(checkpoint.config.model, len(checkpoint.vocabulary))
    network.load_tensors(checkpoint.part("model"))
    return NetworkModel(network, find_device(device), checkpoint.vocabulary.end)


def read_file(name: str, data: "DataConfig", vocabulary: "Vocabulary") -> "Ids":
    """Return the ids of a file's text, of standard input's for ``-``; report unknown characters on standard error."""
    return encode_file(name, data, vocabulary)[0]


def encode_file(
    name: str, data: "DataConfig", vocabulary: "Vocabulary", *, skip_unknown: bool = False
) -> "tuple[Ids, list[UnknownCharacter]]":
    """Return what `read_file` does, and the unknown characters, which are read as ``<unk>`` or skipped."""
    from charlm.text.encoding import encode_bytes
    from charlm.text.findings import Findings
    from charlm.text.unknown_characters import unknown_note

    pieces, source = _open_bytes(name)
    findings = Findings()
    ids, unknown = encode_bytes(pieces, source, data, vocabulary, findings, skip_unknown=skip_unknown)
    for sentence in findings.sentences():
        say(f"charlm: {sentence}")
    if note := unknown_note(unknown, skipped=skip_unknown):
        say(f"charlm: {source}: {note}")
    return ids, unknown


def read_text(text: str, vocabulary: "Vocabulary") -> "Ids":
    """Return the ids of an option's text, from the start of an item; report unknown characters on standard error."""
    ids = vocabulary.encode_item(text)
    say_unknown(text, vocabulary)
    return ids


def say_unknown(text: str, vocabulary: "Vocabulary") -> None:
    """Report which characters of a text are read as unknown, if there are any."""
    from charlm.text.unknown_characters import unknown_note

    if note := unknown_note(vocabulary.unknown_characters(text)):
        say(f"charlm: {note}")


def read_prompt(name: str, checkpoint: "Checkpoint") -> str:
    """Return the text of a file, of standard input for ``-``, decoded like the model's corpus.

    Standard input loses one final newline, because ``echo`` and here-documents end with one; a file is read as it is.
    """
    from charlm.text.decoded import text_pieces

    pieces, source = _open_bytes(name)
    data = checkpoint.config.data.model_copy(update={"field": None})  # a prompt is not a table
    if data.unit == "byte":
        text = b"".join(pieces).decode("utf-8", "surrogateescape")
    else:
        text = "".join(text_pieces(pieces, source, data))
    if name == "-":
        text = re.sub(r"\r?\n\Z", "", text)
    return text.rstrip("\r\n") if data.documents == "line" else text  # line ends separate items


def read_validation(checkpoint: "Checkpoint", corpus: list[str] | None) -> "Ids":
    """Return the ids of the model's own validation text, from the files of --corpus where they are given."""
    from charlm.checkpoint.corpus import read_corpus, split_of

    return split_of(read_corpus(checkpoint, "validation", corpus), "validation")


def check_corpus_is_read(corpus: list[str] | None, *, read: bool, otherwise: str) -> None:
    """Raise ConfigError for --corpus where a command does not read it; ``otherwise`` says when it would."""
    if corpus and not read:
        raise ConfigError(
            f"--corpus: the text that the model was trained on is read only {otherwise}. Leave --corpus out."
        )


def pictures() -> ModuleType:
    """Return the module that draws pictures; raises ConfigError if matplotlib is not installed."""
    try:
        from charlm.inspection import picture
    except ModuleNotFoundError as error:
        raise ConfigError("--format png: matplotlib is not installed. Run `pip install matplotlib`.") from error
    return picture


def _open_bytes(name: str) -> tuple[Iterator[bytes], str]:
    """Return a file's content in pieces, and its name for errors; ``-`` is standard input."""
    from charlm.text.files import TextFile

    if name == "-":
        return _standard_input(), "standard input"
    path = from_home(name)
    return TextFile(path).pieces(), str(path)


def _standard_input() -> Iterator[bytes]:
    from charlm.text.files import PIECE

    if sys.stdin is None:
        raise TextError("standard input is closed. Use --file FILE.")
    while piece := sys.stdin.buffer.read(PIECE):
        yield piece
