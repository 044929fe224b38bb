"""Separate items are split by a hash of their own text: order, repetition and a seed have no part in it."""

import random
from collections import Counter
from fractions import Fraction
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from charlm.config.settings import DataConfig
from charlm.errors import TextError
from charlm.text import files
from charlm.text.code_points import code_points
from charlm.text.corpus import Corpus
from charlm.text.item_splits import ItemHashes

SPLITS = ("train", "validation", "test")
items = st.lists(st.text("ab한\U0001f600 ", max_size=6).map(lambda item: f"x{item}x"), min_size=3, max_size=25)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("items")


@pytest.fixture(autouse=True)
def _piece_of_seven_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PIECE", 7)


def read(folder: Path, parts: list[str], validation: float = 0.25, test: float = 0.0, **more: object) -> Corpus:
    path = folder / "items"
    path.write_text("\n".join(parts), encoding="utf-8", newline="")
    fractions = {"validation_fraction": validation, "test_fraction": test}
    return Corpus.read(DataConfig.model_validate({"path": str(path), "documents": "line"} | fractions | more))


def items_of(corpus: Corpus, split: str) -> list[str]:
    ids = getattr(corpus, split)
    ends = np.flatnonzero(ids == corpus.vocabulary.end)
    assert ends[0] == 0
    assert ends[-1] == len(ids) - 1
    return [corpus.vocabulary.decode(ids[one + 1 : two]) for one, two in pairwise(ends)]


def naive(parts: list[str], validation: float, test: float) -> dict[str, list[str]]:
    """Sort the different texts by their hash; give each to the first split with room, and one to a split with none."""
    count = Counter(parts)
    known = sorted(count, key=lambda part: int.from_bytes(blake2b(part.encode(), digest_size=8).digest(), "little"))
    place = dict.fromkeys(known, "train")
    for split, fraction, left in (("validation", validation, 1 + bool(test)), ("test", test, 1)):
        free = [part for part in known if place[part] == "train"]
        held: list[str] = []
        for part in free:
            fits = Fraction(sum(map(count.__getitem__, [*held, part])), len(parts)) <= Fraction(fraction)
            if fits and len(held) < len(free) - left:
                held.append(part)
        if fraction:
            place |= dict.fromkeys(held or [min(free, key=count.__getitem__)], split)
    return {split: [part for part in parts if place[part] == split] for split in SPLITS}


@settings(max_examples=150)
@given(items, st.integers(1, 31), st.integers(0, 31), st.integers(1, 20))
@example(["xx", "xax", "xbx"], 31, 31, 1)
def test_the_smallest_hashes_are_held_out_and_each_split_keeps_the_order_of_the_text(
    folder: Path, parts: list[str], held: int, kept: int, size: int
) -> None:
    if len(set(parts)) < 2 + bool(kept):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "PIECE", size)
        corpus = read(folder, parts, held / 64, kept / 64)
    expected = naive(parts, held / 64, kept / 64)
    assert {split: items_of(corpus, split) for split in SPLITS if split != "test" or kept} == {
        split: expected[split] for split in SPLITS if split != "test" or kept
    }
    assert len(corpus.ids) == sum(map(len, parts)) + len(parts) + 1
    assert all(expected[split] for split in ("train", "validation", *["test"] * bool(kept)))
    assert all(np.shares_memory(corpus.ids, getattr(corpus, split)) for split in SPLITS)


@settings(max_examples=60)
@given(items, st.randoms(use_true_random=False), st.integers(2, 4))
def test_a_sorted_a_shuffled_and_a_repeated_text_hold_out_the_same_items(
    folder: Path, parts: list[str], chance: random.Random, times: int
) -> None:
    if len(set(parts)) < 3:
        return
    shuffled = chance.sample(parts, len(parts))
    held = [
        Counter(items_of(read(folder, some, 0.3, 0.2), split))
        for some in (parts, sorted(parts), shuffled)
        for split in SPLITS
    ]
    assert held[:3] == held[3:6] == held[6:]
    repeated = read(folder, parts * times, 0.3, 0.2)
    counts = [Counter(items_of(repeated, split)) for split in SPLITS]
    assert counts == [Counter({part: count * times for part, count in each.items()}) for each in held[:3]]


def test_equal_items_are_never_in_two_splits(tmp_path: Path) -> None:
    chance = random.Random(8)
    parts = [f"name{min(int(chance.expovariate(0.1)), 60)}" for _ in range(900)]
    corpus = read(tmp_path, parts, 0.1, 0.1)
    found = [set(items_of(corpus, split)) for split in SPLITS]
    assert sum(map(len, found)) == len(set.union(*found)) == len(set(parts))
    assert 0.02 < len(items_of(corpus, "validation")) / len(parts) <= 0.1


@pytest.mark.parametrize("often", range(12))
def test_an_item_that_is_most_of_the_text_is_trained_on(often: int, tmp_path: Path) -> None:
    """Whatever its hash: held out, it would be nearly all of the validation text."""
    parts = [f"often {often}"] * 900 + [f"rare {often} {number}" for number in range(100)]
    corpus = read(tmp_path, parts, 0.05, 0.03)
    found = {split: items_of(corpus, split) for split in SPLITS}
    assert (len(found["validation"]), len(found["test"])) == (50, 30)
    assert f"often {often}" not in found["validation"] + found["test"]


def test_more_items_hold_out_more_and_release_few(tmp_path: Path) -> None:
    """An item's hash does not depend on the others, so a text that grows keeps most of its validation items."""
    names = [f"name{number}" for number in range(1000)]
    before = set(items_of(read(tmp_path, names[:900], 0.1), "validation"))
    after = set(items_of(read(tmp_path, names, 0.1), "validation"))
    assert (len(before), len(after)) == (90, 100)
    assert len(before & after) > 80


def test_bytes_and_normalized_text_are_split_by_what_is_read(tmp_path: Path) -> None:
    parts = ["é", "e\u0301", "한", "n", "m", "o", "p"]  # the first two are one text in NFD
    decomposed = read(tmp_path, parts, 0.4, normalization="NFD")
    together = [sum(item == "é" for item in items_of(decomposed, split)) for split in ("train", "validation")]
    assert sorted(together) == [0, 2]
    as_bytes = read(tmp_path, parts, 0.4, unit="byte")
    assert items_of(as_bytes, "train") != parts
    assert sorted(items_of(as_bytes, "train") + items_of(as_bytes, "validation")) == sorted(parts)


def test_a_hash_is_that_of_the_item_however_it_is_cut() -> None:
    text = f"\ud800ann\ud800{'b' * 40}\ud800ann\ud800"
    whole, cut = ItemHashes(), ItemHashes()
    whole.add(text)
    for character in text:
        cut.add(character)
    one, two = whole.arranged(0.4, 0), cut.arranged(0.4, 0)
    assert one.lengths.tolist() == two.lengths.tolist() == [3, 40, 3]
    assert one.splits.tolist() == two.splits.tolist()
    assert one.splits[0] == one.splits[2] != one.splits[1]


def test_the_split_of_these_names_never_changes(tmp_path: Path) -> None:
    """Checkpoints do not record which items are held out, so the hash may not change."""
    names = ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal", "ida", "joe", "지민", "서연"]
    corpus = read(tmp_path, names, 0.25, 0.25)
    assert [" ".join(items_of(corpus, split)) for split in ("validation", "test")] == ["cid gus ida", "fay joe 지민"]


@pytest.mark.parametrize("parts", [["one"], ["one"] * 9])
def test_equal_items_cannot_be_split(parts: list[str], tmp_path: Path) -> None:
    together = ", where equal ones are kept together," if len(parts) > 2 else ""
    with pytest.raises(
        TextError, match=rf"too short. Its items \({len(parts)}, data.documents: line\){together} leave"
    ):
        read(tmp_path, parts)


def test_null_means_random_for_items_and_the_tail_for_running_text(tmp_path: Path) -> None:
    names = [f"name{number}" for number in range(40)]
    assert read(tmp_path, names).ids.tolist() == read(tmp_path, names, split="random").ids.tolist()
    assert items_of(read(tmp_path, names), "validation") != names[30:]
    assert items_of(read(tmp_path, names, split="tail"), "validation") == names[30:]
    running = [read(tmp_path, names, documents=None, split=split) for split in (None, "tail")]
    assert running[0].ids.tolist() == running[1].ids.tolist()
    assert (running[0].validation_start, running[0].test_start) == (running[1].validation_start, running[1].test_start)
    with pytest.raises(ValidationError, match=r"only separate items are split at random; set data\.documents"):
        read(tmp_path, names, documents=None, split="random")


@pytest.mark.parametrize(
    ("before", "after"), [("ab\ncd", "a\nbcd"), ("ab\ncd", "ab\ncde"), ("ab\ncd", "ab\nc\n"), ("ab", "a\nb")]
)
def test_a_text_that_changes_while_it_is_read_is_refused(before: str, after: str) -> None:
    """Nothing is written to the wrong place: the end marks must be where they were."""
    hashes = ItemHashes()
    hashes.add("\ud800" + "".join(f"{part}\ud800" for part in before.split("\n")))
    arrangement = hashes.arranged(0.5, 0)
    now = code_points("\ud800" + "".join(f"{part}\ud800" for part in after.split("\n")))
    places = [arrangement.places(now[start : start + 2], start) for start in range(0, len(now), 2)]
    assert any(place is None for place in places)
