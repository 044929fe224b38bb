"""What must hold of a run that met with anything: its files are whole, and it goes on as if nothing had been."""

import json
from pathlib import Path

from charlm.checkpoint import Checkpoint
from tests.interruptions import Remains, differences, remains
from tests.stage import perform

TRAIN = ("train", "--config", "tiny.yaml")


def check_whole(run: Path) -> None:
    """Hold that every file that is there is whole, and nothing temporary is left."""
    assert [path.name for path in run.parent.rglob(".*")] == []
    for path in run.glob("*.safetensors"):
        Checkpoint.load(path)
    if (run / "metrics.jsonl").exists():
        assert all(json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines())


def check_goes_on(folder: Path, run: Path, undisturbed: Remains) -> None:
    """Hold that nothing is broken and that ``--resume`` ends as the run that met with nothing."""
    check_whole(folder / run)
    resumed = perform(folder, *TRAIN, "--resume", "--quiet")
    assert (resumed.code, resumed.stderr) == (0, "")
    assert differences(undisturbed, remains(folder / run)) == []
    check_whole(folder / run)
