"""Doors: a group that holds the readers' rights, one login a consumer, `serving.nearest`, a lock out of their reach.

A consumer's login is a member of `fpm_readers`, which is no login: what a role may alter of itself concerns it alone.

Revision ID: 0019
Revises: 0018
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

GROUP = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fpm_readers') THEN
        CREATE ROLE fpm_readers NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- another database created it at this moment
END $$;
GRANT USAGE ON SCHEMA serving TO fpm_readers;
GRANT SELECT ON ALL TABLES IN SCHEMA serving TO fpm_readers;
"""
READERS = """
CREATE TABLE fpm.readers (
    name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_]*$'),
    connections integer NOT NULL CHECK (connections > 0),
    statement_timeout text NOT NULL,
    temp_file_limit text NOT NULL,
    work_mem text NOT NULL,
    "by" text NOT NULL CHECK ("by" <> ''),
    added_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE fpm.readers IS 'consumers with a login of their own, fpm_reader_<name>: limits, who let them in';
CREATE CONSTRAINT TRIGGER journaled AFTER INSERT OR UPDATE OR DELETE ON fpm.readers
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fpm.journaled();
GRANT SELECT ON fpm.readers TO fpm_producer;
"""
# An advisory lock is free to whoever may connect; a row of schema fpm is not.
PUBLISHING = """
CREATE TABLE fpm.publishing (singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton));
INSERT INTO fpm.publishing DEFAULT VALUES;
COMMENT ON TABLE fpm.publishing IS 'its one row is locked by the publication at work';
GRANT SELECT, INSERT, UPDATE ON fpm.publishing TO fpm_producer;
"""
# Behind a publication the index still shows the one before: then the published vectors are compared one by one. The
# length of the candidate list is that of fpm/store/online/neighbours.py.
NEAREST = """
CREATE FUNCTION serving.nearest(stock text, k integer DEFAULT 20)
RETURNS TABLE (symbol text, similarity double precision, session date, vintage text, publication bigint, behind boolean)
LANGUAGE plpgsql STABLE ROWS 20
SET search_path = pg_catalog, {schema}
SET hnsw.ef_search = 200
SET hnsw.iterative_scan = strict_order
AS $$
#variable_conflict use_column
DECLARE
    ours vector;
    indexed boolean;
BEGIN
    SELECT held.fingerprint INTO ours FROM serving.fingerprints AS held WHERE held.symbol = stock;
    IF ours IS NULL OR k IS NULL OR k < 1 THEN
        RETURN;
    END IF;
    SELECT NOT held.behind INTO indexed FROM serving.nearest_fingerprints AS held LIMIT 1;
    IF coalesce(indexed, false) THEN
        RETURN QUERY SELECT held.symbol, 1 - (held.fingerprint <=> ours), held.session, held.vintage, held.publication,
            false
        FROM serving.nearest_fingerprints AS held ORDER BY held.fingerprint <=> ours LIMIT k;
    ELSE
        RETURN QUERY SELECT held.symbol, 1 - (held.fingerprint <=> ours), held.session, held.vintage, held.publication,
            true
        FROM serving.fingerprints AS held WHERE held.fingerprint IS NOT NULL
        ORDER BY held.fingerprint <=> ours LIMIT k;
    END IF;
END $$;
COMMENT ON FUNCTION serving.nearest(text, integer) IS
    'the k published stocks most like one, itself first; none for a symbol without a published fingerprint';
REVOKE EXECUTE ON FUNCTION serving.nearest(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION serving.nearest(text, integer) TO fpm_producer, fpm_reader, fpm_readers;
"""
EXTENSION = """
SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
WHERE extname = 'vector'
"""


def upgrade() -> None:
    """Create the group, the tables and the function."""
    run = op.get_bind().exec_driver_sql
    run(GROUP)
    run(READERS)
    run(PUBLISHING)
    run(NEAREST.format(schema=run(EXTENSION).scalar_one()))


def downgrade() -> None:
    """Drop tables and function; the roles belong to the whole server and stay."""
    run = op.get_bind().exec_driver_sql
    run("DROP FUNCTION serving.nearest(text, integer); DROP TABLE fpm.readers, fpm.publishing")
    run("REVOKE ALL ON ALL TABLES IN SCHEMA serving FROM fpm_readers; REVOKE ALL ON SCHEMA serving FROM fpm_readers")
