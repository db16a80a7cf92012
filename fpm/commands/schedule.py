"""The clock: every few minutes it looks into the inbox and at the ledger, and runs the nights that are due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from threading import Event

from fpm.commands.night import due, nightly
from fpm.errors import FpmError, TryLater
from fpm.sessions import calendar_end
from fpm.store.ledger.stores import Stores
from fpm.store.log import configure, log

CALENDAR_WARNING_DAYS = 45


def serve(stores: Stores, clock: Callable[[], datetime], every_minutes: int, stop: Event | None = None) -> None:
    """Look at the ledger every few minutes and run what is due, until interrupted or `stop` is set.

    APScheduler only keeps the time: the ledger says what is due, so a machine that was off catches up and
    two schedulers publish once.
    """
    from apscheduler.schedulers.background import BackgroundScheduler

    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_job(
        lambda: tick(stores, clock()),
        "interval",
        minutes=every_minutes,
        next_run_time=clock(),
        coalesce=True,
        max_instances=1,
        misfire_grace_time=None,
    )
    if "log_level" not in stores.settings.model_fields_set:
        configure(stores.settings.model_copy(update={"log_level": "info"}))  # a silent clock looks dead
    scheduler.start()
    log.info("clock started", every_minutes=every_minutes)
    waiting = stop or Event()
    try:
        while not waiting.wait(1):
            pass
    finally:
        scheduler.shutdown(wait=True)


def tick(stores: Stores, now: datetime) -> None:
    """Take what is complete in the inbox, then run every night that is due.

    The first night that fails ends the tick, and the next tick tries it again.
    """
    if stores.settings.inbox is not None:
        _empty_inbox(stores, now)
    for session in due_sessions(stores, now):
        try:
            nightly(session, stores)
        except FpmError as error:  # the ledger holds the reason
            (log.info if isinstance(error, TryLater) else log.error)("not done", session=str(session), why=str(error))
            return
        log.info("night done", session=str(session))


def _empty_inbox(stores: Stores, now: datetime) -> None:
    """Take what is complete in the inbox; its faults are logged and stop no night."""
    from fpm.commands.inbox import look

    try:
        look(stores, now, lambda *_: None)
    except FpmError as error:
        (log.info if isinstance(error, TryLater) else log.error)("inbox not emptied", why=str(error))


def due_sessions(stores: Stores, now: datetime) -> list[date]:
    """Sessions whose night is due (`fpm.commands.night.due`), with a warning where the calendar soon ends."""
    _warn_of_calendar_end(stores, now)
    return due(stores, now)


def _warn_of_calendar_end(stores: Stores, now: datetime) -> None:
    """Log a warning where the trading calendar ends within `CALENDAR_WARNING_DAYS`: time enough to act."""
    end = calendar_end(stores.market)
    if end is not None and (end - now.date()).days <= CALENDAR_WARNING_DAYS:
        todo = "upgrade exchange_calendars, or name a file of what the exchange announced in FPM_CALENDAR"
        log.warning("the trading calendar ends soon", calendar=stores.market.calendar, ends=str(end), todo=todo)
