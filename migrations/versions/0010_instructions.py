"""Approvals and holds of a person: rows that are added and never changed.

`known_at` is the moment from which an instruction counts, `recorded_at` the clock when it was given.

Revision ID: 0010
Revises: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE fpm.instructions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('approve', 'hold')),
    "index" text NOT NULL,
    first date NOT NULL,
    last date CHECK (last >= first),
    reason text NOT NULL DEFAULT '',
    content text NOT NULL DEFAULT '',
    "by" text NOT NULL CHECK ("by" <> ''),
    known_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE fpm.instructions IS 'what a person said about decisions: one approved, an index held';
GRANT SELECT, INSERT ON fpm.instructions TO fpm_producer;
CREATE FUNCTION fpm.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of fpm.instructions are never changed: add another';
END $$;
CREATE TRIGGER unchanged BEFORE UPDATE OR DELETE ON fpm.instructions
    FOR EACH ROW EXECUTE FUNCTION fpm.refuse_change();
"""


def upgrade() -> None:
    """Create the table, whose rows no statement changes."""
    op.get_bind().exec_driver_sql(TABLE)


def downgrade() -> None:
    """Drop it."""
    op.get_bind().exec_driver_sql("DROP TABLE fpm.instructions; DROP FUNCTION fpm.refuse_change()")
