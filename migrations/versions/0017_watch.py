"""Who watches: alerts with their delivery, nights as last seen, vital signs, and `serving.metrics` over all of them.

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
CREATE TABLE fpm.nights (
    session date PRIMARY KEY,
    state text NOT NULL,
    open text[] NOT NULL,
    since timestamptz NOT NULL,
    why text NOT NULL,
    looked_at timestamptz NOT NULL
);
COMMENT ON TABLE fpm.nights IS 'the nights that the home owed at its newest look, and their states then';
CREATE TABLE fpm.vitals (
    session date NOT NULL,
    name text NOT NULL,
    labels jsonb NOT NULL,
    value double precision NOT NULL,
    computed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, labels, session)
);
CREATE INDEX vitals_session ON fpm.vitals (session);
COMMENT ON TABLE fpm.vitals IS 'figures of a session that no scrape should compute: nulls, quarantine, RankIC, drift';
CREATE TABLE fpm.lineage (
    job text NOT NULL,
    partition text NOT NULL,
    attempt integer NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (job, partition, attempt)
);
COMMENT ON TABLE fpm.lineage IS 'attempts whose lineage events were sent';
GRANT SELECT, INSERT ON fpm.lineage TO fpm_producer;
GRANT SELECT, INSERT, UPDATE ON fpm.alerts TO fpm_producer;
GRANT SELECT, INSERT, UPDATE, DELETE ON fpm.nights, fpm.vitals TO fpm_producer;
"""

# One row a sample. A view has its owner's rights, so a reader sees these figures and nothing else of schema fpm.
METRICS = """
CREATE VIEW serving.metrics AS
WITH newest AS (
    SELECT DISTINCT ON (job) job, started_at, finished_at,
           (SELECT coalesce(sum((file ->> 'rows')::bigint), 0) FROM jsonb_array_elements(files) AS file) AS rows
    FROM (SELECT job, max(finished_at) AS finished_at FROM fpm.ledger WHERE status = 'published' GROUP BY job) AS last
    JOIN fpm.ledger USING (job, finished_at) ORDER BY job
), stored AS (
    SELECT "table", session, sum(rows) AS rows
    FROM (SELECT "table", max(session) AS session FROM fpm.files GROUP BY "table") AS last
    JOIN fpm.files USING ("table", session) GROUP BY "table", session
), served AS (
    SELECT session, published_at FROM fpm.publications ORDER BY session DESC, id DESC LIMIT 1
), seen AS (
    SELECT * FROM fpm.nights WHERE looked_at = (SELECT max(looked_at) FROM fpm.nights)
)
SELECT name, labels, value::double precision AS value FROM (
    SELECT 'fpm_job_duration_seconds' AS name, jsonb_build_object('job', job) AS labels,
           extract(epoch FROM finished_at - started_at) AS value FROM newest
    UNION ALL SELECT 'fpm_job_rows', jsonb_build_object('job', job), rows FROM newest
    UNION ALL SELECT 'fpm_job_last_success_timestamp_seconds', jsonb_build_object('job', job),
           extract(epoch FROM finished_at) FROM newest
    UNION ALL SELECT 'fpm_attempts', jsonb_build_object('job', job, 'status', status), count(*)
           FROM fpm.ledger GROUP BY job, status
    UNION ALL SELECT 'fpm_table_rows', jsonb_build_object('table', "table"), rows FROM stored
    UNION ALL SELECT 'fpm_table_session_timestamp_seconds', jsonb_build_object('table', "table"),
           extract(epoch FROM session::timestamp) FROM stored
    UNION ALL SELECT 'fpm_served_session_timestamp_seconds', '{}', extract(epoch FROM session::timestamp) FROM served
    UNION ALL SELECT 'fpm_served_age_seconds', '{}', extract(epoch FROM now() - published_at) FROM served
    UNION ALL SELECT 'fpm_served_stale_days', '{}', (now() AT TIME ZONE 'UTC')::date - session FROM served
    UNION ALL SELECT 'fpm_served_symbols', jsonb_build_object('stream', stream), count(*)
           FROM serving.scores GROUP BY stream
    UNION ALL SELECT 'fpm_tracking_error_predicted', jsonb_build_object('index', "index"), tracking_error
           FROM serving.decisions
    UNION ALL SELECT 'fpm_tracking_error_realised', jsonb_build_object('index', "index"), tracking_error_realised
           FROM serving.decisions
    UNION ALL SELECT 'fpm_tracking_error_cap', jsonb_build_object('index', "index"), tracking_error_cap
           FROM serving.decisions
    UNION ALL SELECT 'fpm_nights', jsonb_build_object('state', state), count(*) FROM seen GROUP BY state
    UNION ALL SELECT 'fpm_open_steps', '{}', coalesce(sum(cardinality(open)), 0) FROM seen
    UNION ALL SELECT 'fpm_last_look_timestamp_seconds', '{}', extract(epoch FROM max(looked_at)) FROM seen
    UNION ALL SELECT 'fpm_alerts_undelivered', '{}', count(*) FROM fpm.alerts WHERE delivered_at IS NULL
    UNION ALL SELECT 'fpm_models', jsonb_build_object('kind', kind, 'status', status), count(*)
           FROM fpm.models GROUP BY kind, status
    UNION ALL SELECT 'fpm_' || name, labels, value FROM (
        SELECT DISTINCT ON (name, labels) name, labels, value FROM fpm.vitals
        WHERE session > (SELECT max(session) FROM fpm.vitals) - 31 ORDER BY name, labels, session DESC
    ) AS vital
) AS samples WHERE value IS NOT NULL;
GRANT SELECT ON serving.metrics TO fpm_producer, fpm_reader;
"""


def upgrade() -> None:
    """Create the tables and the view."""
    op.get_bind().exec_driver_sql(ALERTS)
    op.get_bind().exec_driver_sql(METRICS)


def downgrade() -> None:
    """Drop them."""
    op.get_bind().exec_driver_sql(
        "DROP VIEW serving.metrics; DROP TABLE fpm.alerts, fpm.nights, fpm.vitals, fpm.lineage"
    )
