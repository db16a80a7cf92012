"""Weights as bytes and training checkpoints as files: safetensors and JSON, never pickle.

A checkpoint is one file, replaced by rename: a killed training finds the previous epoch or this one, never half of one.
It carries its own digest because safetensors does not check contents, and a flipped bit would be trained on.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from fpm.errors import ModelRefused, StoreCorrupt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from torch import Tensor

FILE = "checkpoint.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """All that a training needs to resume as if it had never stopped.

    `tensors`: groups of named tensors (weights, best weights, optimizer, generator states).
    `state`: everything else, as JSON (epoch, history, ...).
    """

    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any] = field(default_factory=dict)


def to_bytes(weights: Mapping[str, Tensor]) -> bytes:
    """Weights as safetensors bytes; equal weights give equal bytes."""
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})


def from_bytes(stored: bytes) -> dict[str, Tensor]:
    """Weights from safetensors bytes.

    Raises ModelRefused for any other format. A pickle is refused unread; there is no fallback.
    """
    try:
        return load(stored)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelRefused(
            code="FPM-ML-068",
            wrong=f"the weights are not safetensors ({error})",
            effect="they were not read",
            todo="train the model again",
        ) from error


def load_weights(model: torch.nn.Module, stored: bytes) -> None:
    """Load stored weights into a model of the same shape.

    Raises ModelRefused where names or shapes differ.
    """
    weights, expected = from_bytes(stored), model.state_dict()
    differing = sorted(
        name
        for name in weights.keys() | expected.keys()
        if name not in weights or name not in expected or weights[name].shape != expected[name].shape
    )
    if differing:
        raise ModelRefused(
            code="FPM-ML-067",
            wrong=f"the weights do not fit the model at {', '.join(differing[:5])}",
            effect="they were not loaded",
            todo="load them with the config saved beside them",
        )
    model.load_state_dict(weights)


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the folder's checkpoint: sync the bytes to disk, rename, sync the folder."""
    flat = _flatten(checkpoint.tensors)
    state = json.dumps(checkpoint.state, sort_keys=True)
    header = {"checkpoint": json.dumps({"sha256": _digest(flat, state), "state": state})}
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f".{FILE}.new"
    with staged.open("wb") as file:
        file.write(save(flat, metadata=header))
        file.flush()
        os.fsync(file.fileno())
    staged.replace(folder / FILE)
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def read(folder: Path) -> Checkpoint | None:
    """The folder's checkpoint; None where there is none yet.

    Raises StoreCorrupt where its contents do not match its digest.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["checkpoint"])
            flat = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        sound = _digest(flat, header["state"]) == header["sha256"]
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, RecursionError) as error:
        raise _corrupt(path, str(error)) from error
    if not sound:
        raise _corrupt(path, "its contents do not match its digest")
    return Checkpoint(_group(flat), json.loads(header["state"]))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's state as named tensors, `<parameter number>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": tensor for number, entry in state.items() for name, tensor in entry.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load `optimizer_tensors` into an optimizer over the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _flatten(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {
        f"{group}/{name}": tensor.detach().cpu().contiguous().clone()
        for group, tensors in groups.items()
        for name, tensor in tensors.items()
    }


def _group(flat: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in flat.items():
        group, rest = name.split("/", 1)
        groups.setdefault(group, {})[rest] = tensor
    return groups


def _digest(flat: Mapping[str, Tensor], state: str) -> str:
    digest = hashlib.sha256(state.encode())
    for name in sorted(flat):
        digest.update(name.encode())
        digest.update(flat[name].numpy().tobytes())
    return digest.hexdigest()


def _corrupt(path: Path, reason: str) -> StoreCorrupt:
    return StoreCorrupt(
        code="FPM-ML-110",
        wrong=f"checkpoint {path} is damaged ({reason})",
        effect="the training did not resume",
        todo="delete it and train again",
    )
