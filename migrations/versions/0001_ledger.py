"""Schema fpm: roles, ledger, files in the lake, publications, models, deployment.

Revision ID: 0001
Revises:
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Roles belong to the whole server, so a migration of another database may have created them. On a user's server without
# the right to create roles, the operator creates them and runs the migration again.
ROLES = """
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['fpm_owner', 'fpm_producer', 'fpm_reader'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
                EXECUTE format('CREATE ROLE %I LOGIN', name);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- another database created it at this moment
        END;
    END LOOP;
END $$;
"""

LEDGER = """
CREATE TABLE fpm.ledger (
    job text NOT NULL,
    partition text NOT NULL,
    attempt integer NOT NULL CHECK (attempt > 0),
    status text NOT NULL CHECK (status IN ('running', 'prepared', 'published', 'failed', 'waiting')),
    inputs_sha text NOT NULL,
    files jsonb NOT NULL DEFAULT '[]',
    knowledge timestamptz[] NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    error text,
    PRIMARY KEY (job, partition, attempt)
);
CREATE INDEX ledger_started ON fpm.ledger (started_at);
COMMENT ON TABLE fpm.ledger IS 'one row per attempt of a job at a partition (session, or vintage/session)';

CREATE TABLE fpm.files (
    path text PRIMARY KEY,
    "table" text NOT NULL,
    vintage text,
    session date NOT NULL,
    sha256 text NOT NULL,
    rows bigint NOT NULL,
    knowledge timestamptz[] NOT NULL,
    job text NOT NULL,
    partition text NOT NULL,
    attempt integer NOT NULL,
    FOREIGN KEY (job, partition, attempt) REFERENCES fpm.ledger
);
CREATE INDEX files_session ON fpm.files ("table", session);
COMMENT ON TABLE fpm.files IS 'the published file of each partition of the lake and the attempt that made it';

CREATE TABLE fpm.publications (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session date NOT NULL,
    views text[] NOT NULL,
    attempt integer NOT NULL,
    sha256 text NOT NULL,
    published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    vintage text,
    model text,
    replaces bigint REFERENCES fpm.publications
);
CREATE INDEX publications_session ON fpm.publications (session, id);

CREATE TABLE fpm.models (
    kind text NOT NULL,
    id text NOT NULL,
    born timestamptz NOT NULL,
    through date NOT NULL,
    status text NOT NULL CHECK (status IN ('promoted', 'refused')),
    manifest jsonb NOT NULL,
    files jsonb NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (kind, id)
);

CREATE TABLE fpm.deployment (
    key text PRIMARY KEY,
    value text NOT NULL
);
"""

GRANTS = """
GRANT USAGE ON SCHEMA fpm TO fpm_producer, fpm_reader;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA fpm TO fpm_producer;
GRANT SELECT ON fpm.publications, fpm.models TO fpm_reader;
"""


def upgrade() -> None:
    """Create schema fpm's roles, tables and grants."""
    op.execute(ROLES)
    op.execute(LEDGER)
    op.execute(GRANTS)


def downgrade() -> None:
    """Drop the tables; the roles belong to the whole server and stay."""
    op.execute("DROP TABLE fpm.files, fpm.publications, fpm.models, fpm.deployment, fpm.ledger")
