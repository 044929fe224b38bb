"""The Python of the pages runs as printed, and the API reference is what the docstrings say."""

import re
from pathlib import Path

import pytest

from scripts.api_page import PAGE, page
from tests.docs.markdown import PAGES, ROOT, blocks

SMALL = """
data: {path: data/tales.txt}
model: {kind: lstm, hidden_size: 256, num_layers: 1}
training: {batch_size: 4, sequence_length: 16, steps: 2}
run: {name: quickstart}
"""


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that looks like a clone after the quickstart, with a shorter text and a model of two steps."""
    import charlm

    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hello.txt").symlink_to(ROOT / "data" / "hello.txt")
    tales = (ROOT / "data" / "tales.txt").read_text(encoding="utf-8")
    (tmp_path / "data" / "tales.txt").write_text(tales[:20_000], encoding="utf-8")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "quickstart.yaml").write_text(SMALL, encoding="utf-8")
    charlm.train(config="quickstart.yaml")
    return tmp_path


@pytest.mark.parametrize("name", [name for name in PAGES if name != "docs/api.md" and blocks(name, "python")])
def test_examples_run_from_top_to_bottom(name, clone, capsys):
    """As printed, but for the number of steps."""
    names: dict[str, object] = {}
    for block in blocks(name, "python"):
        text = re.sub(r'("steps": \d)00', r"\1", block.text)
        exec(compile(text, name, "exec"), names)
    assert capsys.readouterr().out


def test_the_api_reference_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python scripts/api_page.py"
