"""What a score would have earned on each basis of execution, and which names could be bought at all.

A score of session t is known after its close. The first prices it can be acted on are those of t+1; a return from the
close of t itself is shown only to expose what one would believe by pretending otherwise.
Shapes: T consecutive sessions, N symbols.
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

# name -> (column of the price, sessions after t at which the position is taken)
BASES = {"close": ("close", 0), "next open": ("open", 1), "next close": ("close", 1), "next vwap": ("vwap", 1)}
TICK = 1e-6  # of a price: a close at its limit may differ from it by rounding


@dataclass(frozen=True)
class Executions:
    """Adjusted prices by column, and whether the names could be bought at the close, over consecutive sessions."""

    sessions: tuple[date, ...]
    prices: dict[str, Floats]
    buyable_TN: Flags


def executions(daily: pl.DataFrame, symbols: Sequence[str]) -> Executions:
    """From daily bars (session, symbol, open, close, volume, amount, adj_factor, suspended, limit_up).

    A name can be bought that trades and does not close at its upper limit.
    """
    sessions = sorted(daily["session"].unique().to_list())
    traded = ~pl.col("suspended").fill_null(False) & (pl.col("volume") > 0)
    at_limit = (pl.col("limit_up") > 0) & (pl.col("close") >= pl.col("limit_up") * (1 - TICK))
    adjust = pl.when(traded).then(pl.col("adj_factor").fill_null(1.0))
    told = daily.select(
        "session",
        "symbol",
        open=pl.col("open") * adjust,
        close=pl.col("close") * adjust,
        vwap=pl.col("amount") / pl.col("volume") * adjust,
        buyable=(traded & ~at_limit.fill_null(False)).cast(pl.Float64),
    )
    panels = pivots(told, ("open", "close", "vwap", "buyable"), sessions, symbols)
    buyable_TN = panels.pop("buyable") == 1
    return Executions(tuple(sessions), panels, buyable_TN)


def returns(of: Executions, sessions: Sequence[date], basis: str, horizon: int) -> Floats:
    """Return of each of `sessions` from taking a position on `basis` and leaving it `horizon` sessions later, (T, N).

    NaN where a price is missing or the sessions do not reach.
    """
    column, later = BASES[basis]
    price_TN = of.prices[column]
    return shifted(price_TN, of, sessions, later + horizon) / shifted(price_TN, of, sessions, later) - 1


def fillable(of: Executions, sessions: Sequence[date]) -> Flags:
    """Which names of each session could be bought at the close of the next."""
    return np.asarray(shifted(np.where(of.buyable_TN, 1.0, np.nan), of, sessions, 1) == 1)


def shifted(values_TN: Floats, of: Executions, sessions: Sequence[date], later: int) -> Floats:
    """The values of so many sessions after each of `sessions`; NaN where there is none."""
    place = {session: t for t, session in enumerate(of.sessions)}
    whole_TN = np.vstack([values_TN, np.full((1, values_TN.shape[1]), np.nan)])
    at = [min(place[session] + later, len(values_TN)) if session in place else len(values_TN) for session in sessions]
    return np.asarray(whole_TN[at])
