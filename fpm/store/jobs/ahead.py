"""Trainings that other processes make ahead of their caller, who goes on from their checkpoints.

A training resumes from its last epoch with the same bits, and one that reached its last epoch has nothing left to do.
So the caller runs its steps one after the other as ever; with more than one worker they merely find less to do.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.log import configure, log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.synchronize import Event

    from fpm.store.settings import Settings

    Wait = Callable[[], None]
    Start = Callable[..., Wait]


class Cancelled(Exception):
    """The caller has ended, or needs no more of what it ordered."""


class _Worker:
    """What a worker process holds: the stores, whose caller it works for, and whether that one still waits."""

    stores: Stores
    caller: int
    cancelled: Event


@contextmanager
def ahead(settings: Settings) -> Iterator[Start]:
    """A function `start(step, *arguments)`; it returns `wait()`, which returns once the step has ended.

    The step runs as `step(*arguments, stores, progress)` in one of `settings.workers` processes. It may fail or its
    process may be killed: whoever takes the step afterwards meets the same error, or makes the training itself. With
    one worker, or on a GPU, nothing is started. At the end no step runs any more.
    """
    if settings.workers == 1 or settings.device != "cpu":
        yield lambda *_: lambda: None
        return
    context = get_context("spawn")
    cancelled = context.Event()
    alone = settings.model_copy(update={"workers": 1})  # a worker has no workers of its own
    pool = ProcessPoolExecutor(settings.workers, context, _begin, (alone, os.getpid(), cancelled))

    def start(step: Callable[..., object], *arguments: object) -> Wait:
        run = pool.submit(_step, step, arguments)
        return lambda: _await(run)

    try:
        yield start
    finally:
        cancelled.set()
        pool.shutdown(cancel_futures=True)


def _await(run: Future[None]) -> None:
    error = run.exception()
    if error is not None:
        log.warning("a training ahead of its turn ended early; it is made now", why=f"{type(error).__name__}: {error}")


def _begin(settings: Settings, caller: int, cancelled: Event) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller's matter: it cancels
    configure(settings)
    _Worker.stores, _Worker.caller, _Worker.cancelled = open_stores(settings), caller, cancelled


def _step(step: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    step(*arguments, _Worker.stores, _unless_cancelled)


def _unless_cancelled(done: int, total: int, item: object) -> None:
    """The progress of a step: nobody looks at it, but every batch asks whether to go on."""
    if _Worker.cancelled.is_set() or os.getppid() != _Worker.caller:
        raise Cancelled(f"{done} of {total}, {item}")
