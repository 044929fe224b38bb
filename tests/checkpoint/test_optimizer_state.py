"""What is known of the optimizer's state and of a checkpoint's size is what torch keeps and what files hold."""

from pathlib import Path

import pytest
import torch

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.checkpoint.layout import sizes
from charlm.checkpoint.optimizer_state import optimizer_layout, prefix_of
from charlm.models.network import RecurrentNetwork
from charlm.models.recurrent import tensor_shapes
from charlm.runs.lookup import full_checkpoints
from charlm.runs.space import checkpoint_sizes
from charlm.training.optimization import make_optimizer
from tests.conftest import make_config


def test_it_is_what_the_optimizer_keeps_after_a_step(tmp_path: Path) -> None:
    config = make_config(tmp_path / "a.txt", tmp_path, kind="gru")
    network = RecurrentNetwork(config.model, 9)
    optimizer = make_optimizer(network, config.training)
    logits, _ = network(torch.zeros(1, 3, dtype=torch.int64))
    logits.sum().backward()
    optimizer.step()

    kept = {
        prefix_of(name) + part: ("F32", tuple(value.shape))
        for name, weight in network.named_parameters()
        for part, value in optimizer.state[weight].items()
        if value.dtype == torch.float32
    }
    parts = sum(len(optimizer.state[weight]) for weight in network.parameters())

    assert optimizer_layout(tensor_shapes(config.model, 9)) == kept
    assert len(kept) == parts


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_the_sizes_are_those_of_the_tensors_in_the_files(kind: str, trained: dict[str, Path]) -> None:
    full, best = (
        Checkpoint.load(path) for path in (full_checkpoints(trained[kind])[-1], trained[kind] / "best.safetensors")
    )
    by_part = {
        part: sum(value.nbytes for value in full.part(part).values()) for part in ("model", "optimizer", "state", "rng")
    }

    assert sizes(full.config, len(full.vocabulary)) == (by_part["model"], by_part["optimizer"], by_part["state"])
    assert min(by_part.values()) > 0
    assert checkpoint_sizes(full.config, len(full.vocabulary)) == (
        sum(value.nbytes for value in best.tensors.values()),
        sum(value.nbytes for value in full.tensors.values()) - by_part["rng"],
    )
