"""The former vintage's fingerprints of the published session during a hand-over.

Readers of raw vectors get some sessions to move; `serving.fingerprints` still shows one vintage only.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

FORMER = """
CREATE VIEW serving.former_fingerprints AS
SELECT held.symbol, held.vintage, held.fingerprint, held.session, held.event_timestamp, held.created_timestamp,
       published.id AS publication, published.published_at, published.model,
       (now() AT TIME ZONE 'UTC')::date - published.session AS stale_days
FROM online.fingerprints AS held
JOIN (
    SELECT id, session, published_at, vintage, model FROM fpm.publications
    WHERE 'fingerprints' = ANY (views) ORDER BY session DESC, id DESC LIMIT 1
) AS published ON published.session = held.session AND published.vintage <> held.vintage;
GRANT SELECT ON serving.former_fingerprints TO fpm_producer, fpm_reader;
"""


def upgrade() -> None:
    """Create the view."""
    op.get_bind().exec_driver_sql(FORMER)


def downgrade() -> None:
    """Drop the view."""
    op.get_bind().exec_driver_sql("DROP VIEW serving.former_fingerprints")
