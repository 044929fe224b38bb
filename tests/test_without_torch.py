"""Everything but training a network starts in a moment, because it never imports torch."""

from pathlib import Path

import pytest

from tests.conftest import TEXT, Run
from tests.harness.processes import assert_torch_not_imported

pytestmark = pytest.mark.slow

COMMANDS = ("train", "sample", "inspect-hidden", "inspect-gradients", "evaluate", "vocabulary", "config", "runs")
RUN = "--checkpoint RUN"
LINES = {
    "help": ["--help", "--version", *(f"{command} --help" for command in COMMANDS)],
    "help-of-config": [f"config {command} --help" for command in ("init", "show", "schema")],
    "help-of-runs": [f"runs {command} --help" for command in ("list", "show", "compare")],
    "config": ["config init", "config show --config config.yaml --set model.kind=gru", "config schema"],
    "vocabulary": ["vocabulary --file text.txt --text fox --json", f"vocabulary {RUN} --text fox"],
    "sample": [
        f"sample {RUN} --prompt The --length 20 --top-k 9 --top-p 0.9",
        f"sample {RUN} --num-samples 2 --json --stop a",
        f"sample {RUN} --next 3",
        f"sample {RUN} --novelty --length 40",
    ],
    "evaluate": [
        f"evaluate {RUN}",
        f"evaluate {RUN} --split validation --json",
        f"evaluate {RUN} --file text.txt",
        f"evaluate {RUN} --baselines",
        f"evaluate {RUN} --per-character",
    ],
    "runs": ["runs --directory PARENT", "runs show RUN --json", "runs compare RUN counts --output compared.html"],
    "train a Markov model": [
        "train --config markov.yaml --dry-run",
        "train --config markov.yaml --quiet --name fresh",
        "train --config markov.yaml --resume --name fresh",
    ],
    "use a Markov model": [
        "sample --checkpoint counts --novelty --json",
        "sample --checkpoint counts --next 9 --json",
        "evaluate --checkpoint counts --baselines --json",
    ],
    "inspect-hidden": [
        f"inspect-hidden {RUN}",
        *(f"inspect-hidden {RUN} --text fox --format {name}" for name in ("terminal", "csv", "json", "npz")),
    ],
}


@pytest.mark.parametrize("name", LINES)
def test_a_command_that_trains_no_network_leaves_torch_alone(
    name: str, charlm: Run, trained: dict[str, Path], tmp_path: Path
) -> None:
    of_each_kind = [
        line.replace("RUN", str(run)).replace("PARENT", str(run.parent))
        for run in trained.values()
        for line in LINES[name]
    ]
    lines = [line.split() for line in dict.fromkeys(of_each_kind)]
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "config.yaml").write_text("data: {path: text.txt}\n", encoding="utf-8")
    (tmp_path / "markov.yaml").write_text("data: {path: text.txt}\nmodel: {kind: markov}\n", encoding="utf-8")
    assert charlm("train", "--config", "markov.yaml", "--name", "counts").exit_code == 0
    assert_torch_not_imported(tmp_path, lines)
