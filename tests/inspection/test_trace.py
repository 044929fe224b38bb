"""A trace is what the network held after each character; its files say the same."""

import csv
import io
import json

import numpy as np
import pytest
import torch

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.cli.delivery import as_csv, as_json
from charlm.errors import ConfigError, TextError
from charlm.inspection.export import to_npz, trace_table, trace_values
from charlm.inspection.trace import Trace, Unit, trace
from charlm.models.network import RecurrentNetwork
from tests.harness import textbook

KINDS = ["rnn", "lstm", "gru"]
SENTENCE = 'The fox said "come in".\n'


@pytest.fixture(params=KINDS)
def checkpoint(request, trained) -> Checkpoint:
    return Checkpoint.load(trained[request.param] / "best.safetensors")


def test_every_row_is_torchs_own_state_after_that_character(checkpoint) -> None:
    ids = checkpoint.vocabulary.encode(SENTENCE)
    network = RecurrentNetwork(checkpoint.config.model, len(checkpoint.vocabulary)).eval()
    network.load_tensors(checkpoint.part("model"))

    found = trace(checkpoint.model(), ids)

    state = None
    for t, index in enumerate(ids):
        with torch.no_grad():
            _, state = network(torch.tensor([[int(index)]]), state)
        parts = state if isinstance(state, tuple) else (state,)
        for signal, expected in zip(("hidden", "cell"), parts, strict=False):
            values = expected[:, 0].numpy()
            assert np.all(np.abs(found.signals[signal][t] - values) <= 1e-5 * (1 + np.abs(values)))


def test_hidden_rows_are_the_textbooks(checkpoint) -> None:
    model = checkpoint.config.model
    weights = {name: torch.from_numpy(value).double() for name, value in checkpoint.part("model").items()}
    ids = checkpoint.vocabulary.encode(SENTENCE)
    memory = textbook.start(model.num_layers, model.hidden_size)
    kind = "tanh" if model.kind == "rnn" else model.kind

    found = trace(checkpoint.model(), ids, ["hidden"]).signals["hidden"]

    for t, index in enumerate(ids):
        _, memory = textbook.read(kind, weights, [int(index)], memory)
        expected = torch.stack([hidden for hidden, _ in memory]).numpy()
        np.testing.assert_allclose(found[t], expected, atol=1e-5)


def test_a_trace_holds_every_signal_of_the_cell_in_its_shape(checkpoint) -> None:
    ids = checkpoint.vocabulary.encode(SENTENCE)
    found = trace(checkpoint.model(), ids)

    assert tuple(found.signals) == checkpoint.model().cell.signals
    assert {values.shape for values in found.signals.values()} == {(len(ids), 2, 7)}
    for gate in ("input", "forget", "output", "reset", "update"):
        if gate in found.signals:
            assert found.signals[gate].min() >= 0
            assert found.signals[gate].max() <= 1


def test_most_varying_is_ordered_by_variance_over_time() -> None:
    values = np.zeros((6, 2, 3), np.float32)
    values[:, 1, 2] = [0, 9, 0, 9, 0, 9]
    values[:, 0, 1] = [0, 1, 0, 1, 0, 1]
    values[:, 1, 0] = 100  # large, but constant
    found = Trace(np.zeros(6, np.uint8), {"hidden": values}).most_varying("hidden", 2)

    assert found == [Unit("hidden", 1, 2), Unit("hidden", 0, 1)]


def test_a_signal_that_the_cell_lacks_is_refused_with_those_it_has(trained) -> None:
    checkpoint = Checkpoint.load(trained["gru"] / "best.safetensors")

    with pytest.raises(
        ConfigError, match=r"^signals: forget is not a signal of this gru, which has hidden, reset, update, candidate"
    ):
        trace(checkpoint.model(), checkpoint.vocabulary.encode("The"), ["forget"])


def test_an_empty_text_is_refused(checkpoint) -> None:
    with pytest.raises(TextError, match="empty"):
        trace(checkpoint.model(), checkpoint.vocabulary.encode(""))


def test_files_hold_the_numbers_of_the_trace(checkpoint) -> None:
    ids = checkpoint.vocabulary.encode(SENTENCE)
    found = trace(checkpoint.model(), ids)
    units = [Unit("hidden", 1, 4), Unit("hidden", 0, 2)]
    marks = checkpoint.vocabulary.marks(ids)

    rows = list(csv.DictReader(io.StringIO(as_csv(*trace_table(found, units, marks)))))
    record = json.loads(as_json(trace_values(found, units, list(SENTENCE))))
    archive = np.load(io.BytesIO(to_npz(found, list(SENTENCE))))

    assert [row["character"] for row in rows] == marks
    assert [row["position"] for row in rows] == [str(t) for t in range(len(SENTENCE))]
    assert record["characters"] == list(SENTENCE)
    for unit, series in zip(units, record["units"], strict=True):
        expected = found.over_time(unit)
        np.testing.assert_array_equal(np.float32([row[str(unit)] for row in rows]), expected)
        np.testing.assert_array_equal(np.float32(series["values"]), expected)
        assert (series["signal"], series["layer"], series["index"]) == (unit.signal, unit.layer, unit.index)
    assert "".join(archive["characters"]) == SENTENCE
    np.testing.assert_array_equal(archive["ids"], ids)
    for signal, values in found.signals.items():
        np.testing.assert_array_equal(archive[signal], values)


def test_a_trace_is_the_same_bytes_every_time(checkpoint) -> None:
    ids = checkpoint.vocabulary.encode(SENTENCE)

    first, second = (to_npz(trace(checkpoint.model(), ids), list(SENTENCE)) for _ in range(2))

    assert first == second
