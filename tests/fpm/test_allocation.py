"""Freed memory stays with the process within a block and goes back to the kernel at its end."""

from __future__ import annotations

import ctypes
import resource

import numpy as np
import pytest

from fpm.allocation import memory_reuse

SIZE = 128 * 2**20  # bytes: larger than what glibc keeps by itself


def faults() -> int:
    """Page faults of allocating and filling SIZE bytes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty(SIZE, np.uint8).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")
def test_memory_is_zeroed_once() -> None:
    usual = min(faults() for _ in range(3))
    with memory_reuse():
        faults()
        reused = min(faults() for _ in range(3))
        with memory_reuse():
            faults()
        assert faults() < usual / 2, "an inner block returns nothing"
    assert usual > 0
    assert reused < usual / 2
    assert min(faults() for _ in range(3)) > usual / 2, "as before"
