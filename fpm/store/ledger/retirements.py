"""Retirements: sessions of a table that a person had removed. The override is the record; nobody changes it any more.

A retirement is in force once its row is written, and the rows of its files are gone with it: from then on nobody reads
them or misses them. The files go after that, so a killed removal leaves files that the next one finds.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, LiteralString

from fpm.store.ledger.journal import override

if TYPE_CHECKING:
    from fpm.store.ledger.ledger import Ledger

KIND = "retention"
BEFORE = " before "
_RETIRED: LiteralString = """
SELECT split_part(subject, ' before ', 1), max(split_part(subject, ' before ', 2)) FROM fpm.overrides
WHERE kind = 'retention' GROUP BY 1 ORDER BY 1
"""


def retired(ledger: Ledger) -> dict[str, date]:
    """The session before which a table's sessions were removed, by table."""
    return {str(table): date.fromisoformat(before) for table, before in ledger.query(_RETIRED)}


def stored_sessions(table: str, ledger: Ledger) -> list[date]:
    """The sessions of a table that are published, in order."""
    rows = ledger.query('SELECT DISTINCT session FROM fpm.files WHERE "table" = %s ORDER BY session', (table,))
    return [session for (session,) in rows]


def retire(table: str, before: date, reason: str, by: str, ledger: Ledger) -> int:
    """Record that the sessions of a table before one are removed, and forget their files; the number of files."""
    with ledger.transaction() as connection:
        override(KIND, f"{table}{BEFORE}{before.isoformat()}", reason, by, connection)
        gone = connection.execute('DELETE FROM fpm.files WHERE "table" = %s AND session < %s', (table, before))
        return gone.rowcount
