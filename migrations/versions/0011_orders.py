"""Orders and decisions of the published session: their online tables and serving views.

A session without a decision has no rows in either. `fill_session` is a date to readers; Feast has a moment for it.

Revision ID: 0011
Revises: 0010
"""

from alembic import op

from fpm.store.online.tables import creation, online_table

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

PUBLISHED = ("orders", "decisions")
DATES = ("fill_session",)
SERVING = """
CREATE VIEW serving.{name} AS
SELECT {columns}, held.session, held.event_timestamp, held.created_timestamp,
       published.id AS publication, published.published_at, published.vintage, published.model,
       (now() AT TIME ZONE 'UTC')::date - published.session AS stale_days
FROM online.{name} AS held
JOIN (
    SELECT id, session, published_at, vintage, model FROM fpm.publications
    WHERE '{name}' = ANY (views) ORDER BY session DESC, id DESC LIMIT 1
) AS published ON published.session = held.session;
GRANT SELECT, INSERT, UPDATE ON online.{name} TO fpm_producer;
GRANT SELECT ON serving.{name} TO fpm_producer, fpm_reader;
"""


def column(name: str) -> str:
    """A column of the view."""
    return f"(held.{name} AT TIME ZONE 'UTC')::date AS {name}" if name in DATES else f'held."{name}"'


def upgrade() -> None:
    """Create tables and views."""
    run = op.get_bind().exec_driver_sql
    for name in PUBLISHED:
        table = online_table(name)
        run(creation(table).as_string())  # Feast creates the same table; either may come first
        run(SERVING.format(name=name, columns=", ".join(map(column, table.columns))))


def downgrade() -> None:
    """Drop them."""
    for name in PUBLISHED:
        op.get_bind().exec_driver_sql(f"DROP VIEW serving.{name}; DROP TABLE online.{name}")
