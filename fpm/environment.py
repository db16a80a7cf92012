"""What numbers may depend on besides code and inputs: Python, the libraries that compute, the class of processor.

The fingerprint is recorded with every model and every row of the ledger, so that a difference can be explained. It
does not enter the digest of a job's inputs: an upgrade of a library does not compute a store again by itself.
"""

from __future__ import annotations

import json
import platform
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LIBRARIES = ("feast", "numpy", "polars", "pyarrow", "torch")  # those whose versions have changed numbers
PROCESSOR = ("vendor_id", "cpu family", "model", "model name")


def environment() -> dict[str, str]:
    """Version of Python and of each of `LIBRARIES`, and the class of processor."""
    return versions(LIBRARIES) | processor_class()


@cache
def environment_fingerprint() -> str:
    """Twelve hex digits, equal where `environment` is equal."""
    return sha256(json.dumps(environment(), sort_keys=True).encode()).hexdigest()[:12]


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """Versions of Python and of installed libraries, read without importing them."""
    return {"python": platform.python_version(), **{name: version(name) for name in libraries}}


def processor_class() -> dict[str, str]:
    """Architecture, and make and model of the processor."""
    path = Path("/proc/cpuinfo")
    return {
        "architecture": platform.machine(),
        "processor": processor(path.read_text(encoding="utf-8") if path.exists() else "") or platform.processor(),
    }


def processor(cpuinfo: str) -> str:
    """Make and model of the first processor in Linux's /proc/cpuinfo; "" where it names none.

    The name alone is not enough: virtual machines give processors of several generations one name.
    """
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return " ".join(fields[name] for name in PROCESSOR if name in fields)
