"""Sessions that nobody will ever deliver: what waits for them goes on without.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ABSENCES = """
CREATE TABLE fpm.absences (
    session date PRIMARY KEY,
    reason text NOT NULL,
    declared_by text NOT NULL,
    declared_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT, INSERT ON fpm.absences TO fpm_producer;
"""


def upgrade() -> None:
    """Create the table."""
    op.get_bind().exec_driver_sql(ABSENCES)


def downgrade() -> None:
    """Drop the table."""
    op.get_bind().exec_driver_sql("DROP TABLE fpm.absences")
