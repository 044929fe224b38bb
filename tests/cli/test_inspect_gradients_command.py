"""What a user sees of ``charlm inspect-gradients``."""

import csv
import io
import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.cli.gradient_chart import lag_chart, saliency_drawing
from charlm.inspection.gradient_by_lag import GradientByLag, Saliency
from charlm.inspection.gradients import gradient_by_lag, saliency
from charlm.models.network import RecurrentNetwork
from charlm.text.vocabulary import Ids, Vocabulary
from tests.conftest import TEXT, Run, make_config, train
from tests.harness.processes import run_on_terminal

pytestmark = pytest.mark.slow

KINDS = ("rnn", "lstm", "gru")
VALIDATION = TEXT[int(len(TEXT) * 0.9) :]
SENTENCE = 'The fox said "come in" (twice).\nNobody laughed; 3 boats\tlay still.\n'
CONFIG = "data: {path: text.txt}\nmodel: {kind: gru, hidden_size: 6}\ntraining: {seed: 11}\n"
BARS = "▁▂▃▄▅▆▇█"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder that commands run in, with a text and a config for it."""
    (tmp_path / "text.txt").write_bytes(TEXT.encode())
    (tmp_path / "tiny.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def trained_network(run: Path) -> tuple[RecurrentNetwork, Vocabulary]:
    checkpoint = Checkpoint.load(run / "best.safetensors")
    network = RecurrentNetwork(checkpoint.config.model, len(checkpoint.vocabulary))
    network.load_tensors(checkpoint.part("model"))
    return network, checkpoint.vocabulary


def table_of(run: Run, *arguments: str, text: bytes | None = None) -> dict[str, GradientByLag]:
    result = run("inspect-gradients", *arguments, "--format", "csv", text=text)
    assert result.exit_code == 0, result.stderr
    head, *rows = csv.reader(io.StringIO(result.stdout_bytes.decode()))
    assert head == ["model", "lag", "mean", "spread"]
    found: dict[str, list[tuple[float, float]]] = {}
    for name, lag, mean, spread in rows:
        found.setdefault(name, []).append((float(mean), float(spread)))
        assert int(lag) == len(found[name]) - 1
    return {name: GradientByLag(*np.array(pairs).T) for name, pairs in found.items()}


def hangs_of(run: Run, *arguments: str) -> dict[str, tuple[str, list[float]]]:
    result = run("inspect-gradients", *arguments, "--format", "csv")
    assert result.exit_code == 0, result.stderr
    head, *rows = csv.reader(io.StringIO(result.stdout_bytes.decode()))
    assert head == ["model", "position", "character", "size"]
    names = list(dict.fromkeys(row[0] for row in rows))
    of_each = {name: [row for row in rows if row[0] == name] for name in names}
    assert all([row[1] for row in part] == [str(t) for t in range(len(part))] for part in of_each.values())
    return {name: ("".join(row[2] for row in part), [float(row[3]) for row in part]) for name, part in of_each.items()}


def assert_same(found: GradientByLag, network: RecurrentNetwork, ids: Ids, lags: int, positions: int) -> None:
    expected = gradient_by_lag(network, ids, lags, positions)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-9)
    np.testing.assert_allclose(found.spread, expected.spread, rtol=1e-9, atol=1e-15)


# The numbers


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_model_reads_its_own_validation_text(kind: str, charlm: Run, trained: dict[str, Path]) -> None:
    network, vocabulary = trained_network(trained[kind])
    run = str(trained[kind])
    table = table_of(charlm, "-c", run, "--lags", "9", "--positions", "7")
    assert list(table) == [run]
    assert_same(table[run], network, vocabulary.encode(VALIDATION), lags=9, positions=7)


def test_sixty_four_places_are_averaged_and_a_hundred_lags_looked_back_by_default(
    charlm: Run, trained: dict[str, Path], folder: Path
) -> None:
    (folder / "long.txt").write_bytes(SENTENCE.encode() * 9)
    network, vocabulary = trained_network(trained["rnn"])
    (found,) = table_of(charlm, "-c", str(trained["rnn"]), "--file", "long.txt").values()
    assert_same(found, network, vocabulary.encode(SENTENCE * 9), lags=100, positions=64)


def test_a_config_stands_for_the_model_that_its_training_would_begin_with(charlm: Run, folder: Path) -> None:
    table = table_of(charlm, "--config", "tiny.yaml", "--lags", "8", "--positions", "5")
    assert list(table) == ["tiny, untrained"]
    vocabulary = Vocabulary.of_text(TEXT)
    model = make_config(folder / "text.txt", folder, kind="gru", model={"hidden_size": 6}).model
    network = RecurrentNetwork(model, len(vocabulary), seed=11)
    assert_same(table["tiny, untrained"], network, vocabulary.encode(VALIDATION), lags=8, positions=5)


def test_every_model_reads_the_file_that_is_named(charlm: Run, trained: dict[str, Path], folder: Path) -> None:
    (folder / "other.txt").write_bytes(SENTENCE.encode())
    table = table_of(charlm, "-c", str(trained["lstm"]), "--config", "tiny.yaml", "--file", "other.txt", "--lags", "6")
    network, vocabulary = trained_network(trained["lstm"])
    assert list(table) == [str(trained["lstm"]), "tiny, untrained"]
    assert_same(table[str(trained["lstm"])], network, vocabulary.encode(SENTENCE), lags=6, positions=64)
    own = table_of(charlm, "--config", "tiny.yaml", "--lags", "6")["tiny, untrained"]
    assert not np.allclose(table["tiny, untrained"].mean, own.mean)


def test_standard_input_is_read_by_one_model_and_refused_to_several(
    charlm: Run, trained: dict[str, Path], folder: Path
) -> None:
    (folder / "other.txt").write_bytes(SENTENCE.encode())
    one = ("-c", str(trained["lstm"]), "--lags", "6")
    piped = table_of(charlm, *one, "--file", "-", text=SENTENCE.encode())
    read = table_of(charlm, *one, "--file", "other.txt")
    np.testing.assert_array_equal(piped[str(trained["lstm"])].mean, read[str(trained["lstm"])].mean)

    refused = charlm("inspect-gradients", *one, "--config", "tiny.yaml", "--file", "-", text=SENTENCE.encode())
    assert refused.exit_code == 2
    assert "--file -: several models cannot share standard input" in refused.stderr


def test_json_holds_the_numbers_of_the_csv_and_what_they_mean(
    charlm: Run, trained: dict[str, Path], folder: Path
) -> None:
    arguments = ("-c", str(trained["gru"]), "--config", "tiny.yaml", "--lags", "12")
    table = table_of(charlm, *arguments)
    result = charlm("inspect-gradients", *arguments, "--format", "json")
    (record,) = result.stdout_bytes.decode().splitlines()
    models = json.loads(record)["models"]
    assert [model["model"] for model in models] == list(table)
    for model, found in zip(models, table.values(), strict=True):
        assert set(model) == {"model", "mean", "spread", "factor", "words"}
        assert model["mean"] == found.mean.tolist()
        assert model["spread"] == found.spread.tolist()
        assert model["factor"] == found.factor
        assert model["words"] == found.words


def test_models_come_checkpoints_first_each_under_a_name_of_its_own(
    charlm: Run, trained: dict[str, Path], folder: Path
) -> None:
    (folder / "deeper").mkdir()
    shutil.copy(folder / "tiny.yaml", folder / "deeper/tiny.yaml")
    lstm, gru = str(trained["lstm"]), str(trained["gru"])
    configs = ("--config", "tiny.yaml", "--config", "deeper/tiny.yaml")
    table = table_of(charlm, *configs, "-c", lstm, "-c", gru, "-c", lstm, "--lags", "3")
    assert list(table) == [lstm, gru, f"{lstm} (2)", "tiny, untrained", "tiny, untrained (2)"]
    np.testing.assert_array_equal(table[lstm].mean, table[f"{lstm} (2)"].mean)


def test_a_name_that_looks_numbered_loses_no_model(charlm: Run, trained: dict[str, Path], folder: Path) -> None:
    for name, kind in (("run", "lstm"), ("run (1)", "gru")):
        shutil.copytree(trained[kind], folder / name)
    arguments = ("-c", "run", "-c", "run", "-c", "run (1)", "--lags", "3")
    assert len(table_of(charlm, *arguments)) == 3
    assert len(hangs_of(charlm, "-c", "run", "-c", "run", "-c", "run (1)", "--text", "fox")) == 3


def test_without_a_model_the_best_of_the_latest_run_is_taken(
    charlm: Run, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = trained["rnn"].parent
    monkeypatch.chdir(runs.parent)
    latest = (runs / "latest").read_text(encoding="utf-8").strip()
    expected = table_of(charlm, "-c", latest, "--lags", "5")
    found = table_of(charlm, "--lags", "5")
    assert list(found) == list(expected) == [latest]
    np.testing.assert_array_equal(found[latest].mean, expected[latest].mean)


# One guess


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_shows_what_the_guess_after_it_hangs_on(kind: str, charlm: Run, trained: dict[str, Path]) -> None:
    network, vocabulary = trained_network(trained[kind])
    marks, sizes = hangs_of(charlm, "-c", str(trained[kind]), "--text", r"said\nby\t3")[str(trained[kind])]
    assert marks == "said\u21b5by\u21923"
    np.testing.assert_allclose(sizes, saliency(network, vocabulary.encode("said\nby\t3")), rtol=1e-9)


def test_a_texts_json_holds_the_numbers_of_its_csv(charlm: Run, trained: dict[str, Path], folder: Path) -> None:
    arguments = ("-c", str(trained["gru"]), "--config", "tiny.yaml", "--text", r'fox;\n"(')
    table = hangs_of(charlm, *arguments)
    models = json.loads(charlm("inspect-gradients", *arguments, "--format", "json").stdout)["models"]
    assert [set(model) for model in models] == [{"model", "characters", "sizes"}] * 2
    assert {m["model"]: ("".join(m["characters"]), m["sizes"]) for m in models} == table


def test_the_terminal_shows_a_text_over_bars_of_what_the_guess_hangs_on(charlm: Run, trained: dict[str, Path]) -> None:
    run = str(trained["lstm"])
    result = charlm("inspect-gradients", "-c", run, "--text", r"The fox\nsaid")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout  # colour is for terminals
    marks, sizes = hangs_of(charlm, "-c", run, "--text", r"The fox\nsaid")[run]
    bars = "".join(BARS[round(size / max(sizes) * 7)] for size in sizes)
    assert result.stdout.splitlines() == [f"what the prediction after this text depends on: {run}", "", marks, bars, ""]


def test_a_decomposed_korean_text_has_a_mark_and_a_number_for_each_jamo(charlm: Run, folder: Path) -> None:
    text = "\ud55c\uad6d\uc5b4 \ubb38\uc7a5\uc774 \uc5ec\uae30\uc5d0 \uc788\ub2e4.\n"
    (folder / "korean.txt").write_text(text * 30, encoding="utf-8")
    config = make_config(folder / "korean.txt", folder / "runs", kind="gru", data={"normalization": "NFD"})
    run = str(train(config)[0])
    marks, sizes = hangs_of(charlm, "-c", run, "--text", "\ud55c\uad6d")[run]
    assert marks == "\u314e\u314f\u3134\u3131\u315c\u3131"  # ㅎㅏㄴㄱㅜㄱ
    assert min(sizes) > 0
    drawing = charlm("inspect-gradients", "-c", run, "--text", "\ud55c\uad6d").stdout.splitlines()
    assert drawing[2] == marks
    assert len(drawing[3]) == 2 * len(marks)  # these letters are two cells wide
    assert len(table_of(charlm, "-c", run, "--lags", "4")[run].mean) == 5


def test_a_byte_model_has_a_number_for_each_byte(charlm: Run, folder: Path) -> None:
    (folder / "bytes").write_bytes(bytes(range(256)) * 2)
    run = str(train(make_config(folder / "bytes", folder / "runs", kind="rnn", data={"unit": "byte"}))[0])
    marks, sizes = hangs_of(charlm, "-c", run, "--text", "\ud55c a")[run]
    assert marks == "\ufffd\ufffd\ufffd a"
    assert len(sizes) == 5
    (folder / "any").write_bytes(bytes(range(255, -1, -1)))
    assert len(table_of(charlm, "-c", run, "--file", "any", "--lags", "4")[run].mean) == 5


def test_a_stranger_is_told_and_read_as_unknown_where_the_model_knows_how(charlm: Run, folder: Path) -> None:
    (folder / "text.txt").write_text(TEXT + "\u20ac", encoding="utf-8")
    run = str(train(make_config(folder / "text.txt", folder / "runs", data={"minimum_count": 2}))[0])
    result = charlm("inspect-gradients", "-c", run, "--text", "a\u20acb")
    assert result.exit_code == 0
    assert "a\ufffdb\n" in result.stdout
    assert result.stderr == "charlm: read as unknown: '\u20ac' (U+20AC) at position 1\n"


# Where it goes


@pytest.mark.parametrize("asked", [("--lags", "5"), ("--text", "fox")])
@pytest.mark.parametrize("name", ["terminal", "csv", "json", "png", "html"])
def test_output_goes_into_a_file_and_nothing_to_standard_output(
    name: str, asked: tuple[str, ...], charlm: Run, trained: dict[str, Path], tmp_path: Path
) -> None:
    arguments = ("inspect-gradients", "-c", str(trained["lstm"]), *asked, "--format", name)
    (tmp_path / "found").write_text("an older one", encoding="utf-8")
    result = charlm(*arguments, "--output", "found")
    assert (result.exit_code, result.stdout_bytes, result.stderr) == (0, b"", "")
    assert [path.name for path in tmp_path.iterdir()] == ["found"]
    found = (tmp_path / "found").read_bytes()
    if name != "terminal":  # whose width is that of what it is drawn on
        assert found == charlm(*arguments).stdout_bytes
    beginnings = {"png": b"\x89PNG\r\n\x1a\n", "html": b"<!doctype html>", "json": b'{"models": [', "csv": b"model,"}
    assert found.startswith(beginnings.get(name, b""))


# The chart


def steady(factor: float, lags: int) -> GradientByLag:
    return GradientByLag(factor ** np.arange(lags + 1.0), np.zeros(lags + 1))


def chart(found: Mapping[str, GradientByLag], width: int) -> tuple[list[str], list[str]]:
    """Return the rows of the chart, and the lines beneath it."""
    lines = "".join(f"{line.plain}\n" for line in lag_chart(found, width)).splitlines()
    assert lines[1] == ""
    axis = next(place for place, line in enumerate(lines) if "\u2514" in line)
    return lines[2:axis], lines[axis + 1 :]


@pytest.mark.parametrize("width", [30, 44, 80, 160])
@pytest.mark.parametrize(("factor", "lags"), [(0.5, 100), (0.93, 7), (1.3, 40), (0.999, 1), (10.0, 300)])
def test_marks_stand_at_their_lag_and_size_to_half_a_row(width: int, factor: float, lags: int) -> None:
    rows, _ = chart({"one": steady(factor, lags)}, width)
    powers = np.linspace(math.log10(float(rows[0][:8])), math.log10(float(rows[-1][:8])), len(rows))
    columns = width - 10
    marks = [(row, column) for row, line in enumerate(rows) for column, mark in enumerate(line[10:]) if mark == "●"]
    assert sorted(column for _, column in marks) == list(range(columns))
    for row, column in marks:
        lag = round(column * lags / (columns - 1))
        size = max(lag * math.log10(factor), -30)
        assert abs(powers[row] - size) <= abs(powers[1] - powers[0]) / 2 + 1e-6


@pytest.mark.parametrize("width", [30, 44, 80, 160])
def test_the_chart_fits_its_width(width: int) -> None:
    rows, beneath = chart({"one": steady(0.5, 100)}, width)
    assert max(map(len, rows)) <= width
    assert len(beneath[0]) == width
    assert beneath[0].split() == ["0", "50", "100"]


@pytest.mark.parametrize("width", [44, 101, 160])
@pytest.mark.parametrize("lags", [2, 9, 100, 1000])
def test_the_numbers_beneath_stand_under_their_lags(width: int, lags: int) -> None:
    _, beneath = chart({"one": steady(0.9, lags)}, width)
    first, middle, last = beneath[0].split()
    assert (first, middle, last) == ("0", str(lags // 2), str(lags))
    centre = 10 + (lags // 2) / lags * (width - 10 - 1)
    place = beneath[0].index(middle, 11) + (len(middle) - 1) / 2
    assert beneath[0].index("0") == 10
    assert len(beneath[0]) == width
    assert abs(place - centre) <= 1


def test_a_gradient_of_nothing_is_drawn_at_the_bottom() -> None:
    rows, beneath = chart({"dead": GradientByLag(np.array([1.0, 0, 0, 0, 0]), np.zeros(5))}, 60)
    assert rows[-1].startswith("  1e-30 │ ")
    assert rows[-1].count("●") > 30
    assert "nothing gets through" in beneath[-1]


def test_models_of_different_size_share_one_scale() -> None:
    rows, beneath = chart({"small": steady(0.5, 20), "large": GradientByLag(np.full(21, 1e4), np.zeros(21))}, 80)
    assert rows[0].count("▲") == 70
    assert sum(row.count("●") for row in rows) == 70
    assert beneath[2:] == [f"● small: {steady(0.5, 20).words}", f"▲ large: {steady(1.0, 20).words}"]


def test_seven_models_and_more_are_all_named_under_the_chart(
    charlm: Run, trained: dict[str, Path], folder: Path
) -> None:
    names = [str(trained["gru"]), *(f"config-{place}" for place in range(8))]
    for name in names[1:]:
        shutil.copy(folder / "tiny.yaml", folder / f"{name}.yaml")
    configs = [part for name in names[1:] for part in ("--config", f"{name}.yaml")]
    arguments = ("inspect-gradients", "-c", names[0], *configs, "--lags", "4")
    result = charlm(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    legend = [line for line in result.stdout.splitlines() if ": the gradient " in line]
    assert [line.split(":")[0][2:] for line in legend] == [names[0], *(f"{name}, untrained" for name in names[1:])]
    assert [line[0] for line in legend] == list("●▲■◆○△●▲■")
    for name in ("png", "html"):
        assert charlm(*arguments, "--format", name).exit_code == 0


@pytest.mark.parametrize("width", [1, 2, 3, 20])
def test_a_guess_drawn_on_a_narrow_screen_keeps_every_character(width: int) -> None:
    marks = "The \ud55c\uad6d fox\u21b5said"
    sizes = np.linspace(0, 3, len(marks))
    lines = [line.plain for line in saliency_drawing({"one": Saliency(list(marks), sizes)}, width)]
    rows = lines[1:-1]
    assert "".join(rows[::2]) == marks
    for text, bars in zip(rows[::2], rows[1::2], strict=True):
        assert cell_len(text) == len(bars)
        assert cell_len(text) <= max(width, 2)
    heights = "".join(BARS[round(size / 3 * 7)] * cell_len(mark) for mark, size in zip(marks, sizes, strict=True))
    assert "".join(rows[1::2]) == heights


def test_a_guess_that_hangs_on_nothing_is_drawn_low() -> None:
    lines = [line.plain for line in saliency_drawing({"dead": Saliency(list("abc"), np.zeros(3))}, 80)]
    assert lines[1:] == ["abc", "▁▁▁", ""]


def test_markup_in_names_and_texts_is_text(charlm: Run, folder: Path) -> None:
    literal = "[red]x[/red] :smile: [link=a]b"
    (folder / "text.txt").write_text((literal + "\n") * 20, encoding="utf-8")
    run = train(make_config(folder / "text.txt", folder / "runs"))[0].rename(folder / "[bold]run[@click=x]")
    arguments = ("inspect-gradients", "-c", run.name, "--lags", "5")
    assert f"● {run.name}: the gradient " in charlm(*arguments).stdout
    assert f"on: {run.name}\n\n{literal}\n" in charlm("inspect-gradients", "-c", run.name, "--text", literal).stdout


def test_a_terminal_gets_colour_and_its_own_width(trained: dict[str, Path], folder: Path) -> None:
    arguments = ("inspect-gradients", "-c", str(trained["gru"]), "--lags", "5")
    size = {"COLUMNS": "44", "LINES": "30", "COLORTERM": "truecolor"}
    code, shown = run_on_terminal(folder, *arguments, environment=size)
    assert code == 0
    assert "\x1b[38;2;47;111;183m●" in shown
    assert f"{'└':>9}{'─' * 34}" in shown


def test_a_terminal_is_spared_a_picture(trained: dict[str, Path], folder: Path) -> None:
    arguments = ("inspect-gradients", "-c", str(trained["rnn"]), "--lags", "5", "--format", "png")
    code, shown = run_on_terminal(folder, *arguments)
    assert (code, shown) == (
        2,
        "charlm: --format png: binary output cannot be shown on a terminal. Use --output FILE.\n",
    )


# Mistakes


MISTAKES = {
    "no such run": ("-c nope", 4, "nope: no such checkpoint"),
    "one of two is no run": ("-c RUN -c nope --lags 5", 4, "nope: no such checkpoint"),
    "no latest run": ("--lags 5", 4, "no latest run"),
    "a damaged checkpoint": ("-c damaged/best.safetensors", 4, "damaged"),
    "no such config": ("--config nope.yaml", 2, "nope.yaml: cannot read this config"),
    "a config with a mistake": ("--config misspelt.yaml", 2, "hiden_size"),
    "a config without its text": ("--config lost.yaml", 2, "lost.txt"),
    "the corpus of a model has changed": ("-c changed --lags 5", 2, "--file"),
    "no such text": ("-c RUN --file nope.txt", 2, "nope.txt"),
    "an empty file": ("-c RUN --file empty", 2, "empty"),
    "a file that is too short": ("-c RUN --file short.txt", 2, "100 lags need 203."),
    "a validation text that is too short": (
        "-c RUN --lags 60",
        2,
        "--lags: the text of 81 characters is too short: 60 lags need 123. Use fewer lags",
    ),
    "strangers in a file": ("-c RUN --file strangers.txt", 2, "strangers.txt: 1 character is not in"),
    "strangers in a text": ("-c RUN --text \u20ac", 2, "'\u20ac' (U+20AC)"),
    "an empty text": ("-c RUN --text ", 2, "empty"),
    "two texts": ("-c RUN --text a --file text.txt", 2, "exclude each other"),
    "no lags": ("-c RUN --lags 0", 2, "--lags"),
    "too many lags": ("-c RUN --lags 10001", 2, "--lags"),
    "no positions": ("-c RUN --positions 0", 2, "--positions"),
    "lags that are no number": ("-c RUN --lags many", 2, "--lags"),
    "no such format": ("-c RUN --format svg", 2, "--format"),
    "an output folder that is not there": ("-c RUN --lags 5 --output nowhere/found", 74, "nowhere/found"),
    "an output that is a folder": ("-c RUN --lags 5 --output folder", 74, "folder: cannot write"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_a_sentence_and_leaves_the_disk_alone(
    name: str, charlm: Run, trained: dict[str, Path], folder: Path
) -> None:
    arguments, code, words = MISTAKES[name]
    files = {
        "empty": b"",
        "short.txt": b"The fox said",
        "strangers.txt": SENTENCE.encode() + "\u20ac".encode(),
        "misspelt.yaml": CONFIG.replace("hidden_size", "hiden_size").encode(),
        "lost.yaml": CONFIG.replace("text.txt", "lost.txt").encode(),
        "folder/file": b"",
        "damaged/best.safetensors": (trained["rnn"] / "best.safetensors").read_bytes()[:-7],
    }
    for path, content in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)
    if "changed" in arguments:
        (folder / "own.txt").write_bytes(TEXT.encode())
        train(make_config(folder / "own.txt", folder, kind="rnn", run={"name": "changed"}))[0]
        (folder / "own.txt").write_bytes(TEXT.encode() + b"The fox.\n")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    result = charlm("inspect-gradients", *arguments.replace("RUN", str(trained["lstm"])).split(" "))

    assert (result.exit_code, result.stdout_bytes) == (code, b"")
    assert isinstance(result.exception, SystemExit)
    assert words in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_where_the_corpus_is_gone_a_file_is_read_instead(charlm: Run, folder: Path) -> None:
    run = str(train(make_config(folder / "text.txt", folder / "runs", kind="rnn"))[0])
    (folder / "text.txt").unlink()
    (folder / "other.txt").write_bytes(SENTENCE.encode())
    result = charlm("inspect-gradients", "-c", run, "--lags", "5")
    assert result.exit_code == 2
    assert "--file" in result.stderr
    assert len(table_of(charlm, "-c", run, "--lags", "5", "--file", "other.txt")[run].mean) == 6


def test_help_names_every_option(charlm: Run) -> None:
    words = charlm("inspect-gradients", "--help").stdout
    for option in ("--checkpoint", "--config", "--lags", "--positions", "--file", "--text", "--format", "--output"):
        assert option in words
