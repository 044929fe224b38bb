"""Every config in configs/ opens with what it shows, loads, and trains."""

from pathlib import Path

import pytest

from charlm.config.reading import read_config
from charlm.text.corpus import Corpus
from charlm.training.ngram import count
from charlm.training.trainer import Trainer

pytestmark = pytest.mark.slow

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_trains_two_steps_on_a_stand_in_text(path, tmp_path) -> None:
    text = tmp_path / "text.txt"
    lines = (f"가나다라 마바사 the quick brown fox {number:o}\n" for number in range(600))
    text.write_text("".join(lines), encoding="utf-8")
    if read_config(path).model.kind == "markov":
        config = read_config(path, [f"data.path={text}"])
        _, checkpoint = count(config, Corpus.read(config.data))
        assert checkpoint.progress.validation_loss is not None
    else:
        overrides = [f"data.path={text}", "training.steps=2", "training.device=cpu", "training.evaluate_every=2"]
        config = read_config(path, overrides)
        assert [report.step for report in Trainer(config, Corpus.read(config.data)).run()] == [1, 2]
    assert config.run.name == path.stem


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_opens_with_what_it_shows(path) -> None:
    head = path.read_text(encoding="utf-8").split("data:")[0]

    assert head.startswith("# ")
    assert "# Shows " in head
    assert "# Took " in head


def test_the_configs_to_compare_differ_in_their_cell_alone() -> None:
    rnn, gru, lstm = (read_config(path) for path in CONFIGS if path.stem in {"tales-rnn", "tales-gru", "tales-lstm"})
    same = rnn.model_copy(update={"model": None, "run": None})

    for other in (gru, lstm):
        assert other.model_copy(update={"model": None, "run": None}) == same
        assert other.model.model_copy(update={"kind": "rnn"}) == rnn.model.model_copy(update={"kind": "rnn"})
