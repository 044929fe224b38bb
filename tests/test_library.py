"""From Python everything happens as on the command line, and nothing else: no output, no handlers, no environment."""

import ast
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import charlm as package
from charlm.checkpoint.checkpoint import Checkpoint
from charlm.config.settings import Config
from charlm.config.writing import resolved_yaml
from charlm.errors import CheckpointError, ConfigError, TextError
from charlm.runs.lookup import full_checkpoints
from tests.conftest import TEXT, Run, make_config
from tests.harness.interruptions import differences, snapshot
from tests.harness.processes import ENVIRONMENT

FROZEN = Path(__file__).parent / "frozen"
ITEMS = {"data": {"documents": "line"}, "model": {"kind": "gru"}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(TEXT, encoding="utf-8", newline="")
    return tmp_path


def config_of(name: str = "lstm", **sections: dict[str, object]) -> Config:
    return make_config(Path("text.txt"), Path("runs"), **({"run": {"name": name}} | sections))


def in_python(folder: Path, program: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )


# ---------------------------------------------------------------------------------------------------- the package


def test_import_charlm_loads_nothing() -> None:
    program = (
        "import sys; before = set(sys.modules); import charlm; "
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}), 'charlm.errors' in sys.modules)"
    )
    assert in_python(Path(), program).stdout == "['charlm'] False\n"


def test_every_public_name_is_found_described_and_typed() -> None:
    stub = ast.parse((Path(package.__file__).with_suffix(".pyi")).read_text("utf-8"))
    typed = {alias.asname: node.module for node in stub.body for alias in node.names}  # type: ignore[attr-defined]

    assert typed == package._MODULES
    assert set(package.__all__) == set(typed) <= set(dir(package))
    for name in typed:
        value = getattr(package, name)
        assert isinstance(value, str) or value.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = package.trian


def test_after_training_neither_torch_nor_the_command_line_is_loaded(trained: dict[str, Path], tmp_path: Path) -> None:
    program = f"""
import sys, charlm
model = charlm.load({str(trained["lstm"])!r})
model.generate("The fox", length=20, seed=1)
model.score("The fox said")
model.next_characters("The", 2)
model.trace("The fox")["cell"]
model.trace("a")._repr_html_()
print("torch" in sys.modules, any(name.startswith("charlm.cli") for name in sys.modules))
"""
    assert in_python(tmp_path, program).stdout == "False False\n"


# --------------------------------------------------------------------------------------------------------- train


@pytest.mark.parametrize("sections", [{}, ITEMS], ids=["text", "items"])
def test_training_equals_the_command_line_bit_for_bit(sections, charlm: Run, folder: Path) -> None:
    config = config_of("one", **sections)
    Path("tiny.yaml").write_text(resolved_yaml(config), encoding="utf-8")
    assert charlm("train", "--config", "tiny.yaml", "--quiet").exit_code == 0
    run = package.train(config=config, name="two")

    assert run.path == Path("runs/two")
    assert differences(snapshot(Path("runs/one")), snapshot(run.path)) == []
    files = {path.name for path in Path("runs/one").iterdir()}
    assert {path.name for path in run.path.iterdir()} == files >= {"report.html", "config.yaml"}
    assert Path("runs/latest").read_text("utf-8") == "two\n"


def test_training_shows_nothing_and_leaves_the_process_as_it_was(folder: Path, capfd) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = dict(os.environ), [signal.getsignal(number) for number in numbers], np.geterr()
    package.train(config=config_of())

    assert (dict(os.environ), [signal.getsignal(number) for number in numbers], np.geterr()) == before
    assert capfd.readouterr() == ("", "")


def test_a_run_tells_its_evaluations_as_they_come_and_afterwards(folder: Path) -> None:
    told: list[object] = []
    run = package.train(config=config_of(), on_evaluation=told.append)

    assert [evaluation.step for evaluation in told] == [4, 8]
    assert tuple(told) == run.evaluations
    assert run.best == min(told, key=lambda evaluation: evaluation.validation_loss or 0)
    assert run.model().checkpoint.progress.step == run.best.step


def test_texts_and_name_replace_those_of_a_config_file(folder: Path) -> None:
    Path("other.txt").write_text(TEXT.upper(), encoding="utf-8")
    Path("tiny.yaml").write_text(resolved_yaml(config_of("lstm", model={"hidden_size": 5})), encoding="utf-8")
    run = package.train(Path("other.txt"), config="tiny.yaml", name="mine")
    model = run.model()

    assert (run.path, model.config.data.path, model.config.model.hidden_size) == (Path("runs/mine"), ("other.txt",), 5)
    assert {"T", "t"} & set(model.vocabulary.symbols) == {"T"}


def test_a_text_alone_is_trained_on_at_the_defaults(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs: list[Config] = []

    def stop_there(config: Config, **_: object) -> None:
        configs.append(config)
        raise ConfigError("enough")

    monkeypatch.setattr("charlm.training.start.prepare_training", stop_there)
    with pytest.raises(ConfigError, match="enough"):
        package.train("text.txt")
    assert configs == [Config.model_validate({"data": {"path": "text.txt"}})]


def test_a_run_is_resumed_with_changes_that_are_noted(folder: Path) -> None:
    whole = package.train(config=config_of("whole"))
    package.train(config=config_of("cut"))
    full_checkpoints(Path("runs/cut"))[-1].unlink()
    notes: list[str] = []
    resumed = package.train(config=config_of("cut"), resume=True, on_note=notes.append)

    assert differences(snapshot(whole.path), snapshot(resumed.path)) == []
    longer = config_of("cut", training={"steps": 12, "learning_rate": 0.001})
    with pytest.raises(ConfigError, match=r"training\.learning_rate"):
        package.train(config=longer, resume=True)
    package.train(config=longer, resume=True, allow_change=["training.learning_rate"], on_note=notes.append)
    assert any("training.steps" in note for note in notes)
    assert [evaluation.step for evaluation in resumed.evaluations] == [4, 8, 12]


def test_a_run_begins_with_another_ones_weights(folder: Path) -> None:
    source = package.train(config=config_of("source"))
    notes: list[str] = []
    run = package.train(config=config_of("tuned"), init_from=source.path, on_note=notes.append)

    assert any("keep their weights" in note for note in notes)
    first = Checkpoint.load(source.path / "best.safetensors").part("model")
    begun = Checkpoint.load(full_checkpoints(run.path)[0])
    assert begun.progress.step in (0, 4)
    assert first.keys() == begun.part("model").keys()


def test_a_markov_model_is_counted_once(charlm: Run, folder: Path) -> None:
    config = Config.model_validate(
        {"data": {"path": "text.txt"}, "model": {"kind": "markov", "order": 2}, "run": {"name": "counted"}}
    )
    told: list[object] = []
    run = package.train(config=config, on_evaluation=told.append)
    assert tuple(told) == run.evaluations
    written = (run.path / "best.safetensors").stat().st_mtime_ns
    again = package.train(config=config, resume=True)

    assert again == run
    assert (run.path / "best.safetensors").stat().st_mtime_ns == written
    assert run.model().score("The fox").bits_per_character > 0
    with pytest.raises(ConfigError, match="Markov"):
        run.model().trace("The fox")


@pytest.mark.parametrize(
    "arguments", [{"init_from": "x"}, {"tensorboard": True}, {"allow_change": ["training.seed"]}], ids=str
)
def test_what_counting_cannot_do_is_refused(arguments, folder: Path) -> None:
    config = Config.model_validate({"data": {"path": "text.txt"}, "model": {"kind": "markov"}})
    with pytest.raises(ConfigError, match=f"^{next(iter(arguments))}: a Markov model is counted"):
        package.train(config=config, **arguments)
    assert not Path("runs").exists()


def test_a_setting_that_may_change_must_be_known(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.bach_size.*did you mean training\.batch_size"):
        package.train(config=config_of(), resume=True, allow_change=["training.bach_size"])


# -------------------------------------------------------------------------------------------------- interruptions

INTERRUPTED = """
import os, signal, charlm
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background would ignore it
config = charlm.Config(data={"path": "text.txt"}, model={"kind": "lstm", "hidden_size": 7, "dropout": 0.1},
    training={"batch_size": 3, "sequence_length": 11, "steps": 60, "evaluate_every": 20, "evaluation_lanes": 2},
    run={"name": "cut", "keep": 99})
from charlm.training.trainer import Trainer
taken, original = 0, Trainer.train_step
def step(self, *arguments):
    global taken
    if self.progress.step == 30:
        os.kill(os.getpid(), signal.SIGINT)
    found = original(self, *arguments)
    taken = self.progress.step + 1
    return found
Trainer.train_step = step
try:
    charlm.train(config=config)
except KeyboardInterrupt:
    from charlm.runs.lookup import newest_checkpoint
    from pathlib import Path
    print(taken, newest_checkpoint(Path("runs/cut")).checkpoint.progress.step)
"""


@pytest.mark.slow
def test_an_interrupt_in_the_midst_of_a_step_waits_for_its_end(folder: Path) -> None:
    ended = in_python(folder, INTERRUPTED)
    assert ended.returncode == 0, ended.stderr
    taken, saved = map(int, ended.stdout.split())
    assert 31 <= taken == saved < 60

    cut = Checkpoint.load(full_checkpoints(Path("runs/cut"))[-1]).config
    whole = package.train(config=cut, name="whole")
    resumed = package.train(config=cut, resume=True)
    assert [each for each in differences(snapshot(whole.path), snapshot(resumed.path)) if "config" not in each] == []


def test_a_callback_that_fails_ends_training_with_its_own_error(folder: Path) -> None:
    def fail(evaluation: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        package.train(config=config_of(), on_evaluation=fail)
    assert len(package.train(config=config_of(), resume=True).evaluations) == 2  # the folder was let go


def test_a_keyboard_interrupt_of_a_callback_is_raised(folder: Path) -> None:
    def interrupt(evaluation: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        package.train(config=config_of(), on_evaluation=interrupt)


# --------------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize("options", [{}, {"temperature": 0.3, "top_k": 3}, {"top_p": 0.7}, {"stop": "e"}])
def test_what_is_generated_is_what_the_command_line_samples(options, charlm: Run, trained: dict[str, Path]) -> None:
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    model = package.load(str(trained["gru"]))
    shown = charlm("sample", "-c", str(trained["gru"]), "--prompt", "The", "--length", "70", "--seed", "5", *words)

    assert model.generate("The", length=70, seed=5, **options) == shown.stdout
    assert "".join(model.stream("The", length=70, seed=5, **options)) == shown.stdout
    assert next(iter(model.stream("The", length=70, seed=5, **options))) == "T"


def test_without_a_seed_each_text_is_another(trained: dict[str, Path]) -> None:
    model = package.load(trained["lstm"])
    assert model.generate(length=60) != model.generate(length=60)
    assert model.generate("The", length=0) == "The"


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_scores_guesses_and_traces_equal_the_command_lines(
    kind: str, charlm: Run, trained: dict[str, Path], tmp_path: Path
) -> None:
    path, text = str(trained[kind]), 'He said "come" twice.'.replace("H", "T").replace("v", "w")
    model = package.load(trained[kind] / "best.safetensors")
    (tmp_path / "read.txt").write_text(text, encoding="utf-8")

    figures = json.loads(charlm("evaluate", "-c", path, "--file", "read.txt", "--json").stdout)
    score = model.score(text)
    for name in ("nats_per_character", "bits_per_character", "bits_per_byte", "perplexity", "accuracy", "characters"):
        assert getattr(score, name) == figures[name]
    rows = json.loads(charlm("sample", "-c", path, "--prompt", "The", "--next", "4", "--json").stdout)
    assert model.next_characters("The", 4) == [(row["symbol"], row["model"]) for row in rows]
    charlm("inspect-hidden", "-c", path, "--text", text, "--format", "npz", "--output", "trace.npz")
    traced = model.trace(text)
    with np.load(tmp_path / "trace.npz") as arrays:
        assert set(traced.signals) | {"ids", "characters"} == set(arrays.files)
        for signal_name in traced.signals:
            assert np.array_equal(traced[signal_name], arrays[signal_name])
    assert len(traced) == len(text)
    assert traced["hidden"].shape == (len(text), 2, 7)


@pytest.mark.parametrize("name", ["lstm", "with <unk>", "items"])
@given(st.lists(st.sampled_from([*"ab dn.\n", "\u20ac", "\U0001f98a", "\x07", "\u0151"]), max_size=40))
def test_a_score_without_unknown_characters_is_that_of_the_other_characters(
    name: str, trained: dict[str, Path], characters: list[str]
) -> None:
    frozen = {"with <unk>": "format-2-gru", "items": "format-2-items"}
    path = FROZEN / f"{frozen[name]}.safetensors" if name in frozen else trained[name]
    model, text = package.load(path), "ba" + "".join(characters)
    known = "".join(each for each in text if not model.vocabulary.unknown_characters(each) or each == "\n")
    score = model.score(text, skip_unknown=True)

    assert score.skipped == len(text) - len(known)
    assert replace(score, skipped=0) == model.score(known)
    assert score.unknown == 0


def test_items_are_scored_and_written_as_items(charlm: Run, folder: Path) -> None:
    model = package.train(config=config_of("items", **ITEMS)).model()
    Path("read.txt").write_text("boats\n\nThe fox\n", encoding="utf-8")
    figures = json.loads(charlm("evaluate", "-c", "items", "--file", "read.txt", "--json").stdout)

    assert model.score("boats\n\nThe fox\n").nats_per_character == figures["nats_per_character"]
    shown = charlm("sample", "-c", "items", "--length", "500", "--seed", "2").stdout
    assert model.generate(length=500, seed=2) == shown
    assert len(list(islice(model.stream(length=500, seed=2), 900))) < 500


def test_a_model_is_loaded_by_name_by_folder_and_as_the_latest(folder: Path) -> None:
    run = package.train(config=config_of("mine"))
    texts = {load.generate(length=9, seed=1) for load in (package.load(), package.load("mine"), package.load(run.path))}

    assert len(texts) == 1
    assert "mine/best.safetensors" in repr(package.load())
    with pytest.raises(CheckpointError, match="nobody"):
        package.load("nobody")
    with pytest.raises(CheckpointError):
        package.load(directory="elsewhere")


def test_a_trace_shows_its_text_coloured_by_its_liveliest_unit(trained: dict[str, Path]) -> None:
    traced = package.load(trained["lstm"]).trace('<b>&"'.replace("<b>&", "fox") + "\n")
    page = traced._repr_html_()
    assert repr(traced).startswith("<charlm.ModelTrace of 5 characters: hidden, cell, ")

    assert str(traced.most_varying("hidden", 1)[0]) in page
    assert page.count("<span") == len(traced) == 5
    assert "&#34;" in page
    assert "↵" in page
    assert len(package.load(trained["lstm"]).trace("The", signals=["cell"], layers=[1])["cell"][0]) == 1


def test_scoring_needs_two_characters(trained: dict[str, Path]) -> None:
    with pytest.raises(TextError, match="two"):
        package.load(trained["rnn"]).score("T")
