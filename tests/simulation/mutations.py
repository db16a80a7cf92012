"""Faults planted into the product, each to be found by some week."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

PLANTS: dict[str, Callable[[ExitStack], None]] = {}


@contextmanager
def planted(*names: str) -> Iterator[None]:
    with ExitStack() as stack:
        for name in names:
            PLANTS[name](stack)
        yield
