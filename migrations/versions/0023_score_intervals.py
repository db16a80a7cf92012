"""Intervals of the published session's scores: their online table and serving view.

A session that was published before has no rows.

Revision ID: 0023
Revises: 0020
"""

from alembic import op

from fpm.store.online.tables import creation, online_table

revision = "0023"
down_revision = "0020"
branch_labels = None
depends_on = None

SERVING = """
CREATE VIEW serving.score_intervals AS
SELECT {columns}, held.session, held.event_timestamp, held.created_timestamp,
       published.id AS publication, published.published_at, published.vintage, published.model,
       (now() AT TIME ZONE 'UTC')::date - published.session AS stale_days
FROM online.score_intervals AS held
JOIN (
    SELECT id, session, published_at, vintage, model FROM fpm.publications
    WHERE 'score_intervals' = ANY (views) ORDER BY session DESC, id DESC LIMIT 1
) AS published ON published.session = held.session;
COMMENT ON VIEW serving.score_intervals IS 'where the returns of the session''s scores will rank, 0 lowest, 1 highest';
GRANT SELECT, INSERT, UPDATE, DELETE ON online.score_intervals TO fpm_producer;
GRANT SELECT ON serving.score_intervals TO fpm_producer, fpm_reader, fpm_readers;
"""


def upgrade() -> None:
    """Create the table and the view."""
    run = op.get_bind().exec_driver_sql
    table = online_table("score_intervals")
    run(creation(table).as_string())  # Feast creates the same table; either may come first
    run(SERVING.format(columns=", ".join(f'held."{name}"' for name in table.columns)))


def downgrade() -> None:
    """Drop both."""
    op.get_bind().exec_driver_sql("DROP VIEW serving.score_intervals; DROP TABLE online.score_intervals")
