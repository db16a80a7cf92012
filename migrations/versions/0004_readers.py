"""Readers: every serving view names its vintage, model and age; publications are readable, schema fpm is not.

`stale_days` are calendar days (UTC) since the session. `vintage` and `model` come from the publication where the rows
have none of their own.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

from fpm.store.online.tables import online_table

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

PUBLISHED = ("daily_factors", "fingerprints", "scores", "weights")
STALE_DAYS = "(now() AT TIME ZONE 'UTC')::date - published.session AS stale_days"

# The former columns keep their places: PostgreSQL replaces a view only by one that adds columns at its end.
SERVING = """
CREATE OR REPLACE VIEW serving.{name} AS
SELECT {columns}, held.session, held.event_timestamp, held.created_timestamp,
       published.id AS publication, published.published_at{added}
FROM online.{name} AS held
JOIN (
    SELECT id, session, published_at, vintage{model} FROM fpm.publications
    WHERE '{name}' = ANY (views) ORDER BY session DESC, id DESC LIMIT 1
) AS published ON published.session = held.session {condition};
"""
ONE_VINTAGE = "AND (published.vintage IS NULL OR published.vintage = held.vintage)"

PUBLICATIONS = f"""
CREATE VIEW serving.publications AS
SELECT id, session, views, published_at, vintage, model, replaces, {STALE_DAYS} FROM fpm.publications AS published
"""


def serving(name: str, extended: bool) -> str:
    """The statement of a table's view, with or without the columns that this revision adds."""
    columns = online_table(name).columns
    added = [f"published.{column}" for column in ("vintage", "model") if column not in columns] + [STALE_DAYS]
    return SERVING.format(
        name=name,
        columns=", ".join(f'held."{column}"' for column in columns),
        added="".join(f", {column}" for column in added) if extended else "",
        model=", model" if extended else "",
        condition=ONE_VINTAGE if name == "fingerprints" else "",
    )


def upgrade() -> None:
    """Extend the serving views, add `serving.publications` and close schema fpm to readers."""
    run = op.get_bind().exec_driver_sql
    for name in PUBLISHED:
        run(serving(name, extended=True))
    run(PUBLICATIONS)
    run("REVOKE ALL ON ALL TABLES IN SCHEMA fpm FROM fpm_reader; REVOKE ALL ON SCHEMA fpm FROM fpm_reader")
    run("GRANT SELECT ON ALL TABLES IN SCHEMA serving TO fpm_producer, fpm_reader")


def downgrade() -> None:
    """Restore the former views and grants."""
    run = op.get_bind().exec_driver_sql
    run("DROP VIEW serving.publications")
    for name in PUBLISHED:
        run(f"DROP VIEW serving.{name}")
        run(serving(name, extended=False))
    run("GRANT SELECT ON ALL TABLES IN SCHEMA serving TO fpm_producer, fpm_reader")
    run("GRANT USAGE ON SCHEMA fpm TO fpm_reader; GRANT SELECT ON fpm.publications, fpm.models TO fpm_reader")
