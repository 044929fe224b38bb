#!/usr/bin/env python3
"""Show how commands end when memory runs out, from where Python starts up to where they succeed.

    python scripts/memory_sweep.py                            all commands, 24 limits each: several minutes
    python scripts/memory_sweep.py --limits 8 sample evaluate

Each command runs in a process of its own under a limit on its address space (RLIMIT_AS, as `ulimit -v`), on a small
model that is trained here first. Three limits are found by bisection: the least at which Python starts, at which the
modules of the command can be imported, and at which the command succeeds. A row "loading" is about limits between the
first two, "running" between the last two.

Every end should be one of charlm's messages and exit codes, and every file whole. While running, a traceback, a damaged
checkpoint or a temporary file that is left counts as a failure of charlm, and makes the exit status 1. Below the rows
stand the other ends, each kind once, such as those of native libraries that end the process themselves, which no Python
code can prevent.
"""

import os
import re
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import Signals
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.errors import CheckpointError

UNIT = 1 << 18
"""Bytes in a unit of the limits."""
MOST = (8 << 30) // UNIT
"""A limit under which everything succeeds."""
CODES = {0, 1, 2, 3, 4, 74, 129, 130, 143}
"""The exit codes of charlm."""

TEXT = 'The fox said "come in" (twice).\nNobody laughed; 3 boats\tlay still.\n' * 3000
SETTINGS = "model.hidden_size=256 training.batch_size=32 training.sequence_length=64 training.steps=4 "
SETTINGS += "training.evaluate_every=2 training.device=cpu data.path=text.txt"

READING = "charlm.cli.app charlm.runs.lookup charlm.checkpoint.checkpoint charlm.models.recurrent threadpoolctl"
DRAWING = "rich.console rich.table rich.text"
TRAINING = "charlm.library charlm.cli.progress charlm.training.start charlm.training.loop torch._dynamo"
IMPORTS = {
    "train": f"{READING} {DRAWING} {TRAINING}",
    "sample": f"{READING} charlm.generation charlm.sampling",
    "inspect-hidden": f"{READING} {DRAWING} charlm.checkpoint.corpus charlm.inspection.trace charlm.cli.trace_view",
    "evaluate": f"{READING} {DRAWING} charlm.checkpoint.corpus charlm.evaluation charlm.baselines",
}
"""The modules that each command imports."""
ARGUMENTS = {
    "train": f"--config empty.yaml --set run.directory=FRESH --set {' --set '.join(SETTINGS.split())}",
    "sample": "--checkpoint runs/tiny --seed 1 --length 100 --num-samples 500",
    "inspect-hidden": "--checkpoint runs/tiny --signal all --format npz --max-characters 3000",
    "evaluate": "--checkpoint runs/tiny",
}


@dataclass(frozen=True)
class Ending:
    """How a command ended under a limit."""

    limit: int
    code: int
    """The exit code; negative, the signal that ended the process."""
    messages: str
    broken: tuple[str, ...] = ()
    """Files that are not whole, and temporary files."""

    @property
    def fails(self) -> bool:
        """Whether charlm is to blame."""
        rust = "panicked at" in self.messages  # its messages contain a traceback
        return ("Traceback" in self.messages and not rust) or bool(self.broken)

    @property
    def in_words(self) -> bool:
        """Whether the end is one of charlm's: success, or its exit code with a message at the end."""
        return not self.fails and (self.code == 0 or (self.code in CODES and self.last.startswith("charlm: ")))

    @property
    def last(self) -> str:
        """The last line that was written, without numbers and the like."""
        return re.sub(r"\d+|0x\w+", "…", self.messages.rstrip("\n").rpartition("\n")[2])

    def __str__(self) -> str:
        code = f"exit {self.code}" if self.code >= 0 else Signals(-self.code).name
        last = [line[:160] for line in self.messages.splitlines() if line.strip()][-4:]
        return "\n        ".join([f"    {megabytes(self.limit)} MB, {code}", *last, *self.broken])


def megabytes(limit: int) -> str:
    """Return a limit in MB, 2^20 bytes each."""
    return f"{limit * UNIT / (1 << 20):,.1f}"


def run(folder: Path, command: str, limit: int) -> Ending:
    """Run a command under a limit; a run that it trains has a folder of its own."""
    fresh = f"runs-{limit}"
    shutil.rmtree(folder / fresh, ignore_errors=True)
    done = _python(folder, ["-m", "charlm", command, *ARGUMENTS[command].replace("FRESH", fresh).split()], limit)
    broken = [str(path) for path in (folder / fresh).rglob(".charlm-*")]
    for path in (folder / fresh).rglob("*.safetensors"):
        try:
            Checkpoint.load(path)
        except CheckpointError as error:
            broken.append(str(error))
    return Ending(limit, done.returncode, done.stderr, tuple(broken))


def imports(folder: Path, modules: str, limit: int) -> bool:
    """Return whether these modules can be imported under this limit."""
    return _python(folder, ["-c", f"import {', '.join(modules.split())}"], limit).returncode == 0


def least(succeeds: Callable[[int], bool], low: int) -> int:
    """Return the least limit that succeeds; ``low`` does not."""
    high = MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if succeeds(middle) else (middle, high)
    return high


def spread(first: int, last: int, count: int) -> list[int]:
    """Return at most so many limits from the first to the last."""
    return sorted({round(first + (last - first) * place / (count - 1)) for place in range(count)})


def sweep(folder: Path, command: str, count: int) -> bool:
    """Run a command under limits and print how it ends; return whether charlm fails."""
    start = least(partial(imports, folder, "sys"), 0)
    first = least(partial(imports, folder, IMPORTS[command]), start - 1)
    last = least(lambda limit: run(folder, command, limit).code == 0, first - 1)
    loading = [run(folder, command, limit) for limit in spread(start, first - 1, count)]
    running = [run(folder, command, limit) for limit in spread(first, last, count)]
    for phase, endings in (("loading", loading), ("running", running)):
        report(f"{command}, {phase}", endings)
    return any(ending.fails for ending in running)


def report(title: str, endings: Sequence[Ending]) -> None:
    """Print a row of the table, and below it one of each kind of ends that are not in charlm's words."""
    codes = Counter(ending.code for ending in endings)
    counted = ", ".join(f"{count} × {code}" for code, count in sorted(codes.items()))
    others = [ending for ending in endings if not ending.in_words]
    failures = sum(ending.fails for ending in endings)
    span = f"{megabytes(endings[0].limit)}–{megabytes(endings[-1].limit)}"
    print(f"{title:24}{span:>20}{len(endings):7}{failures:12}{len(others) - failures:8}   {counted}", flush=True)
    for ending in {(ending.code, ending.last): ending for ending in others}.values():
        print(ending, flush=True)


def _python(folder: Path, arguments: Sequence[str], limit: int) -> "subprocess.CompletedProcess[str]":
    size = (limit * UNIT, limit * UNIT)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        preexec_fn=partial(resource.setrlimit, resource.RLIMIT_AS, size),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def main(
    commands: Annotated[list[str] | None, typer.Argument(help="Commands; all by default.")] = None,
    limits: Annotated[int, typer.Option(min=2, help="Limits to try for each command.")] = 24,
) -> None:
    """Sweep limits on memory over train, sample, inspect-hidden and evaluate."""
    failed = False
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "text.txt").write_text(TEXT, encoding="utf-8")
        (folder / "empty.yaml").write_text("run:\n  name: tiny\n", encoding="utf-8")
        if (made := run(folder, "train", MOST)).code:
            sys.exit(f"the model cannot be trained:\n{made}")
        (folder / f"runs-{MOST}").rename(folder / "runs")
        print(f"{'command':24}{'limits in MB':>20}{'tried':>7}{'tracebacks':>12}{'native':>8}   exit codes")
        for command in commands or IMPORTS:
            failed = sweep(folder, command, limits) or failed
    sys.exit(failed)


if __name__ == "__main__":
    typer.run(main)
