"""Every attempt records the environment it ran in: the fingerprint of `fpm.environment`; null in older rows.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; a nullable one without a default rewrites no row."""
    op.get_bind().exec_driver_sql("ALTER TABLE fpm.ledger ADD COLUMN environment text")


def downgrade() -> None:
    """Drop the column."""
    op.get_bind().exec_driver_sql("ALTER TABLE fpm.ledger DROP COLUMN environment")
