"""The precision of training: float32, or bfloat16 mixed precision (Micikevicius et al. 2018; Kalamkar et al. 2019)."""

import torch

from charlm.errors import ConfigError
from charlm.models.masks import MaskSource
from charlm.models.network import RecurrentNetwork


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the autocast context for ``precision``, float32 or bfloat16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def check_precision(network: RecurrentNetwork, masks: MaskSource, precision: str) -> None:
    """Raise ConfigError where the device of ``masks`` does not support ``precision``, found by one backward pass.

    The pass is masked as those of training are.
    """
    if precision == "float32":
        return
    device = masks.device
    try:
        with torch.random.fork_rng(), autocast(device, precision):
            logits, _ = network(torch.zeros((1, 2), dtype=torch.int64, device=device), masks=masks.at(0, lanes=1))
            logits.sum().backward()
    except RuntimeError as error:
        raise ConfigError(
            f"training.precision: {precision} is not supported on this {device.type} "
            f"({str(error).splitlines()[0]}). Use float32."
        ) from error
    network.zero_grad()
