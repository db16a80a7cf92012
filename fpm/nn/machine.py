"""Libraries and processor of a training: a manifest records them, and canaries compare them to expect the same bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fpm import environment

if TYPE_CHECKING:
    from collections.abc import Mapping

ARITHMETIC = "2"  # raised where the package itself adds up otherwise: equal weights then give other last digits
LIBRARIES = ("torch", "numpy", "polars", "safetensors", "fpm")


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that a model's bits depend on."""
    return environment.versions(LIBRARIES)


def machine() -> dict[str, str]:
    """The class of machine on which equal weights and inputs give equal bits: processor, instructions, arithmetic."""
    own = {"instructions": str(torch.backends.cpu.get_cpu_capability()), "arithmetic": ARITHMETIC}
    return environment.processor_class() | own


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The entries that changed, in words; "" where none did."""
    changed = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    return ", ".join(f"{name} {then.get(name)}, now {now.get(name)}" for name in changed)
