"""History online: scores and weights of every publication, by month; what the webhook was told.

It begins with the session that is online; `fpm run publish FIRST LAST` enters earlier ones.

Revision ID: 0020
Revises: 0019
"""

from alembic import op

from fpm.schema import HISTORIES, TABLES
from fpm.store.online.history import OF_PUBLICATION, creation

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# In force is a publication until the next one of its session that has the same rows, or a correction of them.
VIEW = """
CREATE VIEW serving.{history} AS
SELECT {columns}, held.session, held.event_timestamp, held.created_timestamp, published.id AS publication,
       published.published_at, published.superseded_at, {of_publication}
FROM online.{history} AS held
JOIN (
    SELECT id, session, published_at, vintage, model,
           lead(published_at) OVER (PARTITION BY session ORDER BY id) AS superseded_at
    FROM fpm.publications WHERE views && ARRAY['{view}', '{history}']
) AS published ON published.id = held.publication AND published.session = held.session;
COMMENT ON VIEW serving.{history} IS 'every publication of earlier sessions; superseded_at is null for what stands';
"""
KNOWN_AT = """
CREATE FUNCTION serving.{view}_known_at(stock text, first date, last date, known_at timestamptz DEFAULT now())
RETURNS SETOF serving.{history} LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT held.* FROM serving.{history} AS held
    WHERE held.symbol = stock AND held.session >= first AND held.session <= last
        AND held.published_at <= known_at AND coalesce(held.superseded_at, 'infinity') > known_at
    ORDER BY held.session, held.{key};
END;
COMMENT ON FUNCTION serving.{view}_known_at(text, date, date, timestamptz) IS
    'a stock''s {view} of sessions as readers could see them at a moment; published rows only';
REVOKE EXECUTE ON FUNCTION serving.{view}_known_at(text, date, date, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION serving.{view}_known_at(text, date, date, timestamptz)
    TO fpm_producer, fpm_reader, fpm_readers;
"""
GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON online.{history} TO fpm_producer;
GRANT SELECT ON serving.{history} TO fpm_producer, fpm_reader, fpm_readers;
"""
# The published session as readers see it now; of what was before the database has no rows.
BEGINNING = """
DO $$
DECLARE month date;
BEGIN
    SELECT date_trunc('month', session)::date INTO month FROM serving.{view} LIMIT 1;
    IF month IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE online.%I PARTITION OF online.{history} FOR VALUES FROM (%L) TO (%L)',
        '{history}_' || to_char(month, 'YYYY_MM'), month, (month + interval '1 month')::date);
    INSERT INTO online.{history} ({columns}, session, event_timestamp, created_timestamp, publication)
    SELECT {columns}, session, event_timestamp, created_timestamp, publication FROM serving.{view};
END $$;
"""
ANNOUNCEMENTS = """
CREATE TABLE fpm.announcements (
    publication bigint PRIMARY KEY,
    owed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    error text
);
CREATE INDEX announcements_open ON fpm.announcements (publication) WHERE delivered_at IS NULL;
COMMENT ON TABLE fpm.announcements IS 'what the webhook gets; delivered_at is empty for what it did not take';
GRANT SELECT, INSERT, UPDATE ON fpm.announcements TO fpm_producer;
"""


def upgrade() -> None:
    """Create both histories, their views and functions, and enter the published session."""
    run = op.get_bind().exec_driver_sql
    run(ANNOUNCEMENTS)
    for view, history in HISTORIES.items():
        columns = [name for name in TABLES[view].columns if name not in OF_PUBLICATION]
        (key,) = (name for name in TABLES[view].keys if name != "symbol")
        names = {"view": view, "history": history, "key": f'"{key}"'}
        run(creation(view).as_string())
        of_publication = ", ".join(f"published.{name}" for name in OF_PUBLICATION)
        held = ", ".join(f'held."{name}"' for name in columns)
        run(VIEW.format(**names, columns=held, of_publication=of_publication))
        run(KNOWN_AT.format(**names))
        run(GRANTS.format(**names))
        run(BEGINNING.format(**names, columns=", ".join(f'"{name}"' for name in columns)).replace("%", "%%"))


def downgrade() -> None:
    """Drop them."""
    run = op.get_bind().exec_driver_sql
    run("DROP TABLE fpm.announcements")
    for view, history in HISTORIES.items():
        run(f"DROP FUNCTION serving.{view}_known_at(text, date, date, timestamptz)")
        run(f"DROP VIEW serving.{history}; DROP TABLE online.{history}")
