"""Whether a session's bars are whole: what was judged of them, and what a person accepted as all that will come.

Revision ID: 0016
Revises: 0015
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

WHOLE_SESSIONS = """
CREATE TABLE fpm.session_holes (
    session date PRIMARY KEY,
    content text NOT NULL,
    words text,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE fpm.session_holes IS 'the judgement of a session''s bars of that content; no words: they are whole';
CREATE TABLE fpm.accepted_sessions (
    session date PRIMARY KEY,
    reason text NOT NULL,
    declared_by text NOT NULL,
    declared_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT, INSERT, UPDATE ON fpm.session_holes TO fpm_producer;
GRANT SELECT, INSERT ON fpm.accepted_sessions TO fpm_producer;
"""


def upgrade() -> None:
    """Create both tables."""
    op.get_bind().exec_driver_sql(WHOLE_SESSIONS)


def downgrade() -> None:
    """Drop both tables."""
    op.get_bind().exec_driver_sql("DROP TABLE fpm.session_holes, fpm.accepted_sessions")
