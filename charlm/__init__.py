"""charlm: train, sample and inspect character-level language models.

    model = charlm.load("runs/quickstart")
    print(model.generate("The fox", length=200, temperature=0.8, seed=1))

The public names are imported on first access (PEP 562), so that ``import charlm`` is fast and loads neither NumPy nor
torch. They are documented in `charlm.library` and `charlm.model`; their types are in ``__init__.pyi``.
"""

_MODULES = {
    "__version__": "charlm.version",
    "Config": "charlm.config.settings",
    "CharlmError": "charlm.errors",
    "CheckpointError": "charlm.errors",
    "ConfigError": "charlm.errors",
    "DamagedCheckpointError": "charlm.errors",
    "DivergenceError": "charlm.errors",
    "StorageError": "charlm.errors",
    "TextError": "charlm.errors",
    "UnknownCharactersError": "charlm.errors",
    "Run": "charlm.library",
    "load": "charlm.library",
    "train": "charlm.library",
    "Model": "charlm.model",
    "ModelTrace": "charlm.model",
}
"""The module of each public name."""

__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
