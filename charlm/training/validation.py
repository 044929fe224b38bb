"""The loss of a network on a text that it is not trained on."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from charlm.models.network import NetworkState, RecurrentNetwork, restarted
from charlm.text.batches import PADDING, BatchSource


def validation_loss(network: RecurrentNetwork, streams: BatchSource, device: torch.device) -> float:
    """Return the mean loss in nats per character, in float32 and with nothing dropped; leaves the network in eval mode.

    Every lane starts from a zero state.
    """
    nats = 0.0
    state: NetworkState = None
    network.eval()
    with torch.inference_mode():
        for step in range(len(streams)):
            batch = streams.at(step)
            logits, state = network(on_device(batch.inputs, device), restarted(state, batch.fresh))
            targets = on_device(batch.targets, device).flatten()
            nats += cross_entropy(logits.flatten(0, 1), targets, ignore_index=PADDING, reduction="sum").item()
    return nats / streams.characters


def on_device(ids: NDArray[Any], device: torch.device) -> Tensor:
    """Return ids as a tensor on the device."""
    return torch.from_numpy(np.ascontiguousarray(ids, dtype=np.int64)).to(device)
