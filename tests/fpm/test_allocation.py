"""Freed memory stays with the process within the block, and goes back at its end."""

from __future__ import annotations

import ctypes
import resource

import numpy as np
import pytest

from fpm.allocation import kept_blocks

SIZE = 128 * 2**20  # bytes: larger than what glibc keeps by itself


def faults() -> int:
    """Pages that a block of SIZE costs to have and fill."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty(SIZE, np.uint8).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")
def test_a_block_is_paid_for_once() -> None:
    usual = min(faults() for _ in range(3))
    with kept_blocks():
        faults()
        kept = min(faults() for _ in range(3))
        with kept_blocks():
            faults()
        assert faults() < usual / 2, "an inner block gives nothing back"
    assert usual > 0
    assert kept < usual / 2
    assert min(faults() for _ in range(3)) > usual / 2, "as before"
