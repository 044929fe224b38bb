"""Device selection: the name in a config → an available torch device."""

import torch

from charlm.errors import ConfigError


def find_device(name: str) -> torch.device:
    """Return the device ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; auto is CUDA if available, else the CPU.

    Apple's mps is never selected by auto. Raises ConfigError when the device is not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"torch does not know {name}.", "Use cpu.", field="device") from error
    if device.type == "cuda" and not 0 <= (device.index or 0) < torch.cuda.device_count():
        raise ConfigError(
            f"{name} is not available: torch {torch.__version__} finds {torch.cuda.device_count()} CUDA devices.",
            "Use cpu, or install a CUDA build of torch.",
            field="device",
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("mps is not available: torch finds no Apple GPU.", "Use cpu.", field="device")
    return device
