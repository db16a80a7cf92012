"""The ledger: locks that wait and die with their owner, attempts, publications, decisions, a lost connection."""

import threading
import time
from datetime import date

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from fpm.environment import environment_fingerprint
from fpm.errors import TryLater, UsageError
from fpm.store.ledger.ledger import Publication
from fpm.store.ledger.stores import Stores

SESSION = date(2026, 1, 5)


def test_a_lock_is_waited_for(stores: Stores) -> None:
    order: list[str] = []

    def second() -> None:
        with stores.ledger.lock("job", "p"):
            order.append("second")

    with stores.ledger.lock("job", "p"):
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.2)
        with stores.ledger.lock("job", "other partition"):
            order.append("first")
    waiting.join(timeout=10)
    assert order == ["first", "second"]


def test_a_connection_cut_while_it_waits_for_a_lock_is_no_error_of_ours(stores: Stores) -> None:
    refusals: list[BaseException] = []

    def second() -> None:
        with pytest.raises(TryLater, match="FPM-PG-075") as refusal, stores.ledger.lock("job", "p"):
            pass
        refusals.append(refusal.value)

    waits = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
    with stores.ledger.lock("job", "p"):
        waiting = threading.Thread(target=second)
        waiting.start()
        while not (pids := stores.ledger.query(waits)):
            time.sleep(0.01)
        stores.ledger.execute("SELECT pg_terminate_backend(%s)", pids[0])
        waiting.join(timeout=30)
    assert refusals


def test_the_lock_of_a_cut_connection_is_free(stores: Stores) -> None:
    with stores.ledger.lock("job", "p") as connection:
        stores.ledger.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        with stores.ledger.lock("job", "p"):
            pass
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


def test_attempts_are_numbered_and_dead_ones_fail(stores: Stores) -> None:
    ledger = stores.ledger
    first = ledger.begin("job", "2026-01-05", "a")
    second = ledger.begin("job", "2026-01-05", "b")
    assert (first.attempt, second.attempt) == (1, 2)
    ledger.publish(second, [])
    latest = ledger.latest("job", "2026-01-05")
    assert latest is not None and (latest.status, latest.inputs_sha) == ("published", "b")
    dead = ledger.latest("job", "2026-01-05", "failed")
    assert dead is not None and (dead.attempt, dead.error) == (1, "interrupted")
    assert ledger.published("job") == {SESSION}
    assert [(row["job"], row["status"]) for row in ledger.rows(SESSION)] == [("job", "published")]


def test_every_row_names_its_environment_and_older_ones_none(stores: Stores) -> None:
    stores.ledger.begin("job", "2026-01-05", "a")
    stores.ledger.wait("job", "2026-01-06", "inputs")
    assert [row["environment"] for row in stores.ledger.rows()] == [environment_fingerprint()] * 2
    stores.ledger.execute(
        "INSERT INTO fpm.ledger (job, partition, attempt, status, inputs_sha) VALUES ('old', 'p', 1, 'published', '')"
    )
    assert {row["job"]: row["environment"] for row in stores.ledger.rows()}["old"] is None


def test_a_vintage_is_part_of_the_partition(stores: Stores) -> None:
    stores.ledger.publish(stores.ledger.begin("fingerprints", "v1/2026-01-05", ""), [])
    stores.ledger.publish(stores.ledger.begin("fingerprints", "v2/2026-01-05", ""), [])
    assert stores.ledger.published("fingerprints") == {SESSION}
    assert len(stores.ledger.rows(SESSION)) == 2


def test_a_cut_connection_in_the_pool_is_replaced(stores: Stores) -> None:
    with stores.ledger.transaction() as connection:
        process = connection.info.backend_pid
    with psycopg.connect(stores.settings.database_url.get_secret_value(), autocommit=True) as other:  # type: ignore[union-attr]
        other.execute("SELECT pg_terminate_backend(%s)", (process,))
    assert stores.ledger.query("SELECT 1") == [(1,)]


def test_a_transaction_cut_in_the_middle_says_try_later(stores: Stores) -> None:
    def cut() -> None:
        with stores.ledger.transaction() as connection:
            connection.execute("INSERT INTO fpm.deployment VALUES ('half', 'done')")
            with psycopg.connect(stores.settings.database_url.get_secret_value(), autocommit=True) as other:  # type: ignore[union-attr]
                other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
            connection.execute("SELECT 1")

    with pytest.raises(TryLater, match="FPM-PG-075"):
        cut()
    assert "half" not in stores.ledger.deployment()


def test_failing_queries_leak_no_connections(stores: Stores) -> None:
    for _ in range(30):
        with pytest.raises(psycopg.errors.UndefinedTable):
            stores.ledger.query("SELECT * FROM nowhere")
    assert stores.ledger.query("SELECT 1") == [(1,)]
    assert isinstance(stores.ledger._pool, ConnectionPool)
    assert stores.ledger._pool.get_stats()["pool_size"] <= 2


def test_publications_are_listed_newest_first(stores: Stores) -> None:
    first = Publication(SESSION, ("scores", "weights"), 1, "sha", vintage="v", model="m")
    with stores.ledger.transaction() as connection:
        number = stores.ledger.record_publication(connection, first)
    correction = Publication(SESSION, ("scores",), 2, "other", replaces=number)
    with stores.ledger.transaction() as connection:
        again = stores.ledger.record_publication(connection, correction)
    assert stores.ledger.publications(SESSION) == [(again, correction), (number, first)]
    assert stores.ledger.publications(date(2026, 1, 6)) == []


def test_a_decision_stays(stores: Stores) -> None:
    stores.decide_profile("bar_32")
    stores.decide_profile("bar_32")
    assert stores.profile.name == "bar_32"
    with pytest.raises(UsageError, match="FPM-CFG-010"):
        stores.decide_profile("l2_32")
    with pytest.raises(UsageError, match="FPM-CFG-012"):
        stores.decide_profile("tick_32")


def test_without_a_profile_the_job_waits(stores: Stores) -> None:
    with pytest.raises(TryLater, match="FPM-CFG-011"):
        _ = stores.profile
