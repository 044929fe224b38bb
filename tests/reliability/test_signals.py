"""Signals to real processes: whatever they are doing, they end or continue without loss, and say how."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, SIGUSR1, Signals

import pytest

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.cli.progress import Silence
from charlm.cli.signals import Requests, exit_code
from charlm.config.settings import Config
from charlm.runs.directory import RunDirectory
from charlm.runs.lookup import full_checkpoints, newest_checkpoint
from charlm.runs.step_report import StepReport
from charlm.sampling import SamplingOptions, sample
from charlm.text.corpus import Corpus
from charlm.training.loop import run_loop
from charlm.training.trainer import Trainer
from tests.conftest import Run, lay_out, make_config
from tests.harness.charlm_process import (
    EVALUATION,
    FSYNC,
    NEXT_CHARACTER,
    READ_BACK,
    RENAME,
    STEP,
    TEXT_READ,
    CharlmProcess,
    call_before,
    pause_at,
    read_all,
    run_charlm,
)
from tests.harness.child import TIMEOUT
from tests.harness.interruptions import Snapshot, differences, snapshot
from tests.harness.invariants import TRAIN, assert_resumes, assert_whole
from tests.harness.processes import COMMAND, ENVIRONMENT, SIZE, Outcome
from tests.harness.repetitions import spread

pytestmark = pytest.mark.slow

STEPS = 10
LONG = 400
"""Steps of a run that still trains a second after its first evaluation."""
EVALUATED = (4, 8, 10)
URGENT = {SIGINT: 130, SIGTERM: 143}
CODES = URGENT | {SIGHUP: 129}
ALL = (*CODES, SIGUSR1)
each_stopping = pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
each_urgent = pytest.mark.parametrize("number", URGENT, ids=lambda number: number.name)
ANSWER = "\ncharlm: finishing this step and saving"

RUN = Path("runs/lstm")


def signal_project(folder: Path) -> Path:
    """Lay out ten steps, evaluated and saved at 4, 8 and 10."""
    training: dict[str, object] = {"steps": STEPS, "evaluate_every": 4}
    return lay_out(folder, model={"dropout": 0.2}, training=training, run={"keep": 9})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return signal_project(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Return the snapshot of an undisturbed run."""
    folder = signal_project(tmp_path_factory.mktemp("undisturbed"))
    assert run_charlm(folder, *TRAIN).code == 0
    assert saved(folder) == list(EVALUATED)
    return snapshot(folder / RUN)


def saved(folder: Path) -> list[int]:
    """Return the steps of the run's full checkpoints."""
    return [Checkpoint.load(path).progress.step for path in full_checkpoints(folder / RUN)]


def check_saved_at(folder: Path, step: int) -> None:
    found = newest_checkpoint(folder / RUN)
    assert found is not None
    assert (found.checkpoint.progress.step, found.damaged) == (step, {})


# Once: finish the step, save, and end or continue

PLACES = {"while training": (STEP, 6, 6), "during an evaluation": (EVALUATION, 2, 8), "in the first step": (STEP, 1, 1)}
"""Where the process receives a signal, at which call, and in which step that is."""


@each_stopping
@pytest.mark.parametrize("place", PLACES)
def test_a_signal_to_stop_ends_training_with_this_step_saved(
    place: str, number: Signals, folder: Path, undisturbed: Snapshot
) -> None:
    where, call, step = PLACES[place]
    with CharlmProcess(folder, *TRAIN, before=[pause_at(where, call)]) as process:
        process.wait_for_pause().send_signal(number)
        process.wait_for_stderr(f"{ANSWER}.\n" if number == SIGHUP else f"{ANSWER}; a second signal stops at once.\n")
        process.resume()
        ended = process.wait()

    assert (ended.code, ended.stdout) == (CODES[number], "")
    assert f"charlm: {number.name}: {RUN} is saved at step {step}." in ended.stderr.splitlines()[-1]
    assert "--resume" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    check_saved_at(folder, step)
    assert saved(folder) == sorted({*(evaluated for evaluated in EVALUATED if evaluated < step), step})
    assert_resumes(folder, RUN, undisturbed)


@pytest.mark.parametrize("place", PLACES)
def test_sigusr1_saves_this_step_and_training_goes_on(place: str, folder: Path, undisturbed: Snapshot) -> None:
    where, call, step = PLACES[place]
    with CharlmProcess(folder, *TRAIN, before=[pause_at(where, call)]) as process:
        process.wait_for_pause().send_signal(SIGUSR1)
        process.resume()
        ended = process.wait()

    assert ended.code == 0
    assert ended.stdout.startswith(f"{RUN} is trained\n")
    assert saved(folder) == sorted({step, *EVALUATED})
    assert differences(undisturbed, snapshot(folder / RUN)) == []
    assert_whole(folder / RUN)


def test_a_checkpoint_saved_by_sigusr1_can_be_resumed(folder: Path, undisturbed: Snapshot) -> None:
    with CharlmProcess(folder, *TRAIN, before=[pause_at(STEP, 6), pause_at(STEP, 7)]) as process:
        process.wait_for_pause().send_signal(SIGUSR1)
        process.resume()
        process.wait_for_pause().send_signal(signal.SIGKILL)

    assert saved(folder) == [4, 6]
    assert_resumes(folder, RUN, undisturbed)


# Twice: end at once and damage nothing


@each_urgent
def test_a_second_signal_stops_at_once_without_this_step(number: Signals, folder: Path, undisturbed: Snapshot) -> None:
    with CharlmProcess(folder, *TRAIN, before=[pause_at(STEP, 6)]) as process:
        process.wait_for_pause().send_signal(number)
        process.wait_for_stderr("stops at once.\n")
        process.send_signal(number)
        ended = process.wait()  # without being resumed

    assert (ended.code, ended.stdout) == (CODES[number], "")
    assert "Traceback" not in ended.stderr
    assert saved(folder) == [4]
    assert_resumes(folder, RUN, undisturbed)


@pytest.mark.parametrize(("first", "second"), [(SIGINT, SIGTERM), (SIGTERM, SIGINT)])
def test_the_second_signal_need_not_be_the_first_again(first: Signals, second: Signals, folder: Path) -> None:
    with CharlmProcess(folder, *TRAIN, before=[pause_at(STEP, 6)]) as process:
        process.wait_for_pause().send_signal(first)
        process.wait_for_stderr("stops at once.\n")
        process.send_signal(second)
        ended = process.wait()

    assert ended.code == CODES[second]
    assert_whole(folder / RUN)


# Of one closed terminal the shell and the kernel both send SIGHUP; systemd ends a session by SIGTERM and SIGHUP.
@pytest.mark.parametrize(("first", "second"), [(SIGHUP, SIGHUP), (SIGTERM, SIGHUP), (SIGHUP, SIGTERM)])
def test_the_signals_that_end_a_session_stop_after_this_step(
    first: Signals, second: Signals, folder: Path, undisturbed: Snapshot
) -> None:
    with CharlmProcess(folder, *TRAIN, before=[pause_at(STEP, 6)]) as process:
        process.wait_for_pause().send_signal(first)
        process.wait_for_stderr(ANSWER)
        process.send_signal(second)
        process.resume()
        ended = process.wait()

    assert (ended.code, ended.stdout) == (CODES[first], "")
    assert ended.stderr.splitlines()[-1].startswith(f"charlm: {first.name}: {RUN} is saved at step 6.")
    check_saved_at(folder, 6)
    assert_resumes(folder, RUN, undisturbed)


def test_after_a_closed_terminal_the_second_ctrl_c_stops_at_once(folder: Path, undisturbed: Snapshot) -> None:
    with CharlmProcess(folder, *TRAIN, before=[pause_at(STEP, 6)]) as process:
        process.wait_for_pause().send_signal(SIGHUP)
        process.wait_for_stderr(f"{ANSWER}.\n")
        process.send_signal(SIGINT)
        process.wait_for_stderr(f"{ANSWER}; a second signal stops at once.\n")
        process.send_signal(SIGINT)
        ended = process.wait()  # without being resumed

    assert ended.code == 130
    assert saved(folder) == [4]
    assert_resumes(folder, RUN, undisturbed)


def test_two_sigusr1_save_both_steps_and_training_goes_on(folder: Path, undisturbed: Snapshot) -> None:
    """The second comes while the first is being answered."""
    # A step that is not evaluated writes nothing but its full checkpoint, so the first rename after it is that.
    with CharlmProcess(folder, *TRAIN, before=[pause_at(STEP, 6), partial(pause_at_next, STEP, 6, RENAME)]) as process:
        process.wait_for_pause().send_signal(SIGUSR1)
        process.resume()
        process.wait_for_pause().send_signal(SIGUSR1)
        process.resume()
        ended = process.wait()

    assert ended.code == 0
    assert saved(folder) == [4, 6, 7, 8, 10]
    assert differences(undisturbed, snapshot(folder / RUN)) == []


def test_two_sigusr1_in_one_step_save_it_and_training_goes_on(folder: Path, undisturbed: Snapshot) -> None:
    with CharlmProcess(folder, *TRAIN, before=[pause_at(STEP, 6)]) as process:
        process.wait_for_pause().send_signal(SIGUSR1)
        process.send_signal(SIGUSR1)
        process.resume()
        ended = process.wait()

    assert ended.code == 0
    assert saved(folder) == [4, 6, 8, 10]
    assert differences(undisturbed, snapshot(folder / RUN)) == []


def pause_at_next(place: str, call: int, following: str, nth: int = 1) -> None:
    """Pause when the process comes to ``following`` for the n-th time after it has been at ``place``."""
    call_before(place, call, pause_at(following, nth))


# What the save of an evaluated step does, in its order: metrics line, best, latest, full checkpoint. Each is forced
# to the disk, renamed, and its folder forced to the disk.
MOMENTS = [(FSYNC, nth) for nth in range(1, 9)] + [(RENAME, nth) for nth in range(1, 5)] + [(READ_BACK, 1)]
MOMENTS_AND_SIGNALS = [(*moment, number) for moment in MOMENTS for number in URGENT]


@pytest.mark.parametrize(("place", "nth", "number"), spread(MOMENTS_AND_SIGNALS, least=8))
def test_a_second_signal_at_any_moment_of_a_save_harms_no_file(
    place: str, nth: int, number: Signals, folder: Path, undisturbed: Snapshot
) -> None:
    before = [pause_at(EVALUATION, 1), partial(pause_at_next, EVALUATION, 1, place, nth)]
    with CharlmProcess(folder, *TRAIN, before=before) as process:
        process.wait_for_pause().send_signal(number)
        process.wait_for_stderr("stops at once.\n")
        process.resume()
        process.wait_for_pause().send_signal(number)
        ended = process.wait()

    assert (ended.code, ended.stdout) == (CODES[number], "")
    assert "Traceback" not in ended.stderr
    assert_resumes(folder, RUN, undisturbed)


@pytest.mark.parametrize(("place", "nth"), spread([moment for moment in MOMENTS if moment[0] == FSYNC]))
def test_a_signal_is_answered_on_standard_error_or_nowhere(
    place: str, nth: int, folder: Path, undisturbed: Snapshot
) -> None:
    """Where it is closed its number goes to the next file that is opened, which may be a checkpoint."""
    before = [close_standard_streams, pause_at(EVALUATION, 1), partial(pause_at_next, EVALUATION, 1, place, nth)]
    with CharlmProcess(folder, *TRAIN, "--quiet", before=before) as process:
        process.wait_for_pause().resume()
        process.wait_for_pause().send_signal(SIGTERM)
        process.resume()
        ended = process.wait()

    assert ended.code == 143
    assert_resumes(folder, RUN, undisturbed)


def close_standard_streams() -> None:
    """Do as ``<&- 2>&-`` does."""
    os.close(0)
    os.close(2)
    sys.stderr = None


@each_urgent
def test_a_third_signal_kills_by_its_default_action(number: Signals, folder: Path) -> None:
    closing = "charlm.cli.progress:Lines.close"
    with CharlmProcess(folder, *TRAIN, before=[pause_at(STEP, 6), pause_at(closing)]) as process:
        process.wait_for_pause().send_signal(number)
        process.wait_for_stderr("stops at once.\n")
        process.send_signal(number)
        process.wait_for_pause().send_signal(number)  # on its way out
        ended = process.wait()

    assert ended.code == -number


@each_urgent
def test_a_terminal_is_left_in_order(number: Signals, folder: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, SIZE)
    with CharlmProcess(folder, *TRAIN, before=[pause_at(STEP, 6)], stderr=theirs) as process:
        process.wait_for_pause().send_signal(number)
        process.resume()
        ended = process.wait()
        shown = read_all(ours).decode()
    os.close(ours)

    assert (ended.code, ended.stdout) == (CODES[number], "")
    assert "\r\ncharlm: finishing this step and saving; a second signal stops at once.\r\n" in shown
    bar, told = shown.removesuffix("\r\n").rsplit("\r\n", 1)
    assert "| 6/10" in bar.rpartition("\r")[2]
    assert told.startswith(f"charlm: {number.name}: {RUN} is saved at step 6.")


# A terminal that is closed


def take_terminal(output: bool) -> None:
    """Make standard error the controlling terminal of a session of its own; ``output``: standard output as well."""
    os.setsid()
    fcntl.ioctl(2, termios.TIOCSCTTY, 0)
    if output:
        os.dup2(2, 1)


def train_on_terminal(folder: Path, *before: "partial[None]", output: bool = True) -> tuple[CharlmProcess, int]:
    """Return a process that trains on a terminal of its own, and the descriptor that holds the terminal open."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, SIZE)
    return CharlmProcess(folder, *TRAIN, before=[partial(take_terminal, output), *before], stderr=theirs), ours


IGNORING = partial(signal.signal, SIGHUP, signal.SIG_IGN)


@pytest.mark.parametrize("place", PLACES)
def test_a_closed_terminal_ends_training_with_this_step_saved(place: str, folder: Path, undisturbed: Snapshot) -> None:
    where, call, step = PLACES[place]
    process, terminal = train_on_terminal(folder, pause_at(where, call))
    with process:
        process.wait_for_pause()
        os.close(terminal)  # the kernel sends SIGHUP
        process.resume()
        ended = process.wait()

    assert ended.code == 129
    check_saved_at(folder, step)
    assert_resumes(folder, RUN, undisturbed)


# The result cannot be written to a closed terminal, which is exit code 74 for all commands.
@pytest.mark.parametrize(("output", "code"), [(True, 74), (False, 0)])
def test_training_that_ignores_sighup_outlives_its_terminal(
    output: bool, code: int, folder: Path, undisturbed: Snapshot
) -> None:
    process, terminal = train_on_terminal(folder, IGNORING, pause_at(STEP, 3), output=output)
    with process:
        process.wait_for_pause()
        os.close(terminal)
        process.resume()
        ended = process.wait()

    assert ended.code == code
    assert ended.stdout.startswith("" if output else f"{RUN} is trained\n")
    assert saved(folder) == list(EVALUATED)
    assert differences(undisturbed, snapshot(folder / RUN)) == []
    assert_whole(folder / RUN)


@each_urgent
def test_a_signal_after_the_terminal_is_closed_is_answered_by_a_save(
    number: Signals, folder: Path, undisturbed: Snapshot
) -> None:
    process, terminal = train_on_terminal(folder, IGNORING, pause_at(STEP, 3), pause_at(STEP, 6))
    with process:
        process.wait_for_pause()
        os.close(terminal)
        process.resume()
        process.wait_for_pause().send_signal(number)
        process.resume()
        ended = process.wait()

    assert ended.code == CODES[number]
    check_saved_at(folder, 6)
    assert_resumes(folder, RUN, undisturbed)


def test_nohup_trains_to_the_end_when_its_terminal_is_closed(tmp_path: Path) -> None:
    """A real shell on a real terminal, which dies of SIGHUP while charlm is training."""
    lay_out(tmp_path, training={"steps": LONG, "evaluate_every": LONG // 10, "device": "cpu"})
    ours, theirs = pty.openpty()
    ended, alive = os.pipe()
    shell = subprocess.Popen(
        ["/bin/sh", "-c", 'nohup "$0" "$@"; exit', *COMMAND, *TRAIN],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        pass_fds=[alive],  # open as long as charlm runs
        start_new_session=True,
        preexec_fn=partial(fcntl.ioctl, theirs, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - there are no threads here
    )
    for descriptor in (theirs, alive):
        os.close(descriptor)
    output = tmp_path / "nohup.out"
    deadline = time.monotonic() + TIMEOUT
    while not output.exists() or f"\nstep {LONG // 10}/" not in output.read_text("utf-8"):
        assert time.monotonic() < deadline, output.read_text("utf-8")
        time.sleep(0.02)
    os.close(ours)
    assert shell.wait(TIMEOUT) == -SIGHUP
    assert f"step {LONG}/" not in output.read_text("utf-8")  # charlm is still training
    assert read_all(ended) == b""
    os.close(ended)

    assert "is trained\n" in output.read_text("utf-8")
    check_saved_at(tmp_path, LONG)
    assert_whole(tmp_path / RUN)


# Before and after training


@each_stopping
def test_a_signal_before_there_is_a_run_leaves_nothing_behind(number: Signals, folder: Path) -> None:
    with CharlmProcess(folder, *TRAIN, before=[pause_at(TEXT_READ)]) as process:
        process.wait_for_pause().send_signal(number)
        ended = process.wait()

    assert ended.code == (130 if number == SIGINT else -number)
    assert (ended.stdout, ended.stderr.strip()) == ("", "")
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(("place", "nth"), [(FSYNC, 1), (RENAME, 1), (FSYNC, 2)])
def test_ctrl_c_while_the_folder_is_made_leaves_a_resumable_run(
    place: str, nth: int, folder: Path, undisturbed: Snapshot
) -> None:
    with CharlmProcess(folder, *TRAIN, before=[pause_at(place, nth)]) as process:
        process.wait_for_pause().send_signal(SIGINT)
        ended = process.wait()

    assert (ended.code, ended.stdout, ended.stderr.strip()) == (130, "", "")
    assert_resumes(folder, RUN, undisturbed)


@each_stopping
def test_a_signal_in_the_last_step_changes_nothing(number: Signals, folder: Path, undisturbed: Snapshot) -> None:
    with CharlmProcess(folder, *TRAIN, before=[pause_at(STEP, STEPS)]) as process:
        process.wait_for_pause().send_signal(number)
        process.wait_for_stderr(ANSWER)
        process.resume()
        ended = process.wait()

    assert ended.code == 0
    assert ended.stdout.startswith(f"{RUN} is trained\n")
    assert differences(undisturbed, snapshot(folder / RUN)) == []


def test_signals_are_dealt_with_as_before_when_a_run_is_done(
    charlm: Run, folder: Path, ours: list[Signals], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = handlers()
    assert charlm(*TRAIN).exit_code == 0
    assert handlers() == before

    call_before(STEP, 2, partial(signal.raise_signal, SIGTERM), monkeypatch.setattr)
    assert charlm(*TRAIN).exit_code == 143
    assert handlers() == before
    assert ours == []


# The listener itself


@pytest.fixture
def ours() -> Iterator[list[Signals]]:
    """Return the signals that came to handlers of the test's own, which are there before and after."""
    received: list[Signals] = []
    before = {number: signal.signal(number, lambda number, _: received.append(Signals(number))) for number in ALL}
    yield received
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in ALL]


def test_handlers_are_as_before_however_listening_ends(ours: list[Signals]) -> None:
    before = handlers()
    with Requests():
        assert not set(handlers()) & set(before)
    assert handlers() == before
    with pytest.raises(KeyError), Requests():
        raise KeyError
    assert handlers() == before
    for number in ALL:
        signal.raise_signal(number)
    assert ours == list(ALL)


@each_urgent
def test_the_second_signal_raises_and_restores_default_actions(number: Signals, ours: list[Signals]) -> None:
    before = handlers()
    with Requests() as requests:
        signal.raise_signal(number)
        assert requests.stop is number
        with pytest.raises(SystemExit) as ending:
            signal.raise_signal(number)
        assert handlers()[: len(URGENT)] == [signal.SIG_DFL, signal.SIG_DFL]
    assert ending.value.code == exit_code(number) == CODES[number]
    assert handlers() == before
    assert ours == []


@pytest.mark.parametrize("ignored", ALL, ids=lambda number: number.name)
def test_a_signal_that_was_ignored_stays_ignored(ignored: Signals, ours: list[Signals]) -> None:
    """As SIGHUP under nohup, and SIGINT in a background job of a script."""
    signal.signal(ignored, signal.SIG_IGN)
    with Requests() as requests:
        signal.raise_signal(ignored)
        assert signal.getsignal(ignored) is signal.SIG_IGN
        assert requests.stop is None
        assert not requests.pop_save_request()

        other = next(number for number in URGENT if number != ignored)
        signal.raise_signal(other)
        with pytest.raises(SystemExit):
            signal.raise_signal(other)
        assert signal.getsignal(ignored) is signal.SIG_IGN  # on the way out, too
    assert signal.getsignal(ignored) is signal.SIG_IGN
    assert ours == []


def test_a_save_request_is_taken_once_and_stops_nothing() -> None:
    with Requests() as requests:
        assert not requests.pop_save_request()
        signal.raise_signal(SIGUSR1)
        signal.raise_signal(SIGUSR1)
        assert requests.stop is None
        assert requests.pop_save_request()
        assert not requests.pop_save_request()


def test_a_stop_request_asks_for_a_checkpoint_too() -> None:
    with Requests() as requests:
        signal.raise_signal(SIGTERM)
        assert requests.stop is SIGTERM
        assert requests.pop_save_request()
        signal.raise_signal(SIGUSR1)  # no second wish for the end
        assert requests.pop_save_request()


class Interrupted(Requests):
    """Receives a signal at the n-th check for save requests, just before it or just after it."""

    def __init__(self, number: Signals, look: int, *, after: bool) -> None:
        super().__init__()
        self._number = number
        self._after = after
        self._look = look
        self._looks = count(1)

    def pop_save_request(self) -> bool:
        met = next(self._looks) == self._look
        if met and not self._after:
            signal.raise_signal(self._number)
        asked = super().pop_save_request()
        if met and self._after:
            signal.raise_signal(self._number)
        return asked


class RecordingObserver(Silence):
    """Records the steps, and raises a signal while it shows a sample: when the step is saved."""

    def __init__(self, number: Signals | None = None) -> None:
        self.steps: list[int] = []
        self._number = number

    def update(self, report: StepReport) -> None:
        self.steps.append(report.step)

    def show_sample(self, text: str) -> None:
        if self._number is not None:
            signal.raise_signal(self._number)
            self._number = None


@pytest.fixture
def config(folder: Path) -> Config:
    return make_config(folder / "text.txt", folder / "runs", training={"steps": STEPS}, run={"keep": 9})


def run_training(config: Config, requests: Requests, observer: RecordingObserver) -> tuple[list[int], list[int]]:
    """Train; return the steps that were taken and those that were saved in full."""
    trainer = Trainer(config, Corpus.read(config.data))
    with RunDirectory.create(config) as run, requests:
        run_loop(trainer, run, observer=observer, stop=requests.should_stop, save_now=requests.pop_save_request)
    return observer.steps, [Checkpoint.load(path).progress.step for path in full_checkpoints(run.path)]


@each_stopping
@pytest.mark.parametrize("after", [False, True])
def test_a_signal_between_the_look_and_the_save_is_not_lost(number: Signals, after: bool, config: Config) -> None:
    """Where it comes too late to end at this step, the next one is the last."""
    steps, kept = run_training(config, Interrupted(number, 2, after=after), RecordingObserver())

    assert steps in ([1, 2], [1, 2, 3])
    assert kept[-1] == steps[-1]


@pytest.mark.parametrize(("after", "step"), [(False, 2), (True, 3)])
def test_sigusr1_between_the_look_and_the_save_is_not_lost(after: bool, step: int, config: Config) -> None:
    steps, kept = run_training(config, Interrupted(SIGUSR1, 2, after=after), RecordingObserver())

    assert steps == list(range(1, STEPS + 1))
    assert kept == [step, *EVALUATED]


@each_stopping
def test_a_signal_after_a_save_stops_after_the_next_step(number: Signals, config: Config) -> None:
    steps, kept = run_training(config, Requests(), RecordingObserver(number))

    assert steps == [1, 2, 3, 4, 5]
    assert kept == [4, 5]


# Writing text

KOREAN = "가나다라 마바사. 여우가 말했다: “들어와” — 😀😀\n" * 40
WRITTEN = 20_000
"""Bytes that are read before the signal comes: more than any buffer of Python's."""


@pytest.fixture(scope="module")
def korean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint that writes characters of one, three and four bytes."""
    folder = tmp_path_factory.mktemp("korean")
    (folder / "text.txt").write_text(KOREAN, encoding="utf-8", newline="")
    config = make_config(folder / "text.txt", folder / "runs", training={"steps": 4})
    trainer = Trainer(config, Corpus.read(config.data))
    assert len(list(trainer.run())) == 4
    trainer.checkpoint().weights_only().save(folder / "best.safetensors")
    return folder / "best.safetensors"


def text_of(checkpoint: Path, seed: int, length: int) -> str:
    """Return what the model writes with that seed."""
    model = Checkpoint.load(checkpoint)
    rows = sample(model.model(), model.vocabulary, options=SamplingOptions(0.8), seed=seed)
    return model.vocabulary.decode([int(row[0]) for row in islice(rows, length)])


def sample_until(number: Signals, checkpoint: Path, folder: Path, capacity: int | None) -> tuple[Outcome, bytes]:
    """Send a signal to a process that has written much and would write for ever; return its outcome and its text."""
    before = [] if capacity is None else [partial(fcntl.fcntl, 1, fcntl.F_SETPIPE_SZ, capacity)]
    with CharlmProcess(folder, "sample", "-c", str(checkpoint), "--length", "100000000", before=before) as process:
        text = b""
        while len(text) < WRITTEN:
            text += os.read(process.out.fileno(), 1000)
        process.send_signal(number)
        text += read_all(process.out.fileno())
        return process.wait(), text


def seed_and_rest(ended: Outcome, checkpoint: Path) -> tuple[int, str]:
    """Return the seed that the one ordinary line names, and what else was said."""
    ordinary, _, rest = ended.stderr.partition("\n")
    return int(ordinary.removeprefix(f"charlm: {checkpoint}, seed ")), rest


# A pipe that holds less than Python writes at a time is met in the midst of a write, almost always.
@pytest.mark.parametrize("capacity", [None, *([4096] if hasattr(fcntl, "F_SETPIPE_SZ") else [])])
def test_ctrl_c_ends_a_sample_quietly_with_whole_characters(capacity: int | None, korean: Path, tmp_path: Path) -> None:
    ended, text = sample_until(SIGINT, korean, tmp_path, capacity)

    seed, rest = seed_and_rest(ended, korean)
    assert (ended.code, rest.strip("\n")) == (130, "")
    written = text.decode("utf-8")
    assert written == text_of(korean, seed, len(written))


def test_sigterm_ends_a_sample_without_a_word(korean: Path, tmp_path: Path) -> None:
    ended, text = sample_until(SIGTERM, korean, tmp_path, None)

    seed, rest = seed_and_rest(ended, korean)
    assert (ended.code, rest) == (-SIGTERM, "")
    length = len(text.decode("utf-8", "ignore"))
    assert text_of(korean, seed, length + 1).encode().startswith(text)


@each_urgent
@pytest.mark.parametrize("several", [("--num-samples", "2"), ("--json",)], ids=" ".join)
def test_output_written_at_the_end_is_lost_when_interrupted(
    several: tuple[str, ...], number: Signals, korean: Path, tmp_path: Path
) -> None:
    with CharlmProcess(
        tmp_path, "sample", "-c", str(korean), *several, before=[pause_at(NEXT_CHARACTER, 50)]
    ) as process:
        process.wait_for_pause().send_signal(number)
        ended = process.wait()

    assert (ended.code, ended.stdout) == (130 if number == SIGINT else -SIGTERM, "")
    assert seed_and_rest(ended, korean)[1].strip("\n") == ""
