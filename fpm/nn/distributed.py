"""One training in several processes (`torchrun`): each has its slice of every batch. Alone, nothing here does anything.

A loss that is a mean over a batch, or looks at the batch as a whole, must be that of the whole batch. So `summed` and
`gathered` give every process the whole batch's value, with a gradient through its own rows only; the gradients, summed
over the processes (`sum_gradients`), are then those of one process, up to rounding. What is drawn is drawn for the
whole batch by everybody alike.

Shapes: B own rows of a batch, D vector size.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fpm.errors import TryLater

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
PATIENCE = timedelta(hours=2)  # the first process may read, write and judge alone while the others wait


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Be one of the processes that `torchrun` started, where it started this one; else alone."""
    if not dist.is_available() or not dist.is_torchelastic_launched():
        yield
        return
    if device != "cpu":
        torch.cuda.set_device(device)
    _together(dist.init_process_group, "cpu:gloo,cuda:nccl" if device != "cpu" else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def alone() -> bool:
    return not dist.is_available() or not dist.is_initialized()


def rank() -> int:
    return 0 if alone() else dist.get_rank()


def processes() -> int:
    return 1 if alone() else dist.get_world_size()


def summed(own: Tensor) -> Tensor:
    """The sum over the processes, on every one of them; its gradient goes to the own part."""
    return own if alone() else cast("Tensor", _Summed.apply(own))  # type: ignore[no-untyped-call]


def gathered(own_BD: Tensor) -> Tensor:
    """The vectors of the whole batch, in the order of the processes; their gradient goes to the own rows."""
    if alone():
        return own_BD
    counts = _row_counts(len(own_BD))
    padded = own_BD.new_zeros(max(counts), *own_BD.shape[1:])  # the last batch of a validation may be shared unevenly
    padded[: len(own_BD)] = own_BD.detach()
    padded_parts = [torch.empty_like(padded) for _ in counts]
    _together(dist.all_gather, padded_parts, padded)
    parts = [part[:count] for part, count in zip(padded_parts, counts, strict=True)]
    parts[rank()] = own_BD
    return torch.cat(parts)


def drawn(rows: int, *shape: int) -> Tensor:
    """Uniform numbers for the own `rows` of a batch, each of `shape`: drawn for the whole batch from the CPU's global
    generator, which so stays alike in all processes and on every device.
    """
    if alone():
        return torch.rand(rows, *shape)
    counts = _row_counts(rows)
    first = sum(counts[: rank()])
    return torch.rand(sum(counts), *shape)[first : first + rows]


def whole(rows: int) -> int:
    """How many rows the batch has of which this process has so many."""
    return rows if alone() else sum(_row_counts(rows))


def sum_gradients(model: nn.Module) -> None:
    """Replace every gradient by its sum over the processes."""
    if alone():
        return
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    _together(dist.all_reduce, flat)
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, total in zip(gradients, parts, strict=True):
        gradient.copy_(total.view_as(gradient))


def copy_from_first(model: nn.Module) -> None:
    """Give every process the first one's weights: processors may round a start differently."""
    if not alone():
        for tensor in model.state_dict().values():
            _together(dist.broadcast, tensor, 0)


def from_first(call: Callable[[], T]) -> T:
    """What the first process gets from `call`, which it alone runs, on every one of them."""
    if alone():
        return call()
    box = [call() if rank() == 0 else None]
    _together(dist.broadcast_object_list, box, 0)
    return cast("T", box[0])


def from_all(own: Sequence[T]) -> list[T]:
    """What all the processes have, in their order."""
    if alone():
        return list(own)
    boxes: list[Any] = [None] * processes()
    _together(dist.all_gather_object, boxes, list(own))
    return [item for box in boxes for item in box]


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        _together(dist.all_reduce, total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def _row_counts(rows: int) -> list[int]:
    """How many rows of the batch each process has."""
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    counts = [torch.empty(1, dtype=torch.int64, device=device) for _ in range(processes())]
    _together(dist.all_gather, counts, torch.tensor([rows], device=device))
    return [int(count) for count in counts]


def _together(collective: Callable[..., T], *given: Any, **named: Any) -> T:
    """A collective operation. Raises TryLater where another process has gone."""
    try:
        return collective(*given, **named)
    except RuntimeError as lost:  # torch knows no narrower class for a broken connection on every backend
        said = (str(lost).splitlines() or ["no reason given"])[0]
        raise TryLater(
            code="FPM-ML-081",
            wrong=f"another process of this training has ended ({said})",
            effect="this one stopped, too; the checkpoint of the last epoch is kept",
            todo="see what the first process to end said, then start the training again: it resumes",
        ) from lost
