"""The nearest fingerprints of the published session: a table of their own under an HNSW index, cosine (pgvector).

It is no index over online.fingerprints: every publication writes every row, and updating the graph took three times as
long as all the rest. A job fills the table after the publication (`consumers/neighbours.py`); until then `behind` is
true. Sizes are pgvector's defaults (16, 64): 3.7 s for 5,300 vectors, recall of 20 is 1.0. Replacing the table by a new
one with CREATE INDEX takes 0.75 s, but needs DDL rights and an exclusive lock every night
(benchmarks/bench_similar.py).

Revision ID: 0003
Revises: 0002
"""

from alembic import op

from fpm.schema import FINGERPRINT_SIZE

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLE = f"""
CREATE TABLE online.nearest_fingerprints (
    symbol text PRIMARY KEY,
    vintage text NOT NULL,
    fingerprint vector({FINGERPRINT_SIZE}) NOT NULL,
    session date NOT NULL,
    created_timestamp timestamptz NOT NULL,
    publication bigint NOT NULL
);
CREATE INDEX nearest_fingerprints_by_cosine ON online.nearest_fingerprints USING hnsw (fingerprint vector_cosine_ops);
"""
SERVING = """
CREATE VIEW serving.nearest_fingerprints AS
SELECT symbol, vintage, fingerprint, session, publication, publication <> (
    SELECT id FROM fpm.publications WHERE 'fingerprints' = ANY (views) ORDER BY session DESC, id DESC LIMIT 1
) AS behind
FROM online.nearest_fingerprints
"""


def upgrade() -> None:
    """Create the table, its index and its serving view."""
    op.get_bind().exec_driver_sql(TABLE + SERVING)


def downgrade() -> None:
    """Drop view and table."""
    op.get_bind().exec_driver_sql("DROP VIEW serving.nearest_fingerprints; DROP TABLE online.nearest_fingerprints")
