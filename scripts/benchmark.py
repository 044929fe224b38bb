#!/usr/bin/env python3
"""Benchmark charlm against common alternatives, in one run of several minutes.

The first row of a table is the reference. In each round all contestants run once, in alternating order, so that
background load affects all of them. "best" and "median" are over the rounds; "of bests" is the ratio of a row's best
to the reference's; "by round" is the median of the ratios of each round, which is the most reliable. Higher is better
for rates ("per second"), lower for times. Ratios are roughly portable to other machines, absolute numbers are not.
--quick is a smoke test: its numbers are meaningless.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr
from functools import partial
from importlib.metadata import version
from io import StringIO
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
import typer
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from charlm.cli.progress import Bar
from charlm.config.settings import Config, ModelConfig
from charlm.models.network import RecurrentNetwork, one_hot
from charlm.models.recurrent import RecurrentModel
from charlm.pages.run_page import RunPage
from charlm.runs.directory import RunDirectory
from charlm.runs.step_report import StepReport
from charlm.sampling import sample
from charlm.text.corpus import Corpus
from charlm.text.vocabulary import Vocabulary
from charlm.training.loop import run_loop
from charlm.training.trainer import Trainer

SYMBOLS = "\n !\"'(),-.:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # V = 65
LANES, STEPS, WARM_UP = 50, 50, 5  # B, T, and training steps before timing starts
SMALL = ModelConfig(kind="lstm", hidden_size=128, num_layers=2)
READING = """import resource, sys, time
from charlm.text.corpus import Corpus, DataConfig
started = time.perf_counter()
for path in sys.argv[1:]: Corpus.read(DataConfig(path=(path,)))
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"""


def race(title: str, unit: str, rounds: int, contestants: Mapping[str, Callable[[], float]]) -> None:
    """Run each contestant once per round, and print the table."""
    figures: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds):
        for name in list(contestants)[:: 1 if turn % 2 == 0 else -1]:
            figures[name].append(contestants[name]())
    best = max if unit.endswith("per second") else min
    usual, *_ = figures.values()
    print(f"\n{title} ({unit}; rounds: {rounds})\n{'':36}{'best':>12}{'median':>12}{'of bests':>12}{'by round':>12}")
    for name, found in figures.items():
        by_round = median(mine / theirs for mine, theirs in zip(found, usual, strict=True))
        numbers = [f"{value:>12,.0f}" if value >= 100 else f"{value:>12.2f}" for value in (best(found), median(found))]
        print(f"  {name:34}{''.join(numbers)}{best(found) / best(usual):>12.3f}{by_round:>12.3f}", flush=True)


def training(quick: bool) -> None:
    """Measure training as in `charlm train`, including progress bar, metrics, checkpoints, evaluation and sample."""
    steps = 4 if quick else 60
    with TemporaryDirectory() as folder:
        corpus = _trainer(folder, steps, steps).corpus
        contestants = {
            "bare nn.LSTM loop": partial(_train_bare, corpus, steps, at_once=256),
            "charlm train": partial(_train_charlm, folder, steps, steps // 2),
            "nn.LSTM, a character at a time": partial(_train_bare, corpus, steps // 4, at_once=1, share=4),
        }
        race("training, LSTM 2×128, B = T = 50, V = 65", "characters per second", 1 if quick else 5, contestants)


def checkpoints(quick: bool) -> None:
    """Measure the cost of a full, verified checkpoint every 100 steps, in addition to the final one."""
    steps = 4 if quick else 400
    with TemporaryDirectory() as folder:
        contestants = {
            "charlm train, one at the end": partial(_train_charlm, folder, steps, steps),
            "charlm train, one every 100 steps": partial(_train_charlm, folder, steps, steps // 4),
        }
        race("checkpoints, LSTM 2×128, B = T = 50, V = 65", "characters per second", 1 if quick else 5, contestants)


def _trainer(folder: str, steps: int, save_every: int) -> Trainer:
    data, run = {"path": str(_made_text(folder, 200_000))}, {"directory": folder, "save_every": save_every}
    shape = {"batch_size": LANES, "sequence_length": STEPS, "steps": steps, "device": "cpu"}
    config = Config.model_validate({"data": data, "model": SMALL.model_dump(), "training": shape, "run": run})
    return Trainer(config, Corpus.read(config.data))


def _train_charlm(folder: str, steps: int, save_every: int) -> float:
    trainer = _trainer(folder, steps, save_every)
    for step in range(WARM_UP):
        trainer.train_step(trainer.streams.at(step), 0.002)
    with redirect_stderr(StringIO()):  # capture the progress bar
        started = time.perf_counter()
        run_loop(trainer, RunDirectory.create(trainer.config), observer=Bar(0, steps))
        return steps * STEPS * LANES / (time.perf_counter() - started)


def _train_bare(corpus: Corpus, steps: int, *, at_once: int, share: int = 1) -> float:
    """Train with torch alone, at its fastest, ``at_once`` characters of each lane per call; then evaluate likewise."""
    size = len(corpus.vocabulary)
    lstm, head = nn.LSTM(size, SMALL.hidden_size, SMALL.num_layers), nn.Linear(SMALL.hidden_size, size)
    model, eye = nn.ModuleList([lstm, head]), torch.eye(size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.002, fused=True)

    def read(ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        losses = []
        for rows, targets in zip(torch.split(eye[ids[:-1]], at_once), torch.split(ids[1:], at_once), strict=True):
            hidden, state = lstm(rows, state)
            losses.append(nn.functional.cross_entropy(head(hidden).flatten(0, 1), targets.flatten(), reduction="sum"))
        return sum(losses[1:], losses[0]) / ids[1:].numel(), state

    ids, state = _time_major(corpus.train, LANES), None
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            started = time.perf_counter()
        loss, state = read(ids[step * STEPS :][: STEPS + 1], state)
        _descend(loss, model, optimizer)
        state = tuple(part.detach() for part in state)
    with torch.inference_mode():
        read(_time_major(corpus.validation[: len(corpus.validation) // share], 8), None)
    return steps * STEPS * LANES / (time.perf_counter() - started)


def _time_major(ids: np.ndarray[Any, Any], lanes: int) -> Tensor:
    return torch.from_numpy(ids[: len(ids) // lanes * lanes].astype(np.int64)).view(lanes, -1).T.contiguous()


def _descend(loss: Tensor, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def sampling(quick: bool) -> None:
    """Measure sampling of one stream of text as in `charlm sample`, including decoding."""
    symbols = Vocabulary.of_text(SYMBOLS)
    for size, length in ((128, 100 if quick else 4000), (512, 50 if quick else 2000)):
        network = RecurrentNetwork(SMALL.model_copy(update={"hidden_size": size}), len(symbols)).eval()
        model = RecurrentModel(network.config, len(symbols), network.tensors())
        usual, ours = partial(_write_bare, network), partial(sample, model, symbols)
        contestants = {
            "nn.LSTM step loop, one thread": partial(_writing_speed, usual, symbols, length),
            "charlm sample": partial(_writing_speed, ours, symbols, length),
        }
        race(f"sampling, LSTM 2×{size}, one stream, V = 65", "characters per second", 1 if quick else 7, contestants)


def _writing_speed(write: Callable[[], Iterator[Any]], symbols: Vocabulary, length: int) -> float:
    with threadpool_limits(1), torch.inference_mode():  # torch's threads are limited too
        started = time.perf_counter()
        symbols.decode([index.item() for index in islice(write(), length)])
        return length / (time.perf_counter() - started)


def _write_bare(network: RecurrentNetwork) -> Iterator[Tensor]:
    rows = torch.eye(network.vocabulary_size)[:, None]  # (V, 1, V)
    index, state = torch.zeros(1, dtype=torch.int64), None
    while True:
        hidden, state = network.rnn(rows[index], state)
        index = torch.multinomial(torch.softmax(network.head(hidden[0]) / 0.8, -1), 1)[0]
        yield index


def reading(quick: bool) -> None:
    """Measure the speed of reading a text into ids, and the memory this takes in addition to the imports."""
    megabytes, runs = (1, 1) if quick else (100, 5)

    def read(*texts: str) -> tuple[float, float]:
        # Start it from a shell, because a process inherits the peak memory of its parent.
        command = ["sh", "-c", '"$0" "$@"; exit $?', sys.executable, "-c", READING, *texts]
        seconds, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        return megabytes / float(seconds), float(peak) * (1 if sys.platform == "darwin" else 1024)

    with TemporaryDirectory() as folder:
        text = str(_made_text(folder, megabytes * 1_000_000))
        speeds, peaks = zip(*(read(text) for _ in range(runs)), strict=True)
    memory = (median(peaks) - read()[1]) / (megabytes * 1e6)
    print(f"\nreading {megabytes} MB, V = 65 (rounds: {runs}; peak memory {memory:.2f} bytes per byte)")
    print(f"  MB per second: best {max(speeds):,.0f}, median {median(speeds):,.0f}", flush=True)


def vocabulary(quick: bool) -> None:
    """Measure the time of a training step by vocabulary size, for windows with about 400 different symbols."""
    contestants: dict[str, Callable[[], float]] = {}
    for size in (65, 2000, 11172):
        there = min(size, 400)
        ids = torch.randint(there, (32, 65)) * (size // there)
        for name, dense in (("dense one-hot product", True), ("charlm", False)):
            network = RecurrentNetwork(SMALL, size)
            optimizer = torch.optim.AdamW(network.parameters(), fused=True)
            contestants[f"V = {size:,}, {name}"] = partial(_step_time, network, optimizer, ids, dense=dense)
    race("a training step, LSTM 2×128, B = 32, T = 64", "milliseconds", 1 if quick else 15, contestants)


def _step_time(network: RecurrentNetwork, optimizer: torch.optim.Optimizer, ids: Tensor, *, dense: bool) -> float:
    started = time.perf_counter()
    if dense:
        logits = network.head(network.rnn(one_hot(ids[:, :-1], network.vocabulary_size, torch.float32))[0])
    else:
        logits, _ = network(ids[:, :-1])
    _descend(nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()), network, optimizer)
    return 1000 * (time.perf_counter() - started)


def starting(quick: bool) -> None:
    """Measure `charlm sample` from process start to exit, with files in the disk cache."""

    def seconds(*arguments: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return time.perf_counter() - started

    with TemporaryDirectory() as folder:
        _trainer(folder, 2, 2).checkpoint().weights_only().save(path := Path(folder, "model.safetensors"))
        ours = partial(seconds, "-m", "charlm", "sample", "--checkpoint", str(path), "--length", "500")
        contestants = {"import torch": partial(seconds, "-c", "import torch"), "charlm sample --length 500": ours}
        race("a new process, LSTM 2×128", "seconds", 1 if quick else 9, contestants)


def history(quick: bool) -> None:
    """Measure what one more evaluation costs in a long run: its line of metrics and the page."""
    contestants: dict[str, Callable[[], float]] = {}
    with TemporaryDirectory() as folder:
        for known in (20, 200) if quick else (200, 20_000):
            trainer = _trainer(folder, 2, 2)
            run = RunDirectory.create(trainer.config)
            page = RunPage(run, trainer.config, trainer.corpus, {})
            for _ in range(known):
                _record(run)
            page.write()
            contestants[f"after {known:,} evaluations"] = partial(_one_more, run, page)
        race("one more evaluation: metrics line and page", "milliseconds", 1 if quick else 15, contestants)


def _record(run: RunDirectory) -> None:
    step = len(run.metrics()) + 1
    loss = 2 + (step * 7919 % 1000) / 1000
    report = StepReport(step, step / 9, step * 99, loss, loss, 0.002, loss, 1e5, step / 3, loss)
    run.record(report.metrics() | {"sample": SYMBOLS * 3})


def _one_more(run: RunDirectory, page: RunPage) -> float:
    started = time.perf_counter()
    _record(run)
    page.write()
    return 1000 * (time.perf_counter() - started)


def _made_text(folder: str, size: int) -> Path:
    """Write ``size`` random characters from a fixed seed, and return the path."""
    path, letters = Path(folder, "text.txt"), np.frombuffer(SYMBOLS.encode(), np.uint8)
    path.write_bytes(letters[np.random.default_rng(1).integers(len(letters), size=size, dtype=np.uint8)].tobytes())
    return path


SECTIONS = {
    section.__name__: section for section in (training, checkpoints, sampling, reading, vocabulary, starting, history)
}


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(SECTIONS)}; repeatable.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Run a smoke test; its numbers are meaningless.")] = False,
) -> None:
    """Benchmark charlm against common alternatives."""
    if unknown := set(only or ()) - SECTIONS.keys():
        raise typer.BadParameter(f"no such section: {', '.join(unknown)}. Choose from {', '.join(SECTIONS)}.")
    facts = Path("/proc/cpuinfo").read_text(encoding="utf-8") if sys.platform == "linux" else ""
    processor = facts.partition("model name\t: ")[2].partition("\n")[0] or sys.platform
    versions = ", ".join(f"{name} {version(name)}" for name in ("charlm-rnn", "torch", "numpy"))
    print(f"{processor}, load {os.getloadavg()[0]:.1f}; Python {sys.version.split()[0]}, {versions}", end=", ")
    print(f"{torch.get_num_threads()} torch threads on {os.cpu_count()} cores", flush=True)
    for name in only or SECTIONS:
        SECTIONS[name](quick)


if __name__ == "__main__":
    typer.run(main)
