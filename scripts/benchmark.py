#!/usr/bin/env python3
"""Measure charlm against the usual ways of doing the same, side by side in one run.

    scripts/benchmark.py                                   everything, several minutes
    scripts/benchmark.py --only training --only sampling   some sections
    scripts/benchmark.py --quick                           does it run? its numbers mean nothing

How to read it. The first row of a table is the usual way, and every row is measured against it. All take turns
within a round, in changing order, so that a busy spell of the machine hits all alike. "best" and "median" are
over the rounds. "of bests" divides a row's best by the first row's best; "by round" divides round by round and
takes the median, which is the ratio to trust on a busy machine. Of anything "a second" more is better, and a
ratio above 1 is gain; of time less is better, and so is a ratio below 1. Ratios carry over to other machines
roughly; the numbers beside them do not.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from functools import partial
from io import StringIO
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import charlm
from charlm.cli import train as train_command
from charlm.cli.progress import Bar
from charlm.config.settings import Config, ModelConfig
from charlm.models.network import RecurrentNetwork, one_hot
from charlm.models.recurrent import RecurrentModel
from charlm.sampling import sample
from charlm.text.corpus import Corpus
from charlm.text.decoding import decoded
from charlm.text.vocabulary import Vocabulary
from charlm.training.runs import RunDirectory
from charlm.training.trainer import Trainer

SYMBOLS = "\n !\"'(),-.:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # V = 65
LANES, STEPS, WARM_UP = 50, 50, 5  # B, T, and training steps before the clock starts
SMALL = ModelConfig(kind="lstm", hidden_size=128, num_layers=2)
READING = """import resource, sys, time
from charlm.config.settings import DataConfig
from charlm.text.corpus import Corpus
started = time.perf_counter()
for path in sys.argv[1:]: Corpus.read(DataConfig(path=(path,)))
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"""


def race(title: str, unit: str, rounds: int, contestants: Mapping[str, Callable[[], float]]) -> list[float]:
    """Let each run once a round, print the table, and return the medians."""
    figures: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds):
        for name in list(contestants)[:: 1 if turn % 2 == 0 else -1]:
            figures[name].append(contestants[name]())
    best = max if unit.endswith("a second") else min
    usual, *_ = figures.values()
    print(f"\n{title} ({unit}; rounds: {rounds})\n{'':36}{'best':>12}{'median':>12}{'of bests':>12}{'by round':>12}")
    for name, found in figures.items():
        numbers = [f"{value:,.0f}" if value >= 100 else f"{value:.2f}" for value in (best(found), median(found))]
        by_round = median(mine / theirs for mine, theirs in zip(found, usual, strict=True))
        cells = [*numbers, f"{best(found) / best(usual):.3f}", f"{by_round:.3f}"]
        print(f"  {name:34}" + "".join(f"{cell:>12}" for cell in cells), flush=True)
    return [median(found) for found in figures.values()]


def training(quick: bool) -> None:
    """Measure training as `charlm train` does it: with bar, metrics, two checkpoints, the best, and a sample.

    All take the same steps on the same text and then score the same validation text.
    """
    steps = 4 if quick else 60
    with tempfile.TemporaryDirectory() as folder:
        corpus = _trainer(folder, steps).corpus
        contestants = {
            "bare nn.LSTM loop": partial(_train_bare, corpus, steps, at_once=256),
            "charlm train": partial(_train_charlm, folder, steps),
            "nn.LSTM, a character at a time": partial(_train_bare, corpus, steps, at_once=1),
        }
        race("training, LSTM 2×128, B = T = 50, V = 65", "characters a second", 1 if quick else 9, contestants)


def _trainer(folder: str, steps: int) -> Trainer:
    shape = {"batch_size": LANES, "sequence_length": STEPS, "steps": steps, "device": "cpu"}
    run = {"directory": folder, "save_every": steps // 2}
    data = {"path": str(_made_text(folder, 200_000))}
    config = Config.model_validate({"data": data, "model": SMALL.model_dump(), "training": shape, "run": run})
    return Trainer(config, Corpus.read(config.data))


def _train_charlm(folder: str, steps: int) -> float:
    trainer = _trainer(folder, steps)
    for step in range(WARM_UP):
        trainer.train_step(trainer.streams.at(step), 0.002)
    with redirect_stderr(StringIO()):  # the bar of a terminal, drawn where nobody looks
        started = time.perf_counter()
        train_command._train(trainer, RunDirectory.create(trainer.config), Bar(steps))
        return steps * STEPS * LANES / (time.perf_counter() - started)


def _train_bare(corpus: Corpus, steps: int, *, at_once: int) -> float:
    """Train with torch alone, the fastest way: time-major, one-hot rows by indexing, fused AdamW, nothing read back.

    The network is called for ``at_once`` characters of every lane; the gradient always reaches a window back.
    """
    size = len(corpus.vocabulary)
    lstm, head = nn.LSTM(size, SMALL.hidden_size, SMALL.num_layers), nn.Linear(SMALL.hidden_size, size)
    model, eye = nn.ModuleList([lstm, head]), torch.eye(size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.002, fused=True)

    def read(ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        losses = []
        for rows, targets in zip(torch.split(eye[ids[:-1]], at_once), torch.split(ids[1:], at_once), strict=True):
            hidden, state = lstm(rows, state)
            losses.append(cross_entropy(head(hidden).flatten(0, 1), targets.flatten(), reduction="sum"))
        return sum(losses[1:], losses[0]) / ids[1:].numel(), state

    ids, state = _time_major(corpus.train, LANES), None
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            started = time.perf_counter()
        loss, state = read(ids[step * STEPS :][: STEPS + 1], state)
        _descend(loss, model, optimizer)
        state = tuple(part.detach() for part in state)
    with torch.inference_mode():
        read(_time_major(corpus.validation, 8), None)
    return steps * STEPS * LANES / (time.perf_counter() - started)


def _time_major(ids: np.ndarray[Any, Any], lanes: int) -> Tensor:
    return torch.from_numpy(ids[: len(ids) // lanes * lanes].astype(np.int64)).view(lanes, -1).T.contiguous()


def _descend(loss: Tensor, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def sampling(quick: bool) -> None:
    """Measure one stream of text, decoding included, as `charlm sample` writes it."""
    vocabulary = Vocabulary.of_text(SYMBOLS)
    for size, length in ((128, 4000), (512, 2000)):
        network = RecurrentNetwork(SMALL.model_copy(update={"hidden_size": size}), len(vocabulary)).eval()
        model = RecurrentModel(network.config, len(vocabulary), network.tensors())
        common = (vocabulary, length // 40 if quick else length)
        contestants = {
            "nn.LSTM step loop, one thread": partial(_sample_torch, network, *common),
            f"charlm sample (BLAS threads: {model.threads})": partial(_sample_charlm, model, *common, model.threads),
            "charlm, one BLAS thread": partial(_sample_charlm, model, *common, 1),
        }
        race(f"sampling, LSTM 2×{size}, one stream, V = 65", "characters a second", 1 if quick else 7, contestants)


def _sample_charlm(model: RecurrentModel, vocabulary: Vocabulary, length: int, threads: int) -> float:
    started = time.perf_counter()
    with threadpool_limits(threads):
        ids = (int(row[0]) for row in islice(sample(model, vocabulary, seed=1), length))
        text = "".join(decoded(ids, vocabulary.decoder()))
    return len(text) / (time.perf_counter() - started)


def _sample_torch(network: RecurrentNetwork, vocabulary: Vocabulary, length: int) -> float:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    started = time.perf_counter()
    rows = torch.eye(len(vocabulary))[:, None, None]  # (V, 1, 1, V)
    index, state, symbols = 0, None, []
    with torch.inference_mode():
        for _ in range(length):
            hidden, state = network.rnn(rows[index], state)
            index = int(torch.multinomial(torch.softmax(network.head(hidden[0, 0]) / 0.8, -1), 1))
            symbols.append(vocabulary.symbols[index])
    speed = len("".join(symbols)) / (time.perf_counter() - started)
    torch.set_num_threads(threads)
    return speed


def reading(quick: bool) -> None:
    """Measure how fast a text becomes ids, and the memory this takes above what the imports take."""
    megabytes, runs = (1, 1) if quick else (100, 5)

    def read(*texts: str) -> tuple[float, float]:
        # A shell stands between, because a process begins with the peak of the one that made it.
        command = ["sh", "-c", '"$0" "$@"; exit $?', sys.executable, "-c", READING, *texts]
        seconds, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        return megabytes / float(seconds), float(peak) * (1 if sys.platform == "darwin" else 1024)

    with tempfile.TemporaryDirectory() as folder:
        text = str(_made_text(folder, megabytes * 1_000_000))
        speeds, peaks = zip(*(read(text) for _ in range(runs)), strict=True)
    memory = (median(peaks) - read()[1]) / (megabytes * 1e6)
    print(f"\nreading {megabytes} MB, V = 65; rounds: {runs}", flush=True)
    print(f"  MB a second: best {max(speeds):,.0f}, median {median(speeds):,.0f}; peak bytes a byte: {memory:.2f}")


def vocabulary(quick: bool) -> None:
    """Measure how a training step grows with the vocabulary, where a window holds some 400 symbols."""
    medians = []
    for size in (65, 2000, 11172):
        contestants = {"dense one-hot product": _stepper(size, dense=True), "charlm": _stepper(size, dense=False)}
        title = f"a training step, LSTM 2×128, B = 32, T = 64, V = {size:,}"
        medians.append(race(title, "milliseconds", 1 if quick else 7, contestants))
    dense, ours = (last / first for first, last in zip(medians[0], medians[-1], strict=True))
    print(f"  times as long at V = 11,172 as at 65: dense {dense:.1f}, charlm {ours:.1f}", flush=True)


def _stepper(size: int, *, dense: bool) -> Callable[[], float]:
    """Return a function that takes some training steps and returns the milliseconds of one."""
    random = np.random.default_rng(1)
    network = RecurrentNetwork(SMALL, size)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    there = random.choice(size, min(size, 400), replace=False)

    def read_densely(inputs: Tensor) -> Any:
        return network.head(network.rnn(one_hot(inputs, size, torch.float32))[0])

    def take(steps: int) -> float:
        windows = torch.from_numpy(there[random.integers(len(there), size=(steps, 32, 65))])
        started = time.perf_counter()
        for inputs, targets in zip(windows[:, :, :-1], windows[:, :, 1:], strict=True):
            logits = read_densely(inputs) if dense else network(inputs)[0]
            _descend(cross_entropy(logits.flatten(0, 1), targets.flatten()), network, optimizer)
        return 1000 * (time.perf_counter() - started) / steps

    take(1)  # memory is claimed and kernels are chosen here
    return partial(take, 2 if size > 65 else 10)


def starting(quick: bool) -> None:
    """Measure a whole `charlm sample`, from the shell to the last character; files are in the disk cache."""

    def seconds(*arguments: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return time.perf_counter() - started

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        _trainer(folder, 2).checkpoint().weights_only().save(path)
        ours = ("-m", "charlm", "sample", "--checkpoint", str(path), "--length", "500")
        contestants = {"import torch": ("-c", "import torch"), "charlm sample --length 500": ours}
        runners = {name: partial(seconds, *arguments) for name, arguments in contestants.items()}
        race("a new process, LSTM 2×128", "seconds", 1 if quick else 9, runners)


def _made_text(folder: str, size: int) -> Path:
    """Write ``size`` random characters, the same ones every time."""
    path, letters = Path(folder, "text.txt"), np.frombuffer(SYMBOLS.encode(), np.uint8)
    path.write_bytes(letters[np.random.default_rng(1).integers(len(letters), size=size, dtype=np.uint8)].tobytes())
    return path


def _machine() -> str:
    facts = Path("/proc/cpuinfo")
    names = [line for line in facts.read_text().splitlines() if "model name" in line] if facts.exists() else []
    processor = names[0].partition(": ")[2] if names else platform.machine()
    system = f"{processor}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {platform.system()}"
    ours = f"torch {torch.__version__} ({torch.get_num_threads()} threads), NumPy {np.__version__}"
    return f"{system}, Python {platform.python_version()}, {ours}, charlm {charlm.__version__}"


SECTIONS = {section.__name__: section for section in (training, sampling, reading, vocabulary, starting)}


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(SECTIONS)}; repeatable.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smoke test; its numbers mean nothing.")] = False,
) -> None:
    """Measure charlm against the usual ways of doing the same, side by side."""
    if unknown := set(only or ()) - SECTIONS.keys():
        raise typer.BadParameter(f"no such section: {', '.join(unknown)}. There are {', '.join(SECTIONS)}.")
    print(_machine())
    for name in only or SECTIONS:
        SECTIONS[name](quick)


if __name__ == "__main__":
    typer.run(main)
