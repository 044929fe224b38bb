"""One text is computed on one BLAS thread, several on BLAS's own number, and no limit outlives a computed piece."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.evaluation import predictions
from charlm.inspection.trace import TraceSelection, pieces
from charlm.models.recurrent import RecurrentModel
from charlm.models.threads import computing
from charlm.sampling import sample
from charlm.text.streams import evaluation_streams, one_lane

OWN = 3


def blas_threads() -> set[int]:
    return {
        pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas" and "numpy" in pool["filepath"]
    }


@pytest.mark.parametrize(("texts", "threads"), [(1, 1), (2, OWN)])
def test_one_text_has_one_blas_thread_and_several_have_blas_own_number(texts: int, threads: int) -> None:
    with threadpool_limits(OWN, user_api="blas"):
        with computing(texts):
            assert blas_threads() == {threads}
        assert blas_threads() == {OWN}


@pytest.mark.parametrize("texts", [1, 2])
@pytest.mark.parametrize("what", ["sample", "predictions", "pieces"])
def test_the_limit_holds_while_a_piece_is_computed_and_not_where_it_is_yielded(
    what: str, texts: int, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint.load(trained["lstm"] / "best.safetensors")
    model, vocabulary = checkpoint.recurrent(), checkpoint.vocabulary
    inside: list[set[int]] = []
    for name in ("step", "read", "advance"):
        original = getattr(RecurrentModel, name)

        def noting(self, ids, state, original=original):
            inside.append(blas_threads())
            return original(self, ids, state)

        monkeypatch.setattr(RecurrentModel, name, noting)
    ids = vocabulary.encode("The fox said " * 30)
    yielding = {
        "sample": lambda: islice(sample(model, vocabulary, "The fox", num_samples=texts), 40),
        "predictions": lambda: predictions(model, evaluation_streams(ids, texts)),
        "pieces": lambda: pieces(model, ids, TraceSelection(), 50),
    }[what]
    with threadpool_limits(OWN, user_api="blas"), np.errstate(over="raise"):
        outside = [(blas_threads(), np.geterr()["over"]) for _ in yielding()]

    assert outside
    assert all(found == ({OWN}, "raise") for found in outside)
    assert set(map(tuple, inside)) == {(OWN if texts == 2 and what != "pieces" else 1,)}


def test_a_text_in_one_lane_is_read_in_windows() -> None:
    assert len(one_lane(np.arange(600, dtype=np.uint16))) == 3
