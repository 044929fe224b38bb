"""The plan of a training run: its sizes, and the measured time of one step."""

import resource
import sys
import time

import torch

from charlm.checkpoint.layout import sizes
from charlm.runs.space import checkpoint_sizes
from charlm.training.trainer import Trainer


def plan(trainer: Trainer) -> list[tuple[str, object]]:
    """Return the plan as names and values; takes two steps to time one, so discard the trainer afterwards."""
    corpus, streams, model = trainer.corpus, trainer.streams, trainer.config.model
    weights, moments, _ = sizes(trainer.config, len(corpus.vocabulary))
    best, full = checkpoint_sizes(trainer.config, len(corpus.vocabulary))
    seconds = _time_one_step(trainer)
    per_step = streams.characters / len(streams)
    total = seconds * trainer.total_steps
    padding = f", {streams.padding:.0%} padding" if streams.padding else ""
    return [
        ("text", corpus.sizes),
        ("vocabulary", f"{len(corpus.vocabulary):,} symbols"),
        ("model", f"{model.kind}, {model.num_layers} × {model.hidden_size} units, {trainer.weights:,} parameters"),
        (
            "windows per epoch",
            f"{len(streams):,} of {streams.lanes} lanes × {trainer.config.training.sequence_length} steps{padding}",
        ),
        ("steps", f"{trainer.total_steps:,}, evaluated every {trainer.evaluate_every:,}"),
        ("checkpoints", f"{_megabytes(best)} best, {_megabytes(full)} full"),
        (
            "memory",
            f"{_megabytes(2 * weights + moments)} weights, gradients and moments; {_peak(trainer.device)} peak so far",
        ),
        ("threads", f"{torch.get_num_threads()}{'' if trainer.config.training.threads else ', chosen by torch'}"),
        (
            "one step",
            f"{seconds * 1000:,.1f} ms on {trainer.device}, {per_step / seconds:,.0f} characters per second",
        ),
        ("time", f"about {total:,.0f} s, without evaluations"),
    ]


def _time_one_step(trainer: Trainer) -> float:
    trainer.train_step(trainer.streams.at(0), trainer.config.training.learning_rate)  # warmup: torch selects kernels
    started = time.perf_counter()
    trainer.train_step(trainer.streams.at(0), trainer.config.training.learning_rate)
    return time.perf_counter() - started


def _peak(device: torch.device) -> str:
    """Return the peak memory use: of the CUDA device, or else of this process."""
    if device.type == "cuda":
        return _megabytes(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return _megabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
