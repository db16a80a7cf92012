"""Weights and checkpoints: equal bytes for equal weights, no pickle, damage is noticed."""

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from fpm.errors import ModelRefused, StoreCorrupt
from fpm.nn import checkpoint
from fpm.nn.checkpoint import Checkpoint


def a_checkpoint() -> Checkpoint:
    tensors = {"model": {"a.weight": torch.arange(6.0).reshape(2, 3)}, "optimizer": {"0.step": torch.tensor(3.0)}}
    return Checkpoint(tensors, {"course": {"epoch": 2, "best_K": [0.5]}})


def test_a_checkpoint_comes_back_as_written(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "run", a_checkpoint())
    stored = checkpoint.read(tmp_path / "run")
    assert stored is not None
    assert stored.state == {"course": {"epoch": 2, "best_K": [0.5]}}
    assert torch.equal(stored.tensors["model"]["a.weight"], torch.tensor([[0.0, 1, 2], [3, 4, 5]]))
    assert stored.tensors["optimizer"]["0.step"].item() == 3.0
    assert [path.name for path in (tmp_path / "run").iterdir()] == [checkpoint.FILE]  # no partial file is left


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert checkpoint.read(tmp_path) is None


@pytest.mark.parametrize("position", [-1, -20, 40])
def test_a_flipped_bit_is_noticed(tmp_path: Path, position: int) -> None:
    checkpoint.write(tmp_path, a_checkpoint())
    stored = bytearray((tmp_path / checkpoint.FILE).read_bytes())
    stored[position] ^= 1
    (tmp_path / checkpoint.FILE).write_bytes(stored)
    with pytest.raises(StoreCorrupt, match="damaged"):
        checkpoint.read(tmp_path)


def test_a_truncated_file_is_noticed(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, a_checkpoint())
    stored = (tmp_path / checkpoint.FILE).read_bytes()
    (tmp_path / checkpoint.FILE).write_bytes(stored[:-3])
    with pytest.raises(StoreCorrupt):
        checkpoint.read(tmp_path)


def test_equal_weights_give_equal_bytes_whatever_their_order() -> None:
    weights = {"b": torch.ones(2), "a": torch.zeros(3)}
    reordered = dict(reversed(weights.items()))
    first, second = (hashlib.sha256(checkpoint.to_bytes(each)).hexdigest() for each in (weights, reordered))
    assert first == second
    assert torch.equal(checkpoint.from_bytes(checkpoint.to_bytes(weights))["b"], torch.ones(2))


class Trap:
    """A pickle that would leave a trace if it were ever read."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(Trap.trace), "w")

    trace = Path()


def test_a_pickle_is_refused_before_it_is_read(tmp_path: Path) -> None:
    Trap.trace = tmp_path / "executed"
    with pytest.raises(ModelRefused, match="FPM-ML-068"):
        checkpoint.from_bytes(pickle.dumps(Trap()))
    torch.save({"weight": torch.ones(1)}, tmp_path / "weights.pt")
    with pytest.raises(ModelRefused, match="FPM-ML-068"):
        checkpoint.from_bytes((tmp_path / "weights.pt").read_bytes())
    assert not Trap.trace.exists()


def test_weights_of_another_shape_are_refused() -> None:
    stored = checkpoint.to_bytes(nn.Linear(3, 2).state_dict())
    with pytest.raises(ModelRefused, match="weight"):
        checkpoint.load_weights(nn.Linear(4, 2), stored)
    model = nn.Linear(3, 2)
    checkpoint.load_weights(model, stored)
    assert checkpoint.to_bytes(model.state_dict()) == stored
