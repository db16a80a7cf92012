"""Freed memory stays with the process within a block and goes back to the kernel at its end."""

from __future__ import annotations

import ctypes
import json
import resource
import subprocess
import sys

import numpy as np
import pytest

from fpm.allocation import memory_reuse

SIZE = 128 * 2**20  # bytes: larger than what glibc keeps by itself


def faults() -> int:
    """Page faults of allocating and filling SIZE bytes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty(SIZE, np.uint8).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def page_faults() -> dict[str, int]:
    """Page faults without a block, in one, after an inner one, and after all of them."""
    usual = min(faults() for _ in range(3))
    with memory_reuse():
        faults()
        reused = min(faults() for _ in range(3))
        with memory_reuse():
            faults()
        after_inner = faults()
    return {"usual": usual, "reused": reused, "after_inner": after_inner, "after": min(faults() for _ in range(3))}


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")
def test_memory_is_zeroed_once() -> None:
    """In a process of its own: a large piece that an earlier test freed would serve every call without a fault."""
    program = "import json; from tests.fpm.test_allocation import page_faults; print(json.dumps(page_faults()))"
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    count = json.loads(child.stdout)
    assert count["after_inner"] < count["usual"] / 2, "an inner block returns nothing"
    assert count["usual"] > 0
    assert count["reused"] < count["usual"] / 2
    assert count["after"] > count["usual"] / 2, "as before"
