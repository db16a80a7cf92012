"""Wall time and memory of one call, a program run in a process of its own, and one table on the screen."""

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
    """The shortest of some runs: other work on the machine only ever adds."""
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return min(spent)


def interleaved(calls: dict[str, Callable[[], Any]], repeats: int = 3, inner: int = 1) -> dict[str, float]:
    """The shortest run of each call, in turns of `inner` runs, so that a busy moment of the machine hits all of them.

    Feast keeps the last store's request in a cache of the process: its stores need several runs a turn.
    """
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(repeats):
        best = {name: min(best[name], seconds(call, inner)) for name, call in calls.items()}
    return best


def reset_peak() -> None:
    """Begin a new peak of this process's resident memory (proc(5), clear_refs)."""
    CLEAR.write_text("5")


def resident(field: str = "VmHWM") -> float:
    """Megabytes of this process's memory: `VmHWM` its peak, `VmRSS` now."""
    line = next(each for each in STATUS.read_text().splitlines() if each.startswith(field))
    return int(line.split()[1]) * 1024 / MEGABYTE


def in_process(program: str, *arguments: object, python: str = sys.executable) -> dict[str, Any]:
    """What a program of its own process printed as its last line, a JSON document."""
    command = [python, program, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def show(title: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """One aligned table; numbers as given, floats with three figures."""
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
