"""The key of a history covers its rows: a stock's sessions lie side by side in it, and no page of the table is read.

Homes whose history is younger than this have such a key already.

Revision ID: 0027
Revises: 0025
"""

from alembic import op

from fpm.schema import HISTORIES
from fpm.store.online.history import covering_key

revision = "0027"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Exchange the key of every history and of its months for one that covers."""
    for view in HISTORIES:
        _exchange(view, covering_key(view).as_string())


def downgrade() -> None:
    """Exchange it for one without values."""
    for view in HISTORIES:
        _exchange(view, covering_key(view).as_string().split(" INCLUDE ")[0])


def _exchange(view: str, key: str) -> None:
    history = HISTORIES[view]
    op.get_bind().exec_driver_sql(f"ALTER TABLE online.{history} DROP CONSTRAINT {history}_pkey, ADD {key}")
