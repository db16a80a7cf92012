"""A decision says what a second solver found: two columns of its online table and its serving view.

Revision ID: 0015
Revises: 0014
"""

from alembic import op

from fpm.store.online.tables import creation, online_table

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

ADDED = ("second_solver", "second_difference")
VIEW = """
DROP VIEW serving.decisions;
CREATE VIEW serving.decisions AS
SELECT {columns}, held.session, held.event_timestamp, held.created_timestamp,
       published.id AS publication, published.published_at, published.vintage, published.model,
       (now() AT TIME ZONE 'UTC')::date - published.session AS stale_days
FROM online.decisions AS held
JOIN (
    SELECT id, session, published_at, vintage, model FROM fpm.publications
    WHERE 'decisions' = ANY (views) ORDER BY session DESC, id DESC LIMIT 1
) AS published ON published.session = held.session;
GRANT SELECT ON serving.decisions TO fpm_producer, fpm_reader;
"""


def column(name: str) -> str:
    """A column of the view; `fill_session` is a date to readers."""
    return f"(held.{name} AT TIME ZONE 'UTC')::date AS {name}" if name == "fill_session" else f'held."{name}"'


def upgrade() -> None:
    """Add the columns and show them: in a new database the table has them already."""
    run, table = op.get_bind().exec_driver_sql, online_table("decisions")
    run(creation(table).as_string())
    run(VIEW.format(columns=", ".join(map(column, table.columns))))


def downgrade() -> None:
    """Take both away again."""
    run, table = op.get_bind().exec_driver_sql, online_table("decisions")
    run(VIEW.format(columns=", ".join(column(name) for name in table.columns if name not in ADDED)))
    for name in ADDED:
        run(f"ALTER TABLE online.decisions DROP COLUMN {name}")
