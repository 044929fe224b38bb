"""Separate items on the command line: names, poems and files are trained on, written, scored and looked into."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.inspection.trace import trace
from charlm.runs.metrics import METRICS
from tests.conftest import Run
from tests.harness.interruptions import Project, differences, interrupted_and_resumed, untouched

pytestmark = pytest.mark.slow

NAMES = "".join(f"{first}{last}\n" for first in ("al", "bo", "cas", "de") for last in ("an", "bert", "da", "o", "rik"))
POEMS = (
    "a rose\nis red\n\na leaf\nis green\n\n\nthe sea\nis wide\nand deep\n\nthe sun\n\nthe moon\nis far\n\nall sleep\n"
)
FILES = {"a.txt": "one\ntwo\n", "b.txt": "three", "c.txt": "four\n\nfive", "d.txt": "six\n", "e.txt": "seven\n\n"}
ITEMS = {"line": NAMES.split(), "blank-line": re.split(r"\n\n+", POEMS.strip()), "file": list(FILES.values())}
CONFIG = """\
data: {path: %s, documents: %s, split: tail, validation_fraction: 0.3}
model: {kind: %s, hidden_size: 8, num_layers: 1}
training: {batch_size: 3, sequence_length: 6, steps: 12, evaluate_every: 4, evaluation_lanes: 2, learning_rate: 0.02}
run: {name: items}
"""
PATHS = {"line": "names.txt", "blank-line": "poems.txt", "file": "'[a-e].txt'"}
RUN = Path("runs/items")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of the test, with texts in it."""
    for name, text in {"names.txt": NAMES, "poems.txt": POEMS, **FILES}.items():
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    return tmp_path


@pytest.fixture
def train(charlm: Run, folder: Path) -> Run:
    """Return a function that trains on items of a kind here."""

    def train(documents: str, *options: str, kind: str = "gru") -> Any:
        config = CONFIG % (PATHS[documents], documents, kind)
        (folder / "items.yaml").write_text(config, encoding="utf-8")
        result = charlm("train", "--config", "items.yaml", *options)
        assert result.exit_code == 0, result.stderr
        return result

    return train


def metrics(run: Path = RUN) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / METRICS).read_text("utf-8").splitlines()]


# --------------------------------------------------------------------------------------------- training and writing


@pytest.mark.parametrize("documents", ITEMS)
def test_items_are_trained_on_and_scored_as_training_did(documents: str, train: Run, charlm: Run) -> None:
    train(documents)
    lines = metrics()
    assert [line["step"] for line in lines] == [4, 8, 12]
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    for line in lines[1:]:  # run.keep is 2
        name = str(RUN / f"step-{line['step']:08}.safetensors")
        score = json.loads(charlm("evaluate", "-c", name, "--json").stdout)
        assert score["nats_per_character"] == pytest.approx(line["validation_loss"], abs=1e-5)
        assert score["lanes"] <= 2


@pytest.mark.parametrize("documents", ITEMS)
def test_what_is_scored_are_the_last_items_with_their_ends(
    documents: str, train: Run, charlm: Run, folder: Path
) -> None:
    train(documents)
    score = json.loads(charlm("evaluate", "--json").stdout)
    lengths = np.cumsum([len(item) + 1 for item in reversed(ITEMS[documents])])
    assert score["characters"] in lengths
    assert score["characters"] < lengths[-1] / 2
    count = lengths.tolist().index(score["characters"]) + 1
    separator = {"line": "\n", "blank-line": "\n\n"}.get(documents)
    if separator:
        (folder / "own.txt").write_text(separator.join(ITEMS[documents][-count:]), encoding="utf-8")
        own = json.loads(charlm("evaluate", "--file", "own.txt", "--json").stdout)
        assert own["nats_per_character"] == pytest.approx(score["nats_per_character"], abs=1e-6)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_a_file_is_scored_item_by_item_whatever_the_lanes(kind: str, train: Run, charlm: Run, folder: Path) -> None:
    train("line", kind=kind)
    model, vocabulary = (opened := Checkpoint.load(RUN / "best.safetensors")).model(), opened.vocabulary
    nats = 0.0
    for name in NAMES.split():
        ids, state = [vocabulary.end, *vocabulary.encode(name).tolist(), vocabulary.end], model.start(1)
        for now, came in pairwise(ids):
            logits, state = model.step(np.array([now]), state)
            scores = logits[0].astype(np.float64)
            nats += np.log(np.exp(scores).sum()) - scores[came]
    for lanes in (1, 4, 99):
        score = json.loads(charlm("evaluate", "--file", "names.txt", "--lanes", str(lanes), "--json").stdout)
        assert score["lanes"] == min(lanes, len(NAMES.split()))
        assert score["characters"] == len(NAMES)
        assert score["nats_per_character"] == pytest.approx(nats / len(NAMES), abs=1e-5)
        assert score["bits_per_byte"] == pytest.approx(score["bits_per_character"])  # an end is a newline's byte


def test_a_sample_of_names_ends_by_itself_and_holds_no_line_end(train: Run, charlm: Run) -> None:
    train("line")
    vocabulary = Checkpoint.load(RUN / "best.safetensors").vocabulary
    assert "\n" not in vocabulary.symbols
    one = charlm("sample", "--seed", "1")
    assert one.exit_code == 0
    assert 0 < len(one.stdout) < 100
    assert set(one.stdout) <= set(NAMES) - {"\n"}
    written = charlm("sample", "--seed", "1", "--num-samples", "9").stdout
    many = written.splitlines()
    assert written.count("\n") == len(many) == 9, "as many lines as items for what reads lines"
    assert many[0] == one.stdout
    texts = json.loads(charlm("sample", "--seed", "1", "--num-samples", "9", "--json").stdout)["samples"]
    assert texts == many
    assert len({len(text) for text in texts}) > 2


def test_items_of_several_lines_hold_line_ends_and_stand_a_blank_line_apart(train: Run, charlm: Run) -> None:
    train("blank-line", "--set=training.steps=150", "--set=training.evaluate_every=150")
    arguments = ("sample", "--seed", "3", "--num-samples", "4", "--temperature", "0.3")
    texts = json.loads(charlm(*arguments, "--json").stdout)["samples"]
    assert charlm(*arguments).stdout == "\n\n".join(texts) + "\n"
    assert any("\n" in text for text in texts)
    assert all(len(text) < 100 for text in texts)


def test_items_that_are_files_stand_apart_as_other_texts_do(train: Run, charlm: Run) -> None:
    train("file")
    arguments = ("sample", "--seed", "3", "--num-samples", "3", "--length", "20")
    texts = json.loads(charlm(*arguments, "--json").stdout)["samples"]
    assert charlm(*arguments).stdout == "\n----\n".join(texts) + "\n"
    checkpoint = Checkpoint.load(RUN / "best.safetensors")
    assert sorted(checkpoint.vocabulary.symbols) == sorted({*"".join(FILES.values()), "<end>"})


def test_a_name_goes_on_from_its_prompt_and_length_is_still_the_most(train: Run, charlm: Run) -> None:
    train("line")
    written = charlm("sample", "--seed", "2", "--prompt", "cas").stdout
    assert written.startswith("cas")
    for length in (0, 1, 2):
        shorter = charlm("sample", "--seed", "2", "--prompt", "cas", "--length", str(length)).stdout
        assert shorter == written[: 3 + length]


def test_the_sample_in_the_metrics_holds_eight_names(train: Run) -> None:
    train("line")
    for line in metrics():
        assert len(line["sample"].split("\n")) == 8


def test_the_share_of_padding_is_told_at_the_start(train: Run) -> None:
    expected = _padding(ITEMS["line"][:14], lanes=3, window=6)
    result = train("line")
    first = result.stderr.splitlines()[0]
    found = re.search(r", (\d+)% of each window is padding$", first)
    assert found, first
    assert int(found[1]) / 100 == pytest.approx(expected, abs=0.1)  # items are read in another order each pass
    assert "padding" not in train("line", "--quiet").stderr


def _padding(items: list[str], lanes: int, window: int) -> float:
    """Return about how much of a pass is padding, when windows of any width stand side by side."""
    pieces = [min(window, len(item) + 1 - start) for item in items for start in range(0, len(item) + 1, window)]
    draw = np.random.default_rng(0)
    wide = [max(draw.choice(pieces, lanes)) for _ in range(2000)]
    return float(1 - np.mean(pieces) / np.mean(wide))


def test_the_plan_of_items_writes_nothing(train: Run, folder: Path) -> None:
    train("line", "--dry-run")
    assert not (folder / "runs").exists()


def test_one_text_is_said_to_have_no_padding(charlm: Run, folder: Path) -> None:
    (folder / "text.yaml").write_text((CONFIG % ("names.txt", "null", "gru")), encoding="utf-8")
    result = charlm("train", "--config", "text.yaml")
    assert result.exit_code == 0
    assert "padding" not in result.stderr


def test_too_few_items_for_the_lanes_are_told(charlm: Run, folder: Path) -> None:
    (folder / "items.yaml").write_text(CONFIG % ("names.txt", "line", "gru"), encoding="utf-8")
    result = charlm("train", "--config", "items.yaml", "--set", "training.batch_size=99")
    assert result.exit_code == 2
    assert "99 lanes" in result.stderr
    assert "training.batch_size" in result.stderr
    assert not (folder / "runs").exists()


# -------------------------------------------------------------------------------------------------------- going on


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_an_interrupted_run_ends_as_one_that_was_not(kind: str, tmp_path: Path) -> None:
    project = Project(tmp_path, NAMES)
    changes: dict[str, object] = {
        "data.documents": "line",
        "model.kind": kind,
        "model.dropout": 0.2,
        "training.sequence_length": 4,  # most names are longer: their state is carried across the cut
        "training.steps": 23,
        "training.evaluate_every": 6,
    }
    expected = project.finished("whole", changes)
    cuts = [(5, "asked to stop"), (13, "killed after the step"), (18, "killed after the best")]
    found, interruptions = interrupted_and_resumed(project, changes, cuts)
    assert interruptions == len(cuts)
    assert differences(expected, found) == []
    assert expected["last: progress.step"] == 23


def test_other_items_are_another_run(train: Run, charlm: Run) -> None:
    train("line")
    before = untouched(Path("runs"))
    config = (CONFIG % (PATHS["line"], "blank-line", "gru")).replace("batch_size: 3", "batch_size: 1")
    Path("items.yaml").write_text(config, encoding="utf-8")
    result = charlm("train", "--config", "items.yaml", "--resume")
    assert result.exit_code == 4
    assert "data.documents" in result.stderr
    assert untouched(Path("runs")) == before


def test_weights_go_from_one_model_of_items_to_another(train: Run, charlm: Run, folder: Path) -> None:
    train("line")
    source = Checkpoint.load(RUN / "best.safetensors")
    (folder / "names.txt").write_text(NAMES.replace("rik", "zyx"), encoding="utf-8")
    train("line", "--init-from", "items", "--name", "new", "--set=training.steps=1")
    beginning = Checkpoint.load(Path("runs/new/step-00000001.safetensors"))
    old, new = source.vocabulary, beginning.vocabulary
    assert set(new.symbols) == {*old.symbols, *"zyx"}
    assert new.end == len(new.symbols) - 1
    shared = [(new.symbols.index(symbol), old.symbols.index(symbol)) for symbol in old.symbols]
    before, after = (part["head.bias"] for part in (source.part("model"), beginning.part("model")))
    for here, there in shared:  # one step of training moves them a little, those of `<end>` too
        assert after[here] == pytest.approx(before[there], abs=0.05)
    assert charlm("sample", "-c", "new", "--seed", "1").exit_code == 0


def test_weights_do_not_go_from_items_to_one_text(train: Run, charlm: Run, folder: Path) -> None:
    train("line")
    (folder / "text.yaml").write_text(CONFIG % ("names.txt", "null", "gru"), encoding="utf-8")
    result = charlm("train", "--config", "text.yaml", "--init-from", "items", "--name", "new")
    assert result.exit_code == 4
    assert "data.documents" in result.stderr


# -------------------------------------------------------------------------------------------------------- looking in


def traced(run: Run, *arguments: str) -> dict[str, Any]:
    result = run("inspect-hidden", *arguments, "--format", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    record: dict[str, Any] = json.loads(result.stdout)
    return record


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_units_are_seen_as_if_each_item_were_read_alone(kind: str, train: Run, charlm: Run, folder: Path) -> None:
    train("line", kind=kind)
    names = ["albert", "o", "casrik", "boda"]
    (folder / "own.txt").write_text("\n\n".join(names), encoding="utf-8")
    together = traced(charlm, "--file", "own.txt")
    alone = [traced(charlm, "--text", name) for name in names]
    characters = [character for one in alone for character in one["characters"]]
    assert together["characters"] == [*characters, "<end>"]
    for number, unit in enumerate(together["units"]):
        values = [value for one in alone for value in one["units"][number]["values"]]
        assert unit["values"][:-1] == pytest.approx(values, abs=1e-6)
        assert unit["values"][-1] == pytest.approx(unit["values"][0], abs=1e-6)  # an end is a beginning again
    assert max(abs(value) for unit in together["units"] for value in unit["values"]) > 0.01
    model = Checkpoint.load(RUN / "best.safetensors").recurrent()
    ids = Checkpoint.load(RUN / "best.safetensors").vocabulary.encode_item("albert")
    assert alone[0]["units"][0]["values"] == pytest.approx(trace(model, ids).signals["hidden"][:, 0, 0].tolist())


def test_a_text_on_the_command_line_is_one_item(train: Run, charlm: Run) -> None:
    train("blank-line")
    found = traced(charlm, "--text", r"the sea\nis red")
    assert found["characters"] == ["<end>", *"the sea\nis red"]


@pytest.mark.parametrize("format_", ["terminal", "csv", "html", "npz"])
def test_items_are_shown_in_every_form(format_: str, train: Run, charlm: Run) -> None:
    train("line")
    result = charlm("inspect-hidden", "--format", format_)
    assert (result.exit_code, result.stderr) == (0, "")
    if format_ in ("terminal", "csv"):
        assert "␃" in result.stdout


def test_inspect_gradients_reads_one_item(train: Run, charlm: Run) -> None:
    train("line")
    assert charlm("inspect-gradients", "--text", "albert").exit_code == 0
    refused = charlm("inspect-gradients", "--lags", "3")
    assert refused.exit_code == 2
    assert "--text" in refused.stderr
