"""A publication under readers who never stop asking: always one version of one session, whole, in every view."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import polars as pl
import psycopg
import pytest

from fpm.sessions import close, cut_off, market
from fpm.store.ledger.ledger import Publication
from fpm.store.ledger.stores import Stores
from fpm.store.online import table as online_table
from fpm.store.online.publication import publish_online, published_session, served
from fpm.store.online.table import OnlineTable
from migrations.expansion import add_column

CN = market("cn")
MONDAY, TUESDAY = date(2024, 12, 2), date(2024, 12, 3)
SYMBOLS = [f"60{number:04d}.SH" for number in range(200)]
VIEWS = ("scores", "weights")
READS = 300
# Both views in one statement; PostgreSQL gives a statement one moment of the database.
ASKED = (
    "SELECT count(*), count(DISTINCT session), count(DISTINCT publication), min(version), max(version) FROM ("
    "SELECT session, publication, score AS version FROM serving.scores UNION ALL "
    "SELECT session, publication, weight FROM serving.weights) AS both_views"
)
Row = tuple[Any, ...]


def frames(session: date, version: float, symbols: list[str] = SYMBOLS, known: int = 0) -> dict[str, pl.DataFrame]:
    """Every value of the session is the version's number."""
    moments = {
        "event_timestamp": close(CN, session),
        "created_timestamp": cut_off(CN, session) + timedelta(hours=known),
    }
    clocks = [pl.lit(moment, dtype=pl.Datetime("us", "UTC")).alias(name) for name, moment in moments.items()]
    scores = pl.DataFrame({"symbol": symbols, "stream": "dual", "score": version, "spread": 0.1})
    weights = pl.DataFrame({"symbol": symbols, "index": "ALL", "weight": version, "benchmark_weight": 0.0})
    return {
        "scores": scores.with_columns(*clocks, vintage=pl.lit("v1"), model=pl.lit("m1")),
        "weights": weights.with_columns(*clocks),
    }


def publish(stores: Stores, session: date, version: float, symbols: list[str] = SYMBOLS, known: int = 0) -> str:
    publication = Publication(session, VIEWS, 0, f"{version}", "v1", "m1")
    return publish_online(publication, frames(session, version, symbols, known), stores)


@dataclass
class Seen:
    """What a reader got, and what went wrong."""

    rows: list[Row] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)


@contextmanager
def reading(stores: Stores, statement: str, readers: int = 2) -> Iterator[Seen]:
    """Readers in a loop of many short queries, until the block ends."""
    assert stores.settings.database_url is not None
    dsn, seen, stop = stores.settings.database_url.get_secret_value(), Seen(), threading.Event()

    def read() -> None:
        try:
            with psycopg.connect(dsn, autocommit=True) as connection:
                while not stop.is_set():
                    seen.rows += connection.execute(statement.encode()).fetchall()
        except Exception as wrong:
            seen.errors.append(wrong)

    threads = [threading.Thread(target=read) for _ in range(readers)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=60)


def until(enough: Callable[[], bool], turn: Callable[[int], object]) -> None:
    """Take turns until enough was seen, and a dozen at least."""
    number = 0
    while number < 12 or not enough():
        number += 1
        turn(number)


def test_readers_see_one_version_whole_while_two_alternate(stores: Stores) -> None:
    publish(stores, MONDAY, 0.0)
    with reading(stores, ASKED) as seen:
        until(
            lambda: bool(seen.errors) or len(seen.rows) >= READS,
            lambda number: publish(stores, MONDAY, float(number % 2), known=number % 2),
        )
    assert not seen.errors
    mixed = [row for row in seen.rows if row[:3] != (2 * len(SYMBOLS), 1, 1) or row[3] != row[4]]
    assert not mixed, f"{len(mixed)} of {len(seen.rows)} reads, first {mixed[0]}"
    assert {row[3] for row in seen.rows} == {0.0, 1.0}, "both were seen"


def test_readers_see_one_session_whole_while_it_advances(stores: Stores) -> None:
    publish(stores, MONDAY, 0.0)
    with reading(stores, ASKED) as seen:
        until(
            lambda: bool(seen.errors) or len(seen.rows) >= READS,
            lambda number: publish(stores, MONDAY + timedelta(days=number // 4), float(number)),
        )
    assert not seen.errors
    assert all(row[:3] == (2 * len(SYMBOLS), 1, 1) and row[3] == row[4] for row in seen.rows)


def test_a_correction_takes_rows_back_and_lets_older_versions_return(stores: Stores) -> None:
    publish(stores, MONDAY, 1.0, known=2)
    assert publish(stores, MONDAY, 2.0, SYMBOLS[:-1], known=1) == "published"
    assert set(served("scores", stores)["score"]) == {2.0}, "known earlier than what was online, and yet the truth"
    for view in VIEWS:
        assert served(view, stores)["symbol"].to_list() == SYMBOLS[:-1]
    number, newest = stores.ledger.publications(MONDAY)[0]
    assert newest.replaces == stores.ledger.publications(MONDAY)[1][0] < number


def test_an_older_session_takes_nothing_back(stores: Stores) -> None:
    publish(stores, TUESDAY, 1.0)
    assert publish(stores, MONDAY, 2.0, SYMBOLS[:3], known=90) == "superseded"
    assert published_session(stores) == TUESDAY
    assert served("scores", stores).height == len(SYMBOLS)


def test_a_publication_leaves_other_vintages_of_the_session(stores: Stores) -> None:
    """During a hand-over two vintages are online."""
    clocks = frames(MONDAY, 0.0)["scores"].select("event_timestamp", "created_timestamp").head(2)
    vector = pl.DataFrame({"symbol": SYMBOLS[:2], "fingerprint": [[1.0] * 128] * 2}).hstack(clocks)
    with stores.ledger.transaction() as connection:
        table = online_table.online_table("fingerprints")
        for vintage in ("v1", "v2"):
            online_table.write(connection, table, vector.with_columns(vintage=pl.lit(vintage)), MONDAY)
        online_table.write(connection, table, vector.head(1).with_columns(vintage=pl.lit("v2")), MONDAY)
        rows = connection.execute("SELECT symbol, vintage FROM online.fingerprints ORDER BY 1, 2").fetchall()
    assert rows == [(SYMBOLS[0], "v1"), (SYMBOLS[0], "v2"), (SYMBOLS[1], "v1")]


# --- a column more ------------------------------------------------------------------------------------------------
def test_a_column_is_added_while_readers_read_and_an_old_writer_writes(stores: Stores) -> None:
    """As a future migration would: the table grows, then its view; neither the readers nor the old writer notice."""
    assert stores.settings.database_url is not None
    dsn = stores.settings.database_url.get_secret_value()
    publish(stores, MONDAY, 0.0)
    added: list[str] = []

    def turn(number: int) -> None:
        publish(stores, MONDAY, float(number % 2), known=number % 2)
        if number % 4 == 0 and len(added) < 5:
            with psycopg.connect(dsn) as connection:
                for _ in range(2):  # repeated, it changes nothing
                    add_column(connection.execute, "scores", f"extra_{len(added)}", "real")
            added.append(f"extra_{len(added)}")

    with reading(stores, ASKED) as seen:
        until(lambda: bool(seen.errors) or (len(seen.rows) >= READS and len(added) == 5), turn)
    assert not seen.errors
    assert all(row[:3] == (2 * len(SYMBOLS), 1, 1) and row[3] == row[4] for row in seen.rows)
    rows = stores.ledger.query("SELECT DISTINCT extra_0, extra_4 FROM serving.scores")
    assert rows == [(None, None)], "in the view, empty until a writer knows it"
    old = online_table.online_table("scores")
    new = OnlineTable("scores", old.keys, old.columns | {"extra_0": "real"})
    frame = frames(MONDAY, 5.0, known=2)["scores"].with_columns(extra_0=pl.lit(0.5))
    with stores.ledger.transaction() as connection:
        online_table.write(connection, new, frame, MONDAY)
    assert stores.ledger.query("SELECT DISTINCT extra_0 FROM serving.scores") == [(0.5,)]


def test_an_old_writer_tolerates_columns_it_does_not_know(stores: Stores) -> None:
    stores.ledger.execute("ALTER TABLE online.scores ADD COLUMN kind text, ADD COLUMN given real NOT NULL DEFAULT 7")
    publish(stores, MONDAY, 1.0)
    stores.ledger.execute("UPDATE online.scores SET kind = 'set by a newer writer'")
    publish(stores, MONDAY, 2.0, known=1)
    rows = stores.ledger.query("SELECT DISTINCT score, kind, given FROM online.scores")
    assert rows == [(2.0, "set by a newer writer", 7.0)]


def test_a_long_reader_is_waited_for_in_short_tries_that_let_others_through(stores: Stores) -> None:
    """PostgreSQL queues everyone behind a waiting ALTER TABLE: it must give way, and come again."""
    assert stores.settings.database_url is not None
    dsn = stores.settings.database_url.get_secret_value()
    publish(stores, MONDAY, 0.0)
    with psycopg.connect(dsn) as long_reader, reading(stores, ASKED, 1) as seen:
        long_reader.execute("SELECT count(*) FROM serving.scores")
        done = threading.Event()

        def migrate() -> None:
            with psycopg.connect(dsn) as connection:
                add_column(connection.execute, "scores", "late", "real")
            done.set()

        thread = threading.Thread(target=migrate)
        thread.start()
        before = len(seen.rows)
        until(lambda: bool(seen.errors) or len(seen.rows) >= before + 50, lambda number: done.wait(0.01))
        assert not done.is_set()
        long_reader.rollback()
        thread.join(timeout=60)
    assert done.is_set() and not seen.errors
    assert stores.ledger.query("SELECT count(late) FROM serving.scores") == [(0,)]


def test_a_column_that_nobody_may_leave_out_is_refused(stores: Stores) -> None:
    with stores.ledger.transaction() as connection, pytest.raises(ValueError, match="nullable"):
        add_column(connection.execute, "scores", "needed", "real NOT NULL")
