"""charlm: character-level recurrent language models, trained, sampled and looked into.

    model = charlm.load("runs/quickstart")
    print(model.generate("The fox", length=200, temperature=0.8, seed=1))

The names below are imported when they are first asked for (PEP 562), so that ``import charlm`` costs next to nothing
and loads neither NumPy nor torch. `charlm.library` and `charlm.model` describe them; their types stand in
``__init__.pyi``.
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
