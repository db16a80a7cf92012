"""The running session: its publications, minute by minute, and the scores of each.

Revision ID: 0025
Revises: 0023
"""

from alembic import op

revision = "0025"
down_revision = "0023"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE fpm.intraday_publications (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session date NOT NULL,
    minute text NOT NULL CHECK (minute ~ '^[0-9]{2}:[0-9]{2}$'),
    event_timestamp timestamptz NOT NULL,
    created_timestamp timestamptz NOT NULL CHECK (created_timestamp >= event_timestamp),
    sha256 text NOT NULL,
    vintage text NOT NULL,
    model text NOT NULL,
    replaces bigint,
    published_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX intraday_publications_newest ON fpm.intraday_publications (event_timestamp DESC, id DESC);
COMMENT ON TABLE fpm.intraday_publications IS 'minutes of running sessions that were published; never changed';
CREATE TABLE online.intraday_scores (
    publication bigint NOT NULL REFERENCES fpm.intraday_publications ON DELETE CASCADE,
    symbol text NOT NULL,
    stream text NOT NULL,
    score double precision,
    spread double precision,
    PRIMARY KEY (publication, symbol, stream)
);
CREATE INDEX intraday_scores_symbol ON online.intraday_scores (symbol, publication);
"""
COLUMNS = """
held.symbol, held.stream, held.score, held.spread, published.minute, published.session, published.event_timestamp,
published.created_timestamp, published.id AS publication, published.published_at, published.vintage, published.model
"""
VIEWS = """
CREATE VIEW serving.intraday_scores AS
SELECT {columns}, ((now() AT TIME ZONE 'UTC')::date - published.session) AS stale_days
FROM online.intraday_scores AS held
JOIN (SELECT * FROM fpm.intraday_publications ORDER BY event_timestamp DESC, id DESC LIMIT 1) AS published
    ON published.id = held.publication;
COMMENT ON VIEW serving.intraday_scores IS 'the running session so far: the last minute that was published, whole';
CREATE VIEW serving.intraday_score_history AS
SELECT {columns}, published.superseded_at
FROM online.intraday_scores AS held
JOIN (
    SELECT *, lead(published_at) OVER (PARTITION BY session, minute ORDER BY id) AS superseded_at
    FROM fpm.intraday_publications
) AS published ON published.id = held.publication;
COMMENT ON VIEW serving.intraday_score_history IS
    'every minute of running sessions as published; superseded_at is null for what stands of a minute';
"""
GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON fpm.intraday_publications, online.intraday_scores TO fpm_producer;
GRANT SELECT ON serving.intraday_scores, serving.intraday_score_history TO fpm_producer, fpm_reader, fpm_readers;
"""


def upgrade() -> None:
    """Create both tables and both views."""
    run = op.get_bind().exec_driver_sql
    run(TABLES)
    run(VIEWS.format(columns=COLUMNS))
    run(GRANTS)


def downgrade() -> None:
    """Drop them."""
    run = op.get_bind().exec_driver_sql
    run("DROP VIEW serving.intraday_scores, serving.intraday_score_history")
    run("DROP TABLE online.intraday_scores, fpm.intraday_publications")
