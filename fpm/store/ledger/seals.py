"""What the ledger says of every file in the lake, and a lake that reads no other (`fpm.store.lake.seals`)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, LiteralString

from fpm.store.lake.files import Lake
from fpm.store.lake.seals import Seal, Seals

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fpm.store.ledger.ledger import Ledger


def sealed_lake(root: Path, staging: Path, ledger: Ledger) -> Lake:
    """The lake whose readers get the files that the ledger published, and no others."""
    return Lake(root, staging, Seals(root, partial(recorded_seals, ledger)))


def recorded_seals(ledger: Ledger, table: str, path: str | None = None) -> dict[str, Seal]:
    """What a table's files have to be, by their path in the lake: of all that are published or prepared, or of one."""
    seals: dict[str, Seal] = {}
    rows = ledger.query(*((_OF_TABLE, (table, table)) if path is None else (_OF_PATH, (path, path))))
    for name, sha256, identity, is_coming in rows:
        seal = seals.get(name, Seal(""))
        if is_coming:
            seals[name] = replace(seal, coming=seal.coming | {sha256})
        else:
            seals[name] = replace(seal, sha256=sha256, identity=identity)
    return seals


def keep_identities(ledger: Ledger, identities: Mapping[str, tuple[str, str]]) -> None:
    """Record the identities of files that have just been hashed: by path, their sha256 and identity.

    A file that was published anew since keeps its own.
    """
    with ledger.transaction() as connection, connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE fpm.files SET identity = %s WHERE path = %s AND sha256 = %s",
            [(identity, path, sha256) for path, (sha256, identity) in sorted(identities.items())],
        )


# One statement sees one moment of the ledger: a file is prepared or published, never between.
_OF_TABLE: LiteralString = """
SELECT path, sha256, identity, false FROM fpm.files WHERE "table" = %s
UNION ALL
SELECT file ->> 'path', file ->> 'sha256', NULL, true FROM fpm.ledger, jsonb_array_elements(files) AS file
WHERE status = 'prepared' AND split_part(file ->> 'path', '/', 1) = %s
"""
_OF_PATH: LiteralString = """
SELECT path, sha256, identity, false FROM fpm.files WHERE path = %s
UNION ALL
SELECT file ->> 'path', file ->> 'sha256', NULL, true FROM fpm.ledger, jsonb_array_elements(files) AS file
WHERE status = 'prepared' AND file ->> 'path' = %s
"""
