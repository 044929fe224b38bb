"""Everything that can be wrong with what a user gives, and what the user then gets."""

import gzip
import json
import os
import random
import shlex
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.checkpoint.corpus_identity import CorpusIdentity
from tests.conftest import TEXT, Run
from tests.harness.processes import run_in_shell

BEST = Path("runs/lstm/best.safetensors")
CONFIG = """\
data:
  path: text.txt
model:
  hidden_size: 6
training:
  batch_size: 3
  sequence_length: 11
  steps: 2
"""
FILES = {
    "text.txt": TEXT.encode(),
    "tiny.yaml": CONFIG.encode(),
    "empty": b"",
    "one": b"a",
    "short": b"abcdefgh",
    "all-bytes": bytes(range(256)),
    "nul": b"The fox\0said",
    "latin-1": "caf\u00e9 au lait".encode("latin-1"),
    "cut.gz": gzip.compress(TEXT.encode())[:-9],
    "plain.gz": TEXT.encode(),
    "gzip.txt": gzip.compress(TEXT.encode()),
    "text.zip": b"PK\x03\x04\x14\0\0\0",
    "text.txt.zst": b"\x28\xb5\x2f\xfd\x24\x05",
    "table.csv": b'id,text\n1,"a ""fox"""\n2,b\n',
    "torn.csv": b'id,text\n1,"a fox\n2,b\n',
    "lines.jsonl": b'{"text": "a"}\n{"text": 3}\n',
    "surrogate.jsonl": b'{"text": "a\\ud800"}\n',
    "foreign": "said \u20ac twice".encode(),
    "strangers": "\ud55c\u20ac".encode(),
    "folder/text.txt": b"text",
    "unknown.yaml": CONFIG.replace("model:", "modelling:").encode(),
    "misspelt.yaml": CONFIG.replace("hidden_size", "hiden_size").encode(),
    "duplicate.yaml": (CONFIG + "  steps: 3\n").encode(),
    "not-yaml.yaml": b"data: {path: text.txt",
    "tagged.yaml": b"data: !!python/object/apply:os.system ['touch pwned']\n",
    "list.yaml": b"- data\n- model\n",
    "scalar-section.yaml": b"data: {path: text.txt}\nmodel: lstm\n",
}
"""What lies in the folder of every test, beside a trained run called lstm."""


@pytest.fixture(scope="module")
def template(trained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[Path, bytes]:
    """Return the files of every test's folder; the run's corpus is the folder's own text.txt."""
    checkpoint = Checkpoint.load(trained["lstm"] / "best.safetensors")
    data = checkpoint.config.data.model_copy(update={"path": ("text.txt",)})
    corpus = CorpusIdentity(path=["text.txt"], sha256=checkpoint.corpus.sha256)
    moved = replace(checkpoint, config=checkpoint.config.model_copy(update={"data": data}), corpus=corpus)
    files = {Path(name): content for name, content in FILES.items()}
    return files | {BEST: moved.to_bytes(), Path("runs/latest"): b"lstm\n"}


@pytest.fixture
def folder(template: dict[Path, bytes], tmp_path: Path) -> Path:
    for path, content in template.items():
        put(tmp_path / path, content)
    return tmp_path


@pytest.fixture(autouse=True)
def _our_own_output_stays_open() -> Iterator[None]:
    output = os.dup(1)  # a command whose output failed points it at /dev/null
    yield
    os.dup2(output, 1)
    os.close(output)


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def nothing(folder: Path) -> None:
    pass


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def without_runs(folder: Path) -> None:
    shutil.rmtree(folder / "runs")


def with_another_run(folder: Path) -> None:
    (folder / "runs/latest").unlink()
    put(folder / "runs/other" / BEST.name, (folder / BEST).read_bytes())


def with_configs_alone(folder: Path) -> None:
    without_runs(folder)
    for name in "ab":
        put(folder / f"runs/{name}/config.yaml", CONFIG.encode())


def holding(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: put(folder / name, content)


def checkpoint_becomes(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: put(folder / BEST, change((folder / BEST).read_bytes()))


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def header_length(content: bytes) -> int:
    return int.from_bytes(content[:8], "little")


def digest_of(content: bytes) -> bytes:
    header = json.loads(content[8 : 8 + header_length(content)])
    return str(json.loads(header["__metadata__"]["charlm"])["sha256"]).encode()


def read_only(folder: Path) -> None:
    if LOCKED == "locked":
        (folder / LOCKED).mkdir(mode=0o555)


def listening(_: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("plug")  # relative: a socket's name is short


@dataclass(frozen=True)
class Mistake:
    """One row of the table: what is done, with what prepared, and what must come of it."""

    name: str
    arguments: str
    code: int
    words: tuple[str, ...]
    prepare: Callable[[Path], None] = nothing
    begins: str = "charlm: "
    redirect: str = ""
    """A shell's redirection; with one, the command runs as a process of its own."""
    unbuffered: bool = False
    """Whether that process writes every piece at once, as Python does in many containers."""


TRAIN = "train --config tiny.yaml"
USAGE = "Usage: charlm"  # Typer's own form
LOCKED = "locked" if os.geteuid() else "/proc/charlm"
"""A folder in which nothing can be made: root may write into any folder but those of the kernel."""
OTHER_PROGRAM = safetensors.numpy.save({"weight": np.zeros(3, np.float32)}, {"format": "pt"})
RANDOM = random.Random(5).randbytes(4000)
DAMAGED = ("best.safetensors", "damaged")

TEXTS = [
    Mistake("a missing text", f"{TRAIN} --set data.path=nope.txt", 2, ("nope.txt", "no such file")),
    Mistake("a glob that matches nothing", f"{TRAIN} --set data.path=no*.md", 2, ("no*.md", "no such file")),
    Mistake("an empty text", f"{TRAIN} --set data.path=empty", 2, ("empty", "too short")),
    Mistake("a text of one character", f"{TRAIN} --set data.path=one", 2, ("one", "too short", " 1 ")),
    Mistake("a binary text", f"{TRAIN} --set data.path=all-bytes", 2, ("all-bytes", "unit: byte")),
    Mistake("a text with a NUL", f"{TRAIN} --set data.path=nul", 2, ("nul", "NUL", "unit: byte")),
    Mistake(
        "a text in another encoding",
        f"{TRAIN} --set data.path=latin-1",
        2,
        ("latin-1", "0xe9", "offset 3", "utf-8", "data.encoding"),
    ),
    Mistake("a cut gzip file", f"{TRAIN} --set data.path=cut.gz", 2, ("cut.gz", "ends in the middle of its gzip data")),
    Mistake("a text called gz", f"{TRAIN} --set data.path=plain.gz", 2, ("plain.gz", "not gzip data", "take .gz off")),
    Mistake("gzip called txt", f"{TRAIN} --set data.path=gzip.txt", 2, ("gzip.txt", "gzip data", "gzip -d")),
    Mistake("a zip archive", f"{TRAIN} --set data.path=text.zip", 2, ("text.zip", "a zip archive", "unzip")),
    Mistake("Zstandard", f"{TRAIN} --set data.path=text.txt.zst", 2, ("text.txt.zst", "Zstandard", "zstd -d")),
    Mistake("gzip to score", "evaluate --file gzip.txt", 2, ("gzip.txt", "gzip data", "gzip -d")),
    Mistake("a cut file to score", "evaluate --file cut.gz", 2, ("cut.gz", "gzip data", "whole file")),
    Mistake("gzip as prompt", "sample --prompt-file gzip.txt", 2, ("gzip.txt", "gzip -d")),
    Mistake("a vocabulary of a zip", "vocabulary --file text.zip", 2, ("text.zip", "unzip")),
    Mistake("gzip to read in", "inspect-hidden --file -", 2, ("standard input", "gzip -d"), redirect="< gzip.txt"),
    Mistake("standard input as corpus", f"{TRAIN} --set data.path=-", 2, ("standard input", "read twice", "save it")),
    Mistake(
        "a column that is not there",
        f"{TRAIN} --set data.path=table.csv --set data.field=txt",
        2,
        ("table.csv", "'txt'", "'text', 'id'", "data.field"),
    ),
    Mistake(
        "a column of a plain text",
        f"{TRAIN} --set data.field=text",
        2,
        ("text.txt", ".csv, .tsv or .jsonl", "data.field: null"),
    ),
    Mistake(
        "a table with a torn quote",
        f"{TRAIN} --set data.path=torn.csv --set data.field=text",
        2,
        ("torn.csv", "line 2", "quotes"),
    ),
    Mistake(
        "a number for a text",
        f"{TRAIN} --set data.path=lines.jsonl --set data.field=text",
        2,
        ("lines.jsonl: line 2", "not a string"),
    ),
    Mistake(
        "half a character in JSON",
        f"{TRAIN} --set data.path=surrogate.jsonl --set data.field=text",
        2,
        ("surrogate.jsonl: line 1", "lone surrogate"),
    ),
    Mistake(
        "a column of lines",
        f"{TRAIN} --set data.documents=line --set data.field=text",
        2,
        ("--set data.field=text", "documents: record"),
    ),
    Mistake("records of nothing", f"{TRAIN} --set data.documents=record", 2, ("data.field", "name of a column")),
    Mistake("a folder as text", f"{TRAIN} --set data.path=folder", 2, ("folder", "'folder/*.txt'")),
    Mistake(
        "a text shorter than one window",
        f"{TRAIN} --set training.sequence_length=9999",
        2,
        ("too short", "9,999", "training.sequence_length"),
    ),
    Mistake(
        "more lanes than characters",
        f"{TRAIN} --set training.batch_size=9999",
        2,
        ("too short", "9,999 lanes", "training.batch_size"),
    ),
    Mistake(
        "a validation split of no characters",
        f"{TRAIN} --set data.path=short --set data.validation_fraction=0.01",
        2,
        ("short", "validation split", "data.validation_fraction"),
    ),
    Mistake(
        "a validation fraction of zero",
        f"{TRAIN} --set data.validation_fraction=0",
        2,
        ("data.validation_fraction", "greater than 0"),
    ),
    Mistake(
        "fractions that leave nothing to train on",
        f"{TRAIN} --set data.validation_fraction=0.5 --set data.test_fraction=0.5",
        2,
        ("data.test_fraction", "less than 1"),
    ),
    Mistake(
        "two dropouts at the same places",
        f"{TRAIN} --set model.dropout=0.2 --set model.locked_dropout=0.3",
        2,
        ("--set model.locked_dropout=0.3", "model.dropout", "set one of the two to 0"),
    ),
    Mistake(
        "dropped weights where there are none",
        f"{TRAIN} --set model.kind=markov --set model.weight_dropout=0.4",
        2,
        ("model.weight_dropout", "only used by model.kind: rnn, lstm, gru"),
    ),
    Mistake("no thread at all", f"{TRAIN} --set training.threads=0", 2, ("training.threads", "greater than 0")),
    Mistake("too many threads", f"{TRAIN} --set training.threads=513", 2, ("training.threads", "equal to 512")),
    Mistake("no vocabulary in an empty file", "vocabulary --file empty", 2, ("empty",)),
    Mistake("no vocabulary in a missing file", "vocabulary --file nope", 2, ("nope", "no such file")),
    Mistake("no vocabulary in a folder", "vocabulary --file folder", 2, ("folder/*.txt",)),
    Mistake("no vocabulary in binary", "vocabulary --file all-bytes", 2, ("all-bytes", "0x80", "offset 128")),
    Mistake("a vocabulary of nothing", "vocabulary", 2, ("--file", "--checkpoint")),
    Mistake("a vocabulary of two things", "vocabulary --file one --checkpoint lstm", 2, ("--file", "--checkpoint")),
    Mistake("a stranger among symbols", "vocabulary --file one --text ab", 2, ("'b'", "U+0062", "position 1")),
]

CONFIGS = [
    Mistake("a missing config", "train --config nope.yaml", 2, ("nope.yaml", "charlm config init")),
    Mistake("a missing config to show", "config show --config nope.yaml", 2, ("nope.yaml", "charlm config init")),
    Mistake("a folder as config", "config show --config folder", 2, ("folder", "charlm config init")),
    Mistake("no config at all", "train", 2, ("nothing to train on", "--config FILE", "--resume")),
    Mistake("an unknown section", "train --config unknown.yaml", 2, ("unknown.yaml:3", "modelling", "model")),
    Mistake(
        "a misspelt key",
        "config show --config misspelt.yaml",
        2,
        ("misspelt.yaml:4", "hiden_size", "model.hidden_size"),
    ),
    Mistake("a key twice", "config show --config duplicate.yaml", 2, ("duplicate.yaml:9", "training.steps", "line 8")),
    Mistake("a config that is no YAML", "config show --config not-yaml.yaml", 2, ("not-yaml.yaml:", "not valid YAML")),
    Mistake("a config that runs code", "config show --config tagged.yaml", 2, ("tagged.yaml:1", "tag")),
    Mistake("a config that is a list", "config show --config list.yaml", 2, ("list.yaml:1", "expected sections")),
    Mistake(
        "a section that is a word",
        "config show --config scalar-section.yaml",
        2,
        ("scalar-section.yaml:2", "model", "section", "'lstm'"),
    ),
    Mistake("a binary config", "config show --config all-bytes", 2, ("all-bytes", "UTF-8")),
    Mistake("an empty config", "config show --config empty", 2, ("empty", "data", "missing")),
    Mistake("a config with a NUL", "config show --config nul", 2, ("nul:1", "not valid YAML")),
    Mistake(
        "a word for a number", f"{TRAIN} --set model.hidden_size=big", 2, ("model.hidden_size", "integer", "'big'")
    ),
    Mistake("no hidden units", f"{TRAIN} --set model.hidden_size=0", 2, ("model.hidden_size", "greater than 0", "0")),
    Mistake("an unknown kind", f"{TRAIN} --set model.kind=ltsm", 2, ("model.kind", "'lstm'", "'ltsm'")),
    Mistake("an endless learning rate", f"{TRAIN} --set training.learning_rate=.inf", 2, ("training.learning_rate",)),
    Mistake("an unknown --set", f"{TRAIN} --set model.size=3", 2, ("--set model.size=3", "unknown key")),
    Mistake("a --set without a value", f"{TRAIN} --set model.hidden_size", 2, ("--set", "section.key=value")),
    Mistake("a run's name with a slash", f"{TRAIN} --name a/b", 2, ("run.name", "a/b")),
    Mistake("a run called latest", f"{TRAIN} --name latest", 2, ("run.name", "latest")),
    Mistake("an unknown training device", f"{TRAIN} --device tpu", 2, ("training.device", "cpu", "'tpu'")),
    Mistake("a training device that is not here", f"{TRAIN} --device cuda:99", 2, ("--device: cuda:99", "Use cpu")),
    Mistake("a starter over an old file", "config init --output text.txt", 2, ("text.txt", "exists")),
    Mistake("a starter over a folder", "config init --output folder", 2, ("folder", "exists")),
    Mistake("a starter in a missing folder", "config init --output no/new.yaml", 74, ("no/new.yaml",)),
]

OPTIONS = [
    Mistake("a temperature below zero", "sample --temperature=-1", 2, ("--temperature", "-1")),
    Mistake("a temperature that is no number", "sample --temperature nan", 2, ("--temperature", "nan")),
    Mistake("an endless temperature", "sample --temperature inf", 2, ("--temperature", "inf")),
    Mistake("a top-k of zero", "sample --top-k 0", 2, ("--top-k", "at least 1")),
    Mistake("a top-k past the vocabulary", "sample --top-k 31", 2, ("--top-k", "at most 30", "31")),
    Mistake("a top-p of zero", "sample --top-p 0", 2, ("--top-p", "above 0", "0.0")),
    Mistake("a top-p above one", "sample --top-p 1.5", 2, ("--top-p", "at most 1", "1.5")),
    Mistake("a top-p that is no number", "sample --top-p nan", 2, ("--top-p", "nan")),
    Mistake("a length below zero", "sample --length=-1", 2, ("--length",), begins=USAGE),
    Mistake("no samples", "sample --num-samples 0", 2, ("--num-samples",), begins=USAGE),
    Mistake("a length past all reason", f"sample --length {10**21}", 2, ("--length",), begins=USAGE),
    Mistake("samples past all reason", f"sample --num-samples {10**9}", 2, ("--num-samples",), begins=USAGE),
    Mistake(
        "more text than is kept whole",
        "sample --num-samples 30000",
        2,
        ("--length 500 × --num-samples 30,000", "10,000,000", "--length 333"),
    ),
    Mistake("a seed past all reason", f"sample --seed {2**63}", 2, ("--seed",), begins=USAGE),
    Mistake("a seed below zero", "sample --seed=-1", 2, ("--seed",), begins=USAGE),
    Mistake("an unknown device", "sample --device tpu", 2, ("--device tpu", "cpu", "cuda")),
    Mistake("a device that is not here", "sample --device cuda:99", 2, ("--device: cuda:99", "Use cpu")),
    Mistake(
        "a prompt of strangers",
        "sample --prompt 'The \u20ac z'",
        2,
        ("'\u20ac' (U+20AC) at position 4", "'z' (U+007A) at position 6", "Replace or remove", "train"),
    ),
    Mistake("two prompts", "sample --prompt a --prompt-file one", 2, ("--prompt", "--prompt-file")),
    Mistake("a missing prompt file", "sample --prompt-file nope", 2, ("nope", "No such file")),
    Mistake("a folder as prompt file", "sample --prompt-file folder", 2, ("folder",)),
    Mistake("a prompt file in another encoding", "sample --prompt-file latin-1", 2, ("latin-1", "0xe9", "offset 3")),
    Mistake("a prompt file of strangers", "sample --prompt-file foreign", 2, ("U+20AC", "position 5")),
    Mistake("an unknown option", "sample --tempertaure 1", 2, ("--tempertaure",), begins=USAGE),
    Mistake("an unknown command", "smaple", 2, ("smaple",), begins=USAGE),
    Mistake("nothing to inspect", "inspect-hidden --text ''", 2, ("empty", "--text", "--file")),
    Mistake("an empty file to inspect", "inspect-hidden --file empty", 2, ("empty",)),
    Mistake("a missing file to inspect", "inspect-hidden --file nope", 2, ("nope", "No such file")),
    Mistake("strangers to inspect", "inspect-hidden --text z\u20ac", 2, ("U+007A", "U+20AC")),
    Mistake("two texts to inspect", "inspect-hidden --text a --file one", 2, ("--text", "--file")),
    Mistake("a layer that is not there", "inspect-hidden --text a --unit 2:0", 2, ("2:0", "layers 0 to 1")),
    Mistake("a unit that is not there", "inspect-hidden --text a --unit 0:7", 2, ("0:7", "units 0 to 6")),
    Mistake("neither layer nor unit there", "inspect-hidden --text a --unit 9:9", 2, ("9:9", "0 to 1", "0 to 6")),
    Mistake("a unit that is no place", "inspect-hidden --text a --unit x", 2, ("--unit x", "LAYER:INDEX")),
    Mistake("a signal of another kind", "inspect-hidden --text a --signal reset", 2, ("reset", "lstm", "forget")),
    Mistake("an unknown format", "inspect-hidden --text a --format bmp", 2, ("bmp", "csv"), begins=USAGE),
    Mistake("a trace into a missing folder", "inspect-hidden --text a --output no/a", 74, ("no/a", "another place")),
    Mistake("a trace onto a folder", "inspect-hidden --text a --output folder", 74, ("folder", "another place")),
    Mistake(
        "a trace onto a socket",
        "inspect-hidden --text a --output plug",
        74,
        ("plug", "a socket", "another place"),
        listening,
    ),
    Mistake("nothing to score", "evaluate --file empty", 2, ("empty",)),
    Mistake("nothing to score on standard input", "evaluate --file -", 2, ("standard input", "empty")),
    Mistake("one character to score", "evaluate --file one", 2, ("one", "two characters or more")),
    Mistake("a missing file to score", "evaluate --file nope", 2, ("nope", "No such file")),
    Mistake("strangers to score", "evaluate --file foreign", 2, ("U+20AC", "position 5", "evaluate --skip-unknown")),
    Mistake(
        "nothing but strangers to score",
        "evaluate --file strangers --skip-unknown",
        2,
        ("strangers: nothing is left", "U+D55C", "U+20AC"),
    ),
    Mistake("strangers of a split to skip", "evaluate --skip-unknown", 2, ("--skip-unknown", "--file")),
    Mistake("binary to score", "evaluate --file all-bytes", 2, ("all-bytes",)),
    Mistake("two texts to score", "evaluate --file one --split test", 2, ("--file", "--split")),
    Mistake("a split that was not kept", "evaluate --split test", 2, ("data.test_fraction", "--split validation")),
]

CORPORA = [
    Mistake("scoring a corpus that is gone", "evaluate", 2, ("validation", "text.txt", "--file"), without("text.txt")),
    Mistake(
        "tracing a corpus that is gone", "inspect-hidden", 2, ("validation", "text.txt", "--file"), without("text.txt")
    ),
    Mistake(
        "scoring a corpus that has changed",
        "evaluate",
        2,
        ("validation", "text.txt", "no longer", "--file"),
        holding("text.txt", TEXT.replace("fox", "box").encode()),
    ),
    Mistake(
        "tracing a corpus that has changed",
        "inspect-hidden",
        2,
        ("validation", "text.txt", "no longer", "--file"),
        holding("text.txt", TEXT.replace("fox", "box").encode()),
    ),
    Mistake(
        "scoring a corpus with new characters",
        "evaluate",
        2,
        ("validation", "text.txt", "no longer", "--file"),
        holding("text.txt", (TEXT + "\u20ac").encode()),
    ),
    Mistake("a corpus of another text", "evaluate --corpus foreign", 2, ("--corpus: foreign", "no longer")),
    Mistake(
        "a corpus of another text to compare with",
        "sample --novelty --seed 1 --corpus foreign",
        2,
        ("--corpus: foreign", "no longer", "trained on"),
    ),
    Mistake(
        "a corpus and another file", "inspect-hidden --corpus text.txt --corpus one", 2, ("--corpus: text.txt, one",)
    ),
    Mistake("a missing corpus", "evaluate --corpus nope", 2, ("--corpus: nope", "no such file")),
    Mistake("a folder as corpus", "inspect-gradients --corpus folder", 2, ("--corpus: folder", "'folder/*.txt'")),
    Mistake("a binary corpus", "evaluate --corpus all-bytes", 2, ("--corpus: all-bytes", "0x80", "offset 128")),
    Mistake(
        "a corpus for a text of one's own",
        "evaluate --file text.txt --corpus text.txt",
        2,
        ("--corpus", "without --file", "--baselines"),
    ),
    Mistake("a corpus for a sample", "sample --corpus text.txt", 2, ("--corpus", "--novelty")),
    Mistake("a corpus for a prediction", "sample --next 3 --corpus text.txt", 2, ("--corpus", "--novelty")),
    Mistake("a corpus besides a text", "inspect-hidden --text a --corpus text.txt", 2, ("--corpus", "--text")),
    Mistake("a corpus besides a file", "inspect-hidden --file one --corpus text.txt", 2, ("--corpus", "--file")),
    Mistake("a corpus for a saliency", "inspect-gradients --text a --corpus text.txt", 2, ("--corpus", "--text")),
    Mistake(
        "a corpus of an untrained model",
        "inspect-gradients --config tiny.yaml --corpus text.txt",
        2,
        ("--corpus", "checkpoint"),
    ),
    Mistake("a corpus that is gone", "evaluate", 2, ("text.txt", "no such file", "--corpus"), without("text.txt")),
    Mistake(
        "scoring a corpus that has shrunk to nothing",
        "evaluate",
        2,
        ("validation", "text.txt", "--file"),
        holding("text.txt", b""),
    ),
]

CHECKPOINTS = [
    Mistake("a missing checkpoint", "sample --checkpoint nope", 4, ("nope", "Runs there: lstm")),
    Mistake("an empty checkpoint", "sample", 4, ("best.safetensors", "truncated"), checkpoint_becomes(lambda _: b"")),
    Mistake(
        "a checkpoint of seven bytes",
        "sample",
        4,
        ("best.safetensors", "truncated"),
        checkpoint_becomes(lambda x: x[:7]),
    ),
    Mistake(
        "a checkpoint cut inside its header",
        "sample",
        4,
        ("best.safetensors", "truncated"),
        checkpoint_becomes(lambda x: x[:100]),
    ),
    Mistake(
        "a checkpoint cut after its header",
        "evaluate",
        4,
        DAMAGED,
        checkpoint_becomes(lambda x: x[: 8 + header_length(x)]),
    ),
    Mistake("a checkpoint without its last byte", "sample", 4, DAMAGED, checkpoint_becomes(lambda x: x[:-1])),
    Mistake("a checkpoint with a byte too many", "sample", 4, DAMAGED, checkpoint_becomes(lambda x: x + b"\0")),
    Mistake(
        "a bit flipped in the header's JSON",
        "sample",
        4,
        ("best.safetensors", "header is damaged"),
        checkpoint_becomes(lambda x: flipped(x, 8)),
    ),
    Mistake(
        "a bit flipped in the config",  # the JSON stays whole: 7 units become 6
        "sample",
        4,
        DAMAGED,
        checkpoint_becomes(lambda x: flipped(x, x.index(b'hidden_size\\": 7') + len(b'hidden_size\\": '))),
    ),
    Mistake(
        "a bit flipped in a tensor", "inspect-hidden --text a", 4, DAMAGED, checkpoint_becomes(lambda x: flipped(x, -2))
    ),
    Mistake(
        "a bit flipped in the digest",
        "vocabulary --checkpoint lstm",
        4,
        DAMAGED,
        checkpoint_becomes(lambda x: flipped(x, x.index(digest_of(x)))),
    ),
    Mistake("random bytes", "sample", 4, ("best.safetensors", "safetensors"), checkpoint_becomes(lambda _: RANDOM)),
    Mistake("a text as checkpoint", "sample --checkpoint text.txt", 4, ("text.txt", "safetensors")),
    Mistake(
        "another program's file",
        "sample",
        4,
        ("best.safetensors", "not a charlm checkpoint"),
        checkpoint_becomes(lambda _: OTHER_PROGRAM),
    ),
    Mistake(
        "a newer format",
        "sample",
        4,
        ("best.safetensors", "format 4", "formats 1 to 3"),
        checkpoint_becomes(lambda x: x.replace(b'\\"format\\": 3', b'\\"format\\": 4')),
    ),
    Mistake(
        "a run without a best", "sample --checkpoint lstm", 4, ("runs/lstm", "best.safetensors"), without(str(BEST))
    ),
    Mistake("the latest run without a best", "sample", 4, ("runs/lstm", "best.safetensors"), without(str(BEST))),
    Mistake("no runs yet", "sample", 4, ("no latest run", "charlm train", "--checkpoint"), without_runs),
    Mistake(
        "several runs and no latest",
        "evaluate",
        4,
        ("no latest run in runs/", "Runs there: lstm, other.", "Name one with --checkpoint."),
        with_another_run,
    ),
    Mistake(
        "a latest run without a name",
        "sample",
        4,
        ("runs/latest does not name a run", "Runs there: lstm.", "--checkpoint"),
        holding("runs/latest", b"..\n"),
    ),
    Mistake(
        "a latest run that is gone",
        "evaluate",
        4,
        ("runs/gone", "Runs there: lstm."),
        holding("runs/latest", b"gone\n"),
    ),
    Mistake("a folder that is no run", "sample --checkpoint folder", 4, ("folder", "best.safetensors")),
]

RECORDED = "runs/lstm/config.yaml"
RESUMED = [
    Mistake("nothing to resume", "train --resume", 4, ("no latest run", "no runs there", "--config"), without_runs),
    Mistake("no run of this name", "train --resume --name nope", 4, ("runs/nope: no such run", "--name", "--config")),
    Mistake("a run's name past all reason", f"train --resume --name {'a' * 300}", 4, ("no such run",)),
    Mistake("a path for a run's name", "train --resume --name runs/lstm", 2, ("run.name", "without slashes")),
    Mistake(
        "no runs to resume elsewhere", "train --resume --set run.directory=folder", 4, ("no latest run in folder/",)
    ),
    Mistake("a number for a folder of runs", "train --resume --set run.directory=3", 2, ("run.directory", "string")),
    Mistake("a run without a config", "train --resume", 2, ("runs/lstm", "config.yaml", "--config FILE --resume")),
    Mistake(
        "a run with a damaged config",
        "train --resume",
        2,
        (RECORDED, "UTF-8", "--config FILE --resume"),
        holding(RECORDED, b"\xff"),
    ),
    Mistake(
        "another program's config",
        "train --resume",
        2,
        (f"{RECORDED}:1: lr: unknown key", "--config FILE --resume"),
        holding(RECORDED, b"lr: 3\n"),
    ),
    Mistake(
        "another program's folder",
        "train --resume --name other",
        2,
        ("runs/other: this folder is not a run of charlm's",),
        holding("runs/other/config.yaml", CONFIG.encode()),
    ),
    Mistake(
        "a --set that a resumed run cannot take",
        "train --resume --set model.size=3",
        2,
        ("--set model.size=3", "unknown key"),
        holding(RECORDED, CONFIG.encode()),
    ),
    Mistake(
        "several runs to resume and no latest",
        "train --resume",
        4,
        ("no latest run in runs/", "Runs there: a, b.", "--name"),
        with_configs_alone,
    ),
]

PLACES = [
    Mistake(
        "a run's folder that is a file", f"{TRAIN} --set run.directory=text.txt", 74, ("text.txt", "run.directory")
    ),
    Mistake("a run's folder under a file", f"{TRAIN} --set run.directory=one/runs", 74, ("one/runs", "run.directory")),
    Mistake(
        "a read-only run's folder",
        f"{TRAIN} --set run.directory={LOCKED}/runs",
        74,
        (f"{LOCKED}/runs", "run.directory"),
        read_only,
    ),
    Mistake("a read-only place for a trace", f"inspect-hidden --text a --output {LOCKED}/a", 74, (LOCKED,), read_only),
    Mistake("a read-only place for a starter", f"config init --output {LOCKED}/a", 74, (LOCKED,), read_only),
    Mistake(
        "standard output closed from the start", "sample --seed 1", 74, ("standard output", "closed"), redirect=">&-"
    ),
    Mistake("closed output for a table", "evaluate", 74, ("standard output", "closed"), redirect=">&-"),
    Mistake("closed output for help", "--help", 74, ("standard output", "closed"), redirect=">&-"),
    Mistake("a full disk behind standard output", "sample --seed 1", 74, ("No space left",), redirect=">/dev/full"),
    Mistake("a full disk behind a table", "evaluate", 74, ("No space left",), redirect=">/dev/full"),
    Mistake(
        "a full disk behind an unbuffered table",
        "evaluate",
        74,
        ("No space left",),
        redirect=">/dev/full",
        unbuffered=True,
    ),
    Mistake(
        "a full disk behind an archive", "inspect-hidden --format npz", 74, ("No space left",), redirect=">/dev/full"
    ),
    Mistake("a full disk behind help", "--help", 74, ("No space left",), redirect=">/dev/full"),
    Mistake("a full disk behind the version", "--version", 74, ("No space left",), redirect=">/dev/full"),
    Mistake("standard input closed", "evaluate --file -", 2, ("standard input is closed", "--file"), redirect="<&-"),
    Mistake("no prompt on closed input", "sample --prompt-file -", 2, ("standard input is closed",), redirect="<&-"),
]

MISTAKES = [*TEXTS, *CONFIGS, *OPTIONS, *CORPORA, *CHECKPOINTS, *RESUMED, *PLACES]
if not torch.cuda.is_available():
    MISTAKES += [
        Mistake("no GPU to train on", f"{TRAIN} --device cuda", 2, ("--device: cuda", "Use cpu")),
        Mistake("no GPU to sample on", "sample --device cuda", 2, ("--device: cuda", "Use cpu")),
    ]


def everything_in(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def case(mistake: Mistake) -> Any:
    marks = [pytest.mark.slow] if mistake.redirect else []
    return pytest.param(mistake, id=mistake.name.replace(" ", "_"), marks=marks)


@pytest.mark.parametrize("mistake", [case(mistake) for mistake in MISTAKES])
def test_a_mistake_gets_one_clear_message_and_changes_nothing(mistake: Mistake, folder: Path, charlm: Run) -> None:
    mistake.prepare(folder)
    before = everything_in(folder)
    arguments = shlex.split(mistake.arguments)
    if mistake.redirect:
        process = run_in_shell(folder, *arguments, redirect=mistake.redirect, unbuffered=mistake.unbuffered)
        code, stdout, stderr = process.returncode, process.stdout, process.stderr
    else:
        result = charlm(*arguments)
        code, stdout, stderr = result.exit_code, result.stdout, result.stderr
    assert stderr.startswith(mistake.begins), stderr
    assert [word for word in mistake.words if word not in stderr] == [], stderr
    assert code == mistake.code
    assert stdout == ""
    assert "Traceback" not in stderr
    assert stderr.count("charlm: ") == (mistake.begins == "charlm: "), stderr
    assert everything_in(folder) == before


def test_bfloat16_trains_or_says_that_it_cannot(folder: Path, charlm: Run) -> None:
    before = everything_in(folder)
    result = charlm(*TRAIN.split(), "--set", "training.precision=bfloat16", "--name", "half")
    if result.exit_code == 0:
        assert (folder / "runs/half/best.safetensors").is_file()
    else:
        assert result.exit_code == 2
        assert result.stderr.startswith("charlm: training.precision: bfloat16")
        assert "float32" in result.stderr
        assert everything_in(folder) == before
