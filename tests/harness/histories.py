"""Runs made by hand: histories for pages, and the folders that charlm reads them from."""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from charlm.config.settings import Config
from charlm.config.writing import resolved_yaml
from charlm.runs.history import History
from charlm.runs.metrics import Evaluation

Line = dict[str, Any]


def settings(name: str = "tale", **sections: dict[str, object]) -> Config:
    """Return a config at its defaults, but for these settings."""
    tree: dict[str, dict[str, object]] = {"data": {"path": "tales.txt"}, "run": {"name": name}}
    return Config.model_validate(tree | sections)


def line(step: int, bits: float, **others: object) -> Line:
    """Return what an evaluation writes down; training stays a tenth of a bit below validation."""
    return {
        "step": step,
        "epoch": step / 50,
        "characters": step * 2048,
        "train_loss": (bits - 0.1) * math.log(2),
        "validation_loss": bits * math.log(2),
        "bits_per_character": bits,
        "learning_rate": 0.002 / (step + 1),
        "gradient_norm": 0.3 + 1 / (step + 1),
        "characters_per_second": 52_000.5,
        "seconds": step * 0.25,
    } | others


def falling(count: int, lowest: float = 2.0, every: int = 50) -> list[Line]:
    """Return a course that falls to ``lowest`` at three quarters of its evaluations, and then rises a little."""
    best = max(count * 3 // 4, 1)
    bits = [
        lowest + 2.5 * math.exp(-8 * place / best) + 0.4 * (place > best) * (place - best) / count
        for place in range(1, count + 1)
    ]
    bits[best - 1] = lowest
    return [line(place * every, value) for place, value in enumerate(bits, 1)]


def history(config: Config, lines: Sequence[Line]) -> History:
    """Return a history as if it had been read."""
    return History(Path("runs", config.run.name), config, tuple(map(Evaluation.model_validate, lines)))


def write_run(folder: Path, config: Config, lines: Sequence[Line] | None, age: float = 0) -> Path:
    """Write the files of a run into a folder of its own, so many seconds ago; without lines it has just begun."""
    path = folder / config.run.name
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(resolved_yaml(config), encoding="utf-8")
    if lines is not None:
        text = "".join(f"{json.dumps(metrics)}\n" for metrics in lines)
        (path / "metrics.jsonl").write_text(text, encoding="utf-8")
    for file in path.iterdir():
        os.utime(file, (2e9 - age, 2e9 - age))
    return path
