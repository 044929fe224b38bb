"""What the page holds of a signal is within its stated error of what float64 arithmetic makes of the same weights."""

import numpy as np
import pytest

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.inspection.trace import trace
from charlm.models.recurrent import RecurrentModel
from charlm.pages.quantization import rounded
from tests.conftest import TEXT


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_every_signal_is_within_its_stated_error_of_float64(kind, trained) -> None:
    checkpoint = Checkpoint.load(trained[kind] / "best.safetensors")
    ids = checkpoint.vocabulary.encode(TEXT[:300])
    exact = {name: value.astype(np.float64) for name, value in checkpoint.part("model").items()}
    precise = RecurrentModel(checkpoint.config.model, len(checkpoint.vocabulary), exact)
    traced, state = trace(checkpoint.model(), ids), precise.start(1)
    packed = {name: rounded(name, rows, checkpoint.config.model) for name, rows in traced.signals.items()}
    assert set(packed) == set(precise.cell.signals)

    for place, index in enumerate(ids):
        state = precise.advance(np.array([index]), state)
        for name, signal in packed.items():
            for layer, activations in enumerate(state):
                low, high = signal.low[layer], signal.high[layer]
                shown = low + (signal.levels[layer, :, place].astype(np.float64) + 127) / 254 * (high - low)
                assert np.abs(shown - activations[name][0]).max() <= signal.error + 1e-5
