"""Every change leaves a row in the chain; whoever changes the past, or a table behind the chain's back, is seen."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import date
from hashlib import sha256

import psycopg
import pytest

from fpm.store.ledger.absences import declare
from fpm.store.ledger.journal import KEYS, ORIGIN, Head, breaches, override, parse_head
from fpm.store.ledger.ledger import Publication
from fpm.store.ledger.stores import Stores
from fpm.store.postgres.server import connect

SESSION = date(2026, 1, 5)


@pytest.fixture
def written(stores: Stores) -> Stores:
    """A ledger with an attempt that ended, a decision, an absence, a publication and an override."""
    attempt = stores.ledger.begin("bars", "2026-01-05", "0" * 64)
    stores.ledger.prepare(attempt, [])
    stores.ledger.publish(attempt, [])
    stores.ledger.decide("market", "cn")
    declare(SESSION, "a typhoon, 'so they say'\nand nothing came ₀", "Ada", stores.ledger)
    with stores.ledger.transaction() as connection:
        stores.ledger.record_publication(connection, Publication(SESSION, ("scores",), 1, "0" * 64))
    override("known-at", "bars.parquet", "the vendor's own word", "Ada", stores.ledger)
    return stores


def places(stores: Stores, known: Head | None = None) -> list[str]:
    return [breach.place for breach in breaches(stores.ledger, known)[1]]


def behind_its_back(stores: Stores, table: str, *statements: str) -> None:
    """What the database's owner can do: a change that no trigger sees."""
    with connect(stores.settings) as connection:
        connection.execute(f"ALTER TABLE fpm.{table} DISABLE TRIGGER USER")
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"ALTER TABLE fpm.{table} ENABLE TRIGGER USER")


def test_every_change_is_a_row_whose_hash_holds_the_one_before(written: Stores) -> None:
    rows = written.ledger.query(
        "SELECT id, moment, relation, change, login, content, hash FROM fpm.journal ORDER BY id"
    )
    before = ORIGIN
    for row in rows:
        before = sha256(("\n".join((before, *(str(part) for part in row[:6])))).encode()).hexdigest()
        assert row[6] == before
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    entered = [(row[2], row[3], json.loads(row[5]).get("status")) for row in rows if row[2] == "ledger"]
    assert entered == [
        ("ledger", "INSERT", "running"),
        ("ledger", "UPDATE", "prepared"),
        ("ledger", "UPDATE", "published"),
    ]
    assert breaches(written.ledger) == (Head(len(rows), before), [])


def test_what_is_rolled_back_leaves_no_row(written: Stores) -> None:
    head = breaches(written.ledger)[0]
    with suppress(ZeroDivisionError), written.ledger.transaction() as connection:
        written.ledger.record_publication(connection, Publication(SESSION, ("scores",), 2, "1" * 64))
        raise ZeroDivisionError
    assert breaches(written.ledger) == (head, [])


@pytest.mark.parametrize(
    ("statement", "place"),
    [
        (
            "UPDATE fpm.journal SET content = replace(content, 'typhoon', 'monsoon') WHERE relation = 'absences'",
            "fpm.journal ",
        ),
        ("UPDATE fpm.journal SET login = 'nobody' WHERE id = 2", "fpm.journal 2"),
        ("UPDATE fpm.journal SET moment = '2020-01-01T00:00:00.000000Z' WHERE id = 3", "fpm.journal 3"),
        ("DELETE FROM fpm.journal WHERE id = 2", "fpm.journal 2"),
        ("DELETE FROM fpm.journal WHERE id = (SELECT max(id) FROM fpm.journal)", "fpm.journal_head"),
        ("UPDATE fpm.journal_head SET hash = repeat('1', 64)", "fpm.journal_head"),
        ("UPDATE fpm.ledger SET inputs_sha = repeat('1', 64)", "fpm.ledger bars 2026-01-05 1"),
        ("DELETE FROM fpm.absences", "fpm.absences 2026-01-05"),
        ("INSERT INTO fpm.deployment VALUES ('preset', 'tiny')", "fpm.deployment preset"),
        ("UPDATE fpm.overrides SET \"by\" = 'Bob'", "fpm.overrides 1"),
    ],
)
def test_a_change_behind_its_back_is_seen(statement: str, place: str, written: Stores) -> None:
    table = statement.split("fpm.")[1].split(maxsplit=1)[0]
    behind_its_back(written, table, statement)
    assert any(name.startswith(place) for name in places(written))


def test_a_file_that_no_attempt_wrote_is_seen(written: Stores) -> None:
    behind_its_back(
        written,
        "files",
        "INSERT INTO fpm.files VALUES ('scores/session=2026-01-05/part-0.parquet', 'scores', NULL, '2026-01-05', "
        "repeat('1', 64), 1, '{}', 'bars', '2026-01-05', 1)",
    )
    assert places(written) == ["fpm.files scores/session=2026-01-05/part-0.parquet"]


def test_a_chain_that_was_rewritten_whole_lacks_a_head_that_somebody_kept(written: Stores) -> None:
    kept = breaches(written.ledger)[0]
    rows = written.ledger.query("SELECT id, moment, relation, change, login, content FROM fpm.journal ORDER BY id")
    before = ORIGIN
    with connect(written.settings) as connection:
        for row in rows:
            row = (*row[:4], "another", row[5])  # noqa: PLW2901
            before = sha256("\n".join((before, *map(str, row))).encode()).hexdigest()
            connection.execute("UPDATE fpm.journal SET login = 'another', hash = %s WHERE id = %s", (before, row[0]))
        connection.execute("UPDATE fpm.journal_head SET hash = %s", (before,))
    assert places(written) == []
    assert places(written, kept) == ["fpm.journal"]


def test_an_earlier_head_stays_in_the_chain(written: Stores) -> None:
    kept = breaches(written.ledger)[0]
    written.ledger.decide("preset", "tiny")
    assert places(written, kept) == []
    assert places(written, Head(0, ORIGIN)) == []


def test_a_column_that_a_later_version_adds_is_no_change(written: Stores) -> None:
    with connect(written.settings) as connection:
        connection.execute("ALTER TABLE fpm.absences ADD COLUMN later text NOT NULL DEFAULT 'new'")
    assert places(written) == []


def test_a_producer_cannot_write_the_chain(written: Stores) -> None:
    with connect(written.settings, "producer") as connection:
        for statement in (
            "DELETE FROM fpm.journal",
            "INSERT INTO fpm.journal VALUES (99, '', '', 'INSERT', '', '', '')",
            "UPDATE fpm.journal_head SET id = 0",
            "SELECT fpm.enter('ledger', 'INSERT', '{}')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
            connection.rollback()


def test_heads_are_read_as_they_are_printed() -> None:
    head = Head(12, "ab" * 32)
    assert parse_head(str(head)) == head
    for text in ("", "12", f"12:{'ab' * 31}", f"-1:{'ab' * 32}", f"12:{'AB' * 32}", f"12:{'xy' * 32}"):
        assert parse_head(text) is None


def test_what_a_person_said_is_journaled_wherever_it_stands(stores: Stores) -> None:
    rows = stores.ledger.query(
        "SELECT DISTINCT table_name FROM information_schema.columns "
        "WHERE table_schema = 'fpm' AND column_name IN ('by', 'declared_by')"
    )
    assert {name for (name,) in rows} <= KEYS.keys()
    assert {"absences", "accepted_sessions", "overrides", "rollbacks"} <= {name for (name,) in rows}
