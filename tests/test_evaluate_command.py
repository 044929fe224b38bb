"""What a user sees of ``charlm evaluate``."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from charlm.checkpoint import Checkpoint
from charlm.models.network import RecurrentNetwork
from tests.conftest import TEXT, Run, make_config, train
from tests.processes import run_on_terminal

KINDS = ("rnn", "lstm", "gru")
FIGURES = ("characters", "nats_per_character", "bits_per_character", "bits_per_byte", "perplexity")


def figures(run: Run, *arguments: str, text: bytes | None = None) -> dict[str, Any]:
    result = run("evaluate", *arguments, "--json", text=text)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    record: dict[str, Any] = json.loads(result.stdout)
    return record


def naive_nats(checkpoint: Checkpoint, text: str) -> float:
    """Return the summed surprise of ``text`` after its first character, one lane, in float64 on torch."""
    network = RecurrentNetwork(checkpoint.config.model, len(checkpoint.vocabulary))
    network.load_tensors(checkpoint.part("model"))
    network.double().eval()
    ids = torch.tensor([checkpoint.vocabulary.symbols.index(character) for character in text])
    with torch.no_grad():
        logits, _ = network(ids[None, :-1])
    return float(-logits[0].log_softmax(-1).gather(1, ids[1:, None]).sum())


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
    assert result.stderr.startswith("charlm: own.txt: 1 character is not among the model's")


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
    assert figures(charlm, "-c", run, "--file", "own.txt")["bits_per_byte"] is None
    shown = charlm("evaluate", "-c", run, "--file", "own.txt").stdout
    assert "bits per byte       unknown" in shown


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
    title, *rows = charlm("evaluate", "-c", str(trained["lstm"])).stdout.splitlines()
    assert title == f"{trained['lstm']}/best.safetensors on validation split"
    shown = dict(row.strip().rsplit(maxsplit=1) for row in rows)
    expected = {name.replace("_", " "): f"{score[name]:.4f}" for name in FIGURES}
    assert shown == expected | {"characters": str(score["characters"])}


def test_a_file_named_in_markup_is_named_literally(charlm: Run, trained: dict[str, Path], tmp_path: Path) -> None:
    name = "[red]x :smile:.txt"
    (tmp_path / name).write_text("The fox", encoding="utf-8")
    arguments = ("evaluate", "-c", str(trained["lstm"]), "--file", name)
    assert charlm(*arguments).stdout.splitlines()[0].endswith(f"/best.safetensors on {name}")
    code, shown = run_on_terminal(tmp_path, *arguments, environment={"NO_COLOR": "1", "COLUMNS": "400"})
    assert code == 0
    assert f"on {name}" in shown
    assert not re.search(r"\x1b\[([\d;]*;)?(3|4|9|10)\d", shown)  # bold and dim are no colours
