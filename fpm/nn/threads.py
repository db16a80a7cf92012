"""Forward passes of independent batches on several threads, each of which computes alone: the bits of one thread.

PyTorch lets go of Python's lock within its operations. Two threads within one operation would cut its sums otherwise.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import torch

from fpm.allocation import memory_reuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


Part = TypeVar("Part")
Result = TypeVar("Result")


@memory_reuse()
def side_by_side(call: Callable[[Part], Result], parts: Iterable[Part], threads: int) -> list[Result]:
    """`call` of every part, results in order, on at most one thread a core.

    Modes of autograd belong to a thread: `call` enters its own.
    """
    threads = min(threads, os.cpu_count() or 1)
    if threads == 1:
        return [call(part) for part in parts]
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(call, parts))
