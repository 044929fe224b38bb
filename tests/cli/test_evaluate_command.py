"""What a user sees of ``charlm evaluate``."""

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.evaluation import evaluate
from charlm.models.network import RecurrentNetwork
from charlm.text.streams import evaluation_streams
from tests.conftest import TEXT, Run, make_config, train
from tests.harness.processes import run_in_shell, run_on_terminal

KINDS = ("rnn", "lstm", "gru")
FIGURES = (
    "characters",
    "nats_per_character",
    "bits_per_character",
    "bits_per_byte",
    "perplexity",
    "accuracy",
    "unknown_characters",
)
MARKOV = """\
data: {path: text.txt}
model: {kind: markov, order: 3}
run: {name: markov}
"""
ITEMS = "data: {documents: line, path: names.txt}\nmodel: {kind: markov, order: 2}\nrun: {name: items}\n"
NAMES = "ann\nanna\nbob\nbobby\nalan\nnan\nbo\nlana\nabby\nolan\n"


def figures(run: Run, *arguments: str, text: bytes | None = None, told: str = "") -> dict[str, Any]:
    result = run("evaluate", *arguments, "--json", text=text)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == told
    record: dict[str, Any] = json.loads(result.stdout)
    return record


def table(stdout: str) -> dict[str, str]:
    """Return the rows below a table's title."""
    rows = (re.split(r"\s{2,}", row.strip(), maxsplit=1) for row in stdout.splitlines()[1:])
    return {row[0]: row[1] for row in rows}


def log_probabilities(checkpoint: Checkpoint, text: str) -> torch.Tensor:
    """Return ln p (T - 1, V) of what follows each character of ``text``, one lane, in float64 on torch."""
    network = RecurrentNetwork(checkpoint.config.model, len(checkpoint.vocabulary))
    network.load_tensors(checkpoint.part("model"))
    network.double().eval()
    ids = torch.tensor([checkpoint.vocabulary.symbols.index(character) for character in text])
    with torch.no_grad():
        logits: torch.Tensor = network(ids[None, :-1])[0][0]
    return logits.log_softmax(-1)


def naive_nats(checkpoint: Checkpoint, text: str) -> float:
    """Return the summed surprise of ``text`` after its first character."""
    log_p = log_probabilities(checkpoint, text)
    ids = torch.tensor([checkpoint.vocabulary.symbols.index(character) for character in text])
    return float(-log_p.gather(1, ids[1:, None]).sum())


@pytest.fixture
def counted(charlm: Run, tmp_path: Path) -> str:
    """Return the name of a Markov model that was counted here."""
    (tmp_path / "text.txt").write_bytes(TEXT.encode())
    (tmp_path / "markov.yaml").write_text(MARKOV, encoding="utf-8")
    result = charlm("train", "--config", "markov.yaml", "--quiet")
    assert result.exit_code == 0, result.stderr
    return "markov"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["best", "step-00000004", "step-00000008"])
def test_the_validation_text_scores_as_it_did_in_training(
    kind: str, name: str, charlm: Run, trained: dict[str, Path]
) -> None:
    lines = [json.loads(line) for line in (trained[kind] / "metrics.jsonl").read_text("utf-8").splitlines()]
    losses = {f"step-{line['step']:08}": line["validation_loss"] for line in lines}
    losses["best"] = min(losses.values())
    score = figures(charlm, "--checkpoint", str(trained[kind] / f"{name}.safetensors"))
    assert score["nats_per_character"] == pytest.approx(losses[name], abs=1e-5)
    assert losses["step-00000004"] != pytest.approx(losses["step-00000008"], abs=1e-5)


def test_json_says_what_was_scored_and_its_figures_agree(charlm: Run, trained: dict[str, Path]) -> None:
    score = figures(charlm, "-c", str(trained["gru"]))
    assert tuple(score) == ("checkpoint", "text", "lanes", *FIGURES)
    assert score["checkpoint"] == str(trained["gru"] / "best.safetensors")
    assert score["text"] == "validation split"
    assert score["lanes"] == 2
    validation = len(TEXT) - int(len(TEXT) * 0.9)
    assert score["characters"] == (validation - 1) // 2 * 2
    assert score["bits_per_character"] == pytest.approx(score["nats_per_character"] / math.log(2))
    assert score["bits_per_byte"] == pytest.approx(score["bits_per_character"])  # the text is ASCII
    assert score["perplexity"] == pytest.approx(math.exp(score["nats_per_character"]))
    assert figures(charlm, "-c", str(trained["gru"]), "--split", "validation") == score


def test_strangers_are_told_with_the_file_that_holds_them(
    charlm: Run, trained: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "own.txt").write_text("The €", encoding="utf-8")
    result = charlm("evaluate", "-c", str(trained["gru"]), "--file", "own.txt")
    assert result.exit_code == 2
    assert result.stderr.startswith("charlm: own.txt: 1 character is not in the model's vocabulary of")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_read_as_one_lane_from_a_fresh_state(
    kind: str, charlm: Run, trained: dict[str, Path], tmp_path: Path
) -> None:
    text = TEXT[5:700]  # longer than the window that is read at once
    (tmp_path / "own.txt").write_text(text, encoding="utf-8", newline="")
    score = figures(charlm, "-c", str(trained[kind]), "--file", "own.txt")
    checkpoint = Checkpoint.load(trained[kind] / "best.safetensors")
    assert score["characters"] == len(text) - 1
    assert score["lanes"] == 1
    assert score["text"] == "own.txt"
    assert score["nats_per_character"] == pytest.approx(naive_nats(checkpoint, text) / (len(text) - 1), abs=1e-5)


def test_standard_input_scores_as_a_file_does(charlm: Run, trained: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_bytes(TEXT[:50].encode())
    from_file = figures(charlm, "-c", str(trained["rnn"]), "--file", "own.txt")
    from_input = figures(charlm, "-c", str(trained["rnn"]), "--file", "-", text=TEXT[:50].encode())
    assert from_input.pop("text") == "-"
    assert from_file.pop("text") == "own.txt"
    assert from_input == from_file


def test_a_byte_figure_counts_the_bytes_that_were_predicted(charlm: Run, tmp_path: Path) -> None:
    text = "caf\u00e9 \ud55c\uae00 \U0001f600\n" * 30
    (tmp_path / "text.txt").write_bytes(text.encode())
    run, checkpoint = train(make_config(tmp_path / "text.txt", tmp_path / "runs"))
    (tmp_path / "own.txt").write_bytes("\ud55c\u00e9 \U0001f600a".encode())
    score = figures(charlm, "-c", str(run / "step-00000008.safetensors"), "--file", "own.txt")
    bits = naive_nats(checkpoint, "\ud55c\u00e9 \U0001f600a") / math.log(2)
    assert score["characters"] == 4
    assert score["bits_per_character"] == pytest.approx(bits / 4, abs=1e-5)
    assert score["bits_per_byte"] == pytest.approx(bits / (2 + 1 + 4 + 1), abs=1e-5)


def test_unknown_characters_leave_the_byte_figure_open(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT + "\u20ac", encoding="utf-8")
    config = make_config(tmp_path / "text.txt", tmp_path / "runs", data={"minimum_count": 2})
    run = str(train(config)[0])
    (tmp_path / "own.txt").write_text("The \u20ac", encoding="utf-8")
    told = "charlm: own.txt: read as unknown: '\u20ac' (U+20AC) at position 4\n"
    score = figures(charlm, "-c", run, "--file", "own.txt", told=told)
    assert score["bits_per_byte"] is None
    assert score["unknown_characters"] == 1
    shown = charlm("evaluate", "-c", run, "--file", "own.txt")
    assert shown.stderr == told
    assert table(shown.stdout)["bits per byte"].startswith("unknown")
    assert table(shown.stdout)["unknown characters"] == "1"


def test_unknown_characters_are_counted_in_the_text_and_named_on_standard_error(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT + "\u20ac", encoding="utf-8")
    config = make_config(tmp_path / "text.txt", tmp_path / "runs", data={"minimum_count": 2})
    run, checkpoint = train(config)
    text = "\u20acThe \u03b1 \u20ac\u03b1 fox"  # the first is given and not predicted
    unknown = "charlm: standard input: read as unknown: '\u20ac' (U+20AC) at position 0, 2 times, "
    told = unknown + "'\u03b1' (U+03B1) at position 5, 2 times\n"
    score = figures(charlm, "-c", str(run / "step-00000008.safetensors"), "--file", "-", text=text.encode(), told=told)
    assert score["unknown_characters"] == 3
    symbols = checkpoint.vocabulary.symbols
    ids = [symbols.index(character if character in symbols else "<unk>") for character in text]
    network = RecurrentNetwork(checkpoint.config.model, len(symbols))
    network.load_tensors(checkpoint.part("model"))
    with torch.no_grad():
        found = network.eval()(torch.tensor([ids[:-1]]))[0][0].double().log_softmax(-1)
    nats = -sum(float(found[place, came]) for place, came in enumerate(ids[1:]))
    assert score["characters"] == len(text) - 1
    assert score["nats_per_character"] == pytest.approx(nats / (len(text) - 1), abs=1e-5)


def test_the_test_split_is_scored_when_one_was_kept(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8", newline="")
    fractions: dict[str, object] = {"validation_fraction": 0.2, "test_fraction": 0.1}
    run = str(train(make_config(tmp_path / "text.txt", tmp_path / "runs", data=fractions))[0])
    own = charlm("evaluate", "-c", run, "--split", "test", "--json")
    assert own.exit_code == 0, own.stderr
    score = json.loads(own.stdout)
    assert score["text"] == "test split"
    kept = len(TEXT) - int(len(TEXT) * 0.9)
    assert score["characters"] == (kept - 1) // 2 * 2
    validation = figures(charlm, "-c", run)
    assert validation["characters"] > 1.5 * score["characters"]
    assert validation["nats_per_character"] != score["nats_per_character"]


def test_the_table_shows_the_same_figures(charlm: Run, trained: dict[str, Path]) -> None:
    score = figures(charlm, "-c", str(trained["lstm"]))
    shown = charlm("evaluate", "-c", str(trained["lstm"])).stdout
    assert shown.splitlines()[0] == f"{trained['lstm']}/best.safetensors on validation split"
    counts = ("characters", "unknown_characters")
    expected = {
        name.replace("_", " "): str(score[name]) if name in counts else f"{score[name]:.4f}" for name in FIGURES
    }
    assert table(shown) == expected | {"lanes": "2, each from a fresh state"}


@pytest.mark.slow
def test_a_file_named_in_markup_is_named_literally(charlm: Run, trained: dict[str, Path], tmp_path: Path) -> None:
    name = "[red]x :smile:.txt"
    (tmp_path / name).write_text("The fox", encoding="utf-8")
    arguments = ("evaluate", "-c", str(trained["lstm"]), "--file", name)
    assert charlm(*arguments).stdout.splitlines()[0].endswith(f"/best.safetensors on {name}")
    code, shown = run_on_terminal(tmp_path, *arguments, environment={"NO_COLOR": "1", "COLUMNS": "400"})
    assert code == 0
    assert f"on {name}" in shown
    assert not re.search(r"\x1b\[([\d;]*;)?(3|4|9|10)\d", shown)  # bold and dim are no colours


# --------------------------------------------------------------------------------------- accuracy, lanes, Markov


@pytest.mark.parametrize("kind", KINDS)
def test_accuracy_is_how_often_torchs_likeliest_character_came(
    kind: str, charlm: Run, trained: dict[str, Path], tmp_path: Path
) -> None:
    text = TEXT[3:300]
    (tmp_path / "own.txt").write_text(text, encoding="utf-8", newline="")
    checkpoint = Checkpoint.load(trained[kind] / "best.safetensors")
    guesses = log_probabilities(checkpoint, text).argmax(-1).tolist()
    right = sum(checkpoint.vocabulary.symbols[guess] == came for guess, came in zip(guesses, text[1:], strict=True))
    assert figures(charlm, "-c", str(trained[kind]), "--file", "own.txt")["accuracy"] == right / (len(text) - 1)


@pytest.mark.parametrize("lanes", [1, 3, 7])
def test_any_number_of_lanes_scores_as_the_library_does_and_is_told(
    lanes: int, charlm: Run, trained: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "own.txt").write_text(TEXT, encoding="utf-8", newline="")
    checkpoint = Checkpoint.load(trained["gru"] / "best.safetensors")
    ids = checkpoint.vocabulary.encode(TEXT)
    expected = evaluate(checkpoint.model(), checkpoint.vocabulary, evaluation_streams(ids, lanes))
    arguments = ("-c", str(trained["gru"]), "--file", "own.txt", "--lanes", str(lanes))
    score = figures(charlm, *arguments)
    assert score["lanes"] == lanes
    assert score["characters"] == expected.characters == (len(TEXT) - 1) // lanes * lanes
    assert score["nats_per_character"] == pytest.approx(expected.nats_per_character, abs=1e-9)
    # by hand: each lane is a text of its own that begins with its first character
    length = (len(TEXT) - 1) // lanes
    nats = sum(naive_nats(checkpoint, TEXT[lane * length : (lane + 1) * length + 1]) for lane in range(lanes))
    assert score["nats_per_character"] == pytest.approx(nats / (lanes * length), abs=1e-5)
    shown = table(charlm("evaluate", *arguments).stdout)
    assert shown["lanes"] == ("1, from a fresh state" if lanes == 1 else f"{lanes}, each from a fresh state")


def test_lanes_overrule_trainings_own_for_a_split_and_are_never_more_than_the_text_has(
    charlm: Run, trained: dict[str, Path], tmp_path: Path
) -> None:
    usual, one = (figures(charlm, "-c", str(trained["rnn"]), *lanes) for lanes in ((), ("--lanes", "1")))
    assert (usual["lanes"], one["lanes"]) == (2, 1)
    assert usual["nats_per_character"] != one["nats_per_character"]
    (tmp_path / "own.txt").write_text("The", encoding="utf-8")
    assert figures(charlm, "-c", str(trained["rnn"]), "--file", "own.txt", "--lanes", "9")["lanes"] == 2
    refused = charlm("evaluate", "-c", str(trained["rnn"]), "--lanes", "0")
    assert refused.exit_code == 2
    assert "--lanes" in refused.stderr


@pytest.mark.parametrize("lanes", [1, 4])
def test_a_markov_model_scores_as_its_steps_do(lanes: int, counted: str, charlm: Run, tmp_path: Path) -> None:
    text = "said the fox\nNobody boats in 3.\t"
    (tmp_path / "own.txt").write_text(text, encoding="utf-8", newline="")
    checkpoint = Checkpoint.load(tmp_path / "runs" / counted / "best.safetensors")
    model, ids = checkpoint.model(), checkpoint.vocabulary.encode(text).astype(np.intp)
    length, nats, right = (len(text) - 1) // lanes, 0.0, 0
    for lane in range(lanes):
        state = model.start(1)
        for place in range(lane * length, (lane + 1) * length):
            logits, state = model.step(ids[place : place + 1], state)
            p = np.exp(logits[0].astype(np.float64))
            nats -= math.log(p[ids[place + 1]] / p.sum())
            right += int(p.argmax() == ids[place + 1])
    score = figures(charlm, "-c", counted, "--file", "own.txt", "--lanes", str(lanes))
    assert score["nats_per_character"] == pytest.approx(nats / (lanes * length), abs=1e-9)
    assert score["accuracy"] == right / (lanes * length)


def test_a_markov_model_knows_its_validation_text_as_well_as_its_metrics_say(
    counted: str, charlm: Run, tmp_path: Path
) -> None:
    (line,) = (tmp_path / "runs" / counted / "metrics.jsonl").read_text("utf-8").splitlines()
    score = figures(charlm)
    assert score["checkpoint"] == str(Path("runs", counted, "best.safetensors"))
    assert score["nats_per_character"] == pytest.approx(json.loads(line)["validation_loss"], abs=1e-12)
    assert score["bits_per_character"] == pytest.approx(json.loads(line)["bits_per_character"], abs=1e-9)


def test_bits_per_byte_of_hangul_by_hand(charlm: Run, tmp_path: Path) -> None:
    text = "나라의 말이 중국과 달라 한자와는 서로 통하지 아니하므로 "
    (tmp_path / "text.txt").write_text(text * 9, encoding="utf-8")
    (tmp_path / "markov.yaml").write_text(MARKOV, encoding="utf-8")
    assert charlm("train", "--config", "markov.yaml").exit_code == 0
    (tmp_path / "own.txt").write_text("말이 통", encoding="utf-8")
    score = figures(charlm, "--file", "own.txt")
    assert score["characters"] == 3  # 이, space, 통
    assert score["bits_per_byte"] == pytest.approx(3 * score["bits_per_character"] / (3 + 1 + 3))
    assert score["bits_per_byte"] < score["bits_per_character"] / 2


# ------------------------------------------------------------------------------------------- character by character


def rows_of(stdout: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(stdout), delimiter="\t", quoting=csv.QUOTE_NONE))


COLUMNS = ["position", "character", "bits", *(f"{name}_{number}" for number in range(1, 6) for name in ("guess", "p"))]
MARKS = {"\n": "\u21b5", "\t": "\u2192"}


@pytest.mark.parametrize("kind", KINDS)
def test_each_character_has_a_row_with_its_surprise_and_torchs_likeliest_guesses(
    kind: str, charlm: Run, trained: dict[str, Path], tmp_path: Path
) -> None:
    text = TEXT[20:330]  # longer than the window that is read at once, with newlines and tabs
    (tmp_path / "own.txt").write_text(text, encoding="utf-8", newline="")
    result = charlm("evaluate", "-c", str(trained[kind]), "--file", "own.txt", "--per-character")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0].split("\t") == COLUMNS
    rows = rows_of(result.stdout)
    assert [row["position"] for row in rows] == [str(number) for number in range(1, len(text))]
    assert [row["character"] for row in rows] == [MARKS.get(character, character) for character in text[1:]]

    checkpoint = Checkpoint.load(trained[kind] / "best.safetensors")
    symbols = checkpoint.vocabulary.symbols
    log_p = log_probabilities(checkpoint, text)
    for row, expected, came in zip(rows, log_p, text[1:], strict=True):
        assert float(row["bits"]) == pytest.approx(-float(expected[symbols.index(came)]) / math.log(2), abs=2e-4)
        p = [float(row[f"p_{number}"]) for number in range(1, 6)]
        assert p == sorted(p, reverse=True)
        assert p == pytest.approx(expected.exp().topk(5).values.tolist(), abs=1e-4)
        named = {MARKS.get(symbol, symbol): float(expected[place].exp()) for place, symbol in enumerate(symbols)}
        assert [named[row[f"guess_{number}"]] for number in range(1, 6)] == pytest.approx(p, abs=1e-4)


def test_the_bits_of_all_characters_are_those_of_the_score(counted: str, charlm: Run) -> None:
    for arguments in (("--lanes", "1"), ("--file", "text.txt")):
        score = figures(charlm, "-c", counted, *arguments)
        rows = rows_of(charlm("evaluate", "-c", counted, *arguments, "--per-character").stdout)
        assert len(rows) == score["characters"]
        mean = sum(float(row["bits"]) for row in rows) / len(rows)
        assert mean == pytest.approx(score["bits_per_character"], abs=5e-5)


def test_without_a_file_each_character_of_the_validation_text_is_shown_as_one_lane(
    charlm: Run, trained: dict[str, Path]
) -> None:
    rows = rows_of(charlm("evaluate", "-c", str(trained["gru"]), "--per-character").stdout)
    validation = TEXT[int(len(TEXT) * 0.9) :]
    assert [row["character"] for row in rows] == [MARKS.get(character, character) for character in validation[1:]]


def test_a_model_of_few_symbols_guesses_no_more_than_it_has(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("abc" * 40, encoding="utf-8")
    (tmp_path / "markov.yaml").write_text(MARKOV, encoding="utf-8")
    assert charlm("train", "--config", "markov.yaml").exit_code == 0
    result = charlm("evaluate", "--file", "-", "--per-character", text=b"abca")
    assert result.exit_code == 0
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert {len(line) for line in lines} == {len(lines[0])}, "as many fields in each row as in the head"
    assert [line[3] for line in lines[1:]] == ["b", "c", "a"]


def test_ends_of_items_are_marked_and_each_item_begins_afresh(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(NAMES * 3, encoding="utf-8")
    (tmp_path / "items.yaml").write_text(ITEMS, encoding="utf-8")
    assert charlm("train", "--config", "items.yaml").exit_code == 0
    both = rows_of(charlm("evaluate", "--file", "-", "--per-character", text=b"bob\nann\n").stdout)
    alone = rows_of(charlm("evaluate", "--file", "-", "--per-character", text=b"ann\n").stdout)
    assert [row["character"] for row in both] == list("bob\u2403ann\u2403")
    assert [{**row, "position": ""} for row in both[4:]] == [{**row, "position": ""} for row in alone]


@pytest.mark.parametrize("others", [["--json"], ["--baselines"], ["--lanes", "2"]])
def test_character_by_character_is_shown_alone(others: list[str], charlm: Run, trained: dict[str, Path]) -> None:
    result = charlm("evaluate", "-c", str(trained["rnn"]), "--per-character", *others)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("charlm: --per-character")
    assert charlm("evaluate", "-c", str(trained["rnn"]), "--per-character", "--lanes", "1").exit_code == 0


def shown_without_colours(shown: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", shown)


COLOURED = {"COLORTERM": "truecolor"}


@pytest.mark.slow
def test_a_terminal_shows_the_text_coloured_by_surprise(counted: str, tmp_path: Path) -> None:
    text = "The fox said\n3 boats\tlay"
    (tmp_path / "own.txt").write_text(text, encoding="utf-8", newline="")
    arguments = ("evaluate", "-c", counted, "--file", "own.txt", "--per-character")
    code, shown = run_on_terminal(tmp_path, *arguments, environment=COLOURED)
    assert code == 0
    marks = "".join(MARKS.get(character, character) for character in text[1:])
    legend, _, *lines = shown_without_colours(shown).splitlines()
    assert legend.startswith("coloured by surprisal:  0 bits")
    assert "8 or more" in legend
    assert "".join(lines) == marks
    assert "48;2;221;132;181" in shown  # full surprise, in the legend at least
    assert len(set(re.findall(r"48;2;(\d+;\d+;\d+)", shown.split("or more", 1)[1]))) > 2
    _, plain = run_on_terminal(tmp_path, *arguments, environment={"NO_COLOR": "1"})
    assert "48;2" not in plain


@pytest.mark.slow
def test_the_colour_of_a_character_is_its_surprise(counted: str, charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("The fox said y3y3", encoding="utf-8")
    arguments = ("evaluate", "-c", counted, "--file", "own.txt", "--per-character")
    _, shown = run_on_terminal(tmp_path, *arguments, environment=COLOURED)
    reds = {}
    place = 0
    for red, piece in re.findall(r"48;2;(\d+);\d+;\d+m([^\x1b]*)", shown.split("or more", 1)[1]):
        for _ in piece:
            place += 1
            reds[place] = int(red)
    bits = [float(row["bits"]) for row in rows_of(charlm(*arguments).stdout)]
    assert len(reds) == len(bits)
    for number, surprise in enumerate(bits, start=1):  # from 245, white, to 221 at eight bits
        assert reds[number] == pytest.approx(245 - 24 * min(surprise / 8, 1), abs=1)
    assert max(bits) > 3 > min(bits)


@pytest.mark.slow
def test_a_terminal_shows_two_thousand_characters_and_says_that_there_are_more(counted: str, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text(TEXT * 4, encoding="utf-8", newline="")
    arguments = ("evaluate", "-c", counted, "--file", "own.txt", "--per-character")
    code, shown = run_on_terminal(tmp_path, *arguments)
    assert code == 0
    _, _, *lines, note = shown_without_colours(shown).splitlines()
    count = f"{len(TEXT) * 4 - 1:,}"
    assert note == f"charlm: showing the first 2,000 of {count} characters. Redirect the output to a file for all."
    assert "".join(lines) == "".join(MARKS.get(character, character) for character in (TEXT * 4)[1:2001])


@pytest.mark.slow
def test_a_terminal_shows_as_many_characters_of_separate_items_as_of_one_text(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(NAMES * 3, encoding="utf-8")
    (tmp_path / "items.yaml").write_text(ITEMS, encoding="utf-8")
    assert charlm("train", "--config", "items.yaml").exit_code == 0
    code, shown = run_on_terminal(tmp_path, "evaluate", "--file", "names.txt", "--per-character")
    assert code == 0
    _, _, *lines = shown_without_colours(shown).splitlines()
    assert "".join(lines) == (NAMES * 3).replace("\n", "\u2403")


def test_strangers_in_a_file_of_items_are_told_with_their_place_in_the_file(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(NAMES * 3, encoding="utf-8")
    (tmp_path / "items.yaml").write_text(ITEMS, encoding="utf-8")
    assert charlm("train", "--config", "items.yaml").exit_code == 0
    text = "bob\nan\u20acn\n"
    result = charlm("evaluate", "--file", "-", text=text.encode())
    assert result.exit_code == 2
    assert f"'\u20ac' (U+20AC) at position {text.index(chr(0x20AC))}" in result.stderr


# -------------------------------------------------------------------------------------- without unknown characters


STRANGE = "\u20acThe fox\u20ac said\u0151 it."
KNOWN = "The fox said it."
SKIPPED = [
    {"character": "\u20ac", "position": 0, "count": 2},
    {"character": "\u0151", "position": 14, "count": 1},
]


@pytest.fixture
def with_unk(charlm: Run, tmp_path: Path) -> str:
    """Return the name of a Markov model that reads rare characters as unknown."""
    (tmp_path / "text.txt").write_text(TEXT + "\u20ac", encoding="utf-8", newline="")
    (tmp_path / "markov.yaml").write_text(MARKOV.replace("text.txt", "text.txt, minimum_count: 2"), encoding="utf-8")
    assert charlm("train", "--config", "markov.yaml", "--quiet").exit_code == 0
    return "markov"


@pytest.mark.parametrize("model", ["counted", "with_unk", "lstm"])
def test_a_text_scores_as_without_the_characters_that_are_skipped(
    model: str, charlm: Run, trained: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = str(trained[model]) if model in trained else request.getfixturevalue(model)
    (tmp_path / "own.txt").write_text(STRANGE, encoding="utf-8")
    (tmp_path / "known.txt").write_text(KNOWN, encoding="utf-8")
    told = "charlm: own.txt: skipped: '\u20ac' (U+20AC) at position 0, 2 times, '\u0151' (U+0151) at position 14\n"
    score = figures(charlm, "-c", name, "--file", "own.txt", "--skip-unknown", "--baselines", told=told)
    known = figures(charlm, "-c", name, "--file", "known.txt", "--baselines")

    assert score.pop("text") == "own.txt"
    assert known.pop("text") == "known.txt"
    assert (score.pop("skipped_characters"), score.pop("skipped")) == (3, SKIPPED)
    assert score == known
    assert score["bits_per_byte"] is not None
    arguments = ("evaluate", "-c", name, "--per-character", "--file")
    assert charlm(*arguments, "own.txt", "--skip-unknown").stdout == charlm(*arguments, "known.txt").stdout
    shown = charlm("evaluate", "-c", name, "--file", "own.txt", "--skip-unknown")
    assert (table(shown.stdout)["skipped characters"], shown.stderr) == ("3", told)


def test_where_nothing_is_unknown_nothing_is_skipped_and_that_is_told(counted: str, charlm: Run) -> None:
    score = figures(charlm, "--file", "text.txt", "--skip-unknown")
    assert (score.pop("skipped_characters"), score.pop("skipped")) == (0, [])
    assert score == figures(charlm, "--file", "text.txt")


def test_one_character_that_is_left_is_too_little_to_score(counted: str, charlm: Run) -> None:
    result = charlm("evaluate", "--file", "-", "--skip-unknown", text="\u20aca".encode())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[0] == "charlm: standard input: skipped: '\u20ac' (U+20AC) at position 0"
    assert "two characters or more" in result.stderr


def test_bytes_are_never_skipped(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(TEXT.encode())
    (tmp_path / "bytes.yaml").write_text(MARKOV.replace("text.txt", "text.txt, unit: byte"), encoding="utf-8")
    assert charlm("train", "--config", "bytes.yaml", "--quiet").exit_code == 0
    score = figures(charlm, "--file", "-", "--skip-unknown", text=STRANGE.encode())
    assert (score["characters"], score["skipped_characters"]) == (len(STRANGE.encode()) - 1, 0)


def test_items_are_scored_without_unknown_characters_and_without_those_that_become_empty(
    charlm: Run, tmp_path: Path
) -> None:
    (tmp_path / "names.txt").write_text(NAMES * 3, encoding="utf-8")
    (tmp_path / "items.yaml").write_text(ITEMS, encoding="utf-8")
    assert charlm("train", "--config", "items.yaml").exit_code == 0
    strange = "b\u20acob\r\n\u20ac\u20ac\r\nann ann\r\n".encode()
    told = "charlm: standard input: skipped: '\u20ac' (U+20AC) at position 1, 3 times, ' ' (U+0020) at position 11\n"
    score = figures(charlm, "--file", "-", "--skip-unknown", text=strange, told=told)
    assert [each["count"] for each in score.pop("skipped")] == [3, 1]
    assert score.pop("skipped_characters") == 4
    assert score == figures(charlm, "--file", "-", text=b"bob\nannann\n")


@pytest.mark.slow
def test_a_process_skips_and_says_what(counted: str, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text(STRANGE, encoding="utf-8")
    arguments = ("evaluate", "--file", "own.txt", "--json")
    refused = run_in_shell(tmp_path, *arguments, redirect="")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.endswith(" `charlm evaluate --skip-unknown` scores the text without such characters.\n")
    process = run_in_shell(tmp_path, *arguments, "--skip-unknown", redirect="2>&-")
    assert (process.returncode, json.loads(process.stdout)["skipped"]) == (0, SKIPPED)
