"""What commands that read a model open first: its checkpoint, the model itself, a text."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charlm.cli.display import say
from charlm.errors import ConfigError, TextError, UnknownCharactersError

if TYPE_CHECKING:
    from charlm.checkpoint import Checkpoint
    from charlm.config.settings import DataConfig
    from charlm.models.language_model import LanguageModel
    from charlm.text.corpus import Corpus
    from charlm.text.vocabulary import Ids, Stranger, Vocabulary

CheckpointOption = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        "-c",
        metavar="PATH",
        help="A checkpoint file, a run's folder or a run's name. Left out: the best of the latest run.",
        show_default=False,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option("--device", help="cpu reads with NumPy and needs no torch; cuda, cuda:N and mps use torch."),
]

_SHOWN = 10
"""Unknown characters that are named."""
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\"}


def unescape(text: str) -> str:
    r"""Return ``text`` with ``\n``, ``\t`` and ``\\`` turned into what they stand for."""
    return re.sub(r"\\([nt\\])", lambda match: _ESCAPES[match[1]], text)


def open_checkpoint(name: str | None) -> "tuple[Path, Checkpoint]":
    """Find, read and verify a checkpoint; return where it lies too."""
    from charlm.checkpoint import Checkpoint
    from charlm.training.finding import find_checkpoint

    path = find_checkpoint(name)
    return path, Checkpoint.load(path)


def open_model(checkpoint: "Checkpoint", device: str) -> "LanguageModel[Any]":
    """Return the model on NumPy for the CPU, or on torch for another device."""
    if device == "cpu":
        return checkpoint.model()
    if checkpoint.config.model.kind == "markov":
        raise ConfigError(f"--device {device}: a Markov model looks its counts up, on the CPU. Leave --device at cpu.")
    from charlm.models.device import find_device
    from charlm.models.network import NetworkModel, RecurrentNetwork

    if not re.fullmatch(r"cuda(:\d+)?|mps", device):
        raise ConfigError(f"--device {device}: expected cpu, cuda, cuda:N or mps.")
    network = RecurrentNetwork(checkpoint.config.model, len(checkpoint.vocabulary))
    network.load_tensors(checkpoint.part("model"))
    return NetworkModel(network, find_device(device), checkpoint.vocabulary.end)


def read_file(name: str, data: "DataConfig", vocabulary: "Vocabulary") -> "Ids":
    """Return a file's (or with ``-`` standard input's) text as the model's ids, decoded as its corpus was.

    Where the model reads separate items, the text is cut into them too. Characters read as unknown are told.
    """
    from charlm.text.corpus import encode_pieces, itemized
    from charlm.text.files import text_pieces

    pieces, source = _open_bytes(name)
    strangers: dict[str, Stranger] = {}
    try:
        texts = text_pieces(pieces, source, data)
        ids = encode_pieces(itemized([_noting(texts, vocabulary, strangers)], data), vocabulary)
    except UnknownCharactersError as error:
        raise UnknownCharactersError(f"{source}: {error}") from error
    if len(ids) == (0 if vocabulary.end is None else 1):
        raise TextError(f"{source}: there is no text here; it is empty. Name a file that holds some.")
    if strangers:
        say(f"charlm: {source}: {_read_as_unknown(list(strangers.values()))}")
    return ids


def _noting(texts: Iterator[str], vocabulary: "Vocabulary", found: "dict[str, Stranger]") -> Iterator[str]:
    """Yield the pieces of a text, and note in ``found`` what the vocabulary lacks, with its place in the file.

    What stands between separate items is no character of theirs. Raises UnknownCharactersError where the vocabulary
    has not learned ``<unk>``.
    """
    from charlm.text.vocabulary import UNKNOWN

    position = 0
    between = "" if vocabulary.end is None else " \t\r\n"
    for text in texts:
        lacking = [stranger for stranger in vocabulary.strangers(text, position) if stranger.character not in between]
        if lacking and UNKNOWN not in vocabulary.special:
            raise vocabulary.unknown_error(lacking)
        for stranger in lacking:
            known = found.setdefault(stranger.character, replace(stranger, count=0))
            found[stranger.character] = replace(known, count=known.count + stranger.count)
        position += len(text)
        yield text


def read_prompt(name: str, checkpoint: "Checkpoint") -> str:
    """Return the text of a file, or with ``-`` of standard input, decoded as the model's corpus was."""
    from charlm.text.files import text_pieces

    pieces, source = _open_bytes(name)
    if checkpoint.config.data.unit == "byte":
        return b"".join(pieces).decode("utf-8", "surrogateescape")
    text = "".join(text_pieces(pieces, source, checkpoint.config.data))
    return text.rstrip("\r\n") if checkpoint.config.data.documents == "line" else text  # a line's end is not its text


def read_split(checkpoint: "Checkpoint", split: str) -> "Ids":
    """Return the ids of the model's own validation or test text; the corpus must be as it was."""
    return split_of(read_corpus(checkpoint, split), split)


def split_of(corpus: "Corpus", split: str) -> "Ids":
    """Return the ids of the validation or the test text; raises TextError where none was kept."""
    ids = corpus.validation if split == "validation" else corpus.test
    if len(ids) < 2:
        raise TextError("this model kept no test text: its config has data.test_fraction 0. Use --split validation.")
    return ids


def read_corpus(checkpoint: "Checkpoint", split: str) -> "Corpus":
    """Return the text that the model was trained on; ``split`` says in errors which part of it was wanted."""
    from charlm.text.corpus import Corpus

    data = checkpoint.config.data
    unreadable, instead = f"the {split} text of this model cannot be read:", "Use --file, or bring the corpus back."
    changed = f"{unreadable} {', '.join(data.path)} has changed since training. {instead}"
    try:
        corpus = Corpus.read(data, checkpoint.vocabulary)
    except UnknownCharactersError as error:
        raise TextError(changed) from error
    except TextError as error:
        raise TextError(f"{unreadable} {error} {instead}") from error
    if corpus.sha256 != checkpoint.corpus.sha256:
        raise TextError(changed)
    return corpus


def strangers_note(vocabulary: "Vocabulary", text: str) -> str | None:
    """Return a sentence on the characters that a model with ``<unk>`` reads as unknown, if there are any."""
    strangers = vocabulary.strangers(text)
    return _read_as_unknown(strangers) if strangers else None


def _read_as_unknown(strangers: "list[Stranger]") -> str:
    shown = ", ".join(map(str, strangers[:_SHOWN])) + (", …" if len(strangers) > _SHOWN else "")
    return f"read as unknown: {shown}"


def pictures() -> ModuleType:
    """Return the module that draws pictures; raises ConfigError where matplotlib is not installed."""
    try:
        from charlm.inspection import picture
    except ModuleNotFoundError as error:
        raise ConfigError("--format png draws with matplotlib: pip install 'charlm[plot]'.") from error
    return picture


@contextmanager
def blas_threads(model: "LanguageModel[Any]", texts: int) -> Iterator[None]:
    """Give NumPy one BLAS thread for one text, whose products are too small to share, and BLAS's own for more.

    On a busy machine a second thread that is waited for at every step costs far more than it ever gives.
    """
    import numpy as np

    from charlm.models.recurrent import RecurrentModel

    with np.errstate(all="ignore"):  # weights of a stranger may overflow; what comes of it is shown as it is
        if isinstance(model, RecurrentModel) and texts == 1:
            from threadpoolctl import threadpool_limits

            with threadpool_limits(1):
                yield
        else:
            yield


def _open_bytes(name: str) -> tuple[Iterator[bytes], str]:
    """Return a file's bytes in pieces, and what to call it in errors; ``-`` is standard input."""
    from charlm.text.files import byte_pieces

    return (_standard_input(), "standard input") if name == "-" else (byte_pieces(Path(name)), name)


def _standard_input() -> Iterator[bytes]:
    from charlm.text.files import PIECE

    if sys.stdin is None:
        raise TextError("standard input is closed, so there is no text to read. Use --file FILE.")
    while piece := sys.stdin.buffer.read(PIECE):
        yield piece
