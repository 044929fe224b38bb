"""What a user sees of the unit finder, of ablation and of clamping."""

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.cli import unit_search
from charlm.inspection.ablation import Ablation, ablate
from charlm.inspection.patterns import PATTERNS, values_of
from charlm.inspection.trace import TraceSelection, Unit
from charlm.inspection.units import Finding, find
from charlm.models.recurrent import tensor_shapes
from tests.conftest import TEXT, Run, make_config, train
from tests.harness.processes import SIZE, assert_torch_not_imported, run_on_terminal
from tests.inspection.test_ablation import held_steps

pytestmark = pytest.mark.slow

KINDS = ["rnn", "lstm", "gru"]
FIELDS = ["layer", "index", "signal", "train", "held_out", "auc", "null95", "beats_null"]
LENGTH = 2400


def sentences() -> str:
    """Return a text in the letters of the trained models, whose patterns come and go without rhythm."""
    random = np.random.default_rng(0)
    words = [*TEXT.split()[:13], '"The fox', 'laughed"', "(3 still)", "lay", "in", *["\n", "\n\t"] * 3]
    return " ".join(random.choice(words, LENGTH))[:LENGTH]


SEARCHED = sentences()


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "searched.txt").write_bytes(SEARCHED.encode())
    return "searched.txt"


@pytest.fixture
def lstm(trained: dict[str, Path]) -> str:
    return str(trained["lstm"])


def found_in(run: str | Path, name: str, watched: TraceSelection | None = None, text: str = SEARCHED) -> list[Finding]:
    """Return what the finder itself says."""
    checkpoint = Checkpoint.load(Path(run) / "best.safetensors")
    return find(checkpoint.model(), checkpoint.vocabulary.encode(text), {name: values_of(name, text)}, watched)[name]


def ablated(run: str | Path, layer: int, index: int, *names: str) -> Ablation:
    """Return what ablation itself says."""
    checkpoint = Checkpoint.load(Path(run) / "best.safetensors")
    patterns = {name: values_of(name, SEARCHED) for name in names}
    return ablate(checkpoint.model(), checkpoint.vocabulary.encode(SEARCHED), layer, index, patterns)


def record(finding: Finding) -> dict[str, Any]:
    numbers = (finding.train, finding.held_out, finding.auc, finding.null95, finding.beats_null)
    unit = finding.unit
    return dict(zip(FIELDS, (unit.layer, unit.index, unit.signal, *numbers), strict=True))


def records(ablation: Ablation) -> dict[str, Any]:
    return {
        "layer": ablation.unit.layer,
        "index": ablation.unit.index,
        "held_at": ablation.value,
        "bits_per_character": ablation.whole,
        "change": ablation.change,
        "inside": dict(ablation.inside),
        "outside": dict(ablation.outside),
    }


def output(run: Run, *arguments: str) -> str:
    result = run("inspect-hidden", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout_bytes.decode()


def refusal(run: Run, *arguments: str) -> str:
    """Return the one sentence that explains why nothing was done."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout_bytes == b""
    assert result.stderr.startswith("charlm: ")
    assert "Traceback" not in result.stderr
    return result.stderr


# --find


@pytest.mark.parametrize("kind", KINDS)
def test_json_holds_every_unit_of_every_signal_best_first(
    kind: str, charlm: Run, trained: dict[str, Path], text: str
) -> None:
    arguments = ("-c", str(trained[kind]), "--file", text, "--find", "quotes", "--format", "json")
    shown = json.loads(output(charlm, *arguments))
    assert list(shown) == ["pattern", "units"]
    assert shown["pattern"] == "quotes"
    assert all(list(unit) == FIELDS for unit in shown["units"])
    assert shown["units"] == [record(finding) for finding in found_in(trained[kind], "quotes")]
    signals = {"rnn": 1, "lstm": 6, "gru": 4}[kind]
    assert len(shown["units"]) == signals * 2 * 7
    sizes = [abs(unit["train"]) for unit in shown["units"]]
    assert sizes == sorted(sizes, reverse=True)


def test_a_pattern_that_is_no_yes_or_no_has_a_null_for_its_auc(charlm: Run, lstm: str, text: str) -> None:
    arguments = ("-c", lstm, "--file", text, "--find", "since-newline")
    shown = json.loads(output(charlm, *arguments, "--format", "json"))
    assert {unit["auc"] for unit in shown["units"]} == {None}
    table = csv.DictReader(io.StringIO(output(charlm, *arguments, "--format", "csv")))
    assert {row["auc"] for row in table} == {""}


def test_csv_holds_the_same_with_the_pattern_in_front(charlm: Run, lstm: str, text: str) -> None:
    table = output(charlm, "-c", lstm, "--file", text, "--find", "quotes", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert table.splitlines()[0] == ",".join(["pattern", *FIELDS])
    assert rows == [
        {"pattern": "quotes"} | {name: str(value) for name, value in record(finding).items()}
        for finding in found_in(lstm, "quotes")
    ]


def test_the_terminal_shows_the_ten_best_and_what_luck_reaches(charlm: Run, lstm: str, text: str) -> None:
    lines = output(charlm, "-c", lstm, "--file", text, "--find", "white-space").splitlines()
    findings = found_in(lstm, "white-space")
    assert "white-space" in lines[0]
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines[2:12]]
    assert rows == [
        [str(f.unit), f"{f.train:+.3f}", f"{f.held_out:+.3f}", f"{f.auc:.3f}", "yes" if f.beats_null else "no"]
        for f in findings[:10]
    ]
    note = " ".join(lines[12:])
    assert f"{findings[0].null95:.3f}" in note
    assert str(sum(finding.beats_null for finding in findings)) in note
    assert findings[0].beats_null  # or the test would not see a yes


def test_all_searches_every_pattern_that_the_text_has(charlm: Run, lstm: str, text: str) -> None:
    arguments = ("-c", lstm, "--file", text, "--find", "all")
    shown = json.loads(output(charlm, *arguments, "--format", "json"))
    assert list(shown) == ["patterns"]
    names = [part["pattern"] for part in shown["patterns"]]
    assert names == [name for name in PATTERNS if name != "brackets"]
    assert all(list(part) == ["pattern", "units"] and len(part["units"]) == 84 for part in shown["patterns"])
    rows = list(csv.DictReader(io.StringIO(output(charlm, *arguments, "--format", "csv"))))
    assert [row["pattern"] for row in rows] == [name for name in names for _ in range(84)]
    terminal = output(charlm, *arguments)
    for part in shown["patterns"]:
        (line,) = [line for line in terminal.splitlines() if line.strip().startswith(part["pattern"])]
        beyond = [unit for unit in part["units"] if unit["beats_null"]]
        best = part["units"][0]
        if best not in beyond and beyond:
            continue  # see below
        unit = f"{best['signal']} {best['layer']}:{best['index']}" if beyond else "none"
        numbers = [f"{best['train']:+.3f}", f"{best['held_out']:+.3f}", f"{best['null95']:.3f}"]
        assert all(f" {word} " in f"{line} " for word in [unit, *numbers])
    assert "brackets" in terminal.splitlines()[-1]


def test_nothing_follows_a_pattern_only_where_no_unit_goes_beyond_luck(
    charlm: Run, lstm: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit that is best on the first half may fail on the second, where others do not."""
    found = [Finding(Unit("hidden", 0, i), 0.5 - i / 10, held, 0.5, 0.2) for i, held in enumerate([0.1, 0.3, 0.25])]
    monkeypatch.setattr(unit_search, "find", lambda *_: {"quotes": found, "digit": found[:1]})
    lines = output(charlm, "-c", lstm, "--file", text, "--find", "all").splitlines()
    (quotes,) = [line for line in lines if line.strip().startswith("quotes")]
    (digit,) = [line for line in lines if line.strip().startswith("digit")]
    assert "none" in digit
    assert "none" not in quotes
    assert "hidden 0:1" in quotes
    assert quotes.split()[-1] == "2"


def test_all_of_a_text_without_patterns_is_an_empty_list(charlm: Run, lstm: str) -> None:
    arguments = ("-c", lstm, "--text", "a" * 900, "--find", "all")
    absent = set(PATTERNS) - {"since-newline", "position-in-line", "position-in-word"}
    shown = json.loads(output(charlm, *arguments, "--max-characters", "1", "--format", "json"))
    assert shown == {"patterns": []}
    terminal = output(charlm, *arguments, "--max-characters", "1")
    assert all(name in terminal for name in absent)


def test_a_pattern_that_outlasts_the_text_does_not_keep_all_others_from_being_searched(
    charlm: Run, lstm: str, tmp_path: Path
) -> None:
    """Brackets of code may never come back to where they were."""
    (tmp_path / "text.txt").write_text(SEARCHED.replace("lay", "("), encoding="utf-8")
    arguments = ("-c", lstm, "--file", "text.txt", "--signal", "hidden", "--find")
    assert "too short" in refusal(charlm, "inspect-hidden", *arguments, "parentheses")
    shown = json.loads(output(charlm, *arguments, "all", "--format", "json"))
    names = [part["pattern"] for part in shown["patterns"]]
    assert names == [name for name in PATTERNS if name not in ("parentheses", "brackets")]
    assert "parentheses" in output(charlm, *arguments, "all").splitlines()[-1]


def test_only_the_signals_and_layers_that_were_asked_for_are_searched(charlm: Run, lstm: str, text: str) -> None:
    chosen = ("--signal", "cell", "--signal", "forget", "--layers", "1")
    arguments = ("-c", lstm, "--file", text, "--find", "quotes", "--format", "json")
    shown = json.loads(output(charlm, *arguments, *chosen))
    assert shown["units"] == [record(f) for f in found_in(lstm, "quotes", TraceSelection(["cell", "forget"], [1]))]
    assert {(unit["signal"], unit["layer"]) for unit in shown["units"]} == {("cell", 1), ("forget", 1)}
    everything = json.loads(output(charlm, *arguments))
    assert json.loads(output(charlm, *arguments, "--signal", "all")) == everything


def test_no_more_than_max_characters_is_searched(charlm: Run, lstm: str, text: str) -> None:
    arguments = ("-c", lstm, "--file", text, "--find", "white-space", "--format", "json")
    shown = json.loads(output(charlm, *arguments, "--max-characters", "1500"))
    assert shown["units"] == [record(f) for f in found_in(lstm, "white-space", text=SEARCHED[:1500])]


@pytest.mark.parametrize("name", ["terminal", "csv", "json"])
@pytest.mark.parametrize("find", ["quotes", "all"])
def test_what_was_found_goes_into_a_file_and_nothing_to_standard_output(
    name: str, find: str, charlm: Run, lstm: str, text: str, tmp_path: Path
) -> None:
    arguments = ("-c", lstm, "--file", text, "--find", find, "--format", name, "--signal", "hidden")
    assert output(charlm, *arguments, "--output", "found") == ""
    assert (tmp_path / "found").read_bytes().decode() == output(charlm, *arguments)


@pytest.mark.parametrize("expression", ["[red]", "[thi]+", r"\bf", "(?i)THE", "[/red]|[bold]", "[e[]|:smile:"])
@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
def test_a_regular_expression_is_searched_and_shown_as_it_was_typed(
    expression: str, charlm: Run, lstm: str, text: str
) -> None:
    arguments = ("-c", lstm, "--file", text, "--find", expression, "--signal", "hidden")
    shown = json.loads(output(charlm, *arguments, "--format", "json"))
    assert shown["pattern"] == expression
    assert shown["units"] == [record(f) for f in found_in(lstm, expression, TraceSelection(["hidden"]))]
    assert expression in output(charlm, *arguments).splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--find", "("], "--find: ( is neither a built-in pattern"),
        (["--find", "[/red"], "--find: [/red is neither a built-in pattern"),
        (["--find", "*"], "nor a valid regular expression"),
        (["--find", "brackets"], "--find brackets: this pattern does not vary in both halves"),
        (["--find", "[[]red[]]"], "--find [[]red[]]: this pattern does not vary"),
        (["--find", ":smile:"], "--find :smile:: this pattern does not vary"),
        (["--find", "Quotes"], "--find Quotes: this pattern does not vary"),
        (["--find", ""], "does not vary in both halves"),
        (
            ["--find", "quotes", "--max-characters", "300"],
            "--find: the text is too short to test quotes",
        ),
        (["--find", "quotes", "--signal", "reset"], "--signal: reset is not a signal of this lstm"),
        (["--find", "quotes", "--signal", "[red]"], "--signal: [red] is not"),
        (["--find", "quotes", "--layers", "2"], "--layers: 2: this model has layers 0 to 1"),
        (["--find", "quotes", "--format", "npz"], "--format npz"),
        (["--find", "quotes", "--format", "html"], "--format html"),
        (["--ablate", "0:1", "--format", "csv"], "--format csv"),
        (["--ablate", "2:0"], "--ablate 2:0: expected LAYER:INDEX"),
        (["--ablate", "0:7"], "units 0 to 6"),
        (["--ablate", "0"], "--ablate 0: expected LAYER:INDEX"),
        (["--ablate", "-1:0"], "--ablate -1:0: expected LAYER:INDEX"),
        (["--ablate", "0:1", "--ablate", "[x]:y"], "--ablate [x]:y: expected LAYER:INDEX"),
        (["--ablate", "0:1", "--find", "("], "--find: ( is neither a built-in pattern"),
        (["--ablate", "0:1", "--max-characters", "1"], "nothing to predict"),
        (["--find", "quotes", "--unit", "0:1"], "--unit excludes --find and --ablate"),
        (["--ablate", "0:1", "--unit", "0:1"], "--unit excludes --find and --ablate"),
        (["--ablate", "0:1", "--signal", "cell"], "--ablate excludes --signal and --layers"),
        (["--ablate", "0:1", "--find", "quotes", "--layers", "0"], "--ablate excludes --signal and --layers"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
def test_what_cannot_be_is_explained_in_a_sentence(
    arguments: list[str], words: str, charlm: Run, lstm: str, text: str, tmp_path: Path
) -> None:
    said = refusal(charlm, "inspect-hidden", "-c", lstm, "--file", text, *arguments, "--output", "found")
    assert words in said
    assert not (tmp_path / "found").exists()


def test_a_terminal_of_usual_width_shows_every_name_and_number_whole(lstm: str, text: str, tmp_path: Path) -> None:
    usual = {"COLUMNS": "80", "LINES": str(SIZE[0]), "NO_COLOR": "1"}
    for arguments in (["--find", "quotes"], ["--find", "all"], ["--find", "all", "--ablate", "0:1"]):
        code, shown = run_on_terminal(
            tmp_path, "inspect-hidden", "-c", lstm, "--file", text, *arguments, environment=usual
        )
        assert code == 0
        assert "…" not in shown, arguments


# --ablate


@pytest.mark.parametrize("kind", KINDS)
def test_ablation_alone_says_what_each_unit_is_worth(
    kind: str, charlm: Run, trained: dict[str, Path], text: str
) -> None:
    arguments = ("-c", str(trained[kind]), "--file", text, "--ablate", "1:4", "--ablate", "0:6")
    shown = json.loads(output(charlm, *arguments, "--format", "json"))
    expected = [ablated(trained[kind], *place) for place in ((1, 4), (0, 6))]
    assert shown == {"ablations": [records(ablation) for ablation in expected]}
    assert all(list(one) == list(records(expected[0])) for one in shown["ablations"])
    lines = output(charlm, *arguments).splitlines()
    assert f"{expected[0].whole:.4f}" in lines[0]
    assert [line.split() for line in lines[-2:]] == [
        [f"{a.unit.layer}:{a.unit.index}", f"{a.value:+.3f}", "everywhere", f"{a.change:+.4f}"] for a in expected
    ]


def test_ablation_with_a_pattern_tells_inside_from_outside(charlm: Run, lstm: str, text: str) -> None:
    arguments = ("-c", lstm, "--file", text, "--ablate", "0:2", "--find", "quotes")
    (one,) = json.loads(output(charlm, *arguments, "--format", "json"))["ablations"]
    expected = ablated(lstm, 0, 2, "quotes")
    assert one == records(expected)
    assert list(one["inside"]) == list(one["outside"]) == ["quotes"]
    lines = output(charlm, *arguments).splitlines()
    assert lines[-3].split() == ["unit", "held", "at", "pattern", "inside", "outside"]
    inside, outside = f"{expected.inside['quotes']:+.4f}", f"{expected.outside['quotes']:+.4f}"
    assert lines[-1].split() == ["quotes", inside, outside]


def test_ablation_goes_into_a_file_too(charlm: Run, lstm: str, text: str, tmp_path: Path) -> None:
    for name in ("terminal", "json"):
        arguments = ("-c", lstm, "--file", text, "--ablate", "0:2", "--format", name)
        assert output(charlm, *arguments, "--output", "lost") == ""
        assert (tmp_path / "lost").read_bytes().decode() == output(charlm, *arguments)


# sample --clamp


@pytest.fixture(params=KINDS)
def lively(request, trained: dict[str, Path], tmp_path: Path) -> Path:
    """Return a checkpoint with large weights, which never writes the same letter for long."""
    whole = Checkpoint.load(trained[request.param] / "best.safetensors")
    random = np.random.default_rng(1)
    shapes = tensor_shapes(whole.config.model, len(whole.vocabulary))
    tensors = {f"model.{name}": random.normal(0, 3, shape).astype(np.float32) for name, shape in shapes.items()}
    replace(whole, tensors=tensors).save(tmp_path / "lively.safetensors")
    return tmp_path / "lively.safetensors"


def likeliest(path: Path, prompt: str, length: int, held: Mapping[tuple[int, int], float]) -> str:
    """Write on with the likeliest character after the likeliest, by the textbook's equations in a loop."""
    checkpoint = Checkpoint.load(path)
    tensors = {name: tensor.astype(np.float64) for name, tensor in checkpoint.part("model").items()}
    read = held_steps(checkpoint.config.model, tensors, held)
    symbols, written = checkpoint.vocabulary.symbols, prompt
    for place in range(len(prompt) + length - 1):
        _, logits = read(symbols.index(written[place]))
        if place >= len(prompt) - 1:
            written += symbols[int(np.argmax(logits))]
    return written


@pytest.mark.parametrize(
    "held", [{}, {(0, 3): 0.5}, {(1, 5): -1.0, (0, 0): 0.5, (1, 1): 0.75}], ids=["none", "one", "several"]
)
def test_clamped_text_is_what_a_loop_writes_that_overwrites_the_units(
    held: dict[tuple[int, int], float], charlm: Run, lively: Path
) -> None:
    clamps = [word for (layer, unit), value in held.items() for word in ("--clamp", f"{layer}:{unit}={value}")]
    arguments = ("-c", str(lively), "--prompt", "The fox", "--length", "40", "--temperature", "0")
    result = charlm("sample", *arguments, "--seed", "1", *clamps)
    assert result.exit_code == 0
    assert result.stdout == likeliest(lively, "The fox", 40, held)
    without_the_first = dict([*held.items()][1:])
    assert not held or result.stdout != likeliest(lively, "The fox", 40, without_the_first)


def test_a_clamp_changes_the_text_and_a_seed_still_writes_it_again(charlm: Run, lstm: str) -> None:
    arguments = ("sample", "-c", lstm, "--length", "200", "--seed", "5")
    free, held, again, other = (
        charlm(*arguments, *clamp).stdout
        for clamp in ([], ["--clamp", "1:3=9"], ["--clamp", "1:3=9.0"], ["--clamp", "1:3=-9"])
    )
    assert len(free) == len(held) == 200
    assert held == again
    assert len({free, held, other}) == 3


def test_several_clamped_samples_are_those_of_one_by_one(charlm: Run, lstm: str) -> None:
    arguments = ("sample", "-c", lstm, "--length", "40", "--seed", "5", "--clamp", "0:2=1.5", "--json")
    several = json.loads(charlm(*arguments, "--num-samples", "3").stdout)["samples"]
    assert len(set(several)) == 3
    assert json.loads(charlm(*arguments).stdout)["samples"] == several[:1]


@pytest.mark.parametrize("value", ["1", "+1", "-1", "1.", ".5", "-0.25", "007", " 1 "])
def test_a_value_may_be_written_in_any_usual_way(value: str, charlm: Run, lstm: str) -> None:
    arguments = ("sample", "-c", lstm, "--length", "30", "--seed", "5", "--clamp")
    written = charlm(*arguments, f"0:1={value}")
    assert written.exit_code == 0
    assert written.stdout == charlm(*arguments, f"0:1={float(value)}").stdout


@pytest.mark.parametrize(
    "clamp",
    [
        *["", "1", "0:1", "=1", "0=1", "a:b=1", "0:7=1", "2:0=1", "-1:0=1", "0:-1=1", "0:1:2=1", "[red]=1"],
        *["0:1=2", "0:1=", "0:1=x", "0:1=nan", "0:1=inf", "0:1=1e999", "0:1=1=2", "0:1=1,5", "0:1=" + "9" * 50],
    ],
)
def test_a_clamp_that_cannot_be_is_named(clamp: str, charlm: Run, lstm: str) -> None:
    said = refusal(charlm, "sample", "-c", lstm, "--length", "5", "--clamp", "0:1=1", "--clamp", clamp)
    assert f"--clamp {clamp.partition('=')[0]}" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_clamp_on_another_device_is_refused(device: str, charlm: Run, lstm: str) -> None:
    said = refusal(charlm, "sample", "-c", lstm, "--clamp", "0:1=1", "--device", device)
    assert "--clamp" in said
    assert "--device" in said


# What all this is loaded with


def test_finding_ablating_and_clamping_leave_torch_alone(trained: dict[str, Path], tmp_path: Path, text: str) -> None:
    inspect = ["inspect-hidden", "-c", str(trained["lstm"]), "--file", text]
    lines = [
        *([*inspect, "--find", name, "--format", kind] for name in ("quotes", "all") for kind in ("terminal", "json")),
        [*inspect, "--find", "[red]", "--format", "csv"],
        [*inspect, "--ablate", "0:1", "--find", "quotes"],
        [*inspect, "--ablate", "1:1", "--format", "json"],
        ["sample", "-c", str(trained["gru"]), "--length", "20", "--clamp", "0:1=1"],
    ]
    assert_torch_not_imported(tmp_path, lines)


def test_a_byte_model_is_searched_byte_by_byte(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes((SEARCHED + "한글\n" * 9).encode())
    path, _ = train(make_config(tmp_path / "bytes", tmp_path / "runs", kind="gru", data={"unit": "byte"}))
    arguments = ("-c", str(path), "--file", "bytes", "--find", "fox", "--signal", "hidden", "--format", "json")
    shown = json.loads(output(charlm, *arguments))
    assert {(unit["layer"], unit["index"]) for unit in shown["units"]} == set(np.ndindex(2, 7))
    assert Unit("hidden", shown["units"][0]["layer"], shown["units"][0]["index"]).signal == shown["units"][0]["signal"]
