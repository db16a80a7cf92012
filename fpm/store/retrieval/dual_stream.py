"""The scorer's inputs of a span of sessions, point in time, through Feast's service `dual_stream`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from datetime import date

    from fpm.store.ledger.stores import Stores

SERVICE = "dual_stream"
TABLES = ("fingerprints", "daily_bars", "daily_factors")


def dual_stream(stores: Stores, first: date, last: date, vintage: str) -> pl.DataFrame:
    """Fingerprints of `vintage`, daily bars and factors of `first` to `last`, both inclusive.

    Known at the stores' `known_at`. Columns symbol, session, vintage and those of the service. Only symbol-sessions
    that have a row in every table: Feast would otherwise carry an older session's value over, up to its time to live.
    Feast is asked for symbols as delivered; its answer is under the names of the stores (`Stores.named`).
    """
    from fpm.store.retrieval import features  # takes seconds to import

    delivered = stores.as_delivered()
    entities = _present(delivered, TABLES[0], first, last, vintage)
    for table in TABLES[1:]:
        entities = entities.join(_present(delivered, table, first, last, None), on=["session", "symbol"], how="semi")
    entities = entities.sort("session", "symbol").with_columns(pl.lit(vintage).alias("vintage"))
    return stores.under_names(features.frame(stores.settings, SERVICE, entities, stores.known_at))


def _present(stores: Stores, table: str, first: date, last: date, vintage: str | None) -> pl.DataFrame:
    return stores.read(table, first, last, columns=["symbol"], vintage=vintage)
