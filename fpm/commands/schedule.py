"""The clock: every few minutes it looks into the inbox and at the agenda, and runs the nights that are due."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Event, Thread, current_thread, main_thread
from typing import TYPE_CHECKING

from fpm.commands import agenda, alerts, lineage
from fpm.errors import FpmError, TryLater
from fpm.sessions import calendar_end
from fpm.store.ledger.leader import leadership
from fpm.store.ledger.stores import Stores
from fpm.store.log import configure, log
from fpm.store.postgres.server import ensure_server

if TYPE_CHECKING:
    from types import FrameType

CALENDAR_WARNING_DAYS = 45
POLL_SECONDS = 5  # between two tries to be the scheduler at work


def serve(stores: Stores, clock: Callable[[], datetime], every_minutes: int, stop: Event | None = None) -> int:
    """Look at the agenda every few minutes and run what is due, until a signal or `stop`; returns the exit code.

    Of several schedulers one is at work; another takes over within seconds of its death. The ledger says what is due,
    so a machine that was off catches up, and a clock that is set wrong and right again loses no night. SIGTERM (exit
    code 0) and SIGINT (130) end it after the running job, a second one at once.
    """
    ending, looks = stop or Event(), _Looks(stores, clock, every_minutes)

    def look_until_the_end() -> None:
        while not ending.is_set():
            looks.at(clock(), ending)
            ending.wait(POLL_SECONDS)  # by the monotonic clock

    if "log_level" not in stores.settings.model_fields_set:
        configure(stores.settings.model_copy(update={"log_level": "info"}))  # a silent clock looks dead
    with _signals(ending) as received:
        work = Thread(target=look_until_the_end, daemon=True)
        work.start()
        log.info("clock started", every_minutes=every_minutes)
        while work.is_alive():
            work.join(1)  # a signal is heard here
    log.info("clock stopped")
    return 130 if signal.SIGINT in received else 0


class _Looks:
    """When the next look is due: `every_minutes` after one at work, at the next poll after one that stood by.

    A clock that was set back behind the last look makes one due at once: nobody knows how long it will say less.
    """

    def __init__(self, stores: Stores, clock: Callable[[], datetime], every_minutes: int) -> None:
        self._stores, self._every = stores, timedelta(minutes=every_minutes)
        self._last = self._next = clock()

    def at(self, now: datetime, stop: Event) -> None:
        """Look, if it is time. No fault ends the clock: it is logged, and the next look comes."""
        if self._last <= now < self._next or stop.is_set():
            return
        try:
            if tick(self._stores, now, stop.is_set):
                self._last, self._next = now, now + self._every
        except FpmError as error:
            (log.info if isinstance(error, TryLater) else log.error)("no look", why=str(error))
        except Exception as error:  # noqa: BLE001  a clock that dies of one bad night is red for ever
            log.error("no look", why=f"{type(error).__name__}: {error}")


@contextmanager
def _signals(ending: Event) -> Iterator[set[int]]:
    """SIGTERM and SIGINT set `ending` once; a second one has its ordinary effect. Yields those that came."""
    received: set[int] = set()
    if current_thread() is not main_thread():  # only there can handlers be set
        yield received
        return

    def end(number: int, _frame: FrameType | None) -> None:
        received.add(number)
        ending.set()
        for name, before in former.items():
            signal.signal(name, before)
        log.info("ending after the running job", signal=signal.Signals(number).name)

    former = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}
    for name in former:
        signal.signal(name, end)
    try:
        yield received
    finally:
        for name, before in former.items():
            signal.signal(name, before)


def tick(stores: Stores, now: datetime, stop: Callable[[], bool] = lambda: False) -> bool:
    """Take what is complete in the inbox, then run every night that is due; what is red is logged.

    The embedded server is started where it is down. False, with nothing done, where another scheduler is at work.
    """
    ensure_server(stores.settings)
    with leadership(stores.ledger) as is_leader:
        if not is_leader:
            return False
        if stores.settings.inbox is not None:
            _empty_inbox(stores, now)
        _warn_of_calendar_end(stores, now)
        _, rest = agenda.run_due(stores, now, stop)
        alerts.watch(rest, stores, now)
        lineage.watch(stores)
        for night in rest:
            (log.error if night.state == "red" else log.info)(night.state, session=str(night.session), why=night.why)
        return True


def _empty_inbox(stores: Stores, now: datetime) -> None:
    """Take what is complete in the inbox; its faults are logged and stop no night."""
    from fpm.commands.inbox import look

    try:
        look(stores, now, lambda *_: None)
    except FpmError as error:
        (log.info if isinstance(error, TryLater) else log.error)("inbox not emptied", why=str(error))


def _warn_of_calendar_end(stores: Stores, now: datetime) -> None:
    """Log a warning where the trading calendar ends within `CALENDAR_WARNING_DAYS`: time enough to act."""
    end = calendar_end(stores.market)
    if end is not None and (end - now.date()).days <= CALENDAR_WARNING_DAYS:
        todo = "upgrade exchange_calendars, or name a file of what the exchange announced in FPM_CALENDAR"
        log.warning("the trading calendar ends soon", calendar=stores.market.calendar, ends=str(end), todo=todo)
