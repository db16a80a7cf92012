"""How a migration adds a column online without disturbing anyone: expand first; writers and readers follow later.

PostgreSQL holds both locks only for an instant, but nobody overtakes a waiting ALTER: behind it, one reader's long
transaction would block all others. So each try waits briefly and then gives way. A reader locks the view before its
table; in the other order migration and reader would wait for each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LOCK_TIMEOUT = "100ms"  # the longest wait of readers behind one try
PAUSE = 0.2  # seconds between tries, for those readers
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
    """Add a nullable column to `online.<table>` and at the end of its serving view, unless it is there.

    `execute` runs one statement in the migration's transaction; use one migration for each online table.
    Raises ValueError for a column that an older writer could not leave out.
    """
    if "not null" in kind.lower() and "default" not in kind.lower():
        raise ValueError(f"{table}.{column} {kind}: an old writer leaves it out, so it has to be nullable")
    names = {"table": table, "column": column, "kind": kind}
    execute(EXPANSION.format(**names, lock_timeout=LOCK_TIMEOUT, pause=PAUSE, tries=TRIES))
