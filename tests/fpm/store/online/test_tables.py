"""Typed online tables on a real Postgres: values are exact, older rows never win, a failed write leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from fpm import sessions
from fpm.errors import InputRefused, UsageError
from fpm.exchange_facts import shipped
from fpm.store.online import tables
from fpm.store.online.tables import OnlineTable, creation, online_table
from fpm.store.postgres.binary_copy import floats_of
from fpm.store.postgres.server import Server

Connection = psycopg.Connection[tuple[Any, ...]]
EVENT = datetime(2024, 1, 5, 7, tzinfo=UTC)
KNOWN_AT = datetime(2024, 1, 5, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NAIVE = datetime(2024, 1, 5)  # noqa: DTZ001  the fault under test
CENTURY = datetime(2100, 1, 1, tzinfo=UTC)
ROW = st.tuples(st.sampled_from("AB"), st.integers(0, 3), st.integers(0, 3))  # symbol, day of the event, hour known


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url) as connection:
        yield connection


def fingerprints(*rows: tuple[str, float], event: datetime = EVENT, known_at: datetime = KNOWN_AT) -> pl.DataFrame:
    return pl.DataFrame(
        [(symbol, "v1", [value] * 128, event, known_at) for symbol, value in rows],
        schema={
            "symbol": pl.String,
            "vintage": pl.String,
            "fingerprint": pl.Array(pl.Float32, 128),
            "event_timestamp": pl.Datetime("us", "UTC"),
            "created_timestamp": pl.Datetime("us", "UTC"),
        },
        orient="row",
    )


def scores(*rows: tuple[str, float | None], event: datetime = EVENT, known_at: datetime = KNOWN_AT) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": [symbol for symbol, _ in rows],
            "stream": "dual",
            "score": [value for _, value in rows],
            "spread": 0.1,
            "vintage": "v1",
            "model": "m1",
            "event_timestamp": event,
            "created_timestamp": known_at,
        }
    ).with_columns(pl.col("event_timestamp", "created_timestamp").dt.cast_time_unit("us"))


def stored_scores(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT symbol, score FROM online.scores ORDER BY symbol").fetchall()


def test_rows_are_plain_sql_with_their_session(connection: Connection) -> None:
    assert tables.write(connection, online_table("scores"), scores(("B", None), ("A", 0.25))) == 2
    row = connection.execute("SELECT * FROM online.scores WHERE symbol = 'A'").fetchone()
    assert row == ("A", "dual", 0.25, 0.1, "v1", "m1", EVENT, KNOWN_AT, date(2024, 1, 5))
    assert stored_scores(connection) == [("A", 0.25), ("B", None)]


def test_vectors_can_be_searched_by_sql(connection: Connection) -> None:
    tables.write(connection, online_table("fingerprints"), fingerprints(("A", 1.0), ("B", 5.0), ("C", 1.5)))
    query = str([1.1] * 128)
    near = connection.execute("SELECT symbol FROM online.fingerprints ORDER BY fingerprint <-> %s LIMIT 2", (query,))
    assert near.fetchall() == [("A",), ("C",)]


def test_read_answers_in_the_order_of_the_keys(connection: Connection) -> None:
    tables.write(connection, online_table("fingerprints"), fingerprints(("A", 1.0), ("B", 2.0)))
    keys = [("B", "v1"), ("A", "v0"), ("A", "v1"), ("B", "v1")]
    rows = tables.read(connection, [online_table("fingerprints").selection(["fingerprint"])], [keys])
    assert [(event, vector and floats_of(vector)[0]) for event, vector in rows] == [
        (EVENT, 2.0),
        (None, None),
        (EVENT, 1.0),
        (EVENT, 2.0),
    ]


@examples(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=st.lists(st.lists(ROW, max_size=4), max_size=5))
def test_whatever_the_order_of_writing_the_newest_pair_of_clocks_stands(
    postgres_server: Server, writes: list[list[tuple[str, int, int]]]
) -> None:
    best: dict[str, tuple[int, int]] = {}
    with psycopg.connect(postgres_server.dsn) as connection:
        for write in writes:
            for symbol, day, hour in write:
                best[symbol] = max(best.get(symbol, (0, 0)), (day, hour))
            frames = [
                scores(
                    (symbol, day * 10.0 + hour), event=EVENT + day * DAY, known_at=KNOWN_AT + day * DAY + hour * HOUR
                )
                for symbol, day, hour in write
            ]
            tables.write(connection, online_table("scores"), pl.concat([scores(("Z", 0.0)).clear(), *frames]))
        assert stored_scores(connection) == [
            (symbol, day * 10.0 + hour) for symbol, (day, hour) in sorted(best.items())
        ]
        connection.rollback()


def test_a_failure_takes_every_view_back(connection: Connection) -> None:
    tables.write(connection, online_table("scores"), scores(("A", 1.0)))
    connection.commit()
    later = scores(("A", 2.0), ("B", 2.0), event=EVENT + DAY, known_at=KNOWN_AT + DAY)

    def both_views() -> None:
        with connection.transaction():
            tables.write(connection, online_table("scores"), later)
            tables.write(connection, online_table("fingerprints"), fingerprints(("A", float("nan"))))

    with pytest.raises(InputRefused):
        both_views()
    assert stored_scores(connection) == [("A", 1.0)]


def test_two_writes_of_one_view_in_one_transaction(connection: Connection) -> None:
    tables.write(connection, online_table("scores"), scores(("A", 1.0)))
    tables.write(connection, online_table("scores"), scores(("B", 2.0)))
    assert stored_scores(connection) == [("A", 1.0), ("B", 2.0)]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (scores(("A", 1.0), ("B", float("nan"))), "FPM-ONL-005"),
        (scores(("A", 1.0), ("B", float("inf"))), "FPM-ONL-005"),
        (scores(("A", 1.0), event=CENTURY, known_at=CENTURY + DAY), "FPM-ONL-028"),
        (scores(("A", 1.0), known_at=EVENT - HOUR), "FPM-ONL-029"),
        (scores(("A", 1.0)).with_columns(symbol=pl.lit(None, dtype=pl.String)), "FPM-ONL-004"),
        (scores(("A", 1.0)).drop("spread"), "FPM-ONL-002"),
        (scores(("A", 1.0)).with_columns(event_timestamp=pl.lit(NAIVE)), "FPM-ONL-003"),
    ],
)
def test_a_frame_with_one_bad_row_is_refused_whole(connection: Connection, frame: pl.DataFrame, code: str) -> None:
    with pytest.raises(InputRefused, match=code):
        tables.write(connection, online_table("scores"), frame)
    assert stored_scores(connection) == []


def test_a_vintage_of_another_profile_or_of_none_is_refused(connection: Connection) -> None:
    for vintage, profile in (("v1", "bar_32"), ("v2", "l2_32")):
        connection.execute(
            "INSERT INTO fpm.models (kind, id, born, through, status, manifest, files) "
            "VALUES ('encoder', %s, now(), '2024-01-05', 'promoted', jsonb_build_object('profile', %s::text), '[]')",
            (vintage, profile),
        )
    tables.write(connection, online_table("fingerprints"), fingerprints(("A", 1.0)))  # no profile is decided yet
    connection.execute("INSERT INTO fpm.deployment VALUES ('profile', 'l2_32')")
    for vintage in ("v1", "v3"):
        for rows in (fingerprints(("B", 1.0)), scores(("B", 1.0))):
            with pytest.raises(InputRefused, match=f"FPM-ONL-030.*'{vintage}' is no vintage of profile l2_32"):
                tables.write(connection, online_table(_table(rows)), rows.with_columns(vintage=pl.lit(vintage)))
    tables.write(connection, online_table("fingerprints"), fingerprints(("B", 1.0)).with_columns(vintage=pl.lit("v2")))
    stored = connection.execute("SELECT symbol, vintage FROM online.fingerprints ORDER BY symbol").fetchall()
    assert stored == [("A", "v1"), ("B", "v2")]


def _table(rows: pl.DataFrame) -> str:
    return "fingerprints" if "fingerprint" in rows.columns else "scores"


@pytest.mark.parametrize("vector", [[1.0] * 127, [1.0] * 127 + [float("nan")], [1.0] * 127 + [None]])
def test_vectors_are_whole_and_finite(connection: Connection, vector: list[float | None]) -> None:
    frame = fingerprints(("A", 1.0)).with_columns(fingerprint=pl.lit(vector, dtype=pl.List(pl.Float32)))
    with pytest.raises(InputRefused, match="FPM-ONL-005"):
        tables.write(connection, online_table("fingerprints"), frame)


def test_a_null_vector_is_fine(connection: Connection) -> None:
    frame = fingerprints(("A", 1.0)).with_columns(fingerprint=pl.lit(None, dtype=pl.List(pl.Float32)))
    tables.write(connection, online_table("fingerprints"), frame)
    assert tables.read(connection, [online_table("fingerprints").selection(["fingerprint"])], [[("A", "v1")]]) == [
        (EVENT, None)
    ]


def test_a_server_in_another_zone_stores_the_same_moment(database_url: str) -> None:
    with psycopg.connect(database_url, options="-c timezone=Asia/Shanghai") as connection:
        tables.write(connection, online_table("scores"), scores(("A", 1.0)))
        row = connection.execute("SELECT event_timestamp AT TIME ZONE 'UTC', session FROM online.scores").fetchone()
    assert row == (EVENT.replace(tzinfo=None), date(2024, 1, 5))


@pytest.mark.parametrize("name", list(shipped()))
def test_the_database_derives_every_markets_session(connection: Connection, name: str) -> None:
    for day in (date(2024, 1, 5), date(2024, 7, 31)):
        frame = scores(("A", 1.0), event=sessions.close(sessions.market(name), day), known_at=KNOWN_AT + 300 * DAY)
        tables.write(connection, online_table("scores"), frame)
        assert connection.execute("SELECT session FROM online.scores").fetchone() == (day,)


def test_a_new_column_is_added_to_a_table_that_is_there(connection: Connection) -> None:
    before = OnlineTable("grown", ("symbol",), {"symbol": "text", "a": "real"})
    after = OnlineTable("grown", ("symbol",), {"symbol": "text", "a": "real", "b": "bigint"})
    for table in (before, before, after):
        connection.execute(creation(table))
    clocks = {"event_timestamp": EVENT, "created_timestamp": KNOWN_AT}
    assert tables.write(connection, after, pl.DataFrame({"symbol": ["A"], "a": [1.0], "b": [7], **clocks})) == 1


def test_only_published_tables_are_online() -> None:
    with pytest.raises(UsageError, match="FPM-ONL-001"):
        online_table("labels")
