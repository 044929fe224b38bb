"""Memory that runs out: one sentence and an exit code, whole files, and a run that can be resumed."""

import errno
import os
import re
import resource
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from charlm.cli.out_of_memory import MemoryGuard, shortage
from charlm.errors import CharlmError
from tests.conftest import Run, lay_out
from tests.harness.charlm_process import EVALUATION, FSYNC, STEP, call_before, run_charlm
from tests.harness.interruptions import Snapshot, snapshot
from tests.harness.invariants import TRAIN, assert_resumes, assert_whole
from tests.harness.processes import COMMAND, ENVIRONMENT, Outcome
from tests.harness.repetitions import spread

MB = 1 << 20
SMALLER = "charlm: out of memory. Lower model.hidden_size, training.batch_size or training.sequence_length, or use a "
SMALLER += "shorter text.\n"
COUNTED = "charlm: out of memory. Lower model.order, or use a shorter text.\n"
SHORTER = "charlm: out of memory. Use a shorter text.\n"
LOADED = "charlm: out of memory while libraries were loaded. "


# What is recognized

HUGE = 1 << 60


def without_space() -> None:
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def fail(error: BaseException) -> None:
    raise error


def fail_later() -> None:
    """Do as a library whose clean-up fails for want of memory, too."""
    try:
        np.empty(HUGE, np.uint8)
    finally:
        fail(SystemError("<built-in> returned NULL without setting an exception"))


class PanicException(BaseException):
    """As Rust's panics reach Python."""

    __module__ = "pyo3_runtime"


SHORTAGES: dict[str, Callable[[], object]] = {
    "Python": lambda: bytearray(HUGE),
    "NumPy": lambda: np.empty(HUGE, np.uint8),
    "torch": lambda: torch.empty(HUGE, dtype=torch.uint8),
    "torch, CUDA": lambda: fail(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")),
    "torch, cuBLAS": lambda: fail(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`")),
    "torch, oneDNN": lambda: fail(RuntimeError("could not execute a primitive")),
    "torch, C++": lambda: fail(RuntimeError("std::bad_alloc")),
    "the system": without_space,
    "Rust": lambda: fail(PanicException("PyObject pointer is null")),
    "in a clean-up": fail_later,
}
LOADING: dict[str, BaseException] = {
    "import": ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    "import, with a number": ImportError("libz.so: cannot allocate memory in the loader"),
    "ctypes": OSError("libtorch_global_deps.so: failed to map segment from shared object"),
}
OTHERS: dict[str, BaseException] = {
    "another RuntimeError": RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"),
    "oneDNN": RuntimeError("could not create a primitive descriptor for the LSTM forward propagation primitive"),
    "a full disk": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "a file's name": FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "out of memory.txt"),
    "no package": ModuleNotFoundError("No module named 'torch'"),
    "thread-local storage": ImportError("libgomp.so.1: cannot allocate memory in static TLS block"),
    "a mistake": KeyError("out of memory"),
}


@pytest.mark.parametrize("source", SHORTAGES)
def test_memory_that_runs_out_is_an_error_of_charlm_s(source: str) -> None:
    with (
        pytest.raises(CharlmError, match=r"^out of memory\. Read less\.$") as raised,
        MemoryGuard(lambda: "Read less."),
    ):
        SHORTAGES[source]()
    assert raised.value.exit_code == 1
    assert raised.value.__cause__ is not None


@pytest.mark.parametrize("source", LOADING)
def test_a_library_that_does_not_fit_is_an_error_of_charlm_s(source: str) -> None:
    with pytest.raises(CharlmError, match=r"^out of memory while libraries were loaded\. Close"), MemoryGuard(str):
        raise LOADING[source]


def test_a_module_that_runs_out_of_memory_is_an_error_of_charlm_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "greedy_module.py").write_text(f"bytearray({HUGE})\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(CharlmError, match="while libraries were loaded"), MemoryGuard(str):
        __import__("greedy_module")


def test_a_thread_that_cannot_be_started_is_an_error_of_charlm_s() -> None:
    with pytest.raises(CharlmError, match="starts no further thread"), MemoryGuard(str):
        raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("source", OTHERS)
def test_other_errors_keep_their_traceback(source: str) -> None:
    error = OTHERS[source]
    assert shortage(error) is None
    with pytest.raises(type(error)) as raised, MemoryGuard(str):
        raise error
    assert raised.value is error


def test_errors_of_charlm_s_that_memory_caused_keep_their_words() -> None:
    with pytest.raises(CharlmError, match="does not fit"), MemoryGuard(str):
        raise CharlmError("the model does not fit.") from MemoryError()


class Large:
    """Holds memory until the last frame that knows it is gone."""

    alive = 0

    def __init__(self) -> None:
        Large.alive += 1

    def __del__(self) -> None:
        Large.alive -= 1


def test_what_filled_the_memory_is_given_back_before_the_message() -> None:
    def fill(deeper: int) -> None:
        large = Large()
        if deeper:
            fill(deeper - 1)
        bytearray(HUGE)
        del large

    try:
        with MemoryGuard(str):
            fill(3)
    except CharlmError:
        assert Large.alive == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (TRAIN, SMALLER),
        ((*TRAIN, "--set", "model={kind: markov, order: 3}", "--set", "training={}"), COUNTED),
        (("vocabulary", "--file", "text.txt"), SHORTER),
    ],
)
def test_a_command_that_runs_out_of_memory_says_what_to_change(
    arguments: tuple[str, ...], told: str, charlm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path)
    monkeypatch.setattr("charlm.text.corpus.read_vocabulary", lambda _: bytearray(HUGE))
    monkeypatch.setattr("charlm.text.corpus.Corpus.read", lambda _: bytearray(HUGE))
    result = charlm(*arguments)

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", told)


# Real limits

RUN = Path("runs/lstm")
LEFT = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128]
"""Megabytes of address space that a command may take beyond what it has at its start."""


def memory_project(folder: Path) -> Path:
    """Lay out six steps of a model whose full checkpoint takes 8 MB."""
    return lay_out(
        folder,
        model={"hidden_size": 350, "num_layers": 1},
        training={"steps": 6, "evaluate_every": 2, "device": "cpu"},
        run={"keep": 9},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return memory_project(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run that was trained without limits."""
    folder = memory_project(tmp_path_factory.mktemp("undisturbed"))
    assert run_charlm(folder, *TRAIN).code == 0
    return folder


@pytest.fixture(scope="module")
def expected(undisturbed: Path) -> Snapshot:
    return snapshot(undisturbed / RUN)


def leave(megabytes: int) -> None:
    """Limit this process's address space to what it has and so much more."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * MB, resource.RLIM_INFINITY))


NATIVE = {
    1: "OpenBLAS error: Memory allocation still failed after 10 retries, giving up.",
    -signal.SIGABRT: "memory allocation of ",
}
"""How OpenBLAS and Rust end the process themselves, which no Python code can prevent: exit codes and words."""


def check_told(ended: Outcome) -> None:
    """Assert that a command succeeded, or ended with an exit code of charlm's and a sentence.

    Rust prints its own trace when it can make no object for Python; the sentence follows.
    """
    assert "Traceback" not in ended.stderr or "panicked at" in ended.stderr, ended
    if (native := NATIVE.get(ended.code)) is None or native not in ended.stderr:
        assert ended.code in (0, 1, 2, 4, 74), ended
        assert not ended.code or re.fullmatch(r"charlm: .+\.", ended.stderr.splitlines()[-1]), ended


COMMANDS = {
    "sample": ("sample", "--checkpoint", str(RUN), "--seed", "1", "--length", "99", "--num-samples", "9"),
    "inspect-hidden": ("inspect-hidden", "--checkpoint", str(RUN), "--signal", "all"),
    "evaluate": ("evaluate", "--checkpoint", str(RUN)),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_reading_a_model_with_little_memory_ends_in_words(command: str, undisturbed: Path) -> None:
    ends = [run_charlm(undisturbed, *COMMANDS[command], before=[partial(leave, left)]) for left in spread(LEFT, 6)]

    for ended in ends:
        check_told(ended)
    assert any(ended.code == 1 for ended in ends), ends  # which remedy depends on where it ran out
    assert ends[-1].code == 0


@pytest.mark.slow
def test_training_with_little_memory_ends_in_words(tmp_path: Path) -> None:
    ends = []
    for left in spread(LEFT, 6):
        (tmp_path / str(left)).mkdir()
        ends.append(run_charlm(memory_project(tmp_path / str(left)), *TRAIN, before=[partial(leave, left)]))
        check_told(ends[-1])
        assert_whole(tmp_path / str(left) / RUN)

    assert any(ended.code == 1 for ended in ends), ends
    assert ends[-1].code == 0


@pytest.mark.slow
@pytest.mark.parametrize(("place", "left"), [(STEP, 0), (STEP, 8), (EVALUATION, 2), (FSYNC, 0), (FSYNC, 8)])
def test_training_that_runs_out_of_memory_can_be_resumed(
    place: str, left: int, folder: Path, expected: Snapshot
) -> None:
    ended = run_charlm(folder, *TRAIN, before=[partial(call_before, place, 2, partial(leave, left))])

    check_told(ended)
    assert_resumes(folder, RUN, expected)


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [60, 90])
def test_libraries_that_do_not_fit_are_reported(megabytes: int, tmp_path: Path) -> None:
    """A new Python process, as a shell starts it, in which the command line itself can hardly be loaded."""
    limit = partial(resource.setrlimit, resource.RLIMIT_AS, (megabytes * MB, megabytes * MB))
    ended = subprocess.run(
        [*COMMAND, "sample"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )
    told = Outcome(ended.returncode, ended.stdout, ended.stderr)
    check_told(told)
