"""What the sessions before a decision add to its rows: reasons of the past, and the tracking error realised so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fpm.portfolio.performance import realised_tracking_error
from fpm.portfolio.reasons import with_past
from fpm.sessions import previous_sessions

if TYPE_CHECKING:
    from datetime import date

    from fpm.portfolio.decide import Decided
    from fpm.portfolio.session import Step
    from fpm.store.ledger.stores import Stores

REALISED = 60  # sessions of the tracking error realised


def orders_since(
    index: str, session: date, sessions_back: int, decided: Decided, today: Step, stores: Stores
) -> pl.DataFrame:
    """The decision's orders, with the reasons `exit` and `blocked` by the rows since the last decision."""
    span = previous_sessions(stores.market, session, sessions_back)
    columns = ["symbol", "side"]
    targets = _own("targets", index, span, stores).drop_nulls("shares")
    if targets.is_empty():
        return with_past(decided.orders, set(), set(today.blocked.select(columns).iter_rows()))
    decided_at = targets["session"].max()
    left = _members(targets.filter(pl.col("session") == decided_at)) - _members(decided.targets)
    blocked = _own("blocked", index, span, stores).drop_nulls("reason").filter(pl.col("session") > decided_at)
    unfilled = pl.concat([blocked.select(columns), today.blocked.select(columns)])
    return with_past(decided.orders, left, set(unfilled.iter_rows()))


def tracking_error_realised(index: str, session: date, today: Step, stores: Stores) -> float | None:
    """Yearly, of the last `REALISED` sessions up to this one; None for fewer than 20 of them."""
    before = _own("nav", index, previous_sessions(stores.market, session, REALISED), stores).drop_nulls("nav")
    columns = ["session", "nav", "benchmark_return"]
    nav = pl.concat([before.select(columns), today.nav.select(columns)])
    return realised_tracking_error(nav, stores.market.sessions_per_year)


def _own(table: str, index: str, span: list[date], stores: Stores) -> pl.DataFrame:
    return stores.read(table, span[0], span[-1]).filter(pl.col("index") == index)


def _members(targets: pl.DataFrame) -> set[str]:
    return set(targets.filter(pl.col("benchmark_weight") > 0)["symbol"].to_list())
