"""Progress of long stages: a bar with the time left on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from fpm.interruption import stop_if_interrupted

Progress = Callable[[int, int, object], None]  # done, total, the item at work
LINE_EVERY_SECONDS = 10.0


@contextmanager
def bar(title: str) -> Iterator[Progress]:
    """A callback `progress(done, total, item)` that shows how far `title` is and the time left.

    The callback raises KeyboardInterrupt where Ctrl-C came and a library swallowed it.
    """
    with _terminal_bar(title) if sys.stderr.isatty() else nullcontext(_line_writer(title)) as show:

        def progress(done: int, total: int, item: object) -> None:
            stop_if_interrupted()
            show(done, total, item)

        yield progress


@contextmanager
def _terminal_bar(title: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[item]}"),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task(title, total=None, item="")
        yield lambda done, total, item: display.update(task, completed=done, total=total, item=str(item))


def _line_writer(title: str) -> Progress:
    started = last = time.monotonic()

    def write(done: int, total: int, item: object) -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last < LINE_EVERY_SECONDS:
            return
        last = now
        left = (now - started) / max(done, 1) * (total - done)
        sys.stderr.write(f"{title:<34} {done}/{total}  {now - started:4.0f} s, {left:4.0f} s left  {item}\n")

    return write
