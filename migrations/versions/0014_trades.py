"""Fills of the published session: their online table and serving view.

A session without fills has no rows. `decided`, the session of the decision that was filled, is a date to readers.

Revision ID: 0014
Revises: 0012
"""

from alembic import op

from fpm.store.online.tables import creation, online_table

revision = "0014"
down_revision = "0012"
branch_labels = None
depends_on = None

DATES = ("decided",)
SERVING = """
CREATE VIEW serving.trades AS
SELECT {columns}, held.session, held.event_timestamp, held.created_timestamp,
       published.id AS publication, published.published_at, published.vintage, published.model,
       (now() AT TIME ZONE 'UTC')::date - published.session AS stale_days
FROM online.trades AS held
JOIN (
    SELECT id, session, published_at, vintage, model FROM fpm.publications
    WHERE 'trades' = ANY (views) ORDER BY session DESC, id DESC LIMIT 1
) AS published ON published.session = held.session;
GRANT SELECT, INSERT, UPDATE ON online.trades TO fpm_producer;
GRANT SELECT ON serving.trades TO fpm_producer, fpm_reader;
"""


def column(name: str) -> str:
    """A column of the view."""
    return f"(held.{name} AT TIME ZONE 'UTC')::date AS {name}" if name in DATES else f'held."{name}"'


def upgrade() -> None:
    """Create the table and the view."""
    run = op.get_bind().exec_driver_sql
    table = online_table("trades")
    run(creation(table).as_string())  # Feast creates the same table; either may come first
    run(SERVING.format(columns=", ".join(map(column, table.columns))))


def downgrade() -> None:
    """Drop both."""
    op.get_bind().exec_driver_sql("DROP VIEW serving.trades; DROP TABLE online.trades")
