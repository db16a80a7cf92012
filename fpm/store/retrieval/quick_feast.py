"""Feast, imported in a third of the time: import this module before anything of Feast.

Two things cost most of it (benchmarks/bench_cold_start.py), and neither is needed for what a process asks first. Feast
has `typeguard` rewrite its classes at import so that they check the types of their arguments; ours are checked by mypy.
And Feast imports torch, in case someone wants tensors: here that waits until someone does. A process that has
imported Feast or torch before keeps what it has.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import typeguard

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Torch:
    """What Feast asks for torch by, `feast.torch_wrapper.get_torch`, gives this; its first use imports torch."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("torch"), name)


@contextmanager
def _unchecked() -> Iterator[None]:
    """`typeguard.typechecked` as it is under `python -O`: without effect."""
    quick: Any = typeguard
    checked = quick.typechecked
    quick.typechecked = lambda target=None, **given: (lambda each: each) if target is None else target
    try:
        yield
    finally:
        quick.typechecked = checked


@contextmanager
def _torch_later() -> Iterator[None]:
    """An import of torch fails, which Feast takes for a machine without it; afterwards it is there, when it is used."""
    if "torch" in sys.modules or find_spec("torch") is None:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # https://docs.python.org/3/reference/import.html
    try:
        yield
    finally:
        del sys.modules["torch"]
    wrapper: Any = import_module("feast.torch_wrapper")
    wrapper._torch, wrapper.TORCH_AVAILABLE = _Torch(), True


if "feast" not in sys.modules:
    with _unchecked(), _torch_later():
        import_module("feast")
