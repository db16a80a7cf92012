"""Reuse of memory that every step frees and the next step asks for again."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# glibc's malloc.h, mallopt(3)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST, NEVER, USUAL = 2**30, 2**31 - 1, 32 * 2**20  # usual: what glibc, left alone, grows its own limit to
_open: list[None] = []  # one entry for every open block: the outermost one returns the memory


@contextmanager
def memory_reuse() -> Iterator[None]:
    """Keep freed memory, up to a gigabyte a piece, with the process until the block or the decorated function ends.

    Without it glibc returns pieces above 32 MiB to the kernel at once and gets them back page by page, each zeroed:
    half the time of a training step of five seeds, a third of a whole market's minute features.
    A C library without mallopt is left as it is.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        yield
        return
    library.mallopt(M_MMAP_THRESHOLD, LARGEST)
    library.mallopt(M_TRIM_THRESHOLD, NEVER)
    _open.append(None)
    try:
        yield
    finally:
        _open.pop()
        if not _open:
            library.mallopt(M_MMAP_THRESHOLD, USUAL)
            library.mallopt(M_TRIM_THRESHOLD, 2 * USUAL)
            library.malloc_trim(0)
