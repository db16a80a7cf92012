"""A published file has its identity (`fpm.store.lake.seals`), so that readers need not hash it; null in older rows.

Revision ID: 0012
Revises: 0011
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, which rewrites no row, and an index of the attempts that are about to publish."""
    run = op.get_bind().exec_driver_sql
    run("ALTER TABLE fpm.files ADD COLUMN identity text")
    run("CREATE INDEX ledger_prepared ON fpm.ledger (job) WHERE status = 'prepared'")


def downgrade() -> None:
    """Drop both."""
    run = op.get_bind().exec_driver_sql
    run("DROP INDEX fpm.ledger_prepared")
    run("ALTER TABLE fpm.files DROP COLUMN identity")
