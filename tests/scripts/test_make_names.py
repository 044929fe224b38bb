"""scripts/make_names.py: the names that are there are those it makes."""

import subprocess
import sys
from pathlib import Path

from charlm.config.reading import read_config
from charlm.text.corpus import Corpus

ROOT = Path(__file__).parents[2]
NAMES = ROOT / "data" / "names.txt"


def test_the_script_prints_the_file_to_the_last_byte(tmp_path: Path) -> None:
    made = [
        subprocess.run(
            [sys.executable, ROOT / "scripts" / "make_names.py"],
            cwd=tmp_path,
            env={"PYTHONHASHSEED": seed},  # the order of a set is another each time
            capture_output=True,
            timeout=60,
            check=True,
        ).stdout
        for seed in ("0", "7")
    ]
    assert made == [NAMES.read_bytes()] * 2


def test_there_are_names_enough_each_once_and_mixed() -> None:
    names = NAMES.read_text("ascii").splitlines()
    assert len(set(names)) == len(names) >= 1000
    assert all(name.isalpha() and name == name.capitalize() and 4 <= len(name) <= 15 for name in names)
    assert names != sorted(names)
    halves = [{name[:2] for name in half} for half in (names[: len(names) // 2], names[len(names) // 2 :])]
    assert halves[0] == halves[1]


def test_the_config_reads_each_as_an_item() -> None:
    data = read_config(ROOT / "configs" / "names.yaml").data
    corpus = Corpus.read(data.model_copy(update={"path": (str(NAMES),)}))
    names = NAMES.read_text("ascii").splitlines()
    assert int((corpus.ids == corpus.vocabulary.end).sum()) == len(names) + 1
    assert len(corpus.ids) == sum(map(len, names)) + len(names) + 1
