"""Schemas online, feast and serving: typed online tables, the registry, and the views of readers.

A serving view shows one complete session, the last published one, with its publication.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

from fpm.store.online.tables import creation, online_table

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

PUBLISHED = ("daily_factors", "fingerprints", "scores", "weights")

# During a hand-over two vintages are online; readers see the publication's.
SERVING = """
CREATE VIEW serving.{name} AS
SELECT {columns}, held.session, held.event_timestamp, held.created_timestamp,
       published.id AS publication, published.published_at
FROM online.{name} AS held
JOIN (
    SELECT id, session, published_at, vintage FROM fpm.publications
    WHERE '{name}' = ANY (views) ORDER BY session DESC, id DESC LIMIT 1
) AS published ON published.session = held.session {condition};
"""
ONE_VINTAGE = "AND (published.vintage IS NULL OR published.vintage = held.vintage)"

GRANTS = """
GRANT USAGE ON SCHEMA online, feast TO fpm_producer;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA online TO fpm_producer;
ALTER DEFAULT PRIVILEGES IN SCHEMA online GRANT SELECT, INSERT, UPDATE ON TABLES TO fpm_producer;
ALTER DEFAULT PRIVILEGES IN SCHEMA feast GRANT SELECT ON TABLES TO fpm_producer;
GRANT USAGE ON SCHEMA serving TO fpm_producer, fpm_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA serving TO fpm_producer, fpm_reader;
"""


def upgrade() -> None:
    """Create the online tables, the registry's schema and the serving views."""
    run = op.get_bind().exec_driver_sql
    run("CREATE EXTENSION IF NOT EXISTS vector; CREATE SCHEMA IF NOT EXISTS feast; CREATE SCHEMA IF NOT EXISTS serving")
    for name in PUBLISHED:
        table = online_table(name)
        run(creation(table).as_string())  # Feast creates the same table; either may come first
        columns = ", ".join(f'held."{column}"' for column in table.columns)
        condition = ONE_VINTAGE if name == "fingerprints" else ""
        run(SERVING.format(name=name, columns=columns, condition=condition))
    run(GRANTS)


def downgrade() -> None:
    """Drop the three schemas."""
    op.get_bind().exec_driver_sql("DROP SCHEMA serving CASCADE; DROP SCHEMA online CASCADE; DROP SCHEMA feast CASCADE")
