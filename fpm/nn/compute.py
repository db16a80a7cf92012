"""On what, and how precisely, a training computes: facts of the deployment, never of what is learnt."""

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
    """`precision` is that of the products (autocast); weights, losses and penalties stay in single precision, and
    single precision is never TF32. `compiled`: the encoder's blocks through `torch.compile`.
    """

    device: str = "cpu"
    precision: str = "float32"
    compiled: bool = False
    local_rank: int = 0

    @property
    def place(self) -> str:
        """The device as torch names it: of several processes each has its own GPU."""
        return "cpu" if self.device == "cpu" else f"{self.device}:{self.local_rank}"

    def autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")

    def seed(self, seed: int, epoch: int, rank: int) -> None:
        """Seed the device's own generator (dropout) for an epoch: no checkpoint has to carry it, so a training may go
        on upon another device, and no two processes drop the same units.
        """
        if self.device != "cpu":
            torch.cuda.manual_seed((seed * 100_003 + epoch) * 1_009 + rank)


def compute(device: str = "cpu", precision: str | None = None, compiled: bool = False) -> Compute:
    """How to compute on `device`; `precision` None: single on a CPU, bfloat16 products on a GPU.

    Raises UsageError for a device that is not there.
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
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
    return Compute(device, precision or ("float32" if device == "cpu" else "bfloat16"), compiled, local_rank)


def _require_gpu(local_rank: int) -> None:
    there = torch.cuda.device_count()
    if local_rank < there:
        return
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
    raise UsageError(
        code="FPM-CFG-058",
        wrong=f"device cuda:{local_rank} is not there: {there} GPUs found, torch is built with {built}",
        effect="nothing was trained",
        todo="set FPM_DEVICE=cpu, install a torch for your GPU, or start no more processes than GPUs",
    )
