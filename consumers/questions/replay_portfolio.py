"""A portfolio's session computed again: book, decision and orders from what the store knew then, against the stored.

Nothing is written. The mandate is today's file: a mandate that was changed since shows as a difference.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from consumers import portfolio
from consumers.parity import Parity, compare
from consumers.publish import standing
from consumers.questions.stock_days import require_session
from fpm.errors import UsageError
from fpm.schema import TABLES
from fpm.sessions import cut_off

if TYPE_CHECKING:
    from datetime import date, datetime

    from fpm.store.ledger.stores import Stores

COMPARED = ("decisions", "orders", "targets", "weights", "trades", "blocked", "actions", "holdings", "nav")


@dataclass(frozen=True)
class PortfolioReplay:
    """One session as known at one moment; `tables` compares stored and rebuilt rows."""

    session: date
    known_at: datetime
    tables: dict[str, Parity]

    @property
    def equal(self) -> bool:
        """Whether every table is equal."""
        return all(parity.equal for parity in self.tables.values())

    def to_dict(self) -> dict[str, Any]:
        """As a JSON document; `missing`: stored, not rebuilt; `extra`: rebuilt, not stored; `different`: cells."""
        rows = [
            {"table": table, "answer": "equal" if parity.equal else "different"}
            | {name: value for name, value in asdict(parity).items() if name not in ("view", "cells")}
            for table, parity in self.tables.items()
        ]
        return {"session": str(self.session), "known_at": self.known_at.isoformat(), "equal": self.equal, "rows": rows}


def replay_portfolio(session: date, known_at: datetime | None, stores: Stores) -> PortfolioReplay:
    """Rebuild a session's portfolio rows as known at `known_at` (default: its cut-off), and compare them.

    Raises UsageError for a day without trading or a moment before the first rows were known, TryLater where the session
    has no portfolio, StoreCorrupt where a file is not what was recorded.
    """
    require_session(session, stores.market, code="FPM-RPL-001", effect="nothing was replayed")
    moment = known_at or cut_off(stores.market, session)
    then = stores.as_of(moment)
    stored = {table: _stored(table, session, then) for table in COMPARED}
    if stored["weights"].is_empty():
        raise UsageError(
            code="FPM-RPL-003",
            wrong=f"no portfolio of {session} was known at {moment}",
            effect="nothing was replayed",
            todo="give a later moment, or see in `fpm status` what the session lacks",
        )
    own = then.named(session)
    portfolio.run(session, own)
    rebuilt = {output.table: output.frame for output in own.outputs}
    return PortfolioReplay(
        session, moment, {table: compare(table, stored[table], _plain(table, rebuilt[table])) for table in COMPARED}
    )


def _stored(table: str, session: date, then: Stores) -> pl.DataFrame:
    then.verify(table, session)
    return standing(table, _plain(table, then.read(table, session)))


def _plain(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The declared columns, NaN as null, as the lake keeps them."""
    absent = [pl.lit(None).alias(name) for name in TABLES[table].columns if name not in rows.columns]
    return rows.with_columns(absent).select(*TABLES[table].columns).fill_nan(None)
