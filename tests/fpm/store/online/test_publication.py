"""While sessions are published, readers always see one version of one session, whole, in every view."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from fpm.errors import TryLater
from fpm.sessions import close, cut_off, market
from fpm.store.ledger.ledger import Publication
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.online import history, tables, transaction
from fpm.store.online.publication import publish_online, published_session, served
from fpm.store.online.tables import OnlineTable
from fpm.store.postgres.cluster import Cluster
from fpm.store.postgres.server import connect, stop_server
from fpm.store.settings import Settings
from migrations.expansion import add_column

CN = market("cn")
MONDAY, TUESDAY = date(2024, 12, 2), date(2024, 12, 3)
SYMBOLS = [f"60{number:04d}.SH" for number in range(200)]
VIEWS = ("scores", "weights")
READS = 300
# Both views in one statement; PostgreSQL gives a statement one moment of the database.
VERSIONS = (
    "SELECT count(*), count(DISTINCT session), count(DISTINCT publication), min(version), max(version) FROM ("
    "SELECT session, publication, score AS version FROM serving.scores UNION ALL "
    "SELECT session, publication, weight FROM serving.weights) AS both_views"
)
Row = tuple[Any, ...]


def frames(session: date, version: float, symbols: list[str] = SYMBOLS, hours: int = 0) -> dict[str, pl.DataFrame]:
    """Every value of the session is the version's number; it is known so many hours after the cut-off."""
    moments = {
        "event_timestamp": close(CN, session),
        "created_timestamp": cut_off(CN, session) + timedelta(hours=hours),
    }
    clocks = [pl.lit(moment, dtype=pl.Datetime("us", "UTC")).alias(name) for name, moment in moments.items()]
    scores = pl.DataFrame({"symbol": symbols, "stream": "dual", "score": version, "spread": 0.1})
    weights = pl.DataFrame({"symbol": symbols, "index": "ALL", "weight": version, "benchmark_weight": 0.0})
    return {
        "scores": scores.with_columns(*clocks, vintage=pl.lit("v1"), model=pl.lit("m1")),
        "weights": weights.with_columns(*clocks),
    }


def publish(stores: Stores, session: date, version: float, symbols: list[str] = SYMBOLS, hours: int = 0) -> str:
    publication = Publication(session, VIEWS, 0, f"{version}", "v1", "m1")
    return publish_online(publication, frames(session, version, symbols, hours), stores)


@dataclass
class Reads:
    """The rows that readers got, and their errors."""

    rows: list[Row] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)


@contextmanager
def reading(stores: Stores, statement: str, readers: int = 2) -> Iterator[Reads]:
    """Readers in a loop of many short queries, until the block ends."""
    assert stores.settings.database_url is not None
    dsn, reads, stop = stores.settings.database_url.get_secret_value(), Reads(), threading.Event()

    def read() -> None:
        try:
            with psycopg.connect(dsn, autocommit=True) as connection:
                while not stop.is_set():
                    reads.rows += connection.execute(statement.encode()).fetchall()
        except Exception as wrong:  # noqa: BLE001  the test reports whatever a reader met
            reads.errors.append(wrong)

    threads = [threading.Thread(target=read) for _ in range(readers)]
    for thread in threads:
        thread.start()
    try:
        yield reads
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=60)


def until(enough: Callable[[], bool], turn: Callable[[int], object]) -> None:
    """Take turns until that is enough, and a dozen at least."""
    number = 0
    while number < 12 or not enough():
        number += 1
        turn(number)


def test_readers_see_one_version_whole_while_two_alternate(stores: Stores) -> None:
    publish(stores, MONDAY, 0.0)
    with reading(stores, VERSIONS) as reads:
        until(
            lambda: bool(reads.errors) or len(reads.rows) >= READS,
            lambda number: publish(stores, MONDAY, float(number % 2), hours=number % 2),
        )
    assert not reads.errors
    mixed = [row for row in reads.rows if row[:3] != (2 * len(SYMBOLS), 1, 1) or row[3] != row[4]]
    assert not mixed, f"{len(mixed)} of {len(reads.rows)} reads, first {mixed[0]}"
    assert {row[3] for row in reads.rows} == {0.0, 1.0}, "readers saw both"


def test_readers_see_one_session_whole_while_it_advances(stores: Stores) -> None:
    publish(stores, MONDAY, 0.0)
    with reading(stores, VERSIONS) as reads:
        until(
            lambda: bool(reads.errors) or len(reads.rows) >= READS,
            lambda number: publish(stores, MONDAY + timedelta(days=number // 4), float(number)),
        )
    assert not reads.errors
    assert all(row[:3] == (2 * len(SYMBOLS), 1, 1) and row[3] == row[4] for row in reads.rows)


def test_a_correction_takes_rows_back_and_lets_older_versions_return(stores: Stores) -> None:
    publish(stores, MONDAY, 1.0, hours=2)
    assert publish(stores, MONDAY, 2.0, SYMBOLS[:-1], hours=1) == "published"
    assert set(served("scores", stores)["score"]) == {2.0}, "known earlier than the rows online, and yet current"
    for view in VIEWS:
        assert served(view, stores)["symbol"].to_list() == SYMBOLS[:-1]
    number, newest = stores.ledger.publications(MONDAY)[0]
    assert newest.replaces == stores.ledger.publications(MONDAY)[1][0] < number


def test_an_older_session_takes_nothing_back(stores: Stores) -> None:
    publish(stores, TUESDAY, 1.0)
    assert publish(stores, MONDAY, 2.0, SYMBOLS[:3], hours=90) == "superseded"
    assert published_session(stores) == TUESDAY
    assert served("scores", stores).height == len(SYMBOLS)


def test_a_publication_leaves_other_vintages_of_the_session(stores: Stores) -> None:
    """During a hand-over two vintages are online."""
    clocks = frames(MONDAY, 0.0)["scores"].select("event_timestamp", "created_timestamp").head(2)
    vector = pl.DataFrame({"symbol": SYMBOLS[:2], "fingerprint": [[1.0] * 128] * 2}).hstack(clocks)
    with stores.ledger.transaction() as connection:
        table = tables.online_table("fingerprints")
        for vintage in ("v1", "v2"):
            tables.write(connection, table, vector.with_columns(vintage=pl.lit(vintage)), MONDAY)
        tables.write(connection, table, vector.head(1).with_columns(vintage=pl.lit("v2")), MONDAY)
        rows = connection.execute("SELECT symbol, vintage FROM online.fingerprints ORDER BY 1, 2").fetchall()
    assert rows == [(SYMBOLS[0], "v1"), (SYMBOLS[0], "v2"), (SYMBOLS[1], "v1")]


# --- a column more ------------------------------------------------------------------------------------------------
def test_a_column_is_added_while_readers_read_and_an_old_writer_writes(stores: Stores) -> None:
    """As a future migration would: the table gets a column, then its view; readers and the old writer go on."""
    assert stores.settings.database_url is not None
    dsn = stores.settings.database_url.get_secret_value()
    publish(stores, MONDAY, 0.0)
    added: list[str] = []

    def turn(number: int) -> None:
        publish(stores, MONDAY, float(number % 2), hours=number % 2)
        if number % 4 == 0 and len(added) < 5:
            with psycopg.connect(dsn) as connection:
                for _ in range(2):  # repeated, it changes nothing
                    add_column(connection.execute, "scores", f"extra_{len(added)}", "real")
            added.append(f"extra_{len(added)}")

    with reading(stores, VERSIONS) as reads:
        until(lambda: bool(reads.errors) or (len(reads.rows) >= READS and len(added) == 5), turn)
    assert not reads.errors
    assert all(row[:3] == (2 * len(SYMBOLS), 1, 1) and row[3] == row[4] for row in reads.rows)
    rows = stores.ledger.query("SELECT DISTINCT extra_0, extra_4 FROM serving.scores")
    assert rows == [(None, None)], "in the view, empty until a writer knows it"
    old = tables.online_table("scores")
    new = OnlineTable("scores", old.keys, old.columns | {"extra_0": "real"})
    frame = frames(MONDAY, 5.0, hours=2)["scores"].with_columns(extra_0=pl.lit(0.5))
    with stores.ledger.transaction() as connection:
        tables.write(connection, new, frame, MONDAY)
    assert stores.ledger.query("SELECT DISTINCT extra_0 FROM serving.scores") == [(0.5,)]


def test_an_old_writer_tolerates_columns_it_does_not_know(stores: Stores) -> None:
    stores.ledger.execute("ALTER TABLE online.scores ADD COLUMN kind text, ADD COLUMN extra real NOT NULL DEFAULT 7")
    publish(stores, MONDAY, 1.0)
    stores.ledger.execute("UPDATE online.scores SET kind = 'set by a newer writer'")
    publish(stores, MONDAY, 2.0, hours=1)
    rows = stores.ledger.query("SELECT DISTINCT score, kind, extra FROM online.scores")
    assert rows == [(2.0, "set by a newer writer", 7.0)]


def test_a_long_reader_is_waited_for_in_short_tries_that_let_others_through(stores: Stores) -> None:
    """PostgreSQL queues everyone behind a waiting ALTER TABLE, so it must give way and try again."""
    assert stores.settings.database_url is not None
    dsn = stores.settings.database_url.get_secret_value()
    publish(stores, MONDAY, 0.0)
    with psycopg.connect(dsn) as long_reader, reading(stores, VERSIONS, 1) as reads:
        long_reader.execute("SELECT count(*) FROM serving.scores")
        done = threading.Event()

        def migrate() -> None:
            with psycopg.connect(dsn) as connection:
                add_column(connection.execute, "scores", "late", "real")
            done.set()

        thread = threading.Thread(target=migrate)
        thread.start()
        before = len(reads.rows)
        until(lambda: bool(reads.errors) or len(reads.rows) >= before + 50, lambda number: done.wait(0.01))
        assert not done.is_set()
        long_reader.rollback()
        thread.join(timeout=60)
    assert done.is_set() and not reads.errors
    assert stores.ledger.query("SELECT count(late) FROM serving.scores") == [(0,)]


def test_a_column_that_may_not_be_null_is_refused(stores: Stores) -> None:
    with stores.ledger.transaction() as connection, pytest.raises(ValueError, match="nullable"):
        add_column(connection.execute, "scores", "needed", "real NOT NULL")


def test_a_reader_holds_nothing_that_a_publication_waits_for(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every lock that a reader gets is held while the publication runs: what it may read, and what PUBLIC may call."""
    monkeypatch.setattr(transaction, "LONGEST_WAIT", "2s")
    publish(stores, MONDAY, 1.0)
    with psycopg.connect(database_url, options="-c role=fpm_reader") as reader:
        reader.execute("SELECT * FROM serving.scores, serving.weights, serving.publications, serving.metrics")
        for statement in (
            "SELECT pg_advisory_lock(hashtextextended('fpm publication', 0))",
            "SELECT pg_advisory_xact_lock_shared(hashtextextended('fpm publication', 0))",
            "SELECT 1 FROM fpm.publishing FOR KEY SHARE",
            "SELECT 1 FROM serving.publications FOR KEY SHARE",
            "LOCK TABLE serving.scores IN ACCESS SHARE MODE",
            "LOCK TABLE serving.scores IN SHARE MODE",
        ):
            with suppress(psycopg.Error), reader.transaction():
                reader.execute(statement.encode())
        assert publish(stores, TUESDAY, 2.0) == "published"


def test_a_publication_that_must_wait_ends_in_words(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "LONGEST_WAIT", "200ms")
    publish(stores, MONDAY, 1.0)
    for lock in ("SELECT 1 FROM fpm.publishing FOR UPDATE", "LOCK TABLE online.weights"):
        with psycopg.connect(database_url) as another:
            another.execute(lock.encode())
            with pytest.raises(TryLater, match=r"FPM-PUB-090 .*readers keep what they have"):
                publish(stores, TUESDAY, 2.0)
            assert published_session(stores) == MONDAY
    assert publish(stores, TUESDAY, 2.0) == "published"


def test_listeners_hear_of_a_publication_with_its_commit(stores: Stores) -> None:
    assert stores.settings.database_url is not None
    with psycopg.connect(stores.settings.database_url.get_secret_value(), autocommit=True) as listener:
        listener.execute("LISTEN fpm_published")
        assert publish(stores, MONDAY, 1.0) == "published"
        assert publish(stores, MONDAY, 1.0) == "unchanged"
        assert publish(stores, TUESDAY, 2.0) == "published"
        assert publish(stores, MONDAY, 3.0) == "corrected"
        broken = frames(TUESDAY, 4.0) | {"weights": frames(TUESDAY, 4.0)["weights"].drop("weight")}
        with pytest.raises(Exception, match="weight"):
            publish_online(Publication(TUESDAY, VIEWS, 0, "4.0", "v1", "m1"), broken, stores)
        assert publish(stores, TUESDAY, 5.0, hours=1) == "published"
        payloads = [json.loads(each.payload) for each in listener.notifies(timeout=5, stop_after=4)]
        assert not list(listener.notifies(timeout=0.2))
        rows = listener.execute("SELECT id, session::text, replaces FROM serving.publications ORDER BY id").fetchall()
    assert [(each["publication"], each["session"], each["replaces"]) for each in payloads] == rows
    assert [tuple(each["views"]) for each in payloads] == [VIEWS, VIEWS, history.VIEWS, VIEWS]
    assert all(each["vintage"] == "v1" for each in payloads)


def fill_queue(connection: psycopg.Connection[Any]) -> None:
    for number in range(1000):
        connection.execute("SELECT pg_notify('nothing', %s || repeat('x', 7000))", (str(number),))
        connection.commit()


@pytest.mark.slow  # a server of its own: the queue of the tests' server takes 8 GB to fill
def test_a_reader_who_fills_the_queue_of_notifications_stops_no_publication(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, market="cn", preset="tiny", fsync=False)
    settings.pg.mkdir()
    cluster = Cluster(settings)
    cluster.initialise()
    with (cluster.data / "postgresql.conf").open("a") as configuration:
        configuration.write("max_notify_queue_pages = 64\n")
    try:
        stores = open_stores(settings)
        assert publish(stores, MONDAY, 1.0) == "published"
        with connect(settings, "reader") as listener, connect(settings, "reader") as other:
            listener.execute("LISTEN nothing")
            listener.commit()
            listener.execute("SELECT 1")  # a transaction without end keeps the queue
            with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="too many notifications"):
                fill_queue(other)
            assert publish(stores, TUESDAY, 2.0) == "published"
        assert published_session(stores) == TUESDAY
        stores.ledger.close()
    finally:
        stop_server(settings)
