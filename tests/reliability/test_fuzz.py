"""Mutated files: whatever chance makes of a checkpoint or a config, it is refused in words or it works."""

import json
import math
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.cli.app import app
from charlm.config.reading import read_config
from charlm.config.writing import resolved_yaml
from charlm.errors import CharlmError, ConfigError
from charlm.evaluation import evaluate
from charlm.runs.lookup import full_checkpoints
from charlm.sampling import sample
from charlm.text.corpus import Corpus
from charlm.text.streams import evaluation_streams
from charlm.training.trainer import Trainer
from tests.conftest import TEXT, make_config, train
from tests.harness.handmade import HUGE, Parts, by_hand
from tests.harness.processes import Outcome
from tests.harness.repetitions import repetitions
from tests.harness.sandbox import BOUND, assert_messages_readable, memory_bound

pytestmark = pytest.mark.slow

EXAMPLES = repetitions(200)
fuzz = settings(max_examples=EXAMPLES, phases=[Phase.explicit, Phase.reuse, Phase.generate])
SEEDS = st.integers(0, 2**64 - 1)
"""Of Python's own random numbers: a mutation is a function of its seed, and no smaller seed is a smaller mutation."""

ODD_VALUES: list[Any] = [None, True, False, 0, 1, -1, 2, 7, 255, 10**9, 2**63, 10**400, HUGE, 0.5, -0.0, 1e-320, 1e308]
ODD_VALUES += [
    math.nan,
    math.inf,
    -math.inf,
    "",
    "0",
    "-1",
    "x" * 300,
    "\x1b[31m",
    "\0",
    "\ud800",
    "가",
    "é",
    "/dev/null",
]
ODD_VALUES += [
    [],
    [[]],
    {},
    {"a": 0},
    [0] * 99,
    ["a", "b"],
    "cpu",
    "cuda",
    "cuda:9",
    "byte",
    "NFD",
    "utf-16",
    "rnn",
    "gru",
]
ODD_BYTES = [b"\0", b"9", b"-", b"]", b"}", b'"', b"\\", b"\xff", b",0", b"1e9"]
ODD_YAML = [
    ":",
    "-",
    "\n",
    "  ",
    "\t",
    "[",
    "}",
    "&a ",
    "*a",
    "!!int ",
    '"',
    "'",
    "#",
    "0x",
    "1e9",
    "\0",
    "\x85",
    "---\n",
]
ODD_YAML += ["? ", "<<: ", "\ud7ff", "9" * 5000]


@dataclass(frozen=True)
class Honest:
    """A checkpoint's bytes, and the text that it was trained on."""

    path: Path
    content: bytes
    corpus: Corpus

    def __repr__(self) -> str:
        return str(self.path)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> list[Honest]:
    """Return a full checkpoint from the midst of training, and a best one, of several kinds."""
    folder = tmp_path_factory.mktemp("honest")
    (folder / "text.txt").write_bytes(TEXT.encode())
    variants: dict[str, dict[str, Any]] = {
        "lstm": {"model": {"hidden_size": 4, "num_layers": 2, "dropout": 0.2}},
        "gru": {"model": {"hidden_size": 3, "num_layers": 1, "embedding_size": 2}, "data": {"minimum_count": 20}},
        "rnn": {"model": {"hidden_size": 5, "num_layers": 3}, "data": {"unit": "byte"}},
    }
    found = []
    for kind, sections in variants.items():
        config = make_config(folder / "text.txt", folder / "runs", kind=kind, **sections)
        path, _ = train(config)
        corpus = Corpus.read(config.data)
        found += [
            Honest(file, file.read_bytes(), corpus) for file in (full_checkpoints(path)[0], path / "best.safetensors")
        ]
    return found


def mutated_bytes(chance: random.Random, content: bytes) -> bytes:
    """Change some bytes of a file, keep its lengths in order, and seal it again."""
    start = 8 + int.from_bytes(content[:8], "little")
    header, body = bytearray(content[8:start]), bytearray(content[start:])
    digest = header.rfind(b'sha256\\": \\"') + len(b'sha256\\": \\"')
    header[digest : digest + 64] = b"0" * 64
    for _ in range(chance.randint(1, 4)):
        target = header if chance.random() < 0.7 else body
        place = chance.randrange(len(target))
        match chance.randrange(4):
            case 0:
                target[place] ^= 1 << chance.randrange(8)
            case 1:
                del target[place : place + chance.choice([1, 2, 8, 64])]
            case 2:
                target[place:place] = chance.choice(ODD_BYTES)
            case _:
                other = chance.randrange(len(target))
                target[place : place + 8] = target[other : other + 8]
        if not target:
            break
    return by_hand(bytes(header), bytes(body))


def mutated_tree(chance: random.Random, tree: Any) -> Any:
    """Change one thing somewhere in a tree of JSON."""
    if isinstance(tree, dict | list) and tree and chance.random() < 0.85:
        return (mutated_dict if isinstance(tree, dict) else mutated_list)(chance, tree)
    if isinstance(tree, int | float) and not isinstance(tree, bool) and abs(tree) < 1e300 and chance.random() < 0.5:
        return chance.choice([tree + 1, tree - 1, -tree, 2 * tree, 0.5, tree * 10**9])
    return chance.choice(ODD_VALUES)


def mutated_dict(chance: random.Random, tree: dict[str, Any]) -> dict[str, Any]:
    key = chance.choice(list(tree))
    match chance.randrange(8):
        case 0:
            return {name: value for name, value in tree.items() if name != key}
        case 1:
            return tree | {chance.choice(["", "a", "\x1b[31m", key + "0", "model.extra"]): tree[key]}
        case _:
            return tree | {key: mutated_tree(chance, tree[key])}


def mutated_list(chance: random.Random, tree: list[Any]) -> list[Any]:
    place = chance.randrange(len(tree))
    match chance.randrange(6):
        case 0:
            return tree[:place] + tree[place + 1 :]
        case 1:
            return [*tree[:place], chance.choice(ODD_VALUES), *tree[place:]]
        case 2:
            return tree[:place] + tree[place:][::-1]
        case _:
            return [*tree[:place], mutated_tree(chance, tree[place]), *tree[place + 1 :]]


def mutated_parts(chance: random.Random, content: bytes) -> bytes:
    """Change the record, the tensors' places or the tensors of a file, and seal it again."""
    parts = Parts.of(content)
    for _ in range(chance.randint(1, 3)):
        match chance.randrange(6):
            case 0:
                parts.tree = mutated_tree(chance, parts.tree)
            case 1:
                floats = np.frombuffer(parts.body[: len(parts.body) // 4 * 4], np.float32).copy()
                floats[chance.randrange(len(floats))] = chance.choice([0, -1, 1e-45, 1e30, -3e38, math.nan, math.inf])
                parts.body = floats.tobytes() + parts.body[len(floats) * 4 :]
            case _:
                parts.record = mutated_tree(chance, parts.record)
        if not isinstance(parts.tree, dict) or not parts.body:
            break
    return parts.written() if isinstance(parts.tree, dict) else by_hand(json.dumps(parts.tree).encode())


def use(content: bytes, corpus: Corpus) -> str:
    """Do with a checkpoint all that can be done; return how far it came. What is raised but CharlmError is a bug."""
    reached = "refused"
    try:
        checkpoint = Checkpoint.from_bytes(content)
        reached = "read"
        with np.errstate(all="ignore"):  # huge weights have a test of their own
            read_with_numpy(checkpoint)
            reached = "sampled"
            if checkpoint.is_full and len(checkpoint.vocabulary) == len(corpus.vocabulary):
                steps = zip(Trainer.resume(checkpoint, corpus).run(), range(3), strict=False)
                reached = f"trained {len(list(steps))} steps"
    except CharlmError:
        pass
    return reached


def read_with_numpy(checkpoint: Checkpoint) -> None:
    model, vocabulary = checkpoint.model(), checkpoint.vocabulary
    ids = [int(row[0]) for row, _ in zip(sample(model, vocabulary, seed=1), range(4), strict=False)]
    vocabulary.decode(ids).encode()
    vocabulary.marks(ids)
    streams = evaluation_streams(np.array(ids, vocabulary.dtype), checkpoint.config.training.evaluation_lanes)
    assert evaluate(model, vocabulary, streams).perplexity >= 0
    again = Checkpoint.from_bytes(checkpoint.to_bytes())
    assert again.config == checkpoint.config
    assert again.vocabulary == vocabulary
    assert again.progress == checkpoint.progress
    resolved_yaml(checkpoint.config)


Mutation = Callable[[random.Random, bytes], bytes]
MUTATIONS: dict[str, Mutation] = {"bytes": mutated_bytes, "parts": mutated_parts}


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
@given(seed=SEEDS, which=st.integers(0, 5))
@fuzz
def test_a_mutated_checkpoint_works_or_is_refused_with_a_message(
    mutation: Mutation, honest: list[Honest], seed: int, which: int
) -> None:
    content = mutation(random.Random(seed), honest[which].content)
    with memory_bound(BOUND):
        use(content, honest[which].corpus)


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
@given(seed=SEEDS, which=st.integers(0, 5))
@fuzz
def test_a_mutated_checkpoint_is_sampled_or_refused(
    mutation: Mutation, honest: list[Honest], seed: int, which: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    path.write_bytes(mutation(random.Random(seed), honest[which].content))
    with memory_bound(BOUND), np.errstate(all="ignore"):
        result = CliRunner().invoke(app, ["sample", "--checkpoint", str(path), "--seed", "1", "--length", "4"])

    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert_messages_readable(Outcome(result.exit_code, result.stdout, result.stderr))
    assert result.exit_code in (0, 4)
    assert (result.exit_code == 4) == result.stderr.startswith(f"charlm: {path}: ")


def mutated_yaml(chance: random.Random, content: str) -> str:
    """Change some letters or lines of a config, or something of what it says."""
    if chance.random() < 0.5:
        tree = mutated_tree(chance, yaml.safe_load(content))
        return yaml.safe_dump(tree, allow_unicode=chance.random() < 0.5, default_flow_style=chance.random() < 0.5)
    for _ in range(chance.randint(1, 5)):
        lines = content.splitlines(keepends=True) or [""]
        place, line = chance.randrange(len(content) + 1), chance.randrange(len(lines))
        match chance.randrange(5):
            case 0:
                content = content[:place] + content[place + chance.randint(1, 9) :]
            case 1:
                content = content[:place] + chance.choice(ODD_YAML) + content[place:]
            case 2:
                content = "".join(lines[:line] + lines[line + 1 :])
            case 3:
                content = "".join([*lines, lines[line]])
            case _:
                content = "".join([*lines[:line], "  ", *lines[line:]])
    return content


CONFIG_FILES = sorted(Path(__file__).parents[2].glob("configs/*.yaml"))


@given(seed=SEEDS, path=st.sampled_from(CONFIG_FILES))
@fuzz
def test_a_mutated_config_is_refused_in_words_or_is_one(
    seed: int, path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mutant = tmp_path_factory.getbasetemp() / "mutated.yaml"
    mutant.write_bytes(mutated_yaml(random.Random(seed), path.read_text("utf-8")).encode("utf-8", "surrogatepass"))
    with suppress(ConfigError):
        config = read_config(mutant)
        mutant.write_text(resolved_yaml(config), encoding="utf-8")
        assert read_config(mutant) == config
