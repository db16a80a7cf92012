"""The nearest fingerprints among those online, by pgvector's HNSW index: one published session, approximately."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import LiteralString

import polars as pl

from fpm.errors import TryLater
from fpm.sessions import UTC
from fpm.store.stores import Stores

# The list that a search keeps: recall in benchmarks/bench_similar.py. pgvector takes 1,000 at most.
BREADTH, MOST = 200, 1000


@dataclass(frozen=True)
class Shown:
    """The published session, its vintage, and the moment from which all its fingerprints are known."""

    session: date
    vintage: str
    known: datetime


def shown(stores: Stores) -> Shown:
    """What readers see of the fingerprints. Raises TryLater before the first publication."""
    rows = stores.ledger.query(
        "SELECT session, vintage, max(created_timestamp) FROM serving.fingerprints GROUP BY session, vintage"
    )
    if not rows:
        raise TryLater(
            "FPM-ANA-076", "no fingerprint is published", "nothing was searched", "publish a session: fpm nightly"
        )
    session, vintage, known = rows[0]
    return Shown(session, vintage, known.astimezone(UTC))


# The index knows nothing of the conditions: it is scanned on, in strict order, until enough rows fulfil them.
_NEAREST: LiteralString = """
SELECT session, symbol, 1 - (fingerprint <=> %(query)s::vector) FROM online.fingerprints
WHERE session = %(session)s AND vintage = %(vintage)s AND created_timestamp <= %(known_at)s AND symbol <> %(avoided)s
ORDER BY fingerprint <=> %(query)s::vector LIMIT %(k)s
"""


def published_neighbours(
    query: list[float], of: Shown, known_at: datetime, avoided: str, k: int, stores: Stores
) -> pl.DataFrame:
    """session, symbol, similarity (cosine) of the k nearest of the published session known by then, nearest first.

    `avoided`: a symbol that is left out ("": none).
    """
    with stores.ledger.transaction() as connection:
        breadth = str(min(MOST, max(BREADTH, 2 * k)))
        connection.execute("SELECT set_config('hnsw.ef_search', %s, true)", (breadth,))
        connection.execute("SET LOCAL hnsw.iterative_scan = strict_order")
        asked = {
            "query": str(query), "session": of.session, "vintage": of.vintage, "known_at": known_at,
            "avoided": avoided, "k": k,
        }  # fmt: skip
        rows = connection.execute(_NEAREST, asked).fetchall()
    schema = {"session": pl.Date, "symbol": pl.String, "similarity": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("similarity", "symbol", descending=[True, False])
