"""Python imports this at its start in a program of the tests: what it writes is not forced to the disk.

No test takes the power away, and a busy disk answers a small home's thousands of questions in minutes.
"""

import os


def _unforced(handle: int) -> None:
    """Leave it to the kernel."""


os.fsync = _unforced
