"""bfloat16: where it trains, what is still float32, how it is refused, and when it is recommended."""

import math
from pathlib import Path

import pytest
import torch
from typer.testing import Result

import charlm as package
from charlm.config.settings import Config
from charlm.errors import ConfigError
from charlm.models import precision
from charlm.models.precision import check_precision, faster_precision, has_bfloat16_matrices
from charlm.text.corpus import Corpus
from charlm.training.trainer import Trainer
from tests.conftest import Run, make_config
from tests.harness.interruptions import Project, untouched

CPU = torch.device("cpu")
HINT = "training.precision: bfloat16 would be faster"
WEIGHTS = {"weight_dropout": 0.4}
LOCKED = {"weight_dropout": 0.4, "locked_dropout": 0.3, "input_dropout": 0.1}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand on a machine whose kernels refuse bfloat16."""

    def refuse(device: torch.device, name: str) -> None:
        raise RuntimeError(f"could not create a primitive\nfor {name} on {device}")

    monkeypatch.setattr(precision, "autocast", refuse)


@pytest.fixture
def with_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16_matrices", lambda: True)


@pytest.fixture(autouse=True)
def without_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16_matrices", lambda: False)


def config_of(project: Project, kind: str = "lstm", **model: object) -> Config:
    return make_config(project.text, project.runs, kind=kind, model=model, training={"precision": "bfloat16"})


def trainer_of(config: Config) -> Trainer:
    return Trainer(config, Corpus.read(config.data))


@pytest.mark.parametrize("model", [{}, {"dropout": 0.3}, WEIGHTS, LOCKED], ids=["plain", "dropout", "weights", "all"])
@pytest.mark.parametrize("embedding_size", [None, 5])
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_bfloat16_trains_what_it_is_not_refused_for(kind, embedding_size, model, project) -> None:
    trainer = trainer_of(config_of(project, kind, embedding_size=embedding_size, **model))
    try:
        check_precision(trainer.network, trainer.masks, "bfloat16")
    except ConfigError as error:
        pytest.skip(str(error))

    reports = list(trainer.run())

    assert all(math.isfinite(report.loss) for report in reports)
    assert {weight.dtype for weight in trainer.network.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_validation_is_in_float32_whatever_training_is_in(kind, project) -> None:
    config = config_of(project, kind)
    plain = config.model_copy(update={"training": config.training.model_copy(update={"precision": "float32"})})

    assert trainer_of(config).evaluate() == trainer_of(plain).evaluate()


def test_the_check_drops_what_training_drops_and_changes_nothing(project, monkeypatch) -> None:
    trainer = trainer_of(config_of(project, **LOCKED))
    seen = []
    forward = trainer.network.forward
    monkeypatch.setattr(trainer.network, "forward", lambda *a, **k: seen.append(k["masks"]) or forward(*a, **k))
    before = torch.get_rng_state()

    check_precision(trainer.network, trainer.masks, "bfloat16")

    (masks,) = seen
    assert masks.weights
    assert masks.outputs
    assert masks.symbols is not None
    assert all(weight.grad is None for weight in trainer.network.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def refused(result: Result, remedy: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("charlm: training.precision: bfloat16 is not supported on this cpu (could not ")
    assert result.stderr.endswith(f"primitive). {remedy}\n")


@pytest.mark.usefixtures("without_bfloat16")
def test_a_new_run_is_refused_before_anything_is_written(project) -> None:
    before = untouched(project.folder)

    refused(project.train("half", {"training.precision": "bfloat16"}), "Add --set training.precision=float32.")

    assert untouched(project.folder) == before
    with pytest.raises(ConfigError, match=r"not supported on this cpu \(could not create a primitive\)\. Use float32"):
        package.train(config=config_of(project))


@pytest.mark.slow
def test_a_run_is_refused_where_it_cannot_go_on_and_goes_on_in_float32(project, monkeypatch, request) -> None:
    half = {"training.precision": "bfloat16", "model.kind": "rnn"}
    project.interrupted("half", half, 5, "asked to stop")
    request.getfixturevalue("without_bfloat16")
    before = untouched(project.folder)

    way_out = ("--set", "training.precision=float32", "--allow-change", "training.precision")
    refused(project.train("half", half, "--resume"), f"Add {' '.join(way_out)}.")
    with pytest.raises(ConfigError, match=r"Use float32, and name training\.precision in allow_change\.$"):
        package.train(config=project.newest("half").config, resume=True)
    assert untouched(project.folder) == before

    result = project.train("half", half, "--resume", *way_out)
    assert result.exit_code == 0, result.output
    assert project.newest("half").config.training.precision == "float32"
    assert project.newest("half").progress.step == 8


@pytest.fixture
def notes(charlm: Run, project: Project):
    """Return what the command line and Python say of a config with this precision."""

    def told(*options: str, precision: str = "float32") -> tuple[str, list[str]]:
        setting = ("--set", f"training.precision={precision}", "--set", "model.kind=rnn")
        result = charlm("train", "--config", "tiny.yaml", *setting, *options)
        assert result.exit_code == 0, result.output
        heard: list[str] = []
        training = {"device": "cpu", "precision": precision}
        package.train(
            config=make_config(project.text, project.runs, kind="rnn", training=training), on_note=heard.append
        )
        return result.stderr, heard

    return told


@pytest.mark.usefixtures("with_matrices")
def test_a_processor_with_bfloat16_matrices_is_named_in_one_line(notes) -> None:
    stderr, heard = notes()

    assert [line for line in stderr.splitlines() if HINT in line] == [f"charlm: {heard[0]}"]
    assert [HINT in sentence for sentence in heard] == [True]
    assert HINT in notes("--dry-run")[0]
    assert HINT not in notes("--quiet")[0]
    assert HINT not in str(notes(precision="bfloat16"))


def test_without_them_there_is_nothing_to_say(notes) -> None:
    stderr, heard = notes()

    assert HINT not in stderr
    assert heard == []


@pytest.mark.usefixtures("with_matrices")
def test_a_resumed_run_is_not_advised_to_become_another_experiment(project) -> None:
    project.interrupted("tale", {}, 5, "asked to stop")
    heard: list[str] = []

    package.train(config=project.newest("tale").config, resume=True, on_note=heard.append)

    assert heard == []


@pytest.mark.usefixtures("with_matrices")
def test_only_float32_on_the_processor_can_be_faster() -> None:
    assert HINT in str(faster_precision(CPU, "float32"))
    assert faster_precision(CPU, "bfloat16") is None
    assert faster_precision(torch.device("cuda"), "float32") is None


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"amx_bf16": True}, True), ({"amx_bf16": False, "avx512_bf16": True}, False), ({}, False)],
)
def test_what_torch_says_of_the_processor_decides(capabilities, expected, monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_bfloat16_matrices() is expected


def test_a_torch_that_cannot_tell_says_nothing(monkeypatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert has_bfloat16_matrices() is False
