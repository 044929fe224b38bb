"""The precision of training: float32, or bfloat16 mixed precision (Micikevicius et al. 2018; Kalamkar et al. 2019)."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from charlm.errors import ConfigError
from charlm.models.masks import MaskSource
from charlm.models.network import RecurrentNetwork


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the autocast context for ``precision``, float32 or bfloat16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def check_precision(network: RecurrentNetwork, masks: MaskSource, precision: str, *, resumed: bool = False) -> None:
    """Raise ConfigError where the device of ``masks`` does not support ``precision``, found by one backward pass.

    The pass drops what training drops. ``resumed`` says that the network is that of a run, whose precision changes
    only where the caller allows it.
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
            f"training.precision: {precision} is not supported on this {device.type} ({str(error).splitlines()[0]}).",
            "Use float32, and name training.precision in allow_change." if resumed else "Use float32.",
            kind="precision of a run" if resumed else "precision",
        ) from error
    network.zero_grad()


def faster_precision(device: torch.device, precision: str) -> str | None:
    """Return a sentence on the precision that is faster on this device; None where ``precision`` is, or may be."""
    if device.type != "cpu" or precision != "float32" or not has_bfloat16_matrices():
        return None
    return "this CPU multiplies matrices in bfloat16 (AMX): training.precision: bfloat16 would be faster."


def has_bfloat16_matrices() -> bool:
    """Return whether this CPU has AMX-BF16, matrix instructions in bfloat16; False where torch cannot tell."""
    capabilities: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)  # not in torch 2.10
    return bool(capabilities().get("amx_bf16"))
