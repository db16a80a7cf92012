"""Who runs in a week: schedulers, the deliverer, a backfill, a reader, a stranger with another database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from hashlib import sha256
from threading import Event

import polars as pl
import psycopg

from fpm.commands import agenda, jobs
from fpm.commands.schedule import _Looks
from fpm.errors import FpmError, StoreCorrupt, TryLater, UsageError
from fpm.schema import CLOCKS
from fpm.sessions import close
from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.ledger import Ledger
from fpm.store.ledger.models import Models
from fpm.store.ledger.seals import sealed_lake
from fpm.store.ledger.stores import Stores
from fpm.store.online.publication import published_session, served
from fpm.store.postgres.identity import require_pair
from fpm.store.postgres.server import Server
from fpm.store.settings import Settings
from tests.simulation.jobs.hashes import digest
from tests.simulation.turns import Violation

SYMBOLS = ("A", "B", "C")


@dataclass(frozen=True)
class Delivery:
    """One version of a session's bars: when it comes, and everything that is known by then."""

    session: date
    arrives: datetime
    known: tuple[datetime, ...]  # moments of the versions up to this one


@dataclass
class Desk:
    """What the people around a home have done: deliveries that succeeded, absences declared."""

    delivered: list[Delivery] = field(default_factory=list)
    declared: set[date] = field(default_factory=set)


def open_home(settings: Settings) -> Stores:
    """Stores as `open_stores` gives them, without its look at the server: every process has its own."""
    ledger = Ledger(settings.database_url.get_secret_value())
    market = settings.venue
    lake = sealed_lake(settings.lake, settings.staging, ledger)
    return Stores(settings, market, lake, ledger, Models(settings.models, settings.staging, ledger, market))


class Scheduler:
    """`fpm schedule`: one look at every moment, as long as its process lives."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._stores, self._clock = open_home(settings), clock
        self._looks = _Looks(self._stores, clock, 1)

    def look(self) -> None:
        self._looks.at(self._clock(), Event())


def deliver(settings: Settings, due: list[Delivery], desk: Desk) -> None:
    """Ingest what has arrived, version by version; what does not succeed is tried again at the next moment."""
    stores = open_home(settings)
    for delivery in due:
        try:
            publish_frames("bars", delivery.session, frames(delivery, stores), stores)
        except (FpmError, OSError):
            return
        desk.delivered.append(delivery)


def frames(delivery: Delivery, stores: Stores) -> dict[str, pl.DataFrame]:
    """The whole history of a session's bars up to this version: two minutes a symbol, and a day."""
    event = close(stores.market, delivery.session)
    minutes, days = [], []
    for version, moment in enumerate(delivery.known):
        for symbol in SYMBOLS if version == 0 else SYMBOLS[:1]:
            prices = [_price(delivery.session, symbol, slot, version) for slot in (0, 1)]
            minutes += [(symbol, slot, price, event, moment) for slot, price in enumerate(prices)]
            days.append((symbol, _price(delivery.session, symbol, 2, version), event, moment))
    return {
        "minute_bars": pl.DataFrame(minutes, schema=["symbol", "slot", "close", *CLOCKS], orient="row"),
        "daily_bars": pl.DataFrame(days, schema=["symbol", "close", *CLOCKS], orient="row"),
    }


def _price(session: date, symbol: str, slot: int, version: int) -> float:
    return int(sha256(f"{session}{symbol}{slot}{version}".encode()).hexdigest()[:6], 16) / 1000


def declare(settings: Settings, session: date, desk: Desk) -> None:
    try:
        agenda.declare_absent(session, "nobody will deliver it", "desk", open_home(settings))
    except TryLater:
        return
    desk.declared.add(session)


def backfill(settings: Settings, job: str, first: date, last: date) -> None:
    try:
        jobs.backfill(job, first, last, open_home(settings), lambda *_: None)
    except (FpmError, OSError, KeyError):
        return  # somebody types it again, or not


def read(settings: Settings, session: date) -> None:
    """What is online is one whole session; what the lake gives is sound. Raises Violation."""
    stores = open_home(settings)
    try:
        rows = served("scores", stores)
        online = published_session(stores)
        if len(rows) and (len(rows) != len(SYMBOLS) or rows["event_timestamp"].n_unique() != 1):
            raise Violation(f"a reader saw {len(rows)} rows of several sessions online")
        if len(rows) and rows["event_timestamp"][0] > close(stores.market, online or session):
            raise Violation("a reader saw rows of a session before its publication")
        for table in ("minute_bars", "labels", "scores"):
            if stores.lake.files(table, session, session):
                frame = stores.read(table, session)
                digest(frame.rename({"label": "score"})) if table == "labels" else len(frame)
    except StoreCorrupt as wrong:
        raise Violation(f"a reader was refused: {wrong}") from wrong
    except (TryLater, psycopg.OperationalError):
        return


def stranger(settings: Settings, other: str) -> None:
    """Somebody runs the night on this home with another, empty database (RELIABILITY, case 66)."""
    foreign = settings.model_copy(update={"database_url": type(settings.database_url)(other)})
    try:
        require_pair(foreign, Server(other, embedded=False))
    except (UsageError, TryLater):
        return
    stores = open_home(foreign)
    try:
        for session in stores.sessions("minute_bars")[-1:]:
            publish_frames("labels", session, {"labels": pl.DataFrame({"symbol": ["A"], "label": [0.0]})}, stores)
    except (FpmError, OSError):
        return  # what it has done to the home by then is judged
