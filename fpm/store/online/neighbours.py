"""The nearest fingerprints of the published session: by pgvector's HNSW index, or exactly where it is behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

import polars as pl

from fpm.errors import TryLater
from fpm.sessions import UTC

if TYPE_CHECKING:
    from datetime import date, datetime

    from fpm.store.ledger.stores import Stores

# The list that a search keeps: recall in benchmarks/bench_similar.py. pgvector takes 1,000 at most.
BREADTH, MOST = 200, 1000


@dataclass(frozen=True)
class Shown:
    """The published session, its publication and vintage, and the moment from which all its fingerprints are known."""

    publication: int
    session: date
    vintage: str
    known: datetime


def shown(stores: Stores) -> Shown:
    """What readers see of the fingerprints. Raises TryLater before the first publication."""
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
    publication, session, vintage, known = rows[0]
    return Shown(publication, session, vintage, known.astimezone(UTC))


_FILL: LiteralString = """
INSERT INTO online.nearest_fingerprints (symbol, vintage, fingerprint, session, created_timestamp, publication)
SELECT symbol, vintage, fingerprint, session, created_timestamp, publication FROM serving.fingerprints
WHERE fingerprint IS NOT NULL
"""


def index_published(stores: Stores) -> int:
    """Bring the published vectors under the index, in one transaction; searches go on meanwhile. Returns how many."""
    with stores.ledger.transaction() as connection:
        connection.execute("DELETE FROM online.nearest_fingerprints")
        return connection.execute(_FILL).rowcount


# The index knows nothing of the conditions: it is scanned on, in strict order, until enough rows fulfil them.
_NEAREST: LiteralString = """
SELECT session, symbol, 1 - (fingerprint <=> %(query)s::vector) FROM online.nearest_fingerprints
WHERE publication = %(publication)s AND created_timestamp <= %(known_at)s AND symbol <> %(avoided)s
ORDER BY fingerprint <=> %(query)s::vector LIMIT %(k)s
"""
_EXACT: LiteralString = """
SELECT session, symbol, 1 - (fingerprint <=> %(query)s::vector) FROM serving.fingerprints
WHERE publication = %(publication)s AND created_timestamp <= %(known_at)s AND symbol <> %(avoided)s
    AND fingerprint IS NOT NULL
ORDER BY fingerprint <=> %(query)s::vector LIMIT %(k)s
"""


def published_neighbours(
    query: list[float], of: Shown, known_at: datetime, avoided: str, k: int, stores: Stores
) -> tuple[pl.DataFrame, bool]:
    """session, symbol, similarity (cosine) of the k nearest of the published session known by then, nearest first;
    and whether the index found them: it does not where it is behind the publication, which is searched exactly then.

    `avoided`: a symbol that is left out ("": none).
    """
    asked = {
        "query": str(query),
        "publication": of.publication,
        "known_at": known_at,
        "avoided": avoided,
        "k": k,
    }
    with stores.ledger.transaction() as connection:
        breadth = str(min(MOST, max(BREADTH, 2 * k)))
        connection.execute("SELECT set_config('hnsw.ef_search', %s, true)", (breadth,))
        connection.execute("SET LOCAL hnsw.iterative_scan = strict_order")
        indexed = connection.execute(_NEAREST, asked).fetchall()
        rows = indexed or connection.execute(_EXACT, asked).fetchall()
    schema = {"session": pl.Date, "symbol": pl.String, "similarity": pl.Float64}
    found = pl.DataFrame(rows, schema=schema, orient="row").sort("similarity", "symbol", descending=[True, False])
    return found, bool(indexed)
