"""A validation text that is unlike the training text is said, and one of the same kind is not."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.config.settings import DataConfig
from charlm.split_check import suspect_split
from charlm.text.corpus import Corpus
from tests.conftest import Run

ROOT = Path(__file__).parents[1]
CHANCE = random.Random(5)
SYLLABLES = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]
WORDS = sorted({"".join(CHANCE.choices(SYLLABLES, k=CHANCE.randint(2, 4))) for _ in range(2500)})
PROSE = (ROOT / "data" / "tales.txt").read_text("utf-8")
CODE = "".join(path.read_text("utf-8") for path in sorted((ROOT / "charlm" / "text").glob("*.py")))


def found(tmp_path: Path, text: str, **more: object) -> str | None:
    (tmp_path / "text").write_text(text, encoding="utf-8", newline="")
    data = DataConfig.model_validate({"path": str(tmp_path / "text")} | more)
    return suspect_split(Corpus.read(data), data)


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("\n".join(WORDS), {}),
        ("\n".join(WORDS), {"documents": "line", "split": "tail"}),
        (PROSE[:180_000] + CODE[:20_000], {}),
        (PROSE[:190_000] + "나라의 말이 중국과 달라 " * 1500, {}),
        (PROSE * 4 + CODE * 3, {"validation_fraction": 0.05}),  # longer than what is read
    ],
)
def test_a_text_that_ends_otherwise_than_it_begins_is_suspect(
    text: str, more: dict[str, object], tmp_path: Path
) -> None:
    sentence = found(tmp_path, text, **more)
    assert sentence is not None
    assert "is unlike the training text: a Markov chain needs " in sentence
    way_out = "leave data.split at null" if more.get("documents") else "set data.documents: line"
    assert way_out in sentence


@pytest.mark.parametrize(
    ("text", "more"),
    [
        (PROSE, {}),
        (PROSE * 4, {}),
        (CODE, {}),
        ("\n".join(random.Random(1).sample(WORDS, len(WORDS))), {}),
        ("\n".join(WORDS), {"documents": "line"}),
        ("\n".join(random.Random(1).sample(WORDS, len(WORDS))), {"documents": "line", "split": "tail"}),
        ("hello " * 2000, {}),
        ("abc" * 60 + "xyz" * 6, {}),  # too short to tell
    ],
)
def test_a_text_of_one_kind_is_not(text: str, more: dict[str, object], tmp_path: Path) -> None:
    assert found(tmp_path, text, **more) is None


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 200))
def test_noise_of_one_source_is_never_suspect(tmp_path_factory: pytest.TempPathFactory, seed: int, size: int) -> None:
    draw = np.random.default_rng(seed)
    weights = draw.dirichlet(np.full(size, 0.4))
    text = "".join(map(chr, 0x4E00 + draw.choice(size, 12_000, p=weights)))
    assert found(tmp_path_factory.mktemp("noise"), text) is None


@pytest.mark.parametrize("kind", ["gru", "markov"])
def test_training_says_it_once(kind: str, charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("\n".join(WORDS), encoding="utf-8")
    steps = "training: {steps: 2, batch_size: 2}" if kind == "gru" else ""
    model = "{kind: gru, hidden_size: 4, num_layers: 1}" if kind == "gru" else "{kind: markov, order: 1}"
    Path("c.yaml").write_text(f"data: {{path: words.txt}}\nmodel: {model}\n{steps}\n", encoding="utf-8")
    for arguments in ((), ("--dry-run",), ("--set", "data.documents=line"), ("--resume",)):
        result = charlm("train", "--config", "c.yaml", *arguments)
        assert result.exit_code == 0, result.stderr
        expected = 1 if arguments in ((), ("--dry-run",)) else 0
        assert result.stderr.count("is unlike the training text") == expected
