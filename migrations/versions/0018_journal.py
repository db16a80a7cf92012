"""The journal: every change of the ledger, chained by hashes; overrides, rollbacks, confirmed programs.

The trigger runs at the end of a transaction, so that the journal's head is locked for its last moment only.

Revision ID: 0018
Revises: 0017
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

JOURNALED = (
    "ledger",
    "publications",
    "models",
    "deployment",
    "absences",
    "accepted_sessions",
    "instructions",
    "overrides",
    "rollbacks",
    "programs",
)

TABLES = """
CREATE TABLE fpm.overrides (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    subject text NOT NULL,
    reason text NOT NULL DEFAULT '',
    "by" text NOT NULL CHECK ("by" <> ''),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE fpm.overrides IS 'what a person decided against a rule: who, when and why';
CREATE TRIGGER unchanged BEFORE UPDATE OR DELETE ON fpm.overrides FOR EACH ROW EXECUTE FUNCTION fpm.refuse_change();
CREATE TABLE fpm.rollbacks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    model text NOT NULL,
    first date NOT NULL,
    excluded text[] NOT NULL,
    reason text NOT NULL,
    "by" text NOT NULL CHECK ("by" <> ''),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (kind, model) REFERENCES fpm.models
);
COMMENT ON TABLE fpm.rollbacks IS 'from `first` on, `excluded` models serve no session; the last row of a kind counts';
CREATE TRIGGER unchanged BEFORE UPDATE OR DELETE ON fpm.rollbacks FOR EACH ROW EXECUTE FUNCTION fpm.refuse_change();
CREATE TABLE fpm.programs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version text NOT NULL,
    code jsonb NOT NULL,
    "by" text NOT NULL CHECK ("by" <> ''),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE fpm.programs IS 'versions that the nights may run with, and the digest of each job''s code';
CREATE TABLE fpm.journal (
    id bigint PRIMARY KEY,
    moment text NOT NULL,
    relation text NOT NULL,
    change text NOT NULL CHECK (change IN ('INSERT', 'UPDATE', 'DELETE')),
    login text NOT NULL,
    content text NOT NULL,
    hash text NOT NULL
);
COMMENT ON TABLE fpm.journal IS 'every change of the ledger; `hash` is over the row and the hash of the row before';
CREATE TABLE fpm.journal_head (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    id bigint NOT NULL,
    hash text NOT NULL
);
INSERT INTO fpm.journal_head (id, hash) VALUES (0, repeat('0', 64));
GRANT SELECT, INSERT ON fpm.overrides, fpm.rollbacks, fpm.programs TO fpm_producer;
GRANT SELECT ON fpm.journal, fpm.journal_head TO fpm_producer;
CREATE FUNCTION fpm.enter(relation text, change text, content jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET timezone = 'UTC' AS $$
DECLARE
    head fpm.journal_head;
    said text := content::text;
    moment text := to_char(clock_timestamp(), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
BEGIN
    SELECT * INTO head FROM fpm.journal_head FOR UPDATE;
    head.id := head.id + 1;
    head.hash := encode(sha256(convert_to(
        concat_ws(E'\\n', head.hash, head.id, moment, relation, change, session_user, said), 'UTF8')), 'hex');
    INSERT INTO fpm.journal VALUES (head.id, moment, relation, change, session_user, said, head.hash);
    UPDATE fpm.journal_head SET id = head.id, hash = head.hash;
END $$;
CREATE FUNCTION fpm.journaled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET timezone = 'UTC' AS $$
BEGIN
    PERFORM fpm.enter(TG_TABLE_NAME, TG_OP, to_jsonb(CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END));
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION fpm.enter(text, text, jsonb), fpm.journaled() FROM PUBLIC;
"""
# What was there before is entered once: its own past has no witness.
WATCHED = """
SELECT fpm.enter('{name}', 'INSERT', to_jsonb(held)) FROM fpm.{name} AS held;
CREATE CONSTRAINT TRIGGER journaled AFTER INSERT OR UPDATE OR DELETE ON fpm.{name}
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fpm.journaled();
"""


def upgrade() -> None:
    """Create the journal and its triggers, and enter what the tables hold."""
    run = op.get_bind().exec_driver_sql
    run(TABLES)
    for name in JOURNALED:
        run(WATCHED.format(name=name))


def downgrade() -> None:
    """Drop all of it."""
    run = op.get_bind().exec_driver_sql
    for name in JOURNALED:
        run(f"DROP TRIGGER journaled ON fpm.{name}")
    run("DROP FUNCTION fpm.journaled(); DROP FUNCTION fpm.enter(text, text, jsonb)")
    run("DROP TABLE fpm.journal, fpm.journal_head, fpm.overrides, fpm.rollbacks, fpm.programs")
