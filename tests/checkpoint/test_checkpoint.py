"""A checkpoint is whole, verified, self-contained and plain data."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.config.settings import ModelConfig
from charlm.errors import CheckpointError
from charlm.models.network import RecurrentNetwork
from charlm.runs.lookup import full_checkpoints

KINDS = ["rnn", "lstm", "gru"]


@pytest.fixture
def content(trained) -> bytes:
    """The bytes of a full checkpoint."""
    return full_checkpoints(trained["lstm"])[-1].read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_what_is_loaded(kind, trained, tmp_path) -> None:
    first = Checkpoint.load(full_checkpoints(trained[kind])[-1])
    first.save(tmp_path / "copy.safetensors")
    second = Checkpoint.load(tmp_path / "copy.safetensors")

    assert second.config == first.config
    assert second.vocabulary == first.vocabulary
    assert second.progress == first.progress
    assert second.corpus == first.corpus
    assert second.versions == first.versions
    assert first.tensors.keys() == second.tensors.keys()
    for name, values in first.tensors.items():
        np.testing.assert_array_equal(values, second.tensors[name])
    assert second.to_bytes() == first.to_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_torch_takes_the_weights_when_the_prefix_is_stripped(kind, trained) -> None:
    checkpoint = Checkpoint.load(trained[kind] / "best.safetensors")
    layers = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind]
    model = checkpoint.config.model
    rnn = layers(len(checkpoint.vocabulary), model.hidden_size, model.num_layers)

    rnn.load_state_dict({name: torch.from_numpy(value) for name, value in checkpoint.part("model.rnn").items()})

    assert {value.dtype for value in checkpoint.tensors.values()} == {np.dtype(np.float32)}


def test_the_best_holds_weights_alone_and_a_full_one_all_there_is(trained) -> None:
    best = Checkpoint.load(trained["lstm"] / "best.safetensors")
    full = Checkpoint.load(full_checkpoints(trained["lstm"])[-1])

    assert {name.partition(".")[0] for name in best.tensors} == {"model"}
    assert {name.partition(".")[0] for name in full.tensors} == {"model", "optimizer", "state", "rng"}
    assert full.weights_only().tensors.keys() == best.tensors.keys()


def test_the_file_is_plain_safetensors_with_one_metadata_key(trained) -> None:
    path = trained["gru"] / "best.safetensors"
    with safetensors.safe_open(str(path), "np") as file:
        metadata = file.metadata()

    assert list(metadata) == ["charlm"]
    record = json.loads(metadata["charlm"])
    assert set(record) == {"format", "run", "config", "vocabulary", "progress", "corpus", "versions", "sha256"}


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_flipped_bit_is_noticed(content, data) -> None:
    place = data.draw(st.integers(0, len(content) - 1))
    damaged = bytearray(content)
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(CheckpointError):
        Checkpoint.from_bytes(bytes(damaged))


@given(data=st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_truncation_and_every_addition_is_noticed(content, data) -> None:
    length = data.draw(st.integers(0, len(content) - 1))

    with pytest.raises(CheckpointError):
        Checkpoint.from_bytes(content[:length])
    with pytest.raises(CheckpointError):
        Checkpoint.from_bytes(content + content[length:])


@given(st.binary(max_size=200))
def test_bytes_that_are_no_checkpoint_are_refused_as_such(noise) -> None:
    with pytest.raises(CheckpointError):
        Checkpoint.from_bytes(noise)


@pytest.mark.parametrize(
    "header", [b"[]", b"{}", b'{"__metadata__": {}}', b'{"__metadata__": {"charlm": "[]"}}', b"\xff"]
)
def test_headers_of_other_programs_are_refused(header) -> None:
    with pytest.raises(CheckpointError, match="not a charlm checkpoint"):
        Checkpoint.from_bytes(struct.pack("<Q", len(header)) + header)


def test_a_newer_format_is_refused_by_number(content) -> None:
    newer = content.replace(rb"\"format\": 3,", rb"\"format\": 9,", 1)
    assert newer != content

    with pytest.raises(CheckpointError, match="format 9"):
        Checkpoint.from_bytes(newer)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors: cannot read this checkpoint"):
        Checkpoint.load(Path("nowhere.safetensors"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_needs_no_other_file(kind, trained, tmp_path, monkeypatch) -> None:
    """Its model gives the network's numbers in an empty folder, with nothing but the file's bytes."""
    content = (trained[kind] / "best.safetensors").read_bytes()
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint.from_bytes(content)
    ids = checkpoint.vocabulary.encode("The fox said")[None]
    network = RecurrentNetwork(checkpoint.config.model, len(checkpoint.vocabulary)).eval()
    network.load_tensors(checkpoint.part("model"))
    model = checkpoint.model()

    found, _ = model.read(ids, model.start(1))

    expected = network(torch.from_numpy(ids.astype(np.int64)))[0].detach().numpy()
    assert np.all(np.abs(found - expected) <= 1e-5 * (1 + np.abs(expected)))


def test_a_model_config_that_the_weights_do_not_fit_is_refused(trained) -> None:
    checkpoint = Checkpoint.load(trained["lstm"] / "best.safetensors")
    wider = checkpoint.config.model_copy(update={"model": ModelConfig(hidden_size=9, num_layers=2)})

    with pytest.raises(CheckpointError, match="incomplete"):
        Checkpoint(wider, checkpoint.vocabulary, checkpoint.progress, checkpoint.corpus, checkpoint.tensors, {}).model()
