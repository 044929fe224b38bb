"""The complete training state ⇄ named arrays, from which training resumes exactly.

model.*              weights, by torch's names
optimizer.NAME.*     AdamW's state of the weight NAME: see charlm.checkpoint.optimizer_state
state.0, state.1     hidden state (L, B, H), and an LSTM's cell state; absent at the start of the text
rng.cpu, rng.cuda    torch's random states, which dropout uses
"""

import platform
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from charlm.checkpoint.optimizer_state import prefix_of
from charlm.checkpoint.sealed_file import Tensors
from charlm.errors import CheckpointError
from charlm.models.network import NetworkState, RecurrentNetwork
from charlm.models.step_loop import parts_of, state_of
from charlm.runs.environment import software

Value = TypeVar("Value")


def detached(state: NetworkState) -> NetworkState:
    """Return the state detached from the autograd graph."""
    if isinstance(state, tuple):
        return tuple(part.detach() for part in state)
    return None if state is None else state.detach()


def pack(
    network: RecurrentNetwork, optimizer: torch.optim.Optimizer, state: NetworkState, device: torch.device
) -> Tensors:
    """Return a copy of the training state as named arrays."""
    packed: dict[str, Tensor] = {}
    for name, weight in network.named_parameters():
        packed |= {prefix_of(name) + key: value for key, value in optimizer.state.get(weight, {}).items()}
    parts = () if state is None else parts_of(state)
    packed |= {f"state.{index}": part for index, part in enumerate(parts)}
    packed["rng.cpu"] = torch.get_rng_state()
    if device.type == "cuda":
        packed["rng.cuda"] = torch.cuda.get_rng_state(device)
    # NumPy has no bfloat16; float32 represents every bfloat16 exactly.
    plain = {name: value.float() if value.dtype == torch.bfloat16 else value for name, value in packed.items()}
    arrays: dict[str, NDArray[Any]] = {name: value.cpu().numpy().copy() for name, value in plain.items()}
    return {f"model.{name}": value for name, value in network.tensors().items()} | arrays


def unpack(
    tensors: Mapping[str, NDArray[Any]],
    network: RecurrentNetwork,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> NetworkState:
    """Restore what `pack` returned; return the carried hidden state.

    Raises CheckpointError when torch cannot load the random state.
    """
    values = {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}
    network.load_tensors(_under("model.", tensors))
    named: dict[str, nn.Parameter] = dict(network.named_parameters())
    for name, weight in named.items():
        moments = _under(prefix_of(name), values)
        optimizer.state[weight] = {key: value.to(device) for key, value in moments.items()}
    try:
        torch.set_rng_state(values["rng.cpu"])
        if device.type == "cuda" and "rng.cuda" in values:
            torch.cuda.set_rng_state(values["rng.cuda"], device)
    except RuntimeError as error:
        raise CheckpointError("torch cannot load this checkpoint's random state. Use another checkpoint.") from error
    count = len(network.config.architecture.memory)
    return state_of([values[f"state.{index}"].to(device) for index in range(count)]) if "state.0" in values else None


def environment(device: torch.device) -> dict[str, str]:
    """Return the versions and hardware of this process; exact reproduction requires the same."""
    return software() | {
        "torch": torch.__version__,
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "device": str(device),
        "threads": str(torch.get_num_threads()),
    }


def _under(prefix: str, tensors: Mapping[str, Value]) -> dict[str, Value]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
