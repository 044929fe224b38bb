"""Where tensors live: the name in a config → a torch device that is really there."""

import torch

from charlm.errors import ConfigError


def find_device(name: str) -> torch.device:
    """Return the device ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; auto takes CUDA if there is any.

    Apple's mps is only taken when asked for. Raises ConfigError when this machine lacks the device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"torch does not know {name}.", "Use cpu.", field="device") from error
    if device.type == "cuda" and not 0 <= (device.index or 0) < torch.cuda.device_count():
        raise ConfigError(
            f"{name} is not there: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices here.",
            "Use cpu, or install a CUDA build of torch.",
            field="device",
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("mps is not there: torch sees no Apple GPU here.", "Use cpu.", field="device")
    return device
