"""The tensors a checkpoint must contain, with their types and shapes: computed from its config before any is read."""

import math
import reprlib
from collections.abc import Mapping

from charlm.checkpoint.optimizer_state import optimizer_layout
from charlm.checkpoint.sealed_file import Layout
from charlm.config.settings import Config
from charlm.errors import DamagedCheckpointError
from charlm.models.markov import MarkovModel
from charlm.models.recurrent import tensor_shapes

_LONGEST_RANDOM_STATE = 1 << 16
"""Maximum size in bytes; torch's CPU state has about 5,000."""
_BYTES = 4
"""Bytes of an F32 number."""


def check_layout(found: Layout, config: Config, vocabulary_size: int, step: int) -> None:
    """Raise DamagedCheckpointError unless ``found`` is the layout of a checkpoint of this config and step."""
    expected = _expected_layout(config, vocabulary_size, step, found)
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            raise DamagedCheckpointError(
                f"this checkpoint is damaged or incomplete: the tensor {reprlib.repr(name)} is "
                f"{reprlib.repr(found.get(name, 'missing'))}, but its config requires "
                f"{reprlib.repr(expected.get(name, 'none'))}."
            )


def sizes(config: Config, vocabulary_size: int) -> tuple[int, int, int]:
    """Return the sizes in bytes of a network's weights, the optimizer's state and the carried hidden state."""
    weights = tensor_shapes(config.model, vocabulary_size)
    parts = (_weights_layout(weights), optimizer_layout(weights), _state_layout(config))
    weight_bytes, optimizer_bytes, state_bytes = (
        sum(_BYTES * math.prod(shape) for _, shape in part.values()) for part in parts
    )
    return weight_bytes, optimizer_bytes, state_bytes


def _expected_layout(config: Config, vocabulary_size: int, step: int, found: Layout) -> Layout:
    """Return the required tensors: the model's, and in a full checkpoint those of the training state."""
    if not config.model.architecture.is_recurrent:
        return _expected_counts(config.model.order, vocabulary_size, found)
    depth = min(config.model.num_layers, len(found))  # an untrusted config may claim a billion layers
    weights = tensor_shapes(config.model.model_copy(update={"num_layers": depth}), vocabulary_size)
    expected = _weights_layout(weights)
    for name in {"rng.cpu", "rng.cuda"} & found.keys():
        size = sum(found[name][1][:1])  # torch checks the exact size
        expected[name] = ("U8", (min(size, _LONGEST_RANDOM_STATE),))
    if "rng.cpu" in found and step > 0:
        expected |= optimizer_layout(weights)
    if "state.0" in found:  # absent at the start of the text
        expected |= _state_layout(config)
    return expected


def _weights_layout(weights: Mapping[str, tuple[int, ...]]) -> Layout:
    return {f"model.{name}": ("F32", shape) for name, shape in weights.items()}


def _state_layout(config: Config) -> Layout:
    """Return the hidden state of all lanes, and an LSTM's cell state."""
    shape = (config.model.num_layers, config.training.batch_size, config.model.hidden_size)
    return {f"state.{index}": ("F32", shape) for index in range(len(config.model.architecture.memory))}


def _expected_counts(order: int, vocabulary_size: int, found: Layout) -> Layout:
    """Return the arrays of a Markov model; their lengths depend on the text and are taken from ``found``."""
    types = MarkovModel.types(vocabulary_size)
    expected: Layout = {}
    for name in (f"{array}.{length}" for length in range(order + 1) for array in types):
        length = sum(found.get(f"model.{name}", ("", ()))[1][:1])
        expected[f"model.{name}"] = (types[name.partition(".")[0]], (length,))
    return expected
