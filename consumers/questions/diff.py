"""What changed between two moments of knowledge: which rows of which tables, and which scores moved by how much."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from consumers.questions.stock_days import require_session
from fpm.errors import TryLater, UsageError
from fpm.schema import CLOCKS, TABLES
from fpm.store.lake.files import latest, parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, datetime
    from pathlib import Path

    from fpm.store.ledger.stores import Stores
    from fpm.table import Table

EVENT, CREATED = CLOCKS
SCORES = TABLES["scores"]
MOVED = {
    "session": pl.Date,
    "symbol": pl.String,
    "stream": pl.String,
    "before": pl.Float64,
    "after": pl.Float64,
    "moved": pl.Float64,
}


@dataclass(frozen=True)
class Change:
    """One partition: rows `new` since the first moment, and older rows that `changed` by a later version."""

    table: str
    session: date
    vintage: str | None
    new: int
    changed: int

    def to_dict(self) -> dict[str, Any]:
        """As a JSON document."""
        return asdict(self) | {"session": str(self.session)}


@dataclass(frozen=True)
class Diff:
    """What became known after `before` and by `after`.

    `scores`: session, symbol, stream, before, after, moved; the largest move first, withdrawn scores last.
    """

    before: datetime
    after: datetime
    changes: tuple[Change, ...]
    scores: pl.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """As a JSON document."""
        moved = self.scores.with_columns(pl.col("session").cast(pl.String)).to_dicts()
        moments = {"before": self.before.isoformat(), "after": self.after.isoformat()}
        return {**moments, "tables": [change.to_dict() for change in self.changes], "scores": moved}


def diff(before: datetime, after: datetime, session: date | None, stores: Stores) -> Diff:
    """Everything that became known after `before` and by `after`, of one session or of all.

    The ledger says which files hold such knowledge; only they are opened.
    Raises UsageError for moments in the wrong order or a day without trading, TryLater for a session with no table.
    """
    if before >= after:
        raise UsageError(
            code="FPM-DIF-001",
            wrong=f"{before} is not before {after}",
            effect="nothing was read",
            todo="give the earlier first",
        )
    changes, scores = [], [pl.DataFrame(schema=MOVED)]
    for table, day, vintage, path in _files(before, after, session, stores):
        values = ["score"] if table is SCORES else []
        rows = stores.lake.decode(path, [*table.keys, *CLOCKS, *values])
        then, now = latest(table, rows, before), latest(table, rows, after)
        changes.append(_change(table, day, vintage, then, now.filter(pl.col(CREATED) > before)))
        if table is SCORES:
            scores.append(_moved(day, then, now))
    largest_first = pl.concat(scores).sort(-pl.col("moved").abs(), "session", *SCORES.keys, nulls_last=True)
    return Diff(before, after, tuple(changes), largest_first)


def _files(
    before: datetime, after: datetime, session: date | None, stores: Stores
) -> Iterator[tuple[Table, date, str | None, Path]]:
    """Published partitions with knowledge from between the moments, in the order of the tables, then by path."""
    if session:
        require_session(session, stores.market, code="FPM-DIF-002", effect="nothing was read")
    published = stores.ledger.current(list(TABLES), session, session)
    if not published:
        raise TryLater(
            code="FPM-DIF-075",
            wrong=f"nothing of {session or 'any session'} is stored",
            effect="nothing was read",
            todo="ingest its bars and run its jobs",
        )
    news = [path for path, file in published.items() if any(before < moment <= after for moment in file.knowledge)]
    for path in sorted(news, key=lambda path: (list(TABLES).index(parse(path)[0]), path)):
        table, vintage, day = parse(path)
        yield TABLES[table], day, vintage, stores.lake.root / path


def _change(table: Table, session: date, vintage: str | None, then: pl.DataFrame, later: pl.DataFrame) -> Change:
    """Count the `later` versions, in force at the second moment, that replace a row known `then`, at the first."""
    changed = later.join(then, on=[*table.keys, EVENT], how="semi").height
    return Change(table.name, session, vintage, later.height - changed, changed)


def _moved(session: date, then: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """Scores known at both moments that differ; a withdrawn one has no `after`."""
    keys = list(SCORES.keys)
    both = then.select(*keys, before="score").drop_nulls("before").join(now.select(*keys, after="score"), on=keys)
    moved = both.filter(pl.col("before").ne_missing(pl.col("after")))
    return moved.select(pl.lit(session).alias("session"), pl.all(), moved=pl.col("after") - pl.col("before"))
