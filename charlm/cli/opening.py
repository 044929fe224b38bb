"""What commands that read a model open first: its checkpoint, the model itself, a text."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charlm.errors import ConfigError, TextError, UnknownCharactersError

if TYPE_CHECKING:
    from charlm.checkpoint import Checkpoint
    from charlm.config.settings import DataConfig
    from charlm.models.language_model import LanguageModel
    from charlm.text.vocabulary import Ids, Vocabulary

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
    from charlm.models.device import find_device
    from charlm.models.network import NetworkModel, RecurrentNetwork

    if not re.fullmatch(r"cuda(:\d+)?|mps", device):
        raise ConfigError(f"--device {device}: expected cpu, cuda, cuda:N or mps.")
    network = RecurrentNetwork(checkpoint.config.model, len(checkpoint.vocabulary))
    network.load_tensors(checkpoint.part("model"))
    return NetworkModel(network, find_device(device))


def read_file(name: str, data: "DataConfig", vocabulary: "Vocabulary") -> "Ids":
    """Return a file's (or with ``-`` standard input's) text as the model's ids, decoded as its corpus was."""
    from charlm.text.corpus import encode_pieces
    from charlm.text.files import text_pieces

    pieces, source = _open_bytes(name)
    try:
        ids = encode_pieces(text_pieces(pieces, source, data), vocabulary)
    except UnknownCharactersError as error:
        raise UnknownCharactersError(f"{source}: {error}") from error
    if len(ids) == 0:
        raise TextError(f"{source}: there is no text here; it is empty. Name a file that holds some.")
    return ids


def read_prompt(name: str, checkpoint: "Checkpoint") -> str:
    """Return the text of a file, or with ``-`` of standard input, decoded as the model's corpus was."""
    from charlm.text.files import text_pieces

    pieces, source = _open_bytes(name)
    if checkpoint.config.data.unit == "byte":
        return b"".join(pieces).decode("utf-8", "surrogateescape")
    return "".join(text_pieces(pieces, source, checkpoint.config.data))


def read_split(checkpoint: "Checkpoint", split: str) -> "Ids":
    """Return the ids of the model's own validation or test text; the corpus must be as it was."""
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
    ids = corpus.validation if split == "validation" else corpus.test
    if len(ids) < 2:
        raise TextError("this model kept no test text: its config has data.test_fraction 0. Use --split validation.")
    return ids


def strangers_note(vocabulary: "Vocabulary", text: str) -> str | None:
    """Return a sentence on the characters that a model with ``<unk>`` reads as unknown, if there are any."""
    strangers = vocabulary.strangers(text)
    return f"read as unknown: {', '.join(map(str, strangers))}" if strangers else None


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
