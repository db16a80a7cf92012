"""Device and precision of a training: facts of the deployment, not of the model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fpm.errors import UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

DEVICES = ("cpu", "cuda")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Compute:
    """Device and precision of a training.

    `precision`: of matrix products, by autocast; weights, losses and penalties stay in single precision, and single
    precision is never TF32. `compiled`: the encoder's blocks run through `torch.compile`. `local_rank`: this process's
    number on its machine, and so its GPU.
    """

    device: str = "cpu"
    precision: str = "float32"
    compiled: bool = False
    local_rank: int = 0

    @property
    def torch_device(self) -> str:
        """The device as torch names it; each of several processes has its own GPU."""
        return "cpu" if self.device == "cpu" else f"{self.device}:{self.local_rank}"

    def autocast(self) -> AbstractContextManager[None]:
        """Compute matrix products in `precision` inside this context."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")

    def seed(self, seed: int, epoch: int, rank: int) -> None:
        """Seed the device's own generator, which dropout uses, for one epoch.

        No checkpoint has to store its state, so a training may resume on another device. No two processes drop
        the same units.
        """
        if self.device != "cpu":
            torch.cuda.manual_seed((seed * 100_003 + epoch) * 1_009 + rank)


def compute_on(device: str = "cpu", precision: str | None = None, compiled: bool = False) -> Compute:
    """The settings for `device`; `precision` None means single on a CPU and bfloat16 products on a GPU.

    Raises UsageError for an unknown device or precision, or a GPU that this machine lacks.
    """
    if device not in DEVICES or (precision or "float32") not in PRECISIONS:
        raise UsageError(
            code="FPM-CFG-057",
            wrong=f"no device {device!r} or precision {precision!r}",
            effect="nothing was done",
            todo=f"use one of {', '.join(DEVICES)}; one of {', '.join(PRECISIONS)}",
        )
    local_rank = torch.distributed.get_node_local_rank(fallback_rank=0) if device == "cuda" else 0
    if device == "cuda":
        _require_gpu(local_rank)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic
    return Compute(device, precision or ("float32" if device == "cpu" else "bfloat16"), compiled, local_rank)


def _require_gpu(local_rank: int) -> None:
    count = torch.cuda.device_count()
    if local_rank < count:
        return
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
    raise UsageError(
        code="FPM-CFG-058",
        wrong=f"there is no device cuda:{local_rank}: {count} GPUs found, torch is built with {built}",
        effect="nothing was trained",
        todo="set FPM_DEVICE=cpu, install a torch for your GPU, or start at most one process per GPU",
    )
