"""What may change between a run and its continuation: noted, allowed on request, or never."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.config.reading import read_config
from charlm.config.section import OnResume
from charlm.config.settings import KEYS, Config
from charlm.errors import ConfigError
from charlm.models.masks import MaskSource
from charlm.models.network import RecurrentNetwork
from charlm.models.precision import check_precision
from charlm.runs.lookup import full_checkpoints
from charlm.runs.metrics import METRICS
from charlm.runs.resume_policy import POLICIES, adapted
from charlm.text.corpus import Corpus
from charlm.training.trainer import Trainer
from tests.conftest import TEXT
from tests.harness.interruptions import Project, Settings, differences, untouched

pytestmark = pytest.mark.slow

BASE: dict[str, object] = {"model.kind": "rnn", "training.steps": 7, "training.evaluate_every": 3}
PASSES: dict[str, object] = {
    "model.kind": "rnn",
    "training.sequence_length": 53,
    "training.evaluate_every": None,
    "training.steps": None,
    "training.epochs": 3,
}
"""Five windows each, the last of them short."""

CHANGED: dict[str, object] = {
    "data.path": "moved.txt",
    "data.unit": "byte",
    "data.encoding": "ascii",
    "data.errors": "replace",
    "data.newlines": "keep",
    "data.normalization": "NFC",
    "data.documents": "line",
    "data.split": "random",
    "data.field": "text",
    "data.minimum_count": 2,
    "data.validation_fraction": 0.2,
    "data.test_fraction": 0.05,
    "model.kind": "gru",
    "model.hidden_size": 8,
    "model.num_layers": 3,
    "model.embedding_size": 4,
    "model.nonlinearity": "relu",
    "model.dropout": 0.2,
    "model.weight_dropout": 0.2,
    "model.locked_dropout": 0.2,
    "model.input_dropout": 0.2,
    "model.order": 2,
    "training.batch_size": 2,
    "training.sequence_length": 13,
    "training.carry_state": False,
    "training.epochs": 2,
    "training.steps": 9,
    "training.learning_rate": 0.003,
    "training.schedule": "plateau",
    "training.warmup_fraction": 0.5,
    "training.weight_decay": 0.0,
    "training.gradient_clip": 0.001,
    "training.on_divergence": "rollback",
    "training.patience": 50,
    "training.evaluate_every": 2,
    "training.evaluation_lanes": 3,
    "training.seed": 2,
    "training.device": "auto",
    "training.threads": 1,
    "training.precision": "bfloat16",
    "run.name": "story",
    "run.directory": "elsewhere",
    "run.save_every": 1,
    "run.keep": 1,
}
"""Every setting, and another value of it than the run was begun with."""
FREE = {
    "data.path",
    "training.epochs",
    "training.steps",
    "training.on_divergence",
    "training.patience",
    "training.evaluate_every",
    "training.device",
    "training.threads",
    "run.name",
    "run.directory",
    "run.save_every",
    "run.keep",
}
CHANGES_THE_EXPERIMENT = {
    "model.dropout",
    "model.weight_dropout",
    "model.locked_dropout",
    "model.input_dropout",
    "training.batch_size",
    "training.sequence_length",
    "training.carry_state",
    "training.learning_rate",
    "training.schedule",
    "training.warmup_fraction",
    "training.weight_decay",
    "training.gradient_clip",
    "training.evaluation_lanes",
    "training.precision",
}
FIXED = {
    "data.unit",
    "data.encoding",
    "data.errors",
    "data.newlines",
    "data.normalization",
    "data.documents",
    "data.split",
    "data.field",
    "data.minimum_count",
    "data.validation_fraction",
    "data.test_fraction",
    "model.kind",
    "model.hidden_size",
    "model.num_layers",
    "model.embedding_size",
    "model.nonlinearity",
    "model.order",
    "training.seed",
}
FIXED_WORDS = "fixed at start"
CHANGES_WORDS = "changes the experiment"
ALLOWED_WORDS = "allowed; changes the experiment"
FREE_WORDS = "may change"
LENGTH_WORDS = "the learning rate is rescheduled"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


def interrupt(project: Project, begun: Settings = BASE, step: int = 5) -> Checkpoint:
    """Leave a run called tale behind that was asked to stop after a step without evaluation."""
    project.interrupted("tale", begun, step, "asked to stop")
    return project.newest("tale")


def value(config: Config, key: str) -> Any:
    section, name = key.split(".")
    return getattr(getattr(config, section), name)


def told(message: str) -> list[tuple[str, ...]]:
    """Return the key, the value before, the value now and the decision of each change that is told."""
    return re.findall(r"^(?:charlm: |  )(\S+) +(\S.*?) → (\S.*?) +\((.+)\)$", message, re.MULTILINE)


def changed_numbers(first: Checkpoint, second: Checkpoint) -> list[str]:
    """Return the names of all that training carries on with and that is not the same to the last bit."""
    assert first.tensors.keys() == second.tensors.keys()
    return [name for name, expected in first.tensors.items() if not np.array_equal(second.tensors[name], expected)]


def test_every_setting_has_the_policy_that_is_tried_below() -> None:
    lists = {OnResume.FREE: FREE, OnResume.ASK: CHANGES_THE_EXPERIMENT, OnResume.FIXED: FIXED}
    assert {key: policy for policy, keys in lists.items() for key in keys} == POLICIES
    assert POLICIES.keys() == KEYS.keys()


def test_every_setting_is_tried_below() -> None:
    assert CHANGED.keys() == KEYS.keys()


LENGTHS = {"training.steps", "training.epochs"}
PLACES = {"data.path", "run.name", "run.directory"}


@pytest.mark.parametrize("key", sorted(FREE - LENGTHS - PLACES))
def test_what_is_free_may_change_and_is_noted_and_trains_the_same_weights(key: str, project: Project) -> None:
    project.finished("whole", BASE)
    was, now = value(interrupt(project).config, key), CHANGED[key]
    result = project.train("tale", BASE | {key: now}, "--resume")

    assert result.exit_code == 0, result.output
    assert told(result.stderr) == [(key, str(was), str(now), FREE_WORDS)]
    assert value(project.newest("tale").config, key) == now
    assert project.newest("tale").progress.step == 7
    assert changed_numbers(project.newest("whole"), project.newest("tale")) == []


@pytest.mark.parametrize(
    ("key", "begun", "was", "now", "last"),
    [
        ("training.steps", BASE, 7, 9, 9),
        ("training.steps", BASE, 7, 6, 6),
        ("training.epochs", PASSES, 3, 4, 20),
        ("training.epochs", PASSES, 3, 2, 10),
    ],
)
def test_the_length_is_free_and_the_rate_is_scheduled_anew(
    key: str, begun: Settings, was: int, now: int, last: int, project: Project
) -> None:
    interrupt(project, begun)
    result = project.train("tale", {**begun, key: now}, "--resume")

    assert result.exit_code == 0, result.output
    assert told(result.stderr) == [(key, str(was), str(now), LENGTH_WORDS)]
    assert project.newest("tale").progress.step == last


def test_steps_may_take_the_place_of_epochs(project: Project) -> None:
    interrupt(project, PASSES)
    result = project.train("tale", PASSES | {"training.epochs": None, "training.steps": 8}, "--resume")

    assert result.exit_code == 0, result.output
    assert told(result.stderr) == [
        ("training.epochs", "3", "None", LENGTH_WORDS),
        ("training.steps", "None", "8", LENGTH_WORDS),
    ]
    assert project.newest("tale").progress.step == 8


def move_text(project: Project) -> tuple[str, Settings]:
    project.text.rename("moved.txt")
    return "tale", BASE | {"data.path": "moved.txt"}


def rename_run(project: Project) -> tuple[str, Settings]:
    (project.runs / "tale").rename(project.runs / "story")
    return "story", BASE


def move_runs(project: Project) -> tuple[str, Settings]:
    project.runs.rename("elsewhere")
    project.runs = Path("elsewhere")
    return "tale", BASE | {"run.directory": "elsewhere"}


@pytest.mark.parametrize(
    ("key", "move"), [("data.path", move_text), ("run.name", rename_run), ("run.directory", move_runs)]
)
def test_text_and_run_may_have_moved(
    key: str, move: Callable[[Project], tuple[str, Settings]], project: Project
) -> None:
    """The path of the text is a list, which is shown as one."""
    was = value(interrupt(project).config, key)
    expected = project.finished("whole", BASE)
    name, changes = move(project)
    result = project.train(name, changes, "--resume")

    assert result.exit_code == 0, result.output
    now = (CHANGED[key],) if key == "data.path" else CHANGED[key]
    assert told(result.stderr) == [(key, str(was), str(now), FREE_WORDS)]
    assert value(project.newest(name).config, key) == now
    moved = {f"{place}: {part}" for place in ("last", "best") for part in ("config", "corpus")}
    assert set(differences(expected, project.snapshot(name))) <= moved
    assert project.newest(name).progress.step == 7


@pytest.mark.parametrize("key", sorted(CHANGES_THE_EXPERIMENT))
def test_what_changes_the_run_needs_to_be_allowed_once_and_does_change_it(key: str, project: Project) -> None:
    project.finished("whole", BASE)
    was, now = value(interrupt(project).config, key), CHANGED[key]
    if key == "training.precision" and not bfloat16_can_be_trained(project):
        pytest.skip("this machine cannot train with bfloat16")
    changes, before = BASE | {key: now}, untouched(project.folder)

    refused = project.train("tale", changes, "--resume")
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert told(refused.stderr) == [(key, str(was), str(now), CHANGES_WORDS)]
    assert refused.stderr.endswith(f"To allow it, add --allow-change {key}.\n")
    assert untouched(project.folder) == before

    allowed = project.train("tale", changes, "--resume", "--allow-change", key)
    assert allowed.exit_code == 0, allowed.output
    assert told(allowed.stderr) == [(key, str(was), str(now), ALLOWED_WORDS)]
    assert value(project.newest("tale").config, key) == now
    assert project.newest("tale").progress.step == 7

    again = project.train("tale", changes, "--resume")
    assert (again.exit_code, again.stderr) == (0, "")

    whole, tale = project.newest("whole"), project.newest("tale")
    if key == "training.evaluation_lanes":  # it changes what is measured, and so which weights are the best
        assert whole.progress.validation_loss != tale.progress.validation_loss
    else:
        assert "model.head.weight" in changed_numbers(whole, tale)


def bfloat16_can_be_trained(project: Project) -> bool:
    model = project.newest("tale").config.model
    masks = MaskSource(model, 9, seed=1, device=torch.device("cpu"))
    try:
        check_precision(RecurrentNetwork(model, 9), masks, "bfloat16")
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("options", [(), ("--allow-change", "{key}")], ids=["plainly", "allowed"])
@pytest.mark.parametrize("key", sorted(FIXED - {"model.order", "data.split", "data.field"}))
def test_what_is_fixed_at_start_never_changes(key: str, options: tuple[str, ...], project: Project) -> None:
    was, now = value(interrupt(project).config, key), CHANGED[key]
    before = untouched(project.folder)
    result = project.train("tale", BASE | {key: now}, "--resume", *(option.format(key=key) for option in options))

    assert result.exit_code == 4
    assert result.stdout == ""
    assert told(result.stderr) == [(key, str(was), str(now), FIXED_WORDS)]
    assert "another --name" in result.stderr
    assert "--init-from" in result.stderr
    assert untouched(project.folder) == before


ITEMS: dict[str, object] = BASE | {"data.documents": "line"}


@pytest.mark.parametrize(
    ("begun", "now", "refused"),
    [
        (None, "tail", True),
        ("tail", "random", True),
        ("random", "tail", True),
        (None, "random", False),
        ("random", None, False),
        ("tail", None, False),
    ],
)
def test_a_split_is_compared_by_what_it_means(
    begun: str | None, now: str | None, refused: bool, project: Project
) -> None:
    """The words of the run's start are kept: null takes what was recorded."""
    interrupt(project, ITEMS | {"data.split": begun})
    before = untouched(project.folder)
    result = project.train("tale", ITEMS | {"data.split": now}, "--resume")

    assert told(result.stderr) == ([("data.split", str(begun), str(now), FIXED_WORDS)] if refused else [])
    assert result.exit_code == (4 if refused else 0)
    assert (untouched(project.folder) == before) == refused
    assert project.newest("tale").config.data.split == begun
    assert read_config(project.runs / "tale" / "config.yaml").data.split == begun


def test_a_column_makes_records_of_a_text_so_that_two_settings_change(project: Project) -> None:
    interrupt(project)
    before = untouched(project.folder)
    result = project.train("tale", BASE | {"data.field": CHANGED["data.field"]}, "--resume")

    assert (result.exit_code, result.stdout) == (4, "")
    assert told(result.stderr) == [
        ("data.documents", "None", "record", FIXED_WORDS),
        ("data.field", "None", "text", FIXED_WORDS),
    ]
    assert untouched(project.folder) == before


def test_an_order_is_refused_before_it_could_drift(project: Project) -> None:
    """No model that is trained reads one, so that a config in which it changed is none."""
    interrupt(project)
    before = untouched(project.folder)
    result = project.train("tale", BASE | {"model.order": CHANGED["model.order"]}, "--resume")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "model.order" in result.stderr
    assert untouched(project.folder) == before


def test_a_refusal_shows_all_that_changed_in_the_order_of_the_config(project: Project) -> None:
    interrupt(project)
    changes = BASE | {"run.keep": 5, "training.learning_rate": 1.0, "training.batch_size": 4, "training.patience": 9}
    expected = [
        ("training.batch_size", "3", "4", CHANGES_WORDS),
        ("training.learning_rate", "0.002", "1.0", CHANGES_WORDS),
        ("training.patience", "None", "9", FREE_WORDS),
        ("run.keep", "2", "5", FREE_WORDS),
    ]
    not_allowed = project.train("tale", changes, "--resume")
    assert (not_allowed.exit_code, told(not_allowed.stderr)) == (2, expected)
    assert "--allow-change training.batch_size --allow-change training.learning_rate." in not_allowed.stderr

    half = project.train("tale", changes, "--resume", "--allow-change", "training.batch_size")
    assert half.exit_code == 2
    assert told(half.stderr)[0] == ("training.batch_size", "3", "4", ALLOWED_WORDS)
    assert half.stderr.endswith("add --allow-change training.learning_rate.\n")

    settled = project.train("tale", changes | {"model.num_layers": 1}, "--resume")
    assert settled.exit_code == 4
    assert told(settled.stderr) == [("model.num_layers", "2", "1", FIXED_WORDS), *expected]


def test_the_folder_keeps_the_settings_that_the_run_goes_on_with(project: Project) -> None:
    interrupt(project)
    changes = BASE | {"training.learning_rate": 0.004}
    project.finished("tale", changes, "--resume", "--allow-change", "training.learning_rate")
    resolved = read_config(project.runs / "tale" / "config.yaml")

    assert resolved == project.newest("tale").config
    assert resolved.training.learning_rate == 0.004


@pytest.mark.parametrize("begun", [True, False], ids=["with a run", "without one"])
def test_allowing_an_unknown_change_names_the_nearest(begun: bool, project: Project) -> None:
    if begun:
        interrupt(project)
    before = untouched(project.folder)
    result = project.train("tale", BASE, "--resume", "--allow-change", "training.bach_size")

    assert result.exit_code == 2
    assert "--allow-change: training.bach_size: unknown key; did you mean training.batch_size?" in result.stderr
    assert untouched(project.folder) == before


def test_allowing_a_change_without_resuming_is_a_mistake(project: Project) -> None:
    result = project.train("tale", BASE, "--allow-change", "training.batch_size")

    assert result.exit_code == 2
    assert "--resume" in result.stderr
    assert not project.runs.exists()


def test_allowing_what_did_not_change_does_nothing(project: Project) -> None:
    expected = project.finished("whole", BASE)
    interrupt(project)
    found = project.finished("tale", BASE, "--resume", "--allow-change", "training.batch_size")

    assert differences(expected, found) == []


OTHER_TEXTS = {
    "one character exchanged": TEXT.replace("boats", "goats", 1),
    "new characters": TEXT + "é",
    "shrunk": TEXT[: len(TEXT) // 2],
    "grown": TEXT + TEXT,
}


@pytest.mark.parametrize("begun", [BASE, BASE | {"data.minimum_count": 20}], ids=["all known", "rare ones unknown"])
@pytest.mark.parametrize("text", OTHER_TEXTS.values(), ids=OTHER_TEXTS.keys())
def test_another_text_in_the_same_place_is_refused(text: str, begun: Settings, project: Project) -> None:
    interrupt(project, begun)
    project.text.write_text(text, encoding="utf-8", newline="")
    before = untouched(project.folder)
    result = project.train("tale", begun, "--resume")

    assert result.exit_code == 4
    assert result.stderr.startswith(f"charlm: {project.text}: this is not the text that the run was started with")
    assert "--init-from" in result.stderr
    assert untouched(project.folder) == before


def test_another_text_at_another_path_is_refused_without_a_word_on_what_may_change(project: Project) -> None:
    interrupt(project)
    (project.folder / "other.txt").write_text(TEXT.upper(), encoding="utf-8", newline="")
    before = untouched(project.folder)
    result = project.train("tale", BASE | {"data.path": "other.txt", "training.steps": 99}, "--resume")

    assert result.exit_code == 4
    assert result.stderr == (
        "charlm: other.txt: this is not the text that the run was started with. data.path may change, but the text "
        "must be the same. Restore the original text, or start a new run with another --name (--init-from copies this "
        "run's weights).\n"
    )
    assert untouched(project.folder) == before


def test_nothing_is_noted_of_a_run_that_is_refused(project: Project) -> None:
    """Not even which checkpoint it would have gone on from."""
    project.interrupted("tale", BASE | {"training.evaluate_every": 2}, 5, "asked to stop")
    newest = full_checkpoints(project.runs / "tale")[-1]
    newest.write_bytes(b"")
    project.text.write_text(TEXT.upper(), encoding="utf-8", newline="")
    result = project.train("tale", BASE | {"training.steps": 99}, "--resume")

    assert result.exit_code == 4
    assert result.stderr.count("charlm: ") == 1
    assert "this is not the text" in result.stderr


def test_a_text_that_is_gone_is_a_mistake_in_the_input(project: Project) -> None:
    interrupt(project)
    project.text.unlink()
    before = untouched(project.folder)
    result = project.train("tale", BASE, "--resume")

    assert result.exit_code == 2
    assert f"{project.text}: no such file" in result.stderr
    assert untouched(project.folder) == before


def test_the_same_text_cut_into_two_files_is_the_same_text_in_this_order_alone(project: Project) -> None:
    interrupt(project)
    Path("first.txt").write_text(TEXT[:300], encoding="utf-8", newline="")
    Path("second.txt").write_text(TEXT[300:], encoding="utf-8", newline="")

    wrong = project.train("tale", BASE | {"data.path": ["second.txt", "first.txt"]}, "--resume")
    right = project.train("tale", BASE | {"data.path": ["first.txt", "second.txt"]}, "--resume")

    assert wrong.exit_code == 4
    assert right.exit_code == 0, right.output


OTHER_LANES = [("training.batch_size", 2), ("training.sequence_length", 31)]


@pytest.mark.parametrize(("key", "now"), OTHER_LANES)
def test_other_lanes_begin_anew_and_passes_and_steps_count_on(key: str, now: int, project: Project) -> None:
    before = interrupt(project, PASSES, step=7)
    changes = {**PASSES, key: now}
    project.finished("tale", changes, "--resume", "--allow-change", key)
    after = project.newest("tale").progress
    corpus = Corpus.read(before.config.data)
    lanes, window = (now, 53) if key == "training.batch_size" else (3, now)
    length = (len(corpus.train) - 1) // lanes
    windows = -(-length // window)
    done = 1 + 2 * 53 / ((len(corpus.train) - 1) // 3)

    assert before.progress.epoch == pytest.approx(done)
    assert (after.lanes_began_at_step, after.lanes_began_at_epoch) == (7, before.progress.epoch)
    total = 7 + int(np.ceil((3 - done) * windows))
    assert after.step == total
    assert 3.0 <= after.epoch < 3.0 + window / length
    lines = [json.loads(line) for line in (project.runs / "tale" / METRICS).read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines] == [5, 7 + windows, total]  # an evaluation a pass, from where they began
    assert [line["epoch"] for line in lines] == [1.0, round(1 + done, 4), round(after.epoch, 4)]


@pytest.mark.parametrize(("key", "now"), OTHER_LANES)
def test_a_run_of_so_many_steps_takes_no_more_with_other_lanes(key: str, now: int, project: Project) -> None:
    interrupt(project)
    project.finished("tale", BASE | {key: now}, "--resume", "--allow-change", key)

    assert project.newest("tale").progress.step == 7


def continued(checkpoint: Checkpoint, key: str, now: object) -> Trainer:
    """Return a trainer that goes on from a checkpoint with one setting changed."""
    section, name = key.split(".")
    changed = getattr(checkpoint.config, section).model_copy(update={name: now})
    config = checkpoint.config.model_copy(update={section: changed})
    return Trainer.resume(adapted(checkpoint, config), Corpus.read(config.data))


@pytest.mark.parametrize(("key", "now"), OTHER_LANES)
def test_the_first_step_of_other_lanes_reads_the_beginning_of_the_text_from_a_fresh_state(
    key: str, now: int, project: Project
) -> None:
    checkpoint = interrupt(project, PASSES, step=7)
    trainer = continued(checkpoint, key, now)
    network = RecurrentNetwork(checkpoint.config.model, len(checkpoint.vocabulary))
    network.load_tensors(checkpoint.part("model"))
    window = trainer.streams.at(0)
    logits, _ = network(torch.from_numpy(window.inputs.astype(np.int64)))
    targets = torch.from_numpy(window.targets.astype(np.int64))
    expected = cross_entropy(logits.flatten(0, 1), targets.flatten()).item()

    assert trainer.checkpoint().part("state") == {}
    report = next(trainer.run())

    assert report.step == 8
    assert report.loss == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("key", "now"), OTHER_LANES)
def test_training_goes_on_from_the_trained_weights_after_other_lanes(key: str, now: int, project: Project) -> None:
    """Not from scratch: the loss stays where it was, and the optimizer remembers."""
    learned = BASE | {"model.kind": "gru", "training.learning_rate": 0.02, "training.steps": 80}
    learned |= {"training.evaluate_every": 60, "model.hidden_size": 24}
    checkpoint = interrupt(project, learned, step=60)
    trainer = continued(checkpoint, key, now)
    moments = trainer.checkpoint().part("optimizer")
    scratch = Trainer(trainer.config, trainer.corpus)

    first, losses = next(scratch.run()).loss, [report.loss for report in trainer.run()]

    before = checkpoint.progress.validation_loss
    assert before is not None
    assert before < first - 1.5
    assert max(losses) < first - 1.5
    assert losses[-1] < before
    for name, expected in checkpoint.part("optimizer").items():
        np.testing.assert_array_equal(moments[name], expected, err_msg=name)


def test_any_other_change_keeps_state_and_position(project: Project) -> None:
    checkpoint = interrupt(project, PASSES, step=7)
    goes_on = continued(checkpoint, "training.learning_rate", 0.5).checkpoint()

    assert goes_on.progress == checkpoint.progress
    for name, expected in checkpoint.tensors.items():
        np.testing.assert_array_equal(goes_on.tensors[name], expected, err_msg=name)


@pytest.mark.parametrize("moment", ["asked to stop", "killed after the step", "killed after the best"])
@pytest.mark.parametrize("step", [8, 14])
@pytest.mark.parametrize(("key", "now"), OTHER_LANES)
def test_a_run_with_other_lanes_goes_on_exactly(key: str, now: int, step: int, moment: str, project: Project) -> None:
    """Before its first save with the new lanes it is still the old run, and the change has to be allowed again."""
    changes = {**PASSES, key: now, "model.dropout": 0.3, "run.save_every": 3}
    begun = {**changes, key: PASSES.get(key, 3)}
    allow = ("--allow-change", key)
    project.interrupted("whole", begun, 7, "asked to stop")
    expected = project.finished("whole", changes, "--resume", *allow)
    interrupt(project, begun, step=7)
    project.interrupted("tale", changes, step, moment, "--resume", *allow)
    again = allow if project.newest("tale").progress.step == 7 else ()
    found = project.finished("tale", changes, "--resume", *again)

    assert differences(expected, found) == []


def test_lanes_may_change_more_than_once(project: Project) -> None:
    interrupt(project, PASSES, step=7)
    allow = ("--allow-change", "training.batch_size")
    project.interrupted("tale", PASSES | {"training.batch_size": 2}, 10, "asked to stop", "--resume", *allow)
    second = project.newest("tale").progress
    project.finished("tale", PASSES | {"training.batch_size": 4}, "--resume", *allow)
    last = project.newest("tale").progress

    assert (last.lanes_began_at_step, last.lanes_began_at_epoch) == (10, second.epoch)
    assert 3.0 <= last.epoch < 3.4


def test_lanes_that_the_text_is_too_short_for_are_refused_before_anything_is_written(project: Project) -> None:
    interrupt(project)
    before = untouched(project.folder)
    changes = BASE | {"training.batch_size": 500}
    result = project.train("tale", changes, "--resume", "--allow-change", "training.batch_size")

    assert result.exit_code == 2
    assert "too short: 500 lanes" in result.stderr
    assert untouched(project.folder) == before
