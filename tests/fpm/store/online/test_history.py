"""Earlier sessions online: as published, as corrected, as known at a moment; bounded, and nobody waits for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fpm.schema import CLOCKS, HISTORIES, TABLES
from fpm.sessions import next_sessions
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.online import history
from fpm.store.online.history import covering_key, oldest, retire, served
from fpm.store.postgres.migrate import migrate
from fpm.store.postgres.server import connect, stop_server
from fpm.store.settings import Settings
from tests.fpm.store.online.test_publication import CN, MONDAY, SYMBOLS, TUESDAY, VIEWS, frames, publish

FEW = SYMBOLS[:4]
VERSIONS = """
SELECT session, score, created_timestamp > event_timestamp, publication, superseded_at IS NULL
FROM serving.score_history WHERE symbol = %s ORDER BY session, publication
"""
KNOWN = "SELECT session, score FROM serving.scores_known_at(%s, %s, %s, %s)"


def versions(symbol: str, stores: Stores) -> list[tuple[Any, ...]]:
    return stores.ledger.query(VERSIONS, (symbol,))


def moment(publication: int, stores: Stores) -> datetime:
    ((published_at,),) = stores.ledger.query("SELECT published_at FROM fpm.publications WHERE id = %s", (publication,))
    return published_at


def months(stores: Stores) -> list[str]:
    rows = stores.ledger.query(
        "SELECT relid::regclass::text FROM pg_partition_tree('online.score_history') WHERE isleaf"
    )
    return sorted(name for (name,) in rows)


def bounded(stores: Stores, sessions: int) -> Stores:
    return replace(stores, settings=stores.settings.model_copy(update={"online_history": sessions}))


def test_every_session_stays_as_it_was_published_and_as_it_was_corrected(stores: Stores) -> None:
    assert publish(stores, MONDAY, 1.0, FEW) == "published"
    assert publish(stores, MONDAY, 2.0, FEW, hours=1) == "published"
    assert publish(stores, TUESDAY, 3.0, FEW) == "published"
    assert versions(FEW[0], stores) == [
        (MONDAY, 1.0, True, 1, False),
        (MONDAY, 2.0, True, 2, True),
        (TUESDAY, 3.0, True, 3, True),
    ]
    columns = [*TABLES["scores"].columns, "publication"]
    rows = stores.ledger.query(f"SELECT {', '.join(columns)} FROM serving.score_history WHERE session = '{TUESDAY}'")
    assert sorted(rows) == sorted((symbol, "dual", 3.0, 0.1, "v1", "m1", 3) for symbol in FEW)
    weights = stores.ledger.query('SELECT symbol, "index", weight, publication FROM serving.weight_history')
    assert len(weights) == 12 and (FEW[1], "ALL", 2.0, 2) in weights


def test_a_correction_after_the_next_session_is_in_the_history_only(stores: Stores) -> None:
    publish(stores, MONDAY, 1.0, FEW)
    publish(stores, TUESDAY, 2.0, FEW)
    assert publish(stores, MONDAY, 3.0, FEW[:3], hours=30) == "corrected"
    assert versions(FEW[0], stores)[:2] == [(MONDAY, 1.0, True, 1, False), (MONDAY, 3.0, True, 3, True)]
    assert [row[4] for row in versions(FEW[3], stores)] == [False, True], "withdrawn on Monday, it stands on Tuesday"
    number, publication = stores.ledger.publications(MONDAY)[0]
    assert (number, publication.views, publication.replaces) == (3, history.VIEWS, 1)
    assert stores.ledger.query("SELECT DISTINCT session, score FROM serving.scores") == [(TUESDAY, 2.0)]
    assert publish(stores, MONDAY, 3.0, FEW[:3], hours=30) == "superseded"
    assert len(stores.ledger.publications()) == 3, "the same again is nothing new"


def test_a_session_that_was_never_published_has_no_history(stores: Stores) -> None:
    publish(stores, TUESDAY, 2.0, FEW)
    assert publish(stores, MONDAY, 1.0, FEW) == "superseded"
    assert [row[0] for row in versions(FEW[0], stores)] == [TUESDAY]


def test_what_was_known_at_a_moment(stores: Stores) -> None:
    """Between two publications a reader's question has the first one's answer, for the withdrawn stock, too."""
    publish(stores, MONDAY, 1.0, FEW)
    publish(stores, TUESDAY, 2.0, FEW)
    publish(stores, MONDAY, 3.0, FEW[:3], hours=30)
    ends = (MONDAY, TUESDAY)
    first, second, third = (moment(number, stores) for number in (1, 2, 3))
    before = datetime(2024, 1, 1, tzinfo=UTC)
    asked = {known_at: stores.ledger.query(KNOWN, (FEW[3], *ends, known_at)) for known_at in (before, first, second)}
    assert asked == {before: [], first: [(MONDAY, 1.0)], second: [(MONDAY, 1.0), (TUESDAY, 2.0)]}
    assert stores.ledger.query(KNOWN, (FEW[3], *ends, third)) == [(TUESDAY, 2.0)]
    assert stores.ledger.query(KNOWN, (FEW[0], *ends, third)) == [(MONDAY, 3.0), (TUESDAY, 2.0)]
    now = "SELECT session, weight FROM serving.weights_known_at(%s, %s, %s)"
    assert stores.ledger.query(now, (FEW[0], *ends)) == [(MONDAY, 3.0), (TUESDAY, 2.0)]


def test_what_somebody_changed_is_repaired_by_the_same_publication(stores: Stores) -> None:
    publish(stores, MONDAY, 1.0, FEW)
    stores.ledger.execute("UPDATE online.score_history SET score = 7")
    stores.ledger.execute("DELETE FROM online.weight_history")
    assert publish(stores, MONDAY, 1.0, FEW) == "unchanged"
    assert [row[1] for row in versions(FEW[0], stores)] == [1.0]
    assert stores.ledger.query("SELECT count(*) FROM serving.weight_history") == [(len(FEW),)]
    publish(stores, TUESDAY, 2.0, FEW)
    stores.ledger.execute("DELETE FROM online.score_history WHERE session = %s", (MONDAY,))
    assert publish(stores, MONDAY, 1.0, FEW) == "superseded"
    assert [row[:2] for row in versions(FEW[0], stores)] == [(MONDAY, 1.0), (TUESDAY, 2.0)], "by its content's digest"
    assert len(stores.ledger.publications()) == 2


def test_a_publication_that_fails_leaves_no_history(stores: Stores) -> None:
    publish(stores, MONDAY, 1.0, FEW)
    stores.ledger.execute("ALTER TABLE online.weight_history ADD CONSTRAINT low CHECK (weight < 2)")
    with pytest.raises(psycopg.errors.CheckViolation):
        publish(stores, TUESDAY, 2.0, FEW)
    assert [row[0] for row in versions(FEW[0], stores)] == [MONDAY]
    assert stores.ledger.query("SELECT DISTINCT session FROM serving.scores") == [(MONDAY,)]


def test_what_is_older_than_the_setting_goes_month_by_month(stores: Stores) -> None:
    days = next_sessions(CN, date(2024, 9, 30), 45)  # to the first days of December; a holiday in between
    few = bounded(stores, 3)
    for number, day in enumerate(days):
        publish(stores, day, float(number), FEW[:1])
    newest = days[-1]
    assert months(stores) == [f"online.score_history_2024_{month:02d}" for month in (10, 11, 12)]
    assert oldest(newest, few) == days[-3] and oldest(newest, bounded(stores, 0)) == date.max
    assert oldest(newest, bounded(stores, 1)) == newest
    gone = {f"online.{name}_2024_{month}" for name in HISTORIES.values() for month in (10, 11)}
    limit = days[-3]
    kept = {name for name in gone if name.endswith("11")} if limit.month == 11 else set()
    assert set(retire(newest, few)) == gone - kept and retire(newest, few) == []
    assert {row[0] for row in versions(FEW[0], stores)} == {day for day in days if kept or day.month == 12} - {
        day for day in days if day.month == 10
    }
    assert publish(few, days[0], 99.0, FEW[:1]) == "superseded", "no correction of what is gone"
    assert publish(bounded(stores, 0), newest, 100.0, FEW[:1], hours=1) == "published"
    retire(newest, bounded(stores, 0))
    assert months(stores) == [] and versions(FEW[0], stores) == []


def test_neither_drop_nor_new_month_waits_for_a_reader(stores: Stores) -> None:
    assert stores.settings.database_url is not None
    publish(stores, date(2024, 10, 31), 1.0, FEW)
    with psycopg.connect(stores.settings.database_url.get_secret_value()) as reader:
        reader.execute("SELECT FROM serving.score_history")
        assert publish(stores, MONDAY, 2.0, FEW) == "published", "a month is added beside a reader in his transaction"
        assert retire(MONDAY, bounded(stores, 1)) == ["online.weight_history_2024_10"], "the other month is being read"
        assert len(versions(FEW[0], stores)) == 2
    assert retire(MONDAY, bounded(stores, 1)) == ["online.score_history_2024_10"]


def test_the_rows_in_force_of_a_session(stores: Stores) -> None:
    assert served("scores", MONDAY, stores).is_empty()
    publish(stores, MONDAY, 1.0, FEW)
    publish(stores, MONDAY, 2.0, FEW[:2], hours=1)
    held = served("scores", MONDAY, stores)
    assert held.equals(frames(MONDAY, 2.0, FEW[:2], hours=1)["scores"].select(held.columns).sort("symbol"))


def test_one_index_answers_for_a_stock(stores: Stores) -> None:
    publish(stores, MONDAY, 1.0)
    stores.ledger.execute("VACUUM (ANALYZE) online.score_history")
    query = "EXPLAIN SELECT * FROM serving.scores_known_at('600000.SH', '2024-12-01', '2024-12-31', now())"
    with stores.ledger.transaction() as connection:
        connection.execute("SET LOCAL enable_seqscan = off")  # a table this small is read whole
        plan = "\n".join(line for (line,) in connection.execute(query))
    assert "Index Only Scan using score_history_2024_12_pkey" in plan, "no page of the table is read"
    assert "symbol = '600000.SH'" in plan, "inlined, with its conditions"


def test_a_home_of_the_version_before_begins_with_what_is_online(tmp_path: Path) -> None:
    """The published session is entered by the migration, an earlier one when it is published again, by its digest."""
    settings = Settings(home=tmp_path, market="cn", preset="tiny", fsync=False)
    try:
        migrate(settings, "0019")
        with connect(settings) as owner:
            for session, version in ((MONDAY, 1.0), (TUESDAY, 2.0)):
                owner.execute(
                    "INSERT INTO fpm.publications (session, views, attempt, sha256, vintage, model) "
                    "VALUES (%s, %s, 0, %s, 'v1', 'm1')",
                    (session, list(VIEWS), f"{version}"),
                )
            owner.execute(
                "INSERT INTO online.scores (symbol, stream, score, spread, vintage, model, event_timestamp, "
                "created_timestamp) VALUES ('600000.SH', 'dual', 2, 0.1, 'v1', 'm1', '2024-12-03T07:00Z', "
                "'2024-12-03T12:00Z')"
            )
        stores = open_stores(settings, upgrade=True)
        assert [row[:4] for row in versions(FEW[0], stores)] == [(TUESDAY, 2.0, True, 2)]
        assert publish(stores, MONDAY, 1.0, FEW) == "superseded"
        assert [row[:4] for row in versions(FEW[0], stores)] == [(MONDAY, 1.0, True, 1), (TUESDAY, 2.0, True, 2)]
        stores.ledger.close()
    finally:
        stop_server(settings)


KEYS = """
SELECT indnatts - indnkeyatts FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE relname IN ('score_history_pkey', 'score_history_2024_12_pkey', 'weight_history_pkey') ORDER BY relname
"""


def test_the_key_of_an_older_home_covers_after_its_upgrade(stores: Stores) -> None:
    publish(stores, MONDAY, 1.0, FEW)
    before, covering = versions(FEW[0], stores), stores.ledger.query(KEYS)
    assert all(values >= len(CLOCKS) + 1 for (values,) in covering) and len(covering) == 3
    for view, name in HISTORIES.items():
        key = covering_key(view).as_string().split(" INCLUDE ")[0]
        stores.ledger.execute(f"ALTER TABLE online.{name} DROP CONSTRAINT {name}_pkey, ADD {key}")
    stores.ledger.execute("UPDATE fpm.migration SET version_num = '0025'")
    assert stores.ledger.query(KEYS) == [(0,)] * 3
    migrate(stores.settings)
    assert stores.ledger.query(KEYS) == covering
    assert versions(FEW[0], stores) == before
