"""A published attempt may have a note: which publication it made, or why nothing went online.

A producer may delete the online rows that a correction withdrew.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the right to delete."""
    run = op.get_bind().exec_driver_sql
    run("ALTER TABLE fpm.ledger ADD COLUMN note text")
    run("GRANT DELETE ON ALL TABLES IN SCHEMA online TO fpm_producer")
    run("ALTER DEFAULT PRIVILEGES IN SCHEMA online GRANT DELETE ON TABLES TO fpm_producer")


def downgrade() -> None:
    """Take both back."""
    run = op.get_bind().exec_driver_sql
    run("ALTER DEFAULT PRIVILEGES IN SCHEMA online REVOKE DELETE ON TABLES FROM fpm_producer")
    run("REVOKE DELETE ON ALL TABLES IN SCHEMA online FROM fpm_producer")
    run("ALTER TABLE fpm.ledger DROP COLUMN note")
