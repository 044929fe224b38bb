"""What a user sees of ``charlm inspect-hidden``."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.models.network import RecurrentNetwork
from tests.conftest import TEXT, Run, make_config, train
from tests.harness.processes import run_on_terminal

SENTENCE = 'The fox said "come in" (twice).\n3 boats\tlay'
MARKED = 'The fox said "come in" (twice).\u21b53 boats\u2192lay'
SIGNALS = {
    "rnn": ("hidden",),
    "lstm": ("hidden", "cell", "input", "forget", "candidate", "output"),
    "gru": ("hidden", "reset", "update", "candidate"),
}
BARS = "▁▂▃▄▅▆▇█"


@pytest.fixture
def sentence(tmp_path: Path) -> str:
    (tmp_path / "sentence.txt").write_bytes(SENTENCE.encode())
    return "sentence.txt"


def archive(run: Run, *arguments: str) -> dict[str, NDArray[Any]]:
    result = run("inspect-hidden", *arguments, "--format", "npz")
    assert result.exit_code == 0, result.stderr
    with np.load(io.BytesIO(result.stdout_bytes), allow_pickle=False) as arrays:
        return dict(arrays)


def torchs_states(path: Path, text: str) -> dict[str, NDArray[np.float32]]:
    """Return torch's own hidden and cell state [time, layer, unit], stepping through ``text``."""
    checkpoint = Checkpoint.load(path)
    network = RecurrentNetwork(checkpoint.config.model, len(checkpoint.vocabulary)).eval()
    network.load_tensors(checkpoint.part("model"))
    state, rows = None, []
    for character in text:
        with torch.no_grad():
            _, state = network(torch.tensor([[checkpoint.vocabulary.symbols.index(character)]]), state)
        parts = state if isinstance(state, tuple) else (state,)
        rows.append([part[:, 0].numpy() for part in parts])
    return dict(zip(("hidden", "cell"), np.stack(rows).swapaxes(0, 1), strict=False))


@pytest.mark.parametrize("kind", SIGNALS)
def test_npz_holds_every_signal_and_the_states_are_torchs_own(
    kind: str, charlm: Run, trained: dict[str, Path], sentence: str
) -> None:
    arrays = archive(charlm, "-c", str(trained[kind]), "--file", sentence)
    assert set(arrays) == {"ids", "characters", *SIGNALS[kind]}
    assert {arrays[signal].shape for signal in SIGNALS[kind]} == {(len(SENTENCE), 2, 7)}
    assert {arrays[signal].dtype for signal in SIGNALS[kind]} == {np.dtype(np.float32)}
    assert "".join(arrays["characters"]) == SENTENCE
    symbols = sorted(set(TEXT))
    assert [symbols[index] for index in arrays["ids"]] == list(SENTENCE)
    states = torchs_states(trained[kind] / "best.safetensors", SENTENCE)
    assert set(states) == {"hidden", "cell"} & set(SIGNALS[kind])
    for signal, expected in states.items():
        assert np.all(np.abs(arrays[signal] - expected) <= 1e-5 * (1 + np.abs(expected)))


def test_npz_of_a_byte_model_has_every_byte_in_its_ids(charlm: Run, tmp_path: Path) -> None:
    """NumPy's strings lose a NUL at their end; the ids do not."""
    content = bytes(range(256)) * 3
    (tmp_path / "bytes").write_bytes(content)
    path, _ = train(make_config(tmp_path / "bytes", tmp_path / "runs", data={"unit": "byte"}))
    arrays = archive(charlm, "-c", str(path), "--file", "bytes", "--max-characters", "256")
    assert bytes(arrays["ids"].tolist()) == content[:256]
    assert list(arrays["characters"][[0, 1, 255]]) == ["", "\x01", "\xff"]


def test_npz_holds_only_the_signals_that_were_asked_for(charlm: Run, trained: dict[str, Path], sentence: str) -> None:
    arrays = archive(charlm, "-c", str(trained["lstm"]), "--file", sentence, "--signal", "cell", "--signal", "forget")
    assert set(arrays) == {"ids", "characters", "cell", "forget"}


@pytest.mark.parametrize("kind", SIGNALS)
def test_csv_has_one_row_a_character_and_one_column_a_unit(
    kind: str, charlm: Run, trained: dict[str, Path], sentence: str
) -> None:
    arguments = ("-c", str(trained[kind]), "--file", sentence)
    result = charlm("inspect-hidden", *arguments, "--format", "csv")
    head, *rows = csv.reader(io.StringIO(result.stdout_bytes.decode()))
    assert head == ["position", "character", *(f"hidden {layer}:{index}" for layer in (0, 1) for index in range(7))]
    assert [row[0] for row in rows] == [str(t) for t in range(len(SENTENCE))]
    assert "".join(row[1] for row in rows) == MARKED
    assert result.stdout_bytes.count(b"\n") == len(SENTENCE) + 1  # marks keep every row on one line
    values = np.array([row[2:] for row in rows], np.float32)
    np.testing.assert_array_equal(values, archive(charlm, *arguments)["hidden"].reshape(len(SENTENCE), 14))


def test_csv_and_json_hold_the_units_and_signals_that_were_asked_for(
    charlm: Run, trained: dict[str, Path], sentence: str
) -> None:
    arguments = ("-c", str(trained["gru"]), "--file", sentence)
    chosen = ("--unit", "1:4", "--unit", "0:6", "--signal", "update", "--signal", "hidden")
    expected = [("update", 1, 4), ("update", 0, 6), ("hidden", 1, 4), ("hidden", 0, 6)]
    arrays = archive(charlm, *arguments)
    table = charlm("inspect-hidden", *arguments, *chosen, "--format", "csv").stdout_bytes.decode()
    assert table.splitlines()[0] == "position,character,update 1:4,update 0:6,hidden 1:4,hidden 0:6"
    record = json.loads(charlm("inspect-hidden", *arguments, *chosen, "--format", "json").stdout)
    assert set(record) == {"characters", "units"}
    assert "".join(record["characters"]) == SENTENCE
    assert [(unit["signal"], unit["layer"], unit["index"]) for unit in record["units"]] == expected
    for unit, (signal, layer, index) in zip(record["units"], expected, strict=True):
        np.testing.assert_array_equal(np.float32(unit["values"]), arrays[signal][:, layer, index])


def test_the_terminal_shows_a_scale_the_marked_text_and_a_bar_for_each_character(
    charlm: Run, trained: dict[str, Path], sentence: str
) -> None:
    arguments = ("-c", str(trained["lstm"]), "--file", sentence)
    result = charlm("inspect-hidden", *arguments, "--unit", "1:3", "--unit", "0:0")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "\x1b" not in result.stdout  # colour is for terminals
    hidden = archive(charlm, *arguments)["hidden"]
    bars = [
        "".join(BARS[round((float(value) + 1) / 2 * 7)] for value in hidden[:, layer, index])
        for layer, index in ((1, 3), (0, 0))
    ]
    assert result.stdout.splitlines() == [
        "coloured by hidden 1:3:  -1 ▁▂▃▄▅▆▇█ 1",
        "",
        f"            {MARKED}",
        f"hidden 1:3  {bars[0]}",
        f"hidden 0:0  {bars[1]}",
        "",
    ]


@pytest.mark.parametrize("signal", ["hidden", "cell"])
def test_without_a_unit_the_five_that_vary_most_are_shown_the_liveliest_first(
    signal: str, charlm: Run, trained: dict[str, Path], sentence: str
) -> None:
    arguments = ("-c", str(trained["lstm"]), "--file", sentence)
    lines = charlm("inspect-hidden", *arguments, "--signal", signal).stdout.splitlines()
    shown = [line.split()[1] for line in lines if line.startswith(f"{signal} ")]
    spread = archive(charlm, *arguments)[signal].astype(np.float64).var(axis=0)
    places = sorted(np.ndindex(2, 7), key=lambda place: -spread[place])[:5]
    assert shown == [f"{layer}:{index}" for layer, index in places]
    assert lines[0].startswith(f"coloured by {signal} {shown[0]}:")


def test_the_text_may_be_given_as_argument_file_or_standard_input(
    charlm: Run, trained: dict[str, Path], sentence: str
) -> None:
    run = str(trained["rnn"])
    escaped = SENTENCE.replace("\n", r"\n").replace("\t", r"\t")
    ways = [
        charlm("inspect-hidden", "-c", run, "--text", escaped),
        charlm("inspect-hidden", "-c", run, "--file", sentence),
        charlm("inspect-hidden", "-c", run, "--file", "-", text=SENTENCE.encode()),
    ]
    assert len({way.stdout for way in ways}) == 1
    assert MARKED in ways[0].stdout


def test_without_a_text_the_models_own_validation_text_is_read(charlm: Run, trained: dict[str, Path]) -> None:
    validation = TEXT[int(len(TEXT) * 0.9) :]
    run = str(trained["gru"])
    record = json.loads(charlm("inspect-hidden", "-c", run, "--format", "json").stdout)
    assert "".join(record["characters"]) == validation
    drawing = charlm("inspect-hidden", "-c", run).stdout.splitlines()
    assert drawing[2].strip() == validation.replace("\n", "\u21b5").replace("\t", "\u2192").strip()


def test_a_long_validation_text_is_cut_on_a_terminal_alone(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(TEXT.encode() * 9)
    run = str(train(make_config(tmp_path / "text.txt", tmp_path / "runs"))[0])
    whole = len(TEXT) * 9 - int(len(TEXT) * 9 * 0.9)
    assert whole > 500
    rows = charlm("inspect-hidden", "-c", run, "--unit", "0:0").stdout.splitlines()[3::3]
    assert sum(len(row.removeprefix("hidden 0:0  ")) for row in rows) == 500
    table = charlm("inspect-hidden", "-c", run, "--format", "csv").stdout_bytes.decode()
    assert table.count("\n") == whole + 1
    shorter = charlm("inspect-hidden", "-c", run, "--format", "csv", "--max-characters", "17").stdout_bytes.decode()
    assert shorter.splitlines() == table.splitlines()[:18]


@pytest.mark.parametrize("name", ["terminal", "csv", "json", "npz"])
def test_output_goes_into_a_file_and_nothing_to_standard_output(
    name: str, charlm: Run, trained: dict[str, Path], sentence: str, tmp_path: Path
) -> None:
    arguments = ("inspect-hidden", "-c", str(trained["lstm"]), "--file", sentence, "--format", name)
    (tmp_path / "trace").write_text("an older trace", encoding="utf-8")
    result = charlm(*arguments, "--output", "trace")
    assert (result.exit_code, result.stdout_bytes) == (0, b"")
    assert (tmp_path / "trace").read_bytes() == charlm(*arguments).stdout_bytes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sentence.txt", "trace"]


@pytest.mark.slow
def test_a_terminal_is_spared_an_archive(trained: dict[str, Path], tmp_path: Path) -> None:
    arguments = ("inspect-hidden", "-c", str(trained["rnn"]), "--text", "fox", "--format", "npz")
    code, shown = run_on_terminal(tmp_path, *arguments)
    assert code == 2
    assert shown == "charlm: --format npz: binary output cannot be shown on a terminal. Use --output FILE.\n"
    assert run_on_terminal(tmp_path, *arguments, "--output", "fox.npz") == (0, "")


@pytest.mark.slow
def test_a_terminal_gets_colour_in_its_own_width_unless_no_color_is_set(
    charlm: Run, trained: dict[str, Path], sentence: str, tmp_path: Path
) -> None:
    arguments = ("inspect-hidden", "-c", str(trained["lstm"]), "--file", sentence, "--unit", "0:1")
    size = {"COLUMNS": "44", "LINES": "30", "COLORTERM": "truecolor"}
    code, coloured = run_on_terminal(tmp_path, *arguments, environment=size)
    assert code == 0
    assert "48;2;" in coloured
    code, plain = run_on_terminal(tmp_path, *arguments, environment=size | {"NO_COLOR": "1"})
    assert code == 0
    assert "48;2;" not in plain
    rows = [line.strip() for line in plain.splitlines() if line.startswith(" " * 12)]
    assert rows == [MARKED[:32], MARKED[32:]]
    bars = [line.split("  ")[1].replace("\x1b[0m", "") for line in plain.splitlines() if "hidden 0:1" in line][1:]
    assert "".join(bars) in charlm(*arguments).stdout


def test_a_relu_network_is_scaled_by_how_far_it_went(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(TEXT.encode())
    model: dict[str, object] = {"nonlinearity": "relu"}
    run = str(train(make_config(tmp_path / "text.txt", tmp_path / "runs", kind="rnn", model=model))[0])
    hidden = archive(charlm, "-c", run, "--text", "The fox")["hidden"]
    assert hidden.min() >= 0
    place = np.unravel_index(hidden.max(axis=0).argmax(), (2, 7))
    unit, far = f"{place[0]}:{place[1]}", f"{hidden.max():.3g}"
    legend = charlm("inspect-hidden", "-c", run, "--text", "The fox", "--unit", unit).stdout.splitlines()[0]
    assert legend == f"coloured by hidden {unit}:  -{far} {BARS} {far}"


@pytest.mark.slow
def test_markup_in_a_text_is_text(charlm: Run, tmp_path: Path) -> None:
    literal = "[red]x[/red] :smile: [link=a]b"
    (tmp_path / "text.txt").write_text((literal + "\n") * 20, encoding="utf-8")
    run = str(train(make_config(tmp_path / "text.txt", tmp_path / "runs"))[0])
    arguments = ("inspect-hidden", "-c", run, "--text", literal)
    assert f" {literal}\n" in charlm(*arguments).stdout
    code, shown = run_on_terminal(tmp_path, *arguments, environment={"NO_COLOR": "1"})
    assert code == 0
    assert f" {literal}\n" in shown


def test_a_stranger_is_told_and_read_as_unknown_where_the_model_knows_how(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT + "\u20ac", encoding="utf-8")
    config = make_config(tmp_path / "text.txt", tmp_path / "runs", data={"minimum_count": 2})
    run = str(train(config)[0])
    result = charlm("inspect-hidden", "-c", run, "--text", "a\u20acb")
    assert result.exit_code == 0
    assert result.stderr == "charlm: read as unknown: '\u20ac' (U+20AC) at position 1\n"
    assert " a\ufffdb\n" in result.stdout


def test_help_says_which_signals_are_traced_by_default(charlm: Run) -> None:
    words = " ".join(charlm("inspect-hidden", "--help").stdout.replace("│", " ").split())
    assert "Default: hidden; all for npz and --find." in words
