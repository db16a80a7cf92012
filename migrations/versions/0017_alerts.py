"""Alerts: what was found, by channel, and whether it was delivered.

Revision ID: 0017
Revises: 0016
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ALERTS = """
CREATE TABLE fpm.alerts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel text NOT NULL,
    finding text NOT NULL,
    state text NOT NULL CHECK (state IN ('red', 'recovered')),
    cause text NOT NULL,
    document jsonb NOT NULL,
    raised_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    error text
);
CREATE INDEX alerts_finding ON fpm.alerts (channel, finding, id);
CREATE INDEX alerts_open ON fpm.alerts (channel, id) WHERE delivered_at IS NULL;
COMMENT ON TABLE fpm.alerts IS 'one row a message and channel; a finding stands while its newest row is red';
GRANT SELECT, INSERT, UPDATE ON fpm.alerts TO fpm_producer;
"""


def upgrade() -> None:
    """Create the table."""
    op.get_bind().exec_driver_sql(ALERTS)


def downgrade() -> None:
    """Drop the table."""
    op.get_bind().exec_driver_sql("DROP TABLE fpm.alerts")
