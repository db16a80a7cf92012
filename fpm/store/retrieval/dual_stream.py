"""The scorer's inputs of a span of sessions, point in time, through a service of Feast.

They are our own fingerprints or another encoder's vectors, beside daily bars and traditional factors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from fpm.schema import FINGERPRINTS, VECTORS

if TYPE_CHECKING:
    from datetime import date

    from fpm.store.ledger.stores import Stores

DAILY = ("daily_bars", "daily_factors")


@dataclass(frozen=True)
class Representation:
    """Whose vectors a scorer reads: their table and its column, Feast's service, the kinds of their models."""

    table: str
    column: str
    service: str
    encoder: str
    scorer: str


OWN = Representation(FINGERPRINTS.name, "fingerprint", "dual_stream", "encoder", "scorer")
OUTSIDE = Representation(VECTORS.name, "vector", "vector_stream", "vectors", "vector_scorer")


def representation(scorer: str) -> Representation:
    """What a scorer of this kind reads."""
    return OUTSIDE if scorer == OUTSIDE.scorer else OWN


def dual_stream(stores: Stores, first: date, last: date, vintage: str, source: Representation = OWN) -> pl.DataFrame:
    """Vectors of `vintage` as `fingerprint`, daily bars and factors of `first` to `last`, both inclusive.

    Known at the stores' `known_at`. Columns symbol, session, vintage and those of the service. Only symbol-sessions
    that have a row in every table: Feast would otherwise carry an older session's value over, up to its time to live.
    Feast is asked for symbols as delivered; its answer is under the names of the stores (`Stores.named`).
    """
    from fpm.store.retrieval import features  # takes seconds to import

    delivered = stores.as_delivered()
    entities = _present(delivered, source.table, first, last, vintage)
    for table in DAILY:
        entities = entities.join(_present(delivered, table, first, last, None), on=["session", "symbol"], how="semi")
    entities = entities.sort("session", "symbol").with_columns(pl.lit(vintage).alias("vintage"))
    frame = stores.under_names(features.frame(stores.settings, source.service, entities, stores.known_at))
    return frame.rename({source.column: OWN.column})


def _present(stores: Stores, table: str, first: date, last: date, vintage: str | None) -> pl.DataFrame:
    return stores.read(table, first, last, columns=["symbol"], vintage=vintage)
