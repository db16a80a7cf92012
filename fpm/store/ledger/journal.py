"""The journal: a chain of hashes over every change of the ledger, so that nobody changes its past unseen.

The database enters each change itself (migration 0018). A row is
sha256(hash of the row before, id, moment, table, change, login, content), its parts joined by line feeds. Whoever
alters, removes or inserts a row, or alters a table behind the journal's back, leaves a row that does not fit. Whoever
can rewrite the whole chain has to be caught from outside: keep a head (`fpm verify` and every backup name it), and ask
later whether it is still in the chain. The idea is that of Haber and Stornetta (1991), "How to time-stamp a digital
document", Journal of Cryptology 3.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.sql import SQL, Identifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm.store.ledger.ledger import Ledger
    from fpm.store.world import Connection

ORIGIN = "0" * 64  # the hash before the first row
# The journaled tables with their keys. `fpm.files` is not one: each of its rows is a part of an attempt (`_FILES`).
KEYS = {
    "ledger": ("job", "partition", "attempt"),
    "publications": ("id",),
    "models": ("kind", "id"),
    "deployment": ("key",),
    "absences": ("session",),
    "accepted_sessions": ("session",),
    "instructions": ("id",),
    "overrides": ("id",),
    "rollbacks": ("id",),
    "programs": ("id",),
    "readers": ("name",),
}
_ENTRIES: LiteralString = "SELECT id, moment, relation, change, login, content, hash FROM fpm.journal ORDER BY id"
_ROWS = SQL("SELECT to_jsonb(held)::text FROM {} AS held")
_FILES: LiteralString = """
SELECT path FROM fpm.files AS held WHERE NOT EXISTS (
    SELECT FROM fpm.ledger, jsonb_array_elements(files) AS file
    WHERE ledger.job = held.job AND ledger.partition = held.partition AND ledger.attempt = held.attempt
        AND status = 'published' AND file ->> 'path' = held.path AND file ->> 'sha256' = held.sha256)
ORDER BY path
"""


@dataclass(frozen=True)
class Head:
    """The last row of a chain: how many rows it has, and the hash that stands for all of them."""

    id: int
    hash: str

    def __str__(self) -> str:
        return f"{self.id}:{self.hash}"


@dataclass(frozen=True)
class Breach:
    """A place where the ledger is not what its journal says, and what is wrong there."""

    place: str
    wrong: str


def head_of(connection: Connection) -> Head:
    """The head as one transaction sees it."""
    row = connection.execute("SELECT id, hash FROM fpm.journal_head").fetchone()
    return Head(*row) if row else Head(0, ORIGIN)


def parse_head(text: str) -> Head | None:
    """A head as `fpm verify` prints it, `NUMBER:SHA256`; None for anything else."""
    number, _, digest = text.partition(":")
    is_head = number.isdecimal() and len(digest) == len(ORIGIN) and set(digest) <= set("0123456789abcdef")
    return Head(int(number), digest) if is_head else None


def override(kind: str, subject: str, reason: str, by: str, ledger: Ledger | Connection) -> None:
    """Record what a person decided against a rule, perhaps within a transaction; nobody changes the row any more."""
    ledger.execute(
        'INSERT INTO fpm.overrides (kind, subject, reason, "by") VALUES (%s, %s, %s, %s)', (kind, subject, reason, by)
    )


def breaches(ledger: Ledger, known: Head | None = None) -> tuple[Head, list[Breach]]:
    """The head of the chain, and every place where chain, tables and files of the ledger contradict each other.

    `known`: a head from before that has to be in the chain. All of it is read in one transaction.
    """
    with ledger.transaction() as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute("SET LOCAL timezone = 'UTC'")
        head, last, wrong = Head(0, ORIGIN), dict[str, dict[str, dict[str, Any]]](), list[Breach]()
        witness = known is None or known == head
        with connection.cursor("journal") as entries:
            for entry in entries.execute(_ENTRIES):
                number, relation, change, content = int(entry[0]), str(entry[2]), str(entry[3]), str(entry[5])
                if number != head.id + 1:
                    wrong.append(Breach(f"fpm.journal {head.id + 1}", f"rows are missing before {number}"))
                if entry[6] != _hash(head.hash, entry[:6]):
                    wrong.append(Breach(f"fpm.journal {number}", "the row does not fit the one before it"))
                head = Head(number, str(entry[6]))
                witness = witness or head == known
                _enter(relation, change, json.loads(content), last)
        if head != head_of(connection):
            wrong.append(Breach("fpm.journal_head", f"it is not the last row, {head}"))
        if not witness:
            wrong.append(Breach("fpm.journal", f"the head {known} is not in it: its rows up to there were rewritten"))
        for relation in KEYS:
            rows = connection.execute(_ROWS.format(Identifier("fpm", relation)))
            present = _by_key(relation, (json.loads(row[0]) for row in rows))
            wrong += _differences(relation, present, last.get(relation, {}))
        wrong += [
            Breach(f"fpm.files {path}", "no published attempt wrote this file with this hash")
            for (path,) in connection.execute(_FILES)
        ]
    return head, wrong


def _hash(before: str, entry: tuple[Any, ...]) -> str:
    return sha256("\n".join((before, *map(str, entry))).encode()).hexdigest()


def _enter(relation: str, change: str, content: dict[str, Any], last: dict[str, dict[str, dict[str, Any]]]) -> None:
    for key, row in _by_key(relation, iter([content])).items():
        if change == "DELETE":
            last.get(relation, {}).pop(key, None)
        else:
            last.setdefault(relation, {})[key] = row


def _by_key(relation: str, rows: Iterator[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    keys = KEYS.get(relation, ())
    return {" ".join(str(row.get(key)) for key in keys): row for row in rows}


def _differences(
    relation: str, present: dict[str, dict[str, Any]], entered: dict[str, dict[str, Any]]
) -> Iterator[Breach]:
    """Rows of a table that are not the last that its journal says; a column that came or went since is no change."""
    for key in sorted(present.keys() | entered.keys()):
        place = f"fpm.{relation} {key}"
        if key not in present:
            yield Breach(place, "the row was removed behind the journal's back")
        elif key not in entered:
            yield Breach(place, "the row was added behind the journal's back")
        else:
            both = present[key].keys() & entered[key].keys()
            names = sorted(name for name in both if present[key][name] != entered[key][name])
            if names:
                yield Breach(place, f"changed behind the journal's back: {', '.join(names)}")
