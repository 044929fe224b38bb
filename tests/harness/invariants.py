"""What must hold of a run that met with anything: its files are whole, and it goes on as if nothing had been."""

import json
from pathlib import Path

from charlm.checkpoint.checkpoint import Checkpoint
from tests.harness.charlm_process import run_charlm
from tests.harness.interruptions import Snapshot, differences, snapshot

TRAIN = ("train", "--config", "tiny.yaml")


def assert_whole(run: Path) -> None:
    """Hold that every file that is there is whole, and nothing temporary is left."""
    assert [path.name for path in run.parent.rglob(".*")] == []
    for path in run.glob("*.safetensors"):
        Checkpoint.load(path)
    if (run / "metrics.jsonl").exists():
        assert all(json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines())


def assert_resumes(folder: Path, run: Path, undisturbed: Snapshot) -> None:
    """Hold that nothing is broken and that ``--resume`` ends as the run that met with nothing."""
    assert_whole(folder / run)
    resumed = run_charlm(folder, *TRAIN, "--resume", "--quiet")
    assert (resumed.code, resumed.stderr) == (0, "")
    assert differences(undisturbed, snapshot(folder / run)) == []
    assert_whole(folder / run)
