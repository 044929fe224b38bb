#!/usr/bin/env python3
"""Show that the working tree computes what another revision computes, number for number, as a refactoring must.

    python scripts/compare_revisions.py main

Both trees run side by side on this machine, because the last digits of a training differ from machine to machine. Each
trains small models on the same text in a folder of its own, then samples, evaluates and looks inside. All is done on
the command line, and files are read without charlm, so that modules may be renamed and divided at will. In a row named
"across" the working tree reads what the other revision trained. Times, speeds and versions are left out. A command that
fails in both trees counts as a difference.
"""

import base64
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import safetensors
import typer

IGNORED = {
    "progress.seconds": "a time",
    "seconds": "a time",
    "characters_per_second": "a speed",
    "versions": "may name another version of charlm",
    "sha256": "the digest of a file that holds times and versions",
    "corpus.files": "the absolute paths of a text",
}
"""Keys of a checkpoint's record and of metrics that are not compared, and why."""
TRAINED = (
    "model.hidden_size=24 training.batch_size=8 training.sequence_length=16 training.steps=60 "
    "training.learning_rate=0.01 training.evaluate_every=20 run.save_every=20 model.kind="
)
MODELS = {
    "rnn": f"{TRAINED}rnn training.carry_state=false data.normalization=NFD",
    "relu": f"{TRAINED}rnn model.nonlinearity=relu training.schedule=plateau",
    "lstm": f"{TRAINED}lstm model.dropout=0.2 data.unit=byte",
    "embedding": f"{TRAINED}lstm model.dropout=0.2 model.embedding_size=12 data.minimum_count=40",
    "gru": f"{TRAINED}gru model.dropout=0.1",
    "items": f"{TRAINED}gru model.num_layers=1 model.dropout=0.1 data.path=data/names.txt data.documents=line",
    "markov": "model.kind=markov model.order=3",
}

Parts = list[tuple[str, Any]]
"""What is compared, in order: names, and strings, numbers or arrays."""
Row = tuple[str, Callable[[Any], Parts], Sequence[Future[Any]], float]
"""A name, how to read what is compared, the other revision's and the working tree's, and the tolerance of numbers."""


@dataclass(frozen=True)
class Side:
    """A source tree, and the folder in which its charlm works."""

    tree: Path
    folder: Path

    def run(self, command: str, program: str = "-m charlm", output: str = "") -> bytes:
        """Return what it writes into a file, or on standard output; raises RuntimeError when it fails."""
        environment = os.environ | {"PYTHONPATH": str(self.tree), "OMP_NUM_THREADS": "1"}
        words = [sys.executable, *shlex.split(f"{program} {command}")]
        done = subprocess.run(words, cwd=self.folder, env=environment, input=b"", capture_output=True, check=False)
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise RuntimeError(f"{self.folder.name} ended with {done.returncode}: {last}")
        return (self.folder / output).read_bytes() if output else done.stdout

    def train(self, model: str, more: str = "") -> Path:
        """Train a model, and return its run's folder."""
        settings = " --set ".join(["", *MODELS[model].split()])
        self.run(f"train --config plain.yaml --name {model} --device cpu {settings} {more}")
        return self.folder / "runs" / model

    def resume(self, model: str) -> Path:
        """Go on from the newest checkpoint but one, and return the run's folder."""
        sorted(self.folder.glob(f"runs/{model}/step-*"))[-1].unlink()
        return self.train(model, "--resume")

    def prepare(self, texts: Path) -> None:
        """Write texts and a config into the folder; raises RuntimeError where another charlm would run."""
        (self.folder / "data").mkdir(parents=True)
        for name in ("data/tales.txt", "data/names.txt"):
            (self.folder / name).write_bytes((texts / name).read_bytes()[:60_000])
        (self.folder / "plain.yaml").write_text("data:\n  path: data/tales.txt\n", encoding="utf-8")
        place = self.run("'import charlm; print(charlm.__file__)'", "-c").decode().strip()
        if not Path(place).is_relative_to(self.tree):
            raise RuntimeError(f"{place} runs in place of what lies in {self.tree}")

    def settle(self) -> None:
        """Write the same times and speeds into the metrics of all trees, so that pages made of them can agree."""
        for path in self.folder.glob("runs/*/metrics.jsonl"):
            told = [json.loads(line) | {"seconds": 1.5, "characters_per_second": 1e3} for line in path.open("rb")]
            path.write_text("".join(f"{json.dumps(each)}\n" for each in told), encoding="utf-8")


def lines(content: bytes) -> Parts:
    """Return a text line by line."""
    return [(f"line {number}", line) for number, line in enumerate(content.split(b"\n"), 1) if content]


def leaves(content: str | bytes) -> Parts:
    """Return all values of JSON, each with its path, but for what is `IGNORED`."""

    def walk(path: str, value: Any) -> Iterator[tuple[str, Any]]:
        inner = [*value.items()] if isinstance(value, dict) else [*enumerate(value)] if isinstance(value, list) else []
        if path not in IGNORED:
            yield from [] if inner else [(path, value)]
            for key, each in inner:
                yield from walk(f"{path}.{key}".lstrip("."), each)

    return list(walk("", json.loads(content)))


def arrays(content: bytes) -> Parts:
    """Return the arrays of an npz archive."""
    return list(np.load(io.BytesIO(content)).items())


def numbers(content: bytes) -> Parts:
    """Return the numbers of a page, in order: those of the data that its script reads, or all where it has none."""
    page, parts = content.decode(), []
    for kind, block in re.findall(r'<script type="application/([^"]*)"[^>]*>(.*?)</script>', page, re.DOTALL):
        if kind == "json":
            parts += [value for _, value in leaves(block) if re.fullmatch(r"[-+.\de]+", str(value))]
        else:
            parts.append(np.frombuffer(zlib.decompress(base64.b64decode(block)), np.uint8))
    if not parts:
        others = r'<style\b.*?</style>|<table class="facts environment">.*?</table>|&#?\w+;'  # looks, versions, quotes
        parts = re.findall(r"-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?", re.sub(others, "", page, flags=re.DOTALL))
    return [(f"number or block {place}", part) for place, part in enumerate(parts, 1)]


def checkpoints(run: Path) -> Parts:
    """Return the tensors and the record of each checkpoint in a run's folder."""
    parts: Parts = []
    for path in sorted(run.glob("*.safetensors")):
        with safetensors.safe_open(path, "np") as file:
            held = [(name, file.get_tensor(name)) for name in sorted(file.keys())]
            parts += [(f"{path.stem} {name}", value) for name, value in held + leaves(file.metadata()["charlm"])]
    return parts


def metrics(run: Path) -> Parts:
    """Return what a run wrote down at its evaluations."""
    told = (run / "metrics.jsonl").read_bytes().splitlines()
    return [(f"line {number} {key}", value) for number, line in enumerate(told, 1) for key, value in leaves(line)]


def difference(ones: Parts, others: Parts, tolerance: float) -> str:
    """Return the first difference in words, or nothing; numbers may be as far apart as the tolerance."""
    for (name, one), (other_name, other) in zip_longest(ones, others, fillvalue=("nothing", None)):
        if name != other_name:
            return f"{name} against {other_name}"
        close = isinstance(one, float) and isinstance(other, float) and 0 < tolerance >= abs(one - other)
        bits = [(v.dtype, v.shape, v.tobytes()) if isinstance(v, np.ndarray) else repr(v) for v in (one, other)]
        if bits[0] != bits[1] and not close:
            words = [repr((str(v.dtype), v.tolist()) if isinstance(v, np.ndarray) else v) for v in (one, other)]
            place = next((place for place, pair in enumerate(zip(*words, strict=False)) if pair[0] != pair[1]), 0)
            return f"{name}: {' against '.join(each[max(place - 12, 0) :][:40] for each in words)}"
    return "" if ones else "there is nothing to compare"


LOOKS: tuple[tuple[str, Callable[[bytes], Parts], str], ...] = (
    ("sample --seed 1 --length 200 --temperature 0.8", lines, "rnn relu lstm embedding gru items markov"),
    ("sample --seed 1 --length 200 --top-k 5", lines, "rnn gru markov"),
    ("sample --seed 1 --length 200 --num-samples 3 --top-p 0.9", lines, "lstm items markov"),
    ("sample --seed 1 --length 200 --prompt e --json", leaves, "rnn embedding items"),
    ("sample --seed 1 --length 200 --clamp 0:3=1", lines, "relu lstm gru"),
    ("sample --seed 1 --length 200 --novelty --json", leaves, "lstm items"),
    ("sample --next 5 --json", leaves, "embedding gru items markov"),
    ("inspect-hidden --format npz --signal all --max-characters 2000", arrays, "rnn relu lstm embedding gru items"),
    ("inspect-hidden --format csv --signal all --max-characters 200", lines, "lstm gru"),
    ("inspect-hidden --format json --signal all --max-characters 200", leaves, "lstm gru"),
    ("inspect-hidden --format json --find quotes", leaves, "lstm gru"),
    ("inspect-hidden --format json --ablate 0:3 --find quotes", leaves, "lstm gru"),
    ("inspect-hidden --format html --signal all", numbers, "relu lstm gru"),
    ("inspect-gradients --format csv", lines, "gru"),
    ("evaluate --split validation --json", leaves, "rnn lstm embedding items markov"),
    ("evaluate --baselines --json", leaves, "gru items"),
    ("evaluate --per-character", lines, "lstm items"),
    ("vocabulary --json", leaves, "embedding items"),
)
"""Commands, how their output is read, and the models that they look at."""


def rows(base: Side, now: Side, pool: Executor) -> Iterator[Row]:
    """Run everything; the files of a row are there until the next row is asked for."""
    runs = {}
    for model in MODELS:
        runs[model] = [pool.submit(side.train, model) for side in (base, now)]
        yield f"{model}: checkpoints", checkpoints, runs[model], 0.0
        yield f"{model}: metrics", metrics, runs[model], 0.0
    across = Side(now.tree, Path(shutil.copytree(base.folder, base.folder.with_name("across"))))
    for command, read, models in LOOKS:
        for model in models.split():
            yield from _looked(f"{command} -c runs/{model}", read, (base, now, across), pool)
    for side in (base, now):
        side.settle()
    for page, command in (
        ("runs/lstm/report.html", "train --config runs/lstm/config.yaml --resume"),
        ("comparison.html", f"runs compare {' '.join(MODELS)} --output comparison.html"),
    ):
        yield page, numbers, [pool.submit(side.run, command, output=page) for side in (base, now)], 0.0
    for model, resumed in [("gru", pool.submit(now.resume, "gru")), ("items", pool.submit(across.resume, "items"))]:
        yield f"{model}, resumed: checkpoints", checkpoints, (runs[model][0], resumed), 0.0
        yield f"{model}, resumed: metrics", metrics, (runs[model][0], resumed), 0.0


def _looked(command: str, read: Callable[[bytes], Parts], sides: Sequence[Side], pool: Executor) -> Iterator[Row]:
    one, *others = [pool.submit(side.run, command) for side in sides[: 3 if "--temperature" in command else 2]]
    for name, other in zip(("", ", across"), others, strict=False):
        yield f"{command}{name}", read, (one, other), 1e-6 if "--find" in command else 0.0


def main(revision: Annotated[str, typer.Argument(help="A commit, branch or tag.")]) -> None:
    """Compare the working tree with another revision, both run on this machine."""
    found, tree = [], Path(__file__).resolve().parents[1]
    with TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        place = Path(folder).resolve()
        archive = ["git", "-C", str(tree), "archive", f"--output={place}/tree.tar", revision, "charlm"]
        if subprocess.run(archive, check=False).returncode:
            sys.exit(1)  # git has said why
        shutil.unpack_archive(place / "tree.tar", place / "tree", filter="data")
        base, now = Side(place / "tree", place / "base"), Side(tree, place / "now")
        for side in (base, now):
            side.prepare(tree)
        for what, read, (one, other), tolerance in rows(base, now, pool):
            try:
                found.append(difference(read(one.result()), read(other.result()), tolerance))
            except Exception as error:  # what a tree writes may be beyond reading
                found.append(f"{type(error).__name__}: {error}")
            print(f"DIFFERENT  {what}\n           {found[-1]}" if found[-1] else f"same       {what}", flush=True)
    print(f"{found.count('')} of {len(found)} the same")
    sys.exit(any(found))


if __name__ == "__main__":
    typer.run(main)
