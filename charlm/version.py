"""The version of charlm, which checkpoints record."""

__version__ = "0.1.0"
