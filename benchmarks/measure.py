"""Wall time and memory of one call, a program in its own process, and a table on the screen."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MEGABYTE = 1e6
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def seconds(call: Callable[[], Any], repeats: int = 3) -> float:
    """Return the shortest of several runs, because other work on the machine only adds time."""
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return min(spent)


def interleaved(calls: dict[str, Callable[[], Any]], repeats: int = 3, inner: int = 1) -> dict[str, float]:
    """Return the shortest run of each call, in turns of `inner` runs, so that a busy moment affects all calls.

    Feast caches the last store's request in the process, so its stores need several runs per turn.
    """
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(repeats):
        best = {name: min(best[name], seconds(call, inner)) for name, call in calls.items()}
    return best


def reset_peak() -> None:
    """Reset the peak of this process's resident memory (proc(5), clear_refs)."""
    CLEAR.write_text("5")


def resident(field: str = "VmHWM") -> float:
    """Return the megabytes of this process's memory: `VmHWM` for the peak, `VmRSS` for now."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / MEGABYTE


def in_process(program: str, *arguments: object, python: str = sys.executable) -> dict[str, Any]:
    """Run a program in its own process and return the JSON document of its last output line."""
    command = [python, program, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def show(title: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print one aligned table, floats with three significant figures."""
    cells = [[_text(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    print(f"\n{title}")
    for row in ([*heads], *cells):
        first, *rest = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *rest]))


def _text(cell: object) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
