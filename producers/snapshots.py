"""Snapshots of a list that is no table by session (symbols, restrictions): each is in force from when it is known."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from fpm.first_copies import NOTES, known_from
from fpm.ingest.revisions import revise
from fpm.sessions import close, cut_off, previous_sessions
from fpm.store.jobs.publishing import Partition, attempt, ownership, publish, stage
from fpm.store.lake.files import TYPES, instant, latest
from fpm.store.ledger.stores import Output

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from fpm.first_copies import Rule
    from fpm.markets import Market
    from fpm.store.ledger.stores import Stores
    from fpm.table import Table


def last_session(moment: datetime, market: Market) -> date:
    """The last session whose cut-off had passed."""
    tomorrow = moment.astimezone(market.zone).date() + timedelta(days=1)
    return [day for day in previous_sessions(market, tomorrow, 30) if cut_off(market, day) <= moment][-1]


def publish_snapshot(
    table: Table,
    session: date,
    rows: pl.DataFrame,
    rule: Rule,
    arrival: datetime,
    stores: Stores,
    words: Sequence[str] = (),
) -> bool:
    """Publish one snapshot (the columns of `table`) under the table's name as job; False where it was known before.

    `words` are noted in the ledger. Rows of the partition that the snapshot lacks get a version without values; so do
    all rows of the snapshot before where a list became empty, because a file without rows would say nothing.
    """
    partition, limit = Partition(table.name, session), cut_off(stores.market, session)
    with ownership(partition, stores):
        files = stores.lake.files(table.name, session, session)
        stored = stores.lake.decode(files[0][1]) if files else None
        moment = max(limit, arrival) if files else known_from(rule, limit, arrival)
        former = stores.as_of(moment).as_delivered().snapshot(table.name)
        if former.sort(*table.keys).equals(rows.sort(*table.keys)):
            return False
        earlier = former if rows.is_empty() and stored is None else known(table, stored, moment)
        snapshot = pl.concat([rows, withdrawn(table, earlier, rows)])
        incoming = snapshot.with_columns(event_timestamp=instant(close(stores.market, session)))
        frame = revise(stored, incoming, table.keys, moment, moment)
        with attempt(partition, "", stores) as this_attempt:
            if remarks := [*([NOTES[rule]] if stored is None else []), *words]:
                stores.ledger.note(this_attempt, "; ".join(remarks))
            output = Output(table.name, session, None, frame)
            publish(partition, this_attempt, stage(partition, [output], stores), stores)
    return True


def known(table: Table, stored: pl.DataFrame | None, moment: datetime) -> pl.DataFrame:
    """The rows of a partition that had values at a moment, with the columns of `table`."""
    rows = pl.DataFrame(schema={name: TYPES[kind] for name, kind in table.columns.items()})
    if stored is not None:
        rows = latest(table, stored, moment).select(*table.columns)
    return rows.filter(pl.any_horizontal(pl.col(*_values(table)).is_not_null()))


def withdrawn(table: Table, before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """The rows of `before` that `after` lacks, without values."""
    gone = before.join(after, on=list(table.keys), how="anti", maintain_order="left")
    return gone.with_columns(pl.lit(None, TYPES[table.columns[name]]).alias(name) for name in _values(table))


def _values(table: Table) -> list[str]:
    return [name for name in table.columns if name not in table.keys]
