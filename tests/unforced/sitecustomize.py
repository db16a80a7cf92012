"""Python imports this at its start in a program of the tests: what it writes is not forced to the disk.

No test takes the power away, and a small home asks a busy disk thousands of times.
"""

import os

os.fsync = lambda fd: None
