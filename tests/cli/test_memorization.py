"""``charlm sample --novelty``: did it copy? What stands verbatim in the training text, marked and counted."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.cli.memorization import marked_texts
from charlm.memorization import SIZES, Memorization
from charlm.novelty import novelty
from charlm.text.corpus import Corpus
from charlm.text.vocabulary import Vocabulary
from tests.conftest import Run, make_config, train

STORY = (
    "Once a miller had three sons, his mill, a donkey and a cat. The sons had to grind, the donkey had to carry "
    "the corn, and the cat had to catch the mice. When he died, they shared what there was: the eldest got the mill.\n"
)
NAMES = "anna\nbob\nclara\nemil\nfrida\nhanna\njakob\nlena\nmartha\nnora\notto\npaula\n"


@pytest.fixture(scope="module")
def parrot(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a run that knows its text by heart."""
    folder = tmp_path_factory.mktemp("parrot")
    (folder / "text.txt").write_text(STORY * 4, encoding="utf-8")
    config = make_config(
        folder / "text.txt",
        folder / "runs",
        kind="lstm",
        model={"hidden_size": 48, "num_layers": 1},
        training={
            "batch_size": 4,
            "sequence_length": 60,
            "steps": 260,
            "learning_rate": 0.02,
            "evaluate_every": 260,
        },
    )
    return str(train(config)[0])


@pytest.fixture(scope="module")
def newborn(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a run that has hardly learned anything."""
    folder = tmp_path_factory.mktemp("newborn")
    (folder / "text.txt").write_text(STORY * 4, encoding="utf-8")
    return str(train(make_config(folder / "text.txt", folder / "runs", training={"steps": 1, "evaluate_every": 1}))[0])


def compared(run: Run, *arguments: str) -> dict[str, Any]:
    result = run("sample", *arguments, "--novelty", "--json")
    assert result.exit_code == 0, result.stderr
    record: dict[str, Any] = json.loads(result.stdout)
    return record


def training_text(run: str) -> str:
    checkpoint = Checkpoint.load(Path(run) / "best.safetensors")
    corpus = Corpus.read(checkpoint.config.data)
    return corpus.vocabulary.decode(corpus.train)


def new_by_hand(samples: list[str], training: str) -> dict[str, float]:
    """Return the share of the samples' n-grams that a search in strings does not find."""
    found = {}
    for n in SIZES:
        grams = [text[start : start + n] for text in samples for start in range(len(text) - n + 1)]
        if grams:
            found[str(n)] = sum(gram not in training for gram in grams) / len(grams)
    return found


def longest_by_hand(samples: list[str], training: str) -> int:
    return max(
        (
            stop - start
            for text in samples
            for start in range(len(text))
            for stop in range(start, len(text) + 1)
            if text[start:stop] in training
        ),
        default=0,
    )


def marked_by_hand(text: str, training: str) -> str:
    """Return ``text`` with ⟦ and ⟧ around each place that lies in 16 characters or more of the training text."""
    inside = [False] * len(text)
    for start in range(len(text) - 15):
        if text[start : start + 16] in training:
            inside[start : start + 16] = [True] * 16
    marked, before = "", False
    for character, here in zip(text, inside, strict=True):
        marked += ("⟦" if here and not before else "⟧" if before and not here else "") + character
        before = here
    return marked + ("⟧" if before else "")


def test_a_parrot_is_found_out(parrot: str, charlm: Run) -> None:
    record = compared(
        charlm, "-c", parrot, "--prompt", "Once a", "--temperature", "0", "--length", "150", "--seed", "1"
    )
    found = record["novelty"]
    assert found["longest"] > 60
    assert found["longest_text"] in STORY * 4
    assert found["longest_text"] in record["samples"][0]
    assert found["new"]["8"] < 0.3


def test_a_model_that_has_learned_nothing_copies_nothing(newborn: str, charlm: Run) -> None:
    found = compared(charlm, "-c", newborn, "--length", "300", "--seed", "1")["novelty"]
    assert found["longest"] < 8
    assert found["new"]["8"] == 1
    shown = charlm("sample", "-c", newborn, "--length", "300", "--seed", "1", "--novelty").stdout
    assert "⟦" not in shown
    assert "⟧" not in shown


@pytest.mark.parametrize("options", [["--num-samples", "1"], ["--num-samples", "3", "--temperature", "1.3"]])
def test_shares_and_the_longest_stretch_are_those_of_a_search_in_strings(
    options: list[str], parrot: str, charlm: Run
) -> None:
    record = compared(charlm, "-c", parrot, "--length", "90", "--seed", "4", *options)
    training, samples, found = training_text(parrot), record["samples"], record["novelty"]
    assert found["new"] == pytest.approx(new_by_hand(samples, training))
    assert found["longest"] == longest_by_hand(samples, training) == len(found["longest_text"])
    assert any(found["longest_text"] in text for text in samples)
    assert found["longest_text"] in training


def test_the_prompt_is_no_part_of_what_is_compared(parrot: str, charlm: Run) -> None:
    alone = compared(charlm, "-c", parrot, "--prompt", "Once a miller had three sons", "--length", "3", "--seed", "1")
    assert alone["novelty"]["longest"] <= 3
    nothing = compared(charlm, "-c", parrot, "--prompt", "Once a", "--length", "0", "--seed", "1")["novelty"]
    assert nothing == {"longest": 0, "longest_text": "", "new": {}}


def test_no_n_gram_is_counted_that_a_sample_is_too_short_for(parrot: str, charlm: Run) -> None:
    found = compared(charlm, "-c", parrot, "--length", "9", "--seed", "1")["novelty"]
    assert list(found["new"]) == ["4", "6", "8"]


@pytest.mark.parametrize("seed", [2, 5, 11])
def test_marks_stand_around_what_was_copied_and_nothing_else(seed: int, parrot: str, charlm: Run) -> None:
    arguments = ("-c", parrot, "--length", "140", "--temperature", "1.2", "--seed", str(seed))
    record = compared(charlm, *arguments)
    result = charlm("sample", *arguments, "--novelty")
    assert (result.exit_code, result.stderr) == (0, "")
    expected = marked_by_hand(record["samples"][0], training_text(parrot))
    assert result.stdout.startswith(f"{expected}\n\n")


def test_below_the_text_stand_a_sentence_and_a_table(parrot: str, charlm: Run) -> None:
    arguments = ("-c", parrot, "--length", "140", "--temperature", "1.2", "--seed", "5")
    found = compared(charlm, *arguments)["novelty"]
    below = charlm("sample", *arguments, "--novelty").stdout.split("\n\n", 1)[1].splitlines()
    assert below[0] == (
        f"The longest stretch that appears verbatim in the training text has {found['longest']} characters: "
        f"{found['longest_text']!r}"
    )
    table = [re.split(r"\s{2,}", line.strip()) for line in below[below.index("") + 1 :]]
    assert table[0] == ["n", "new", "share of n-grams that are not in the training text"]
    assert {row[0]: row[1] for row in table[1:]} == {n: f"{share:.1%}" for n, share in found["new"].items()}


def test_several_samples_stand_apart(parrot: str, charlm: Run) -> None:
    arguments = ("-c", parrot, "--length", "40", "--seed", "5", "--num-samples", "3")
    record = compared(charlm, *arguments)
    shown = charlm("sample", *arguments, "--novelty").stdout.split("\n\n")[0]
    assert shown.replace("⟦", "").replace("⟧", "") == "\n----\n".join(record["samples"])


def test_json_holds_what_a_sample_without_novelty_holds(parrot: str, charlm: Run) -> None:
    arguments = ("-c", parrot, "--length", "30", "--seed", "5")
    record = compared(charlm, *arguments)
    assert list(record.pop("novelty")) == ["longest", "longest_text", "new"]
    assert record == json.loads(charlm("sample", *arguments, "--json").stdout)


def test_a_stop_is_refused(parrot: str, charlm: Run) -> None:
    result = charlm("sample", "-c", parrot, "--novelty", "--stop", "x")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("charlm: --novelty")


def test_without_the_training_text_nothing_can_be_compared(parrot: str, charlm: Run, tmp_path: Path) -> None:
    checkpoint = Checkpoint.load(Path(parrot) / "best.safetensors")
    assert Path(checkpoint.config.data.path[0]).is_file()  # which is not looked for
    corpus = checkpoint.corpus.model_copy(update={"files": [str(tmp_path / "gone.txt")]})
    replace(checkpoint, corpus=corpus).save(tmp_path / "moved.safetensors")
    result = charlm("sample", "-c", "moved.safetensors", "--novelty", "--seed", "1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("charlm: the training text of this model cannot be read: ")
    assert "gone.txt" in result.stderr
    assert charlm("sample", "-c", "moved.safetensors", "--seed", "1").exit_code == 0


# ------------------------------------------------------------------------------------------- as the model wrote it


def marked(vocabulary: Vocabulary, sample: np.ndarray, training: np.ndarray) -> str:
    """Return a sample with its marks."""
    (text,) = marked_texts(Memorization(vocabulary, [sample], [novelty(sample, training)]))
    return text


def unmarked(text: str) -> str:
    return text.replace("⟦", "").replace("⟧", "")


@pytest.mark.parametrize(
    "text",
    [
        "a long line of words " * 12 + "that is no line of a screen",
        "a\ttab and  two spaces \nat a line's end",
        "[bold]markup[/bold] :smile:",
    ],
    ids=["long line", "white space", "markup"],
)
def test_a_marked_text_is_the_text_but_for_its_marks(text: str) -> None:
    vocabulary = Vocabulary.of_text(text + STORY)
    assert unmarked(marked(vocabulary, vocabulary.encode(text), vocabulary.encode(STORY))) == text


@pytest.mark.parametrize("length", [15, 16, 17])
def test_a_stretch_of_sixteen_is_marked_and_a_shorter_one_is_not(length: int) -> None:
    text = f"%%%{STORY[20 : 20 + length]}%%%"
    vocabulary = Vocabulary.of_text(text + STORY)
    found = marked(vocabulary, vocabulary.encode(text), vocabulary.encode(STORY))
    assert found == (f"%%%⟦{STORY[20 : 20 + length]}⟧%%%" if length >= 16 else text)


@pytest.mark.parametrize(("unit", "first"), [("byte", "\ub0d8"), ("NFD", "\ub2e4")])
def test_a_stretch_that_begins_inside_a_character_leaves_the_text_whole(unit: str, first: str) -> None:
    """Of U+B098 and U+B0D8 the last byte is the same, of U+B098 and U+B2E4 the vowel."""
    training = "\ub098라의 말이 중국과 달라서"
    sample = first + training[1:]
    vocabulary = Vocabulary.of_bytes() if unit == "byte" else Vocabulary.of_text(training + sample, "NFD")
    found = marked(vocabulary, vocabulary.encode(sample), vocabulary.encode(training))
    assert "⟦" in found
    assert unmarked(found) == sample


# ------------------------------------------------------------------------------------------------- separate items


@pytest.fixture
def items(charlm: Run, tmp_path: Path) -> str:
    """Return the name of a Markov model that knows its names by heart, or nearly."""
    (tmp_path / "names.txt").write_text(NAMES * 3, encoding="utf-8")
    (tmp_path / "items.yaml").write_text(
        "data: {path: names.txt, documents: line, split: tail}\nmodel: {kind: markov, order: 3}\nrun: {name: items}\n"
    )
    assert charlm("train", "--config", "items.yaml", "--quiet").exit_code == 0
    return "items"


def test_whole_items_of_the_training_text_are_counted(items: str, charlm: Run) -> None:
    arguments = ("-c", items, "--num-samples", "40", "--seed", "3")
    record = compared(charlm, *arguments)
    known = training_text(f"runs/{items}").split()
    copied = sum(text in known for text in record["samples"])
    assert record["novelty"]["copied_items"] == copied
    assert 0 < copied < 40
    shown = charlm("sample", *arguments, "--novelty").stdout
    assert f"\n{copied} of 40 appear verbatim in the training text; {40 - copied} are new.\n" in shown
    texts = shown[: shown.index(f"\n\n{copied} of")].split("\n")
    assert texts == [f"⟦{text}⟧" if text in known else text for text in record["samples"]]


def test_an_item_is_whole_with_its_prompt(items: str, charlm: Run) -> None:
    arguments = ("-c", items, "--prompt", "mart", "--temperature", "0", "--seed", "1")
    assert charlm("sample", *arguments).stdout == "martha"
    record = compared(charlm, *arguments)
    assert record["novelty"]["copied_items"] == 1
    assert record["novelty"]["longest_text"].strip("\n") == "martha"
    assert charlm("sample", *arguments, "--novelty").stdout.startswith("⟦martha⟧\n")


@pytest.mark.parametrize(
    ("options", "text"),
    [(["--prompt", "mart", "--length", "1"], "marth"), (["--prompt", "artha"], "artha"), (["--length", "0"], "")],
    ids=["cut off", "an end of one", "nothing"],
)
def test_a_part_of_an_item_is_none(options: list[str], text: str, items: str, charlm: Run) -> None:
    record = compared(charlm, "-c", items, "--temperature", "0", "--seed", "1", *options)
    assert record["samples"] == [text]
    assert record["novelty"]["copied_items"] == 0
