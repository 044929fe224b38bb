"""What a score is held against: each baseline by another way to its number."""

import json
import lzma
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.baselines import ORDERS, markov_bits, uniform_bits, xz_bits
from charlm.checkpoint.checkpoint import Checkpoint
from charlm.models.markov import MarkovModel
from charlm.models.ngram_counts import counted
from charlm.text.corpus import Corpus
from charlm.text.streams import evaluation_streams
from charlm.text.vocabulary import Vocabulary
from tests.conftest import TEXT, Run, make_config, train

NAMES = "".join(f"{first}{middle}{last}\n" for first in "abo" for middle in "anrl" for last in ("na", "b", "lo", "an"))
TEXTS: dict[str, tuple[str, dict[str, object]]] = {
    "one text": (TEXT, {}),
    "longer than a window": (TEXT, {"validation_fraction": 0.6}),
    "separate items": (NAMES, {"documents": "line"}),
    "bytes": ("naïve café — the fox\n" * 25, {"unit": "byte"}),
    "items of bytes": (NAMES, {"unit": "byte", "documents": "line"}),
    "rare characters unknown": (TEXT + "§", {"minimum_count": 2, "test_fraction": 0.1}),
    "Hangul in jamo": ("나라의 말이 중국과 달라\n" * 20, {"normalization": "NFD"}),
}


@pytest.fixture(params=TEXTS)
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> Corpus:
    text, data = TEXTS[request.param]
    (tmp_path / "text.txt").write_text(text, encoding="utf-8", newline="")
    return Corpus.read(make_config(tmp_path / "text.txt", tmp_path, data=data).data)


@pytest.mark.parametrize("size", [1, 2, 7, 256])
def test_a_uniform_model_needs_the_logarithm_of_its_symbols(size: int) -> None:
    vocabulary = Vocabulary(tuple(map(chr, range(65, 65 + size))))
    assert uniform_bits(vocabulary) == pytest.approx(math.log(size) / math.log(2))


@pytest.mark.parametrize("lanes", [1, 3])
def test_each_order_reads_what_a_model_counted_to_that_order_reads_step_by_step(lanes: int, corpus: Corpus) -> None:
    vocabulary, size = corpus.vocabulary, len(corpus.vocabulary)
    streams = evaluation_streams(corpus.validation, lanes, vocabulary.end)
    found = list(markov_bits(corpus.train, vocabulary, streams))
    assert [order for order, _ in found] == list(ORDERS)
    for order, bits in found:
        model = MarkovModel(list(counted(corpus.train, order, size, vocabulary.end)), size)
        total = count = 0.0
        for text in texts_of(corpus.validation, streams.lanes, vocabulary.end):
            state = model.start(1)
            for now, came in pairwise(text):
                logits, state = model.step(np.array([now], np.intp), state)
                total -= float(logits[0, came]) / math.log(2)
                count += 1
        assert count == streams.characters
        assert bits == pytest.approx(total / count, abs=1e-9)


def texts_of(ids: np.ndarray, lanes: int, end: int | None) -> list[list[int]]:
    """Return what is read from a fresh state each: equal lanes, or the items with both their ends."""
    if end is None:
        length = (len(ids) - 1) // lanes
        return [ids[lane * length : (lane + 1) * length + 1].tolist() for lane in range(lanes)]
    places = np.flatnonzero(ids == end).tolist()
    return [ids[start : stop + 1].tolist() for start, stop in pairwise(places)]


def test_xz_needs_what_both_texts_take_more_than_the_first(corpus: Corpus) -> None:
    if corpus.vocabulary.end is not None:
        pytest.skip("separate items are not compressed")

    def as_bytes(ids: np.ndarray) -> bytes:
        written = b""
        for index in ids.tolist():
            symbol = corpus.vocabulary.symbols[index]
            if corpus.vocabulary.unit == "byte":
                written += bytes([ord(symbol)])
            else:
                written += symbol.encode()
        return written

    def size(content: bytes) -> int:
        return len(lzma.compress(content, format=lzma.FORMAT_XZ, preset=9))

    before = as_bytes(corpus.train) + as_bytes(corpus.validation[:1])  # the first character is given, not predicted
    after = as_bytes(corpus.validation[1:])
    expected = 8 * (size(before + after) - size(before)) / (len(corpus.validation) - 1)
    assert xz_bits(corpus.train, corpus.validation, corpus.vocabulary) == pytest.approx(expected)


def test_xz_finds_what_the_training_text_holds_already() -> None:
    """Only 128 letters of noise: those of the training text cost a reference, others their bits."""
    draw = np.random.default_rng(3)
    vocabulary = Vocabulary(tuple(map(chr, range(0x100, 0x180))))
    training, other = (draw.integers(0, 128, 4000).astype(np.uint8) for _ in range(2))
    assert xz_bits(training, training[500:2500], vocabulary) < 0.1
    assert xz_bits(training, other[:2000], vocabulary) == pytest.approx(7, rel=0.3)


# ---------------------------------------------------------------------------------------------------- as a command


def scored(run: Run, *arguments: str) -> dict[str, Any]:
    result = run("evaluate", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    record: dict[str, Any] = json.loads(result.stdout)
    return record


@pytest.fixture(params=["one text", "separate items", "bytes"])
def model(request: pytest.FixtureRequest, charlm: Run, tmp_path: Path) -> Path:
    """Return the folder of a run that was trained here on ``text.txt``."""
    text, data = TEXTS[request.param]
    (tmp_path / "text.txt").write_text(text, encoding="utf-8", newline="")
    config = make_config(Path("text.txt"), Path("runs"), kind="gru", data=data, training={"steps": 2})
    return train(config)[0]


def options_of(run: Path) -> list[str]:
    """Return the options that give another model the text of this run."""
    data = Checkpoint.load(run / "best.safetensors").config.data
    return [f"--set=data.unit={data.unit}", f"--set=data.documents={json.dumps(data.documents)}"]


def test_each_markov_row_is_what_training_that_order_and_scoring_it_gives(model: Path, charlm: Run) -> None:
    baselines = scored(charlm, "-c", str(model), "--baselines")["baselines"]
    xz = [] if "documents=null" not in str(options_of(model)) else ["xz -9"]
    assert list(baselines) == ["uniform", *(f"Markov {order}" for order in ORDERS), *xz]
    lanes = scored(charlm, "-c", str(model))["lanes"]
    Path("markov.yaml").write_text("data: {path: text.txt}\nmodel: {kind: markov}\n", encoding="utf-8")
    for order in ORDERS:
        counted_to = [f"--set=model.order={order}", f"--name=order-{order}", "--quiet"]
        assert charlm("train", "--config", "markov.yaml", *options_of(model), *counted_to).exit_code == 0
        score = scored(charlm, "-c", f"order-{order}", "--lanes", str(lanes))
        assert baselines[f"Markov {order}"] == pytest.approx(score["bits_per_character"], abs=1e-9)


def test_uniform_and_xz_are_those_of_the_texts(model: Path, charlm: Run) -> None:
    baselines = scored(charlm, "-c", str(model), "--baselines")["baselines"]
    checkpoint = Checkpoint.load(model / "best.safetensors")
    corpus = Corpus.read(checkpoint.config.data)
    assert baselines["uniform"] == pytest.approx(math.log2(len(corpus.vocabulary)))
    if corpus.vocabulary.end is None:
        assert baselines["xz -9"] == xz_bits(corpus.train, corpus.validation, corpus.vocabulary)


def test_xz_is_left_out_for_separate_items_and_said(model: Path, charlm: Run) -> None:
    """It would read the order of the items, which a model cannot: a sorted list costs it little."""
    has_items = Checkpoint.load(model / "best.safetensors").vocabulary.end is not None
    result = charlm("evaluate", "-c", str(model), "--baselines")
    assert ("xz -9" in result.stdout) != has_items
    assert ("xz is left out: separate items have no order" in result.stderr) == has_items


def test_a_file_is_held_against_them_in_the_lanes_it_is_read_in(model: Path, charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text((tmp_path / "text.txt").read_text("utf-8")[:200], encoding="utf-8")
    Path("markov.yaml").write_text("data: {path: text.txt}\nmodel: {kind: markov}\n", encoding="utf-8")
    counted_to = ["--set=model.order=3", "--name=order-3", "--quiet"]
    assert charlm("train", "--config", "markov.yaml", *options_of(model), *counted_to).exit_code == 0
    for lanes in ("1", "4"):
        arguments = ("--file", "own.txt", "--lanes", lanes)
        baselines = scored(charlm, "-c", str(model), *arguments, "--baselines")["baselines"]
        score = scored(charlm, "-c", "order-3", *arguments)
        assert baselines["Markov 3"] == pytest.approx(score["bits_per_character"], abs=1e-9)
    if "xz -9" in baselines:  # what is known by heart costs a compressor next to nothing
        assert baselines["xz -9"] < baselines["uniform"] / 2


def test_the_other_figures_stay_as_they_are_without_baselines(model: Path, charlm: Run) -> None:
    both = scored(charlm, "-c", str(model), "--baselines")
    del both["baselines"]
    assert both == scored(charlm, "-c", str(model))


def test_the_table_shows_them_as_bars_the_worst_first_with_the_model_among_them(model: Path, charlm: Run) -> None:
    record = scored(charlm, "-c", str(model), "--baselines")
    shown = charlm("evaluate", "-c", str(model), "--baselines").stdout
    assert shown.startswith(charlm("evaluate", "-c", str(model)).stdout)
    lines = shown[len(charlm("evaluate", "-c", str(model)).stdout) :].split("\n")
    assert (lines[0].strip(), lines[1].strip(), lines[-1]) == ("", "bits per character", "")
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines[2:-1]]
    expected = record["baselines"] | {"this gru": record["bits_per_character"]}
    assert [row[0] for row in rows] == sorted(expected, key=lambda name: -expected[name])
    assert {row[0]: row[1] for row in rows} == {name: f"{value:.3f}" for name, value in expected.items()}
    largest = max(expected.values())
    for name, _, *bars in rows:
        bar = "".join(bars)  # none where xz needs nothing, as the text repeats itself
        eighths = 8 * bar.count("█") + sum("▏▎▍▌▋▊▉".find(cell) + 1 for cell in bar)
        assert eighths == pytest.approx(40 * 8 * expected[name] / largest, abs=0.51)


def test_a_markov_model_is_held_against_them_too(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(TEXT.encode())
    Path("markov.yaml").write_text("data: {path: text.txt}\nmodel: {kind: markov, order: 3}\n", encoding="utf-8")
    assert charlm("train", "--config", "markov.yaml").exit_code == 0
    record = scored(charlm, "--baselines")
    assert record["baselines"]["Markov 3"] == pytest.approx(record["bits_per_character"], abs=1e-9)
    assert "this markov" in charlm("evaluate", "--baselines").stdout


@pytest.mark.parametrize("change", ["gone", "another"])
def test_without_the_training_text_there_is_nothing_to_count(change: str, model: Path, charlm: Run) -> None:
    text = Path("text.txt")
    Path("own.txt").write_bytes(text.read_bytes()[:100])
    if change == "gone":
        text.unlink()
    else:
        text.write_bytes(text.read_bytes() + b"an")
    assert charlm("evaluate", "-c", str(model), "--file", "own.txt").exit_code == 0
    for form in ([], ["--json"]):
        result = charlm("evaluate", "-c", str(model), "--file", "own.txt", "--baselines", *form)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.startswith("charlm: the training text of this model cannot be read: ")
        assert "text.txt" in result.stderr
