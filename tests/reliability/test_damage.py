"""A damaged checkpoint is detected wherever it is damaged, and the run resumes from a whole one."""

import json
import os
import random
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType

import pytest

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.errors import CheckpointError, DamagedCheckpointError
from charlm.runs.lookup import newest_checkpoint
from tests.conftest import Run
from tests.harness.interruptions import Project, differences
from tests.harness.repetitions import spread

pytestmark = pytest.mark.slow

PAGE = 4096
SETTINGS = {
    "model.hidden_size": 32,
    "model.dropout": 0.1,
    "training.steps": 12,
    "training.evaluate_every": 4,
    "run.keep": 3,
}
OLDER, NEWER = "step-00000004.safetensors", "step-00000008.safetensors"
BEST = "best.safetensors"
Damage = Callable[[Path], object]
"""What is done to a file, or to a run's folder."""


@pytest.fixture(autouse=True)
def _nothing_waits_for_ever() -> Iterator[None]:
    """Opening a pipe without a writer would."""

    def give_up(number: int, frame: FrameType | None) -> None:
        pytest.fail("this waits for ever")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project with two runs: ``whole`` is trained to step 12, ``broken`` was killed at step 8."""
    project = Project(tmp_path_factory.mktemp("damage"))
    project.finished("whole", SETTINGS)
    project.interrupted("broken", SETTINGS, 8, "killed after the checkpoint")
    project.finished("other", SETTINGS | {"training.seed": 2})
    return project


@pytest.fixture
def project(template: Project, tmp_path: Path) -> Project:
    """Return a project of the test's own with the broken run."""
    mine = Project(tmp_path)
    shutil.copytree(template.runs / "broken", mine.runs / "broken")
    return mine


@pytest.fixture(scope="module")
def content(template: Project) -> bytes:
    """Return the bytes of a full checkpoint."""
    return (template.runs / "broken" / NEWER).read_bytes()


def everything_in(folder: Path) -> dict[Path, tuple[int, int, int, bytes]]:
    """Return what stays the same where nothing is written; a pipe is not read, and no link followed."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[path] = (status.st_ino, status.st_mode, status.st_mtime_ns, content)
    return found


def layout(content: bytes) -> tuple[int, dict[str, tuple[int, int]]]:
    """Return where the tensors begin, and the first place and the end of each."""
    start = 8 + int.from_bytes(content[:8], "little")
    tree = json.loads(content[8:start])
    places = {name: entry["data_offsets"] for name, entry in tree.items() if name != "__metadata__"}
    return start, {name: (start + first, start + end) for name, (first, end) in places.items()}


def flipped(content: bytes, place: int, bit: int = 0) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


def zeroed(content: bytes, place: int) -> bytes:
    return content[:place] + bytes(len(content[place : place + PAGE])) + content[place + PAGE :]


def places_to_flip(content: bytes) -> dict[str, list[int]]:
    """Return places in every region of the file."""
    chance = random.Random(8)
    start, tensors = layout(content)
    digest = content.rindex(b"sha256", 0, start)
    number = content.index(b'format\\": 3') + len(b'format\\": ')
    header = [place for place in chance.sample(range(8, start), 60) if place != number]
    return {
        "length": list(range(8)),
        "header": header,
        "vocabulary": chance.sample(range(content.index(b"symbols"), content.index(b"special")), 20),
        "digest": list(range(digest, digest + 80, 4)),
        "tensors": [
            place
            for first, end in tensors.values()
            for place in {first, end - 1, *chance.sample(range(first, end), min(3, end - first))}
        ],
    }


def assert_damaged(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DamagedCheckpointError, match=path.name):
        Checkpoint.load(path)


@pytest.mark.parametrize("region", ["length", "header", "vocabulary", "digest", "tensors"])
def test_a_flipped_bit_is_damage_in_every_region(region: str, content: bytes, tmp_path: Path) -> None:
    places = places_to_flip(content)
    assert sum(map(len, places.values())) >= 200
    for index, place in spread(list(enumerate(places[region])), least=8):
        assert_damaged(tmp_path / NEWER, flipped(content, place, index % 7))


def test_a_flipped_bit_in_the_format_number_is_refused(content: bytes, tmp_path: Path) -> None:
    number = content.index(b'format\\": 3') + len(b'format\\": ')
    for bit in range(8):
        (tmp_path / NEWER).write_bytes(flipped(content, number, bit))
        with pytest.raises(CheckpointError, match=NEWER):
            Checkpoint.load(tmp_path / NEWER)


def test_a_truncated_checkpoint_is_damaged_wherever_it_is_cut(content: bytes, tmp_path: Path) -> None:
    start, tensors = layout(content)
    evenly = [len(content) * part // 50 for part in range(50)]
    edges = [1, 7, 8, 9, start - 1, start, start + 1, len(content) - 1, *(end for _, end in tensors.values())]
    for length in {*spread(evenly), *spread(edges, least=9)} - {len(content)}:
        assert_damaged(tmp_path / NEWER, content[:length])


def test_a_page_of_zeros_is_damage_wherever_it_lies(content: bytes, tmp_path: Path) -> None:
    """What a file system may leave after a power cut."""
    places = [place for place in range(0, len(content), PAGE) if any(content[place : place + PAGE])]
    assert len(places) > 40
    for place in [*spread(places, least=5), 8, layout(content)[0]]:
        assert_damaged(tmp_path / NEWER, zeroed(content, place))


@pytest.mark.parametrize("more", [b"\0", b"\n", b"}", bytes(PAGE), b" " * 8], ids=repr)
def test_what_stands_behind_a_checkpoint_is_damage(more: bytes, content: bytes, tmp_path: Path) -> None:
    assert_damaged(tmp_path / NEWER, content + more)
    assert_damaged(tmp_path / NEWER, content + content)


def test_two_pages_that_changed_places_are_damage(content: bytes, tmp_path: Path) -> None:
    pages = [content[place : place + PAGE] for place in range(0, len(content), PAGE)]
    for first in spread(range(len(pages) - 2), least=5):
        swapped = pages.copy()
        swapped[first], swapped[first + 1] = swapped[first + 1], swapped[first]
        assert_damaged(tmp_path / NEWER, b"".join(swapped))


def test_a_checkpoint_under_another_steps_name_is_damaged(template: Project, tmp_path: Path) -> None:
    run = template.runs / "broken"
    for name, other in ((OLDER, NEWER), (NEWER, OLDER)):
        assert_damaged(tmp_path / name, (run / other).read_bytes())


def becomes(change: Callable[[bytes], bytes]) -> Damage:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def another_step(path: Path) -> None:
    shutil.copy(path.with_name(OLDER), path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_link_to(target: str | None) -> Damage:
    def damage(path: Path) -> None:
        path.unlink()
        path.symlink_to(target or path.name)

    return damage


def the_best(path: Path) -> None:
    shutil.copy(path.with_name(BEST), path)


DAMAGES: dict[str, Damage] = {
    "empty": becomes(lambda _: b""),
    "cut inside the length": becomes(lambda content: content[:5]),
    "cut inside the header": becomes(lambda content: content[:900]),
    "cut inside the tensors": becomes(lambda content: content[:-5000]),
    "a bit of the length": becomes(lambda content: flipped(content, 6)),
    "a bit of the header": becomes(lambda content: flipped(content, content.index(b"hidden_size"))),
    "a bit of the vocabulary": becomes(lambda content: flipped(content, content.index(b"symbols") + 14)),
    "a bit of the digest": becomes(lambda content: flipped(content, content.rindex(b"sha256") + 20)),
    "a bit of a weight": becomes(lambda content: flipped(content, layout(content)[1]["model.head.bias"][0])),
    "a bit of the random state": becomes(lambda content: flipped(content, layout(content)[1]["rng.cpu"][0] + 99)),
    "a page of zeros": becomes(lambda content: zeroed(content, 9 * PAGE)),
    "a byte too many": becomes(lambda content: content + b"\0"),
    "another step": another_step,
    "the best in its place": the_best,
    "a folder": a_folder,
    "a pipe": a_pipe,
    "a link to nowhere": a_link_to("gone.safetensors"),
    "a link to endless zeros": a_link_to("/dev/zero"),
    "a link to itself": a_link_to(None),
}
damages = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)


@damages
def test_the_newest_whole_checkpoint_is_found_the_damaged_named(damage: Damage, project: Project) -> None:
    newer = project.runs / "broken" / NEWER
    damage(newer)
    found = newest_checkpoint(newer.parent)

    assert found is not None
    assert found.checkpoint.progress.step == 4
    assert found.checkpoint.is_full
    assert list(found.damaged) == [newer]
    assert str(newer) in found.damaged[newer]


@damages
def test_resuming_past_damage_equals_an_undisturbed_run(damage: Damage, project: Project, template: Project) -> None:
    run = project.runs / "broken"
    damage(run / NEWER)
    before = os.lstat(run / NEWER)
    result = project.train("broken", SETTINGS, "--resume")

    assert result.exit_code == 0, result.output
    assert str(run / NEWER) in result.stderr
    assert "Resuming from an older one" in result.stderr
    aside = os.lstat(run / f"{NEWER}.damaged")
    assert (aside.st_ino, aside.st_mode, aside.st_size) == (before.st_ino, before.st_mode, before.st_size)
    assert ends_alike(project, template) == []
    assert Checkpoint.load(run / NEWER).progress.step == 8  # written anew
    assert not list(run.glob(".charlm-*"))


def ends_alike(project: Project, template: Project) -> list[str]:
    """Return what is not as the undisturbed run left it; only where text and runs lie is another place."""
    left = differences(template.snapshot("whole"), project.snapshot("broken"))
    return [name for name in left if not name.endswith((": config", ": corpus"))]


def test_a_run_goes_on_undisturbed_when_nothing_is_damaged(project: Project, template: Project) -> None:
    """What the others are compared with is not equal by chance: a run with another seed differs in everything."""
    assert project.finished("broken", SETTINGS, "--resume")
    assert ends_alike(project, template) == []
    other = differences(template.snapshot("whole"), template.snapshot("other"))
    assert {"last: model.head.weight", "last: optimizer.head.bias.exp_avg", "best: model.head.bias"} <= {*other}


def test_an_earlier_damaged_file_does_not_block_setting_aside(project: Project, template: Project) -> None:
    run = project.runs / "broken"
    (run / f"{NEWER}.damaged").write_bytes(b"of an earlier time")
    (run / NEWER).write_bytes(b"")

    assert project.train("broken", SETTINGS, "--resume").exit_code == 0
    assert ends_alike(project, template) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: [(run / name).write_bytes(b"") for name in (OLDER, NEWER)],
        lambda run: [(run / name).write_bytes((run / name).read_bytes()[:-1]) for name in (OLDER, NEWER)],
        lambda run: [shutil.copy(run / BEST, run / name) for name in (OLDER, NEWER)],
        lambda run: [path.rename(run / name) for name, path in exchanged(run)],
        lambda run: [a_folder(run / name) for name in (OLDER, NEWER)],
    ],
    ids=["empty", "cut", "weights alone", "exchanged", "folders"],
)
def test_without_a_whole_checkpoint_resume_changes_nothing(damage: Damage, project: Project) -> None:
    run = project.runs / "broken"
    damage(run)
    before = everything_in(project.folder)
    result = project.train("broken", SETTINGS, "--resume")

    assert result.exit_code == 4
    assert everything_in(project.folder) == before
    assert str(run / OLDER) in result.stderr
    assert str(run / NEWER) in result.stderr
    assert f"--init-from {run / BEST}" in result.stderr
    assert result.stdout == ""


def exchanged(run: Path) -> list[tuple[str, Path]]:
    aside = [(run / name).rename(run / f"{name}.aside") for name in (OLDER, NEWER)]
    return list(zip((NEWER, OLDER), aside, strict=True))


def test_the_way_out_of_a_run_without_a_whole_checkpoint_is_one(project: Project) -> None:
    run = project.runs / "broken"
    for name in (OLDER, NEWER):
        (run / name).write_bytes(b"")
    result = project.train("saved", SETTINGS, "--init-from", str(run / BEST))

    assert result.exit_code == 0, result.output
    assert newest_checkpoint(project.runs / "saved") is not None


def test_a_checkpoint_of_another_run_is_passed_over(project: Project, template: Project) -> None:
    """It is whole, so nothing is damaged, but it is not this run's."""
    run = project.runs / "broken"
    shutil.copy(template.runs / "other" / NEWER, run / NEWER)
    result = project.train("broken", SETTINGS, "--resume")

    assert result.exit_code == 0
    assert f"{NEWER}: this checkpoint is of another run, " in result.stderr
    differing = differences(template.snapshot("whole"), project.snapshot("broken"))
    assert {name.partition(": ")[2] for name in differing} == {"config", "corpus"}  # the paths of the two projects


def test_a_run_with_nothing_but_checkpoints_of_another_is_refused(project: Project, template: Project) -> None:
    run = project.runs / "broken"
    for name in (OLDER, NEWER):
        shutil.copy(template.runs / "other" / name, run / name)
    before = everything_in(project.folder)
    result = project.train("broken", SETTINGS, "--resume")

    assert result.exit_code == 4
    assert "is of another run" in result.stderr
    assert everything_in(project.folder) == before


def test_a_checkpoint_of_another_text_is_not_gone_on_from(project: Project) -> None:
    run = project.runs / "broken"
    whole = Checkpoint.load(run / NEWER)
    corpus = whole.corpus.model_copy(update={"sha256": "0" * 64})
    replace(whole, corpus=corpus).save(run / NEWER)
    before = everything_in(project.folder)
    result = project.train("broken", SETTINGS, "--resume")

    assert result.exit_code == 4
    assert "not the text" in result.stderr
    assert everything_in(project.folder) == before


OF_FILES = {name: damage for name, damage in DAMAGES.items() if damage is not the_best}
"""Damages of one file alone: the best is whole, it only is no full checkpoint."""


@pytest.mark.parametrize("command", ["sample --seed 1", "evaluate", "inspect-hidden --text The", "vocabulary"])
@pytest.mark.parametrize("damage", OF_FILES.values(), ids=OF_FILES)
def test_a_damaged_checkpoint_named_by_the_user_is_refused(
    damage: Damage, command: str, project: Project, charlm: Run
) -> None:
    path = project.runs / "broken" / NEWER
    damage(path)
    result = charlm(*command.split(), "--checkpoint", str(path))

    assert result.exit_code == 4
    assert result.stderr.startswith("charlm: ")
    assert str(path) in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("damage", OF_FILES.values(), ids=OF_FILES)
def test_nothing_begins_with_the_weights_of_a_damaged_checkpoint(damage: Damage, project: Project) -> None:
    path = project.runs / "broken" / NEWER
    damage(path)
    before = everything_in(project.folder)

    assert project.train("new", SETTINGS, "--init-from", str(path)).exit_code == 4
    assert everything_in(project.folder) == before


NOT_OF_A_BEST = ("another step", "a folder", "a bit of the random state")
OF_A_BEST = {name: damage for name, damage in OF_FILES.items() if name not in NOT_OF_A_BEST}
OF_A_BEST |= {"gone": Path.unlink, "of another step": lambda path: the_weights_of(path.with_name(OLDER), path)}


def the_weights_of(full: Path, best: Path) -> None:
    Checkpoint.load(full).weights_only().save(best)


@pytest.mark.parametrize("damage", OF_A_BEST.values(), ids=OF_A_BEST)
def test_a_lost_best_is_rewritten_from_the_newest_checkpoint(
    damage: Damage, project: Project, template: Project
) -> None:
    best = project.runs / "broken" / BEST
    assert Checkpoint.load(best).progress.step == 8
    damage(best)

    assert project.train("broken", SETTINGS | {"training.steps": 8}, "--resume").exit_code == 0
    found, expected = Checkpoint.load(best), Checkpoint.load(template.runs / "broken" / BEST)
    assert found.progress == expected.progress
    assert {name: value.tolist() for name, value in found.tensors.items()} == {
        name: value.tolist() for name, value in expected.tensors.items()
    }


@pytest.mark.parametrize("damage", OF_A_BEST.values(), ids=OF_A_BEST)
def test_a_lost_best_is_replaced_and_training_is_undisturbed(
    damage: Damage, project: Project, template: Project
) -> None:
    run = project.runs / "broken"
    newest = Checkpoint.load(run / NEWER)
    progress = newest.progress.model_copy(update={"best_step": 4, "best_validation_loss": 1e-9})
    replace(newest, progress=progress).save(run / NEWER)
    damage(run / BEST)
    result = project.train("broken", SETTINGS, "--resume")

    assert result.exit_code == 0, result.output
    if damage is OF_A_BEST["of another step"]:  # which is just the best that the progress speaks of
        assert BEST not in result.stderr
        assert Checkpoint.load(run / BEST).progress.step == 4
    else:
        assert f"{run / BEST} is missing or damaged" in result.stderr
        assert Checkpoint.load(run / BEST).progress.step in (8, 12)
    changed = {
        "last: progress.best_step",
        "last: progress.best_validation_loss",
        "last: progress.evaluations_without_better",
    }
    assert {name for name in ends_alike(project, template) if not name.startswith("best: ")} <= changed


@pytest.mark.parametrize("file", ["config.yaml", "metrics.jsonl", "../latest"])
@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        becomes(lambda _: b""),
        becomes(lambda content: content[:-7]),
        becomes(lambda content: b"\xff\0" * 99),
    ],
    ids=["gone", "empty", "cut", "noise"],
)
def test_a_run_does_not_need_what_can_be_made_again(
    file: str, damage: Damage, project: Project, template: Project
) -> None:
    run = project.runs / "broken"
    (project.runs / "latest").write_text("broken\n")
    before = (run / "metrics.jsonl").read_bytes()
    damage(run / file)
    result = project.train("broken", SETTINGS, "--resume")

    assert result.exit_code == 0, result.output
    assert [name for name in ends_alike(project, template) if file != "metrics.jsonl" or "metrics" not in name] == []
    assert (run / "config.yaml").read_text("utf-8").startswith("data:")
    assert (project.runs / "latest").read_text("utf-8") == "broken\n"
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    whole = [json.loads(line)["step"] for line in before.splitlines()[: 0 if file == "metrics.jsonl" else None]]
    assert steps[-1] == 12
    assert steps == sorted(set(steps))
    assert set(whole) <= set(steps)
