"""Feast, imported in a third of the time: import this module before anything of Feast.

Two things take most of the time (benchmarks/bench_cold_start.py), and a process needs neither at its start. Feast has
`typeguard` rewrite its classes at import so that they check the types of their arguments; mypy checks ours. And Feast
imports torch in case someone wants tensors; here that import waits for its first use. A process that has already
imported Feast or torch is left as it is.
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
    """Stands for torch in `feast.torch_wrapper.get_torch`; its first use imports torch."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("torch"), name)


@contextmanager
def _unchecked() -> Iterator[None]:
    """`typeguard.typechecked` has no effect, as under `python -O`."""
    module: Any = typeguard
    typechecked = module.typechecked
    module.typechecked = lambda target=None, **_options: (lambda decorated: decorated) if target is None else target
    try:
        yield
    finally:
        module.typechecked = typechecked


@contextmanager
def _torch_later() -> Iterator[None]:
    """Feast finds no torch during its own import; afterwards `_Torch` stands for it."""
    if "torch" in sys.modules or find_spec("torch") is None:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # https://docs.python.org/3/reference/import.html
    try:
        yield
    finally:
        del sys.modules["torch"]
    wrapper: Any = import_module("feast.torch_wrapper")
    wrapper._torch, wrapper.TORCH_AVAILABLE = _Torch(), True  # noqa: SLF001  Feast has no public way to set it


if "feast" not in sys.modules:
    with _unchecked(), _torch_later():
        import_module("feast")
