"""Feast end to end on a real lake and a real Postgres: definitions, frames, materialisation, online, roles."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import polars as pl
import psycopg
import pytest
from pydantic import SecretStr

from fpm import sessions
from fpm.errors import TryLater, UsageError
from fpm.schema import TABLES
from fpm.store.online.online_store import write_in
from fpm.store.postgres.server import ensure_server
from fpm.store.retrieval import features
from fpm.store.settings import Settings
from tests.lake_files import put

CN = sessions.market("cn")
FIRST, SECOND = date(2024, 1, 4), date(2024, 1, 5)


@pytest.fixture
def applied(settings: Settings) -> Settings:
    features.apply(settings)
    return settings


@pytest.fixture
def owner(applied: Settings) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(ensure_server(applied).dsn, autocommit=True) as connection:
        yield connection


def rows(table: str, session: date, value: float, symbols: str = "AB", **keys: str) -> pl.DataFrame:
    """Any table's rows with one value everywhere, known at the session's cut-off."""
    columns = {name: kind for name, kind in TABLES[table].columns.items() if name != "symbol"}
    constant = {"float64": pl.lit(value), "float32": pl.lit(value), "string": pl.lit("v1"), "bool": pl.lit(False)}
    constant |= {"date": pl.lit(session), "vector": pl.lit([value] * 128)}
    return pl.DataFrame({"symbol": list(symbols)}).with_columns(
        *(
            pl.lit(keys[name]).alias(name) if name in keys else constant[kind].alias(name)
            for name, kind in columns.items()
        ),
        event_timestamp=pl.lit(sessions.close(CN, session)),
        created_timestamp=pl.lit(sessions.cut_off(CN, session)),
    )


def test_apply_may_be_repeated_and_returns_the_declared_names(settings: Settings) -> None:
    names = features.apply(settings)
    assert names == features.apply(settings)
    assert {"minute_features", "daily_bars", "daily_factors", "fingerprints"} <= set(names)
    assert {"traditional", "dual_stream", "scores", "weights"} <= set(names)
    assert "labels" not in names


def test_dual_stream_joins_all_three_tables(applied: Settings) -> None:
    for session, value in ((FIRST, 1.0), (SECOND, 2.0)):
        put(applied, "fingerprints", session, rows("fingerprints", session, value), "v1")
        put(applied, "daily_bars", session, rows("daily_bars", session, value))
        put(applied, "daily_factors", session, rows("daily_factors", session, value))
    entities = pl.DataFrame({"symbol": ["B", "A", "C"], "vintage": "v1", "session": [SECOND, FIRST, SECOND], "note": 1})
    frame = features.frame(applied, "dual_stream", entities)
    assert frame.select(entities.columns).equals(entities)
    assert frame["close"].to_list() == [2.0, 1.0, None] and frame["log_size"].to_list() == [2.0, 1.0, None]
    assert [vector and vector[127] for vector in frame["fingerprint"].to_list()] == [2.0, 1.0, None]
    assert "pre_close" not in frame.columns


def test_the_second_clock_decides_which_version_is_served(applied: Settings) -> None:
    first = rows("daily_factors", FIRST, 1.0)
    arrival = datetime(2024, 1, 9, 3, tzinfo=UTC)
    put(
        applied,
        "daily_factors",
        FIRST,
        pl.concat(
            [
                first,
                first.with_columns(gap_1=pl.lit(9.0), created_timestamp=pl.lit(arrival)),
            ]
        ),
    )
    entities = pl.DataFrame({"symbol": ["A"], "session": [FIRST]})
    assert features.frame(applied, "daily_factors", entities)["gap_1"].to_list() == [1.0]
    assert features.frame(applied, "daily_factors", entities, arrival)["gap_1"].to_list() == [9.0]
    moment = entities.with_columns(event_timestamp=pl.lit(sessions.close(CN, FIRST)))
    assert features.frame(applied, "daily_factors", moment)["gap_1"].to_list() == [None]


def test_a_vintage_column_is_no_trouble_where_nothing_is_keyed_by_it(applied: Settings) -> None:
    put(applied, "scores", FIRST, rows("scores", FIRST, 1.0, stream="dual"))
    entities = pl.DataFrame({"symbol": ["A"], "stream": ["dual"], "vintage": ["v9"], "session": [FIRST]})
    assert features.frame(applied, "scores", entities)["vintage"].to_list() == ["v1"]


def test_a_view_that_is_not_online_is_refused(applied: Settings) -> None:
    with pytest.raises(UsageError, match=r"FPM-ONL-001.*daily_bars"):
        features.online(applied, "dual_stream", pl.DataFrame({"symbol": ["A"], "vintage": ["v1"]}))


def test_a_stopped_database_is_try_later(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"database_url": SecretStr("host=/nowhere dbname=none")})
    with pytest.raises(TryLater, match="FPM-PG-075"):
        features.apply(nowhere)


def test_an_unknown_name_is_answered_with_the_names_there_are(applied: Settings) -> None:
    with pytest.raises(UsageError, match=r"FPM-PIT-008.*dual_stream"):
        features.frame(applied, "dual_steam", pl.DataFrame({"symbol": ["A"], "session": [FIRST]}))


def test_materialize_hands_the_newest_rows_to_the_online_store(applied: Settings) -> None:
    for session, value, symbols in ((FIRST, 1.0, "AB"), (SECOND, 2.0, "B")):
        put(applied, "fingerprints", session, rows("fingerprints", session, value, symbols), "v1")
        put(applied, "weights", session, rows("weights", session, value, index="CSI300"))
    window = sessions.close(CN, FIRST), sessions.close(CN, SECOND)
    with features.opened(applied) as store:
        store.config.offline_store.ledger = None  # a store of its own, as Feast's tests have it: nothing publishes
        store.materialize(*window, feature_views=["fingerprints", "weights", "scores"])
        store.materialize(window[0], window[0], feature_views=["weights"])  # an older window later: nothing goes back
    entities = pl.DataFrame({"symbol": ["B", "A", "C"], "vintage": "v1", "index": "CSI300"})
    vectors = features.online(applied, "fingerprints", entities)["fingerprint"].to_list()
    assert [vector and vector[0] for vector in vectors] == [2.0, 1.0, None]
    assert features.online(applied, "weights", entities)["weight"].to_list() == [2.0, 2.0, None]


@pytest.mark.parametrize("incremental", [False, True])
def test_materialize_in_a_home_is_refused_by_name_and_leaves_no_trace(applied: Settings, incremental: bool) -> None:
    put(applied, "weights", FIRST, rows("weights", FIRST, 1.0, index="CSI300"))
    with features.opened(applied) as store:
        state = store.get_feature_view("weights").state
        call = store.materialize_incremental if incremental else partial(store.materialize, sessions.close(CN, FIRST))
        with pytest.raises(UsageError, match=r"FPM-ONL-032.*fpm run publish"):
            call(sessions.close(CN, SECOND), feature_views=["weights"])
    with features.opened(applied) as store:
        assert not store.get_feature_view("weights").materialization_intervals
        assert store.get_feature_view("weights").state == state
    keys = pl.DataFrame({"symbol": ["A"], "index": "CSI300"})
    assert features.online(applied, "weights", keys)["weight"].to_list() == [None]


def publish(owner: psycopg.Connection[tuple[Any, ...]], session: date, vintage: str, *views: str) -> None:
    owner.execute(
        "INSERT INTO fpm.publications (session, views, attempt, sha256, vintage) VALUES (%s, %s, 1, '', %s)",
        (session, list(views), vintage),
    )


def test_serving_shows_exactly_the_last_published_session(owner: psycopg.Connection[tuple[Any, ...]]) -> None:
    query = "SELECT symbol, score, session, publication FROM serving.scores ORDER BY symbol"
    write_in(owner, "scores", rows("scores", FIRST, 1.0, "AB", stream="dual"))
    assert owner.execute(query).fetchall() == []
    publish(owner, FIRST, "v1", "scores")
    assert owner.execute(query).fetchall() == [("A", 1.0, FIRST, 1), ("B", 1.0, FIRST, 1)]
    write_in(owner, "scores", rows("scores", SECOND, 2.0, "A", stream="dual"))
    publish(owner, SECOND, "v1", "scores")
    publish(owner, FIRST, "v1", "scores")  # a correction of the older session does not replace the newer one
    assert owner.execute(query).fetchall() == [("A", 2.0, SECOND, 2)]


def test_serving_shows_one_vintage_during_a_hand_over(owner: psycopg.Connection[tuple[Any, ...]]) -> None:
    for vintage in ("v1", "v2"):
        write_in(owner, "fingerprints", rows("fingerprints", FIRST, 1.0, "A", vintage=vintage))
    publish(owner, FIRST, "v2", "fingerprints")
    assert owner.execute("SELECT symbol, vintage FROM serving.fingerprints").fetchall() == [("A", "v2")]


def test_a_reader_reads_the_serving_views_and_nothing_else(
    applied: Settings, owner: psycopg.Connection[tuple[Any, ...]]
) -> None:
    write_in(owner, "weights", rows("weights", FIRST, 0.5, "A", index="CSI300"))
    publish(owner, FIRST, "v1", "weights")
    with psycopg.connect(ensure_server(applied).for_role("reader").dsn, autocommit=True) as reader:
        assert reader.execute("SELECT symbol, weight FROM serving.weights").fetchall() == [("A", 0.5)]
        for forbidden in (
            "SELECT FROM online.weights",
            "SELECT FROM feast.feature_views",
            "DELETE FROM serving.weights",
        ):
            with pytest.raises(psycopg.Error):
                reader.execute(forbidden)


def test_a_producer_writes_values_but_no_definitions(
    applied: Settings, owner: psycopg.Connection[tuple[Any, ...]]
) -> None:
    with psycopg.connect(ensure_server(applied).for_role("producer").dsn, autocommit=True) as producer:
        assert write_in(producer, "scores", rows("scores", FIRST, 1.0, "A", stream="dual")) == 1
        assert producer.execute("SELECT count(*) > 0 FROM feast.feature_views").fetchone() == (True,)
        for forbidden in (
            "DELETE FROM feast.feature_views",
            "DROP TABLE online.scores",
            "CREATE TABLE online.x (a int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                producer.execute(forbidden)


def test_known_at_needs_a_zone(applied: Settings) -> None:
    entities = pl.DataFrame({"symbol": ["A"], "session": [FIRST]})
    naive = datetime(2024, 1, 9, 1)  # noqa: DTZ001  the fault under test
    with pytest.raises(UsageError, match="FPM-PIT-003"):
        features.frame(applied, "daily_bars", entities, naive)
