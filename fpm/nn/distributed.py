"""One training in several processes (`torchrun`), each with its share of every batch; in a single process a no-op.

A loss that depends on the batch as a whole must see the whole batch. `batch_sum` and `batch_vectors` therefore give
every process the whole batch's value, with a gradient through its own rows only. Summed over the processes
(`sum_gradients`), these gradients equal those of a single process up to rounding. Every process draws random numbers
for the whole batch, so that all generators stay alike.

Shapes: B this process's rows of a batch, D vector size.
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
PATIENCE = timedelta(hours=2)  # while the first process reads, writes and evaluates alone, the others wait


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the other processes where `torchrun` started this one; do nothing otherwise."""
    if not dist.is_available() or not dist.is_torchelastic_launched():
        yield
        return
    if device != "cpu":
        torch.cuda.set_device(device)
    _collective(dist.init_process_group, "cpu:gloo,cuda:nccl" if device != "cpu" else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def alone() -> bool:
    """Whether this process trains by itself."""
    return not dist.is_available() or not dist.is_initialized()


def rank() -> int:
    """This process's number, from 0."""
    return 0 if alone() else dist.get_rank()


def processes() -> int:
    """How many processes share the training."""
    return 1 if alone() else dist.get_world_size()


def batch_sum(own: Tensor) -> Tensor:
    """The sum over all processes, in each of them; the gradient flows to this process's own part."""
    return own if alone() else cast("Tensor", _BatchSum.apply(own))  # type: ignore[no-untyped-call]


def batch_vectors(own_BD: Tensor) -> Tensor:
    """The vectors of the whole batch, in process order; the gradient flows to this process's own rows."""
    if alone():
        return own_BD
    counts = _row_counts(len(own_BD))
    padded = own_BD.new_zeros(max(counts), *own_BD.shape[1:])  # the last validation batch may be shared unevenly
    padded[: len(own_BD)] = own_BD.detach()
    padded_parts = [torch.empty_like(padded) for _ in counts]
    _collective(dist.all_gather, padded_parts, padded)
    parts = [part[:count] for part, count in zip(padded_parts, counts, strict=True)]
    parts[rank()] = own_BD
    return torch.cat(parts)


def uniform(rows: int, *shape: int) -> Tensor:
    """Uniform random numbers of `shape` for each of this process's `rows` of a batch.

    They are drawn for the whole batch from the CPU's global generator, so that its state is the same in every process
    and on every device.
    """
    if alone():
        return torch.rand(rows, *shape)
    counts = _row_counts(rows)
    first = sum(counts[: rank()])
    return torch.rand(sum(counts), *shape)[first : first + rows]


def batch_rows(rows: int) -> int:
    """Rows of the whole batch of which this process has `rows`."""
    return rows if alone() else sum(_row_counts(rows))


def sum_gradients(model: nn.Module) -> None:
    """Replace every gradient by its sum over the processes."""
    if alone():
        return
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    _collective(dist.all_reduce, flat)
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, total in zip(gradients, parts, strict=True):
        gradient.copy_(total.view_as(gradient))


def copy_from_first(model: nn.Module) -> None:
    """Copy the first process's weights to all: processors may round the initial weights differently."""
    if not alone():
        for tensor in model.state_dict().values():
            _collective(dist.broadcast, tensor, 0)


def from_first(call: Callable[[], T]) -> T:
    """The result of `call` in every process; only the first process runs it."""
    if alone():
        return call()
    box = [call() if rank() == 0 else None]
    _collective(dist.broadcast_object_list, box, 0)
    return cast("T", box[0])


def from_all(own: Sequence[T]) -> list[T]:
    """The items of all processes, in process order."""
    if alone():
        return list(own)
    boxes: list[Any] = [None] * processes()
    _collective(dist.all_gather_object, boxes, list(own))
    return [item for box in boxes for item in box]


class _BatchSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        total = own.clone()
        _collective(dist.all_reduce, total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        return gradients[0]


def _row_counts(rows: int) -> list[int]:
    """Rows of the batch in each process."""
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    counts = [torch.empty(1, dtype=torch.int64, device=device) for _ in range(processes())]
    _collective(dist.all_gather, counts, torch.tensor([rows], device=device))
    return [int(count) for count in counts]


def _collective(operation: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Run a collective operation; raises TryLater where another process has ended."""
    try:
        return operation(*arguments, **options)
    except RuntimeError as error:  # no narrower class covers a broken connection on every backend
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise TryLater(
            code="FPM-ML-081",
            wrong=f"another process of this training has ended ({reason})",
            effect="this one stopped too; the checkpoint of the last epoch stays",
            todo="read the error of the process that ended first, then start the training again: it resumes",
        ) from error
