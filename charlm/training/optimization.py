"""Optimization: AdamW, learning-rate schedule, gradient clipping."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from charlm.config.settings import TrainingConfig

_STALLED_AFTER = 2
"""Evaluations without a lower validation loss after which the plateau schedule halves the learning rate."""


def make_optimizer(network: nn.Module, training: TrainingConfig) -> torch.optim.AdamW:
    """Return an AdamW optimizer (Loshchilov & Hutter 2019) with weight decay on matrices but not on biases."""
    matrices = [weight for weight in network.parameters() if weight.ndim > 1]
    biases = [weight for weight in network.parameters() if weight.ndim == 1]
    groups = [
        {"params": matrices, "weight_decay": training.weight_decay},
        {"params": biases, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=(0.9, 0.99), fused=True)


def learning_rate(training: TrainingConfig, step: int, total_steps: int, factor: float = 1.0) -> float:
    """Return the learning rate at ``step``, counted from 0: linear warmup, then the schedule.

    ``factor`` is the product of all reductions by the plateau schedule and rollbacks. The rate depends on the
    arguments alone, so a resumed run needs no scheduler state.
    """
    rate = training.learning_rate * factor
    warmup = round(training.warmup_fraction * total_steps)
    if step < warmup:
        return rate * (step + 1) / warmup
    if training.schedule == "cosine":
        done = (step - warmup) / max(total_steps - warmup, 1)
        return rate * 0.5 * (1 + math.cos(math.pi * done))
    return rate


def plateau_factor(training: TrainingConfig, factor: float, evaluations_without_better: int) -> float:
    """Return the plateau schedule's factor after an evaluation: halved each time the validation loss has stalled."""
    stalled = evaluations_without_better > 0 and evaluations_without_better % _STALLED_AFTER == 0
    return factor / 2 if training.schedule == "plateau" and stalled else factor


def clip_gradient(parameters: Iterable[nn.Parameter], longest: float | None) -> float:
    """Clip the gradient to the global norm ``longest`` (None: no clipping); return its norm before clipping."""
    return float(nn.utils.clip_grad_norm_(parameters, math.inf if longest is None else longest))
