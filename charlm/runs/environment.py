"""What a model was made with, as far as Python alone knows it."""

import platform

import numpy as np

from charlm.version import __version__


def software() -> dict[str, str]:
    """Return the versions of what every model is made with, and the platform."""
    return {
        "charlm": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
