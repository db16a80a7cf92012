"""How a migration adds a column online without anyone noticing: expand now; who writes and who reads it follows.

PostgreSQL takes both locks for an instant only, but whoever waits for one lets nobody pass: a reader in a long
transaction would hold up all others behind the ALTER. So each try waits briefly and then gives way. A reader locks the
view before its table; locked in the other order the two would wait for each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LOCK_TIMEOUT = "100ms"  # what the readers in the queue behind one try wait at most
PAUSE = 0.2  # seconds between tries, in which they pass
TRIES = 600

EXPANSION = """
DO $$
DECLARE definition text := rtrim(pg_get_viewdef('serving.{table}'::regclass), ' ;');
        place integer;
BEGIN
    IF EXISTS (SELECT FROM information_schema.columns WHERE table_schema = 'serving'
               AND table_name = '{table}' AND column_name = '{column}') THEN
        RETURN;
    END IF;
    FOR try IN 1..{tries} LOOP
        BEGIN
            SET LOCAL lock_timeout = '{lock_timeout}';
            LOCK TABLE serving.{table} IN ACCESS EXCLUSIVE MODE;
            ALTER TABLE online.{table} ADD COLUMN IF NOT EXISTS {column} {kind};
            -- The new column comes after all others: PostgreSQL replaces a view only by one that begins with the same.
            place := position(E'\\n   FROM ' IN definition);
            EXECUTE 'CREATE OR REPLACE VIEW serving.{table} AS '
                || left(definition, place - 1) || ', held.{column}' || substr(definition, place);
            RESET lock_timeout;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep({pause});
        END;
    END LOOP;
    RAISE lock_not_available USING MESSAGE = 'serving.{table} was never free in {tries} tries';
END $$
"""


def add_column(execute: Callable[[Any], Any], table: str, column: str, kind: str) -> None:
    """Add a nullable column to `online.<table>` and to the end of its serving view; repeated, it changes nothing.

    `execute` runs one statement in the migration's transaction; leave other online tables to other migrations.
    Raises ValueError for a column that writers who do not know it could not leave out.
    """
    if "not null" in kind.lower() and "default" not in kind.lower():
        raise ValueError(f"{table}.{column} {kind}: an old writer leaves it out, so it has to be nullable")
    place = {"table": table, "column": column, "kind": kind}
    execute(EXPANSION.format(**place, lock_timeout=LOCK_TIMEOUT, pause=PAUSE, tries=TRIES))
