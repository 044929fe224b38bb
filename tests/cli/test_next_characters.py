"""``charlm sample --next``: a prompt is read, and how likely each next character is comes out."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.models.network import RecurrentNetwork
from tests.conftest import TEXT, Run, make_config, train

KINDS = ("rnn", "lstm", "gru")
PROMPT = 'said "come'
MARKS = {"\n": "↵", "\t": "→", "<end>": "␃"}


def rows(run: Run, *arguments: str) -> list[dict[str, Any]]:
    result = run("sample", *arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def by_torch(checkpoint: Checkpoint, text: str) -> dict[str, float]:
    """Return p of each symbol behind ``text``, in float64 on torch."""
    network = RecurrentNetwork(checkpoint.config.model, len(checkpoint.vocabulary))
    network.load_tensors(checkpoint.part("model"))
    network.double().eval()
    symbols = checkpoint.vocabulary.symbols
    with torch.no_grad():
        logits, _ = network(torch.tensor([[symbols.index(character) for character in text]]))
    return dict(zip(symbols, logits[0, -1].softmax(-1).tolist(), strict=True))


def sharpened(plain: dict[str, float], temperature: float, top_k: int | None = None) -> dict[str, float]:
    """Return p at a temperature, of the likeliest alone."""
    kept = sorted(plain, key=lambda symbol: -plain[symbol])[:top_k]
    powers = {symbol: plain[symbol] ** (1 / temperature) if symbol in kept else 0.0 for symbol in plain}
    return {symbol: power / sum(powers.values()) for symbol, power in powers.items()}


def column(found: list[dict[str, Any]], name: str) -> dict[str, float]:
    return {row["symbol"]: row[name] for row in found}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompt", [PROMPT, "T", TEXT[:300]], ids=["some", "one character", "more than a window"])
def test_probabilities_are_torchs_softmax(kind: str, prompt: str, charlm: Run, trained: dict[str, Path]) -> None:
    expected = by_torch(Checkpoint.load(trained[kind] / "best.safetensors"), prompt)
    found = rows(charlm, "-c", str(trained[kind]), "--prompt", prompt, "--next", "99", "--temperature", "0.7")
    assert column(found, "model") == pytest.approx(expected, abs=1e-5)
    assert column(found, "sampled") == pytest.approx(sharpened(expected, 0.7), abs=1e-5)
    assert [row["model"] for row in found] == sorted(expected_of(found), reverse=True)
    assert sum(expected_of(found)) == pytest.approx(1)


def expected_of(found: list[dict[str, Any]]) -> list[float]:
    return [row["model"] for row in found]


def test_an_empty_prompt_is_read_as_a_newline(charlm: Run, trained: dict[str, Path]) -> None:
    expected = by_torch(Checkpoint.load(trained["gru"] / "best.safetensors"), "\n")
    assert column(rows(charlm, "-c", str(trained["gru"]), "--next", "99"), "model") == pytest.approx(expected, abs=1e-5)


def test_what_is_sampled_is_as_temperature_top_k_and_top_p_leave_it(charlm: Run, trained: dict[str, Path]) -> None:
    arguments = ("-c", str(trained["lstm"]), "--prompt", PROMPT, "--next", "99")
    plain = by_torch(Checkpoint.load(trained["lstm"] / "best.safetensors"), PROMPT)
    ranked = sorted(plain, key=lambda symbol: -plain[symbol])

    usual = column(rows(charlm, *arguments), "sampled")
    assert usual == pytest.approx(sharpened(plain, 0.8), abs=1e-5)  # the default of --temperature

    three = column(rows(charlm, *arguments, "--temperature", "1.4", "--top-k", "3"), "sampled")
    assert three == pytest.approx(sharpened(plain, 1.4, 3), abs=1e-5)

    one = column(rows(charlm, *arguments, "--temperature", "0"), "sampled")
    assert one == {symbol: float(symbol == ranked[0]) for symbol in plain}

    reached, kept = 0.0, 0
    while reached < 0.5:
        reached, kept = reached + plain[ranked[kept]], kept + 1
    half = column(rows(charlm, *arguments, "--temperature", "1", "--top-p", "0.5"), "sampled")
    assert half == pytest.approx(sharpened(plain, 1.0, kept), abs=1e-5)
    assert 1 < kept < len(plain)

    unchanged = [column(rows(charlm, *arguments, *options), "model") for options in ((), ("--top-k", "3"))]
    assert unchanged[0] == unchanged[1] == pytest.approx(plain, abs=1e-5)


def test_as_many_are_shown_as_are_asked_for_the_likeliest_first(charlm: Run, trained: dict[str, Path]) -> None:
    arguments = ("-c", str(trained["rnn"]), "--prompt", PROMPT, "--next")
    everything = rows(charlm, *arguments, "999")
    assert len(everything) == len(set(TEXT))
    for count in (1, 4):
        assert rows(charlm, *arguments, str(count)) == everything[:count]
    assert list(everything[0]) == ["symbol", "mark", "model", "sampled"]
    assert {row["symbol"]: row["mark"] for row in everything} == {c: MARKS.get(c, c) for c in set(TEXT)}


def test_samples_are_drawn_as_often_as_is_said(charlm: Run, trained: dict[str, Path]) -> None:
    options = ("-c", str(trained["gru"]), "--prompt", PROMPT, "--temperature", "0.9", "--top-k", "4")
    said = column(rows(charlm, *options, "--next", "9"), "sampled")
    drawn = charlm("sample", *options, "--length", "1", "--num-samples", "3000", "--seed", "1", "--json")
    written = [text[len(PROMPT) :] for text in json.loads(drawn.stdout)["samples"]]
    for symbol, p in said.items():
        assert written.count(symbol) / 3000 == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 3000) + 1e-9)


def test_the_table_shows_marks_and_the_same_numbers_with_bars(charlm: Run, trained: dict[str, Path]) -> None:
    arguments = ("-c", str(trained["lstm"]), "--prompt", PROMPT, "--next", "30")
    found = rows(charlm, *arguments)
    result = charlm("sample", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    head, *lines = result.stdout.splitlines()
    assert head.split() == ["next", "model", "sampled"]
    assert len(lines) == len(found) == 30
    for line, row in zip(lines, found, strict=True):
        mark, numbers = line[2], line[3:].split()
        assert mark == ("␣" if row["symbol"] == " " else row["mark"])
        assert numbers[:2] == [f"{row['model']:.4f}", f"{row['sampled']:.4f}"]
        assert "".join(numbers[2:]).count("█") == int(round(row["model"] * 320) / 8)


HELLO = "hello\n" * 60


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("hello")
    (folder / "hello.txt").write_text(HELLO, encoding="utf-8")
    config = make_config(
        folder / "hello.txt",
        folder / "runs",
        kind="gru",
        model={"hidden_size": 12, "num_layers": 1},
        training={"steps": 150, "evaluate_every": 150, "learning_rate": 0.03},
    )
    return str(train(config)[0])


@pytest.mark.parametrize(("prompt", "answer"), [("h", "e"), ("he", "l"), ("hel", "l"), ("hell", "o"), ("hello", "\n")])
def test_a_model_of_hello_knows_what_follows(prompt: str, answer: str, hello: str, charlm: Run) -> None:
    (likeliest,) = rows(charlm, "-c", hello, "--prompt", f"hello\n{prompt}", "--next", "1")
    assert likeliest["symbol"] == answer
    assert likeliest["model"] > 0.9
    assert likeliest["mark"] == MARKS.get(answer, answer)
    result = charlm("sample", "-c", hello, "--prompt", rf"hello\n{prompt}", "--next", "1")
    assert re.match(rf"  {MARKS.get(answer, answer)} +[01]\.", result.stdout.splitlines()[1])


@pytest.fixture
def count(charlm: Run, tmp_path: Path) -> Run:
    """Return a function that counts a Markov model of a text here."""

    def count(text: str, *settings: str) -> None:
        (tmp_path / "text.txt").write_text(text, encoding="utf-8")
        (tmp_path / "markov.yaml").write_text("data: {path: text.txt}\nmodel: {kind: markov, order: 2}\n")
        options = [f"--set={setting}" for setting in settings]
        result = charlm("train", "--config", "markov.yaml", "--quiet", *options)
        assert result.exit_code == 0, result.stderr

    return count  # type: ignore[return-value]


def test_a_markov_model_answers_too(count: Run, charlm: Run, tmp_path: Path) -> None:
    count(TEXT)
    checkpoint = Checkpoint.load(tmp_path / "runs/run/best.safetensors")
    model, state = checkpoint.model(), checkpoint.model().start(1)
    for index in checkpoint.vocabulary.encode("fo").astype(np.intp):
        logits, state = model.step(np.array([index]), state)
    expected = dict(zip(checkpoint.vocabulary.symbols, np.exp(logits[0]).tolist(), strict=True))
    found = rows(charlm, "--prompt", "fo", "--next", "99")
    assert column(found, "model") == pytest.approx(expected, abs=1e-9)
    assert found[0]["symbol"] == "x"


def test_the_end_of_an_item_is_an_answer_of_its_own(count: Run, charlm: Run) -> None:
    count("ann\nbob\nanna\n" * 9, "data={path: text.txt, documents: line, split: tail}")
    found = rows(charlm, "--prompt", "bob", "--next", "9")
    assert (found[0]["symbol"], found[0]["mark"]) == ("<end>", "␃")
    beginning = rows(charlm, "--next", "9")
    assert {row["symbol"] for row in beginning[:2]} == {"a", "b"}
    assert column(beginning, "model")["a"] > column(beginning, "model")["b"]


def test_what_is_never_sampled_is_said_to_have_no_chance(count: Run, charlm: Run) -> None:
    count(TEXT + "€ÄÖÜ§", "data.minimum_count=2")
    found = column(rows(charlm, "--prompt", "still.\n", "--next", "99"), "sampled")
    assert found["<unk>"] == 0
    assert sum(found.values()) == pytest.approx(1)


@pytest.mark.parametrize("others", [["--stop", "x"], ["--num-samples", "2"], ["--novelty"]])
def test_what_speaks_of_a_text_is_refused(others: list[str], charlm: Run, trained: dict[str, Path]) -> None:
    result = charlm("sample", "-c", str(trained["rnn"]), "--next", "3", *others)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("charlm: --next")


@pytest.mark.parametrize("number", ["0", "-1", "x"])
def test_a_number_that_is_none_is_refused(number: str, charlm: Run, trained: dict[str, Path]) -> None:
    result = charlm("sample", "-c", str(trained["rnn"]), f"--next={number}")
    assert result.exit_code == 2
    assert "--next" in result.stderr


@pytest.mark.parametrize("options", [["--prompt", "€"], ["--top-k", "999"], ["--temperature", "-1"]])
def test_other_mistakes_are_told_as_for_a_sample(options: list[str], charlm: Run, trained: dict[str, Path]) -> None:
    with_next, without = (
        charlm("sample", "-c", str(trained["rnn"]), "--seed", "1", *options, *more) for more in (["--next", "3"], [])
    )
    assert with_next.exit_code == without.exit_code == 2
    assert with_next.stderr == without.stderr
