"""The software environment of a run, without torch."""

import platform

import numpy as np

from charlm.version import __version__


def software() -> dict[str, str]:
    """Return the versions of charlm, NumPy and Python, and the platform."""
    return {
        "charlm": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
