"""The nearest fingerprints of the published session, by pgvector's HNSW index or, where it is behind, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

import polars as pl

from fpm.errors import TryLater
from fpm.sessions import UTC

if TYPE_CHECKING:
    from datetime import date, datetime

    from fpm.store.ledger.stores import Stores

# The length of a search's candidate list (hnsw.ef_search): its recall is in benchmarks/bench_similar.py.
BREADTH, MOST = 200, 1000  # pgvector takes 1,000 at most


@dataclass(frozen=True)
class OnlineFingerprints:
    """The published session, its publication and vintage, and the moment from which all its fingerprints are known."""

    publication: int
    session: date
    vintage: str
    known_at: datetime


def online_fingerprints(stores: Stores) -> OnlineFingerprints:
    """The fingerprints that readers see. Raises TryLater before the first publication."""
    rows = stores.ledger.query(
        "SELECT publication, session, vintage, max(created_timestamp) FROM serving.fingerprints "
        "GROUP BY publication, session, vintage"
    )
    if not rows:
        raise TryLater(
            code="FPM-ANA-076",
            wrong="no fingerprint is published",
            effect="nothing was searched",
            todo="publish a session: fpm nightly",
        )
    publication, session, vintage, known_at = rows[0]
    return OnlineFingerprints(publication, session, vintage, known_at.astimezone(UTC))


_FILL: LiteralString = """
INSERT INTO online.nearest_fingerprints (symbol, vintage, fingerprint, session, created_timestamp, publication)
SELECT symbol, vintage, fingerprint, session, created_timestamp, publication FROM serving.fingerprints
WHERE fingerprint IS NOT NULL
"""


def index_published(stores: Stores) -> int:
    """Index the published vectors, in one transaction, and return their number; searches go on meanwhile."""
    with stores.ledger.transaction() as connection:
        connection.execute("DELETE FROM online.nearest_fingerprints")
        return connection.execute(_FILL).rowcount


# The index does not know the conditions: it is scanned in strict order until enough rows meet them.
_NEAREST: LiteralString = """
SELECT session, symbol, 1 - (fingerprint <=> %(query)s::vector) FROM online.nearest_fingerprints
WHERE publication = %(publication)s AND created_timestamp <= %(known_at)s AND symbol <> %(excluded)s
ORDER BY fingerprint <=> %(query)s::vector LIMIT %(k)s
"""
_EXACT: LiteralString = """
SELECT session, symbol, 1 - (fingerprint <=> %(query)s::vector) FROM serving.fingerprints
WHERE publication = %(publication)s AND created_timestamp <= %(known_at)s AND symbol <> %(excluded)s
    AND fingerprint IS NOT NULL
ORDER BY fingerprint <=> %(query)s::vector LIMIT %(k)s
"""


def published_neighbours(
    query: list[float], online: OnlineFingerprints, known_at: datetime, excluded: str, k: int, stores: Stores
) -> tuple[pl.DataFrame, bool]:
    """The k nearest of the published session known by then, and whether the index found them.

    Columns session, symbol, similarity (cosine), nearest first. Where the index is behind the publication, the
    published vectors are searched exactly. `excluded`: a symbol that is left out ("": none).
    """
    parameters = {
        "query": str(query),
        "publication": online.publication,
        "known_at": known_at,
        "excluded": excluded,
        "k": k,
    }
    with stores.ledger.transaction() as connection:
        breadth = str(min(MOST, max(BREADTH, 2 * k)))
        connection.execute("SELECT set_config('hnsw.ef_search', %s, true)", (breadth,))
        connection.execute("SET LOCAL hnsw.iterative_scan = strict_order")
        indexed = connection.execute(_NEAREST, parameters).fetchall()
        rows = indexed or connection.execute(_EXACT, parameters).fetchall()
    schema = {"session": pl.Date, "symbol": pl.String, "similarity": pl.Float64}
    nearest = pl.DataFrame(rows, schema=schema, orient="row").sort("similarity", "symbol", descending=[True, False])
    return nearest, bool(indexed)
