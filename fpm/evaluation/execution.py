"""Returns of a score on each execution basis, and the names that could be bought.

A score of session t is known after its close, so the first prices to act on are those of t+1. The return from the
close of t itself is shown only to expose what that impossible basis would claim. Shapes: T sessions, N symbols.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.panels import Floats, pivots

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from fpm.evaluation.rank_ic import Flags

# name -> (price column, sessions from t to the purchase)
BASES = {"close": ("close", 0), "next open": ("open", 1), "next close": ("close", 1), "next vwap": ("vwap", 1)}
TICK = 1e-6  # share of a price by which a close at its limit may miss it through rounding


@dataclass(frozen=True)
class ExecutionPrices:
    """Adjusted prices (T, N) by column, and whether a name could be bought at the close, by consecutive session.

    `traded_TN`: 1 where a name traded. `amount_TN`: value traded in money. `universe`: number of names that traded, of
    all symbols with bars.
    """

    sessions: tuple[date, ...]
    prices: dict[str, Floats]
    buyable_TN: Flags
    traded_TN: Floats
    amount_TN: Floats
    universe: dict[date, int]


def execution_prices(daily: pl.DataFrame, symbols: Sequence[str]) -> ExecutionPrices:
    """Panels of daily bars (session, symbol, open, close, volume, amount, adj_factor, suspended, limit_up).

    A name can be bought when it trades and does not close at its upper limit.
    """
    sessions = sorted(daily["session"].unique().to_list())
    traded = ~pl.col("suspended").fill_null(False) & (pl.col("volume") > 0)
    at_limit = (pl.col("limit_up") > 0) & (pl.col("close") >= pl.col("limit_up") * (1 - TICK))
    adjust = pl.when(traded).then(pl.col("adj_factor").fill_null(1.0))
    rows = daily.select(
        "session",
        "symbol",
        open=pl.col("open") * adjust,
        close=pl.col("close") * adjust,
        vwap=pl.col("amount") / pl.col("volume") * adjust,
        buyable=(traded & ~at_limit.fill_null(False)).cast(pl.Float64),
        traded=traded.cast(pl.Float64),
        amount=pl.when(traded).then("amount"),
    )
    panels = pivots(rows, ("open", "close", "vwap", "buyable", "traded", "amount"), sessions, symbols)
    buyable_TN, traded_TN, amount_TN = (panels.pop(name) for name in ("buyable", "traded", "amount"))
    universe = dict(rows.filter(pl.col("traded") == 1).group_by("session").len().rows())
    return ExecutionPrices(tuple(sessions), panels, buyable_TN == 1, traded_TN, amount_TN, universe)


def returns_on(basis: str, prices: ExecutionPrices, sessions: Sequence[date], horizon: int) -> Floats:
    """Return from buying on `basis` and selling `horizon` sessions later, of each of `sessions` (T, N).

    NaN where a price is missing or the sessions do not reach.
    """
    column, later = BASES[basis]
    price_TN, calendar = prices.prices[column], prices.sessions
    return shift(price_TN, calendar, sessions, later + horizon) / shift(price_TN, calendar, sessions, later) - 1


def fillable(prices: ExecutionPrices, sessions: Sequence[date]) -> Flags:
    """Names that could be bought at the close of the session after each of `sessions` (T, N)."""
    return np.asarray(shift(np.where(prices.buyable_TN, 1.0, np.nan), prices.sessions, sessions, 1) == 1)


def shift(values_TN: Floats, calendar: Sequence[date], sessions: Sequence[date], later: int) -> Floats:
    """Values `later` sessions of `calendar` after each of `sessions`; NaN where there are none (T, N)."""
    position = {session: t for t, session in enumerate(calendar)}
    padded_TN = np.vstack([values_TN, np.full((1, values_TN.shape[1]), np.nan)])
    missing = len(values_TN)
    rows = [min(position[session] + later, missing) if session in position else missing for session in sessions]
    return np.asarray(padded_TN[rows])
