"""On what a model was made: its manifest says it, and canaries ask whether the same bits may be expected here."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

LIBRARIES = ("torch", "numpy", "polars", "safetensors", "fpm")
PROCESSOR = ("vendor_id", "cpu family", "model", "model name")


def versions() -> dict[str, str]:
    """Of Python and of the libraries that a model's bits depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def machine() -> dict[str, str]:
    """The class of machine within which the same weights and inputs give the same bits: processor and instructions."""
    return {
        "architecture": platform.machine(),
        "processor": processor(_cpuinfo()) or platform.processor(),
        "instructions": str(torch.backends.cpu.get_cpu_capability()),
    }


def processor(cpuinfo: str) -> str:
    """The first processor's make and model of Linux's /proc/cpuinfo; "" where it names none.

    Its name alone is not enough: virtual machines call processors of several generations by one name.
    """
    told: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        told.setdefault(name.strip(), value.strip())
    return " ".join(told[name] for name in PROCESSOR if name in told)


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What is not as it was, in words; "" where nothing differs."""
    changed = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    return ", ".join(f"{name} {then.get(name)}, now {now.get(name)}" for name in changed)


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""
