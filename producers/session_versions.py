"""A session's rows of a raw table in all their versions: what is stored and what a delivery adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from fpm.ingest.index_weights import with_former_members
from fpm.ingest.revisions import revise
from fpm.schema import TABLES
from fpm.sessions import UTC, close, moment
from fpm.store.lake.files import CLOCK, instant, latest, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from fpm.markets import Market
    from fpm.store.ledger.stores import Stores


@dataclass(frozen=True)
class Moments:
    """From when one session's rows are known: `correction` those of a table already there, `first` those of another.

    `recorded`: table -> the moment from which the ledger has its first copy known, whether or not the file is lost.
    """

    cut_off: datetime
    first: datetime
    correction: datetime
    recorded: Mapping[str, datetime]

    def first_known(self, table: str) -> datetime:
        """From when the first copy of a table is known; one that is delivered again keeps its moment."""
        return self.recorded.get(table, self.first)


def recorded_first(session: date, tables: Sequence[str], stores: Stores) -> dict[str, datetime]:
    """Table -> the moment from which the ledger has the first copy of a session known."""
    files = stores.ledger.current(list(tables), session, session).values()
    return {parse(file.path)[0]: min(file.knowledge).astimezone(UTC) for file in files if file.knowledge}


def revised(name: str, session: date, rows: pl.DataFrame, moments: Moments, stores: Stores) -> pl.DataFrame:
    """All versions of a table's rows of one session after a delivery of `rows`."""
    table = TABLES[name]
    files = stores.lake.files(name, session, session)
    stored = stores.lake.decode(files[0][1]) if files else None
    rows = rows.drop("source", "row", strict=False)
    if stored is not None and name == "index_members":
        rows = with_former_members(rows, latest(table, stored, None))
    incoming = rows.with_columns(_events(name, session, stores.market).alias("event_timestamp"))
    earliest = moments.cut_off if files else moments.first_known(name)
    return revise(stored, incoming, table.keys, earliest, moments.correction)


def _events(name: str, session: date, market: Market) -> pl.Expr:
    if name != "minute_bars":
        return instant(close(market, session))
    ends = [moment(market, session, minute) for minute in market.slots]
    return pl.col("slot").replace_strict(list(range(len(ends))), ends, return_dtype=CLOCK)
