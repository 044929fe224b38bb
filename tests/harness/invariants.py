"""What must hold after any interruption: files are whole, and the resumed run equals an uninterrupted one."""

import json
from pathlib import Path

from charlm.checkpoint.checkpoint import Checkpoint
from tests.harness.charlm_process import run_charlm
from tests.harness.interruptions import Snapshot, differences, snapshot

TRAIN = ("train", "--config", "tiny.yaml")


def assert_whole(run: Path) -> None:
    """Assert that every file is whole and no temporary one is left."""
    assert [path.name for path in run.parent.rglob(".*")] == []
    for path in run.glob("*.safetensors"):
        Checkpoint.load(path)
    if (run / "metrics.jsonl").exists():
        assert all(json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines())


def assert_resumes(folder: Path, run: Path, undisturbed: Snapshot) -> None:
    """Assert that files are whole and that ``--resume`` ends as the uninterrupted run."""
    assert_whole(folder / run)
    resumed = run_charlm(folder, *TRAIN, "--resume", "--quiet")
    assert (resumed.code, resumed.stderr) == (0, "")
    assert differences(undisturbed, snapshot(folder / run)) == []
    assert_whole(folder / run)
