"""The row whose lock makes one scheduler of many the one at work.

Revision ID: 0009
Revises: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

LEADER = """
CREATE TABLE fpm.leader (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row));
INSERT INTO fpm.leader DEFAULT VALUES;
GRANT SELECT, UPDATE ON fpm.leader TO fpm_producer;
"""


def upgrade() -> None:
    """Create the table and its row."""
    op.get_bind().exec_driver_sql(LEADER)


def downgrade() -> None:
    """Drop the table."""
    op.get_bind().exec_driver_sql("DROP TABLE fpm.leader")
