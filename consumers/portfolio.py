"""Index-enhanced weights of a session: optimised at the last session of a week, drifting with prices in between.

Weights are targets: what a portfolio that could always trade would hold. The backtest decides what trading allows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.panels import Floats, pivot
from fpm.portfolio import risk
from fpm.portfolio.backtest import Prices, prices
from fpm.portfolio.optimise import PRESETS, SHADOW_TOLERANCE, Candidates, Solution, drift, optimise
from fpm.sessions import next_sessions, previous_sessions
from fpm.store.jobs.inputs import Window
from fpm.store.log import log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.markets import Market
    from fpm.store.ledger.stores import Stores
    from fpm.store.settings import Settings

STREAM = "dual"
EVERY_NAME = "ALL"  # built-in index for data without index_members: equal weight over what the session trades
SNAPSHOT_AGE = 30  # sessions within which the last index snapshot must lie
GAP = 10  # sessions over which weights are carried when sessions between were not run
GONE_AFTER = 20  # a name without a bar for so many sessions leaves the portfolio at its last price


def _risk_window(settings: Settings) -> int:
    return risk.PRESETS[settings.preset].window


NAME = "portfolio"
READS = {
    "scores": Window(),
    "daily_factors": Window(),
    "daily_bars": Window(back=_risk_window),
    "index_members": Window(back=SNAPSHOT_AGE, required=False),
    "weights": Window(back=GAP, include=False, required=False),
}
WRITES = ("weights",)


@dataclass(frozen=True)
class Decision:
    """Weights of one index at one session; `solution` is None between rebalances."""

    index: str
    frame: pl.DataFrame
    solution: Solution | None


@dataclass(frozen=True)
class RebalanceInputs:
    """What the decisions of every index share in one session.

    `market` ends at the session; arrays are over its symbols.
    """

    session: date
    market: Prices
    score_N: Floats
    log_size_N: Floats
    industry_N: np.ndarray[tuple[int], np.dtype[np.str_]]
    is_gone_N: np.ndarray[tuple[int], np.dtype[np.bool_]]
    risk: risk.Risk


def run(session: date, stores: Stores) -> None:
    """Write the session's weights of every index."""
    rows = []
    for decision in decisions(session, stores):
        _log(decision)
        rows.append(decision.frame)
    stores.write("weights", session, pl.concat(rows))


def decisions(session: date, stores: Stores) -> list[Decision]:
    """Weights of every index at a session, with the optimiser's solution where it is a rebalance."""
    stores = stores.named(session)
    inputs = _inputs(session, stores)
    first = previous_sessions(stores.market, session, SNAPSHOT_AGE)[0]
    members = stores.read("index_members", first, session, columns=["index", "symbol", "weight"])
    holdings = stores.read("weights", *_span(stores.market, session, GAP), columns=["index", "symbol", "weight"])
    indices = sorted(members["index"].unique().to_list()) or [EVERY_NAME]
    return [_decide(index, inputs, members, holdings, stores) for index in indices]


def is_rebalance(market: Market, session: date) -> bool:
    """Whether the calendar's next session lies in another ISO week."""
    return next_sessions(market, session, 1)[0].isocalendar()[:2] != session.isocalendar()[:2]


def rebalance_sessions(sessions: Sequence[date], market: Market) -> list[date]:
    """The first of the sessions, which starts the portfolio, and every rebalance after it."""
    return [session for session in sessions if session == sessions[0] or is_rebalance(market, session)]


def _span(market: Market, session: date, back: int) -> tuple[date, date]:
    """First and last of the `back` sessions before `session`."""
    before = previous_sessions(market, session, back)
    return before[0], before[-1]


def _inputs(session: date, stores: Stores) -> RebalanceInputs:
    config = risk.PRESETS[stores.settings.preset]
    daily = stores.read("daily_bars", previous_sessions(stores.market, session, config.window)[0], session)
    market = prices(daily)
    scores = stores.read("scores", session, columns=["symbol", "stream", "score"]).filter(pl.col("stream") == STREAM)
    sizes = stores.read("daily_factors", session, columns=["symbol", "log_size"])
    today = daily.filter(pl.col("session") == session)
    industry = dict(zip(today["symbol"].to_list(), today["industry"].fill_null("").to_list(), strict=True))
    return RebalanceInputs(
        session,
        market,
        pivot(scores, "score", [session], market.symbols)[0],
        pivot(sizes, "log_size", [session], market.symbols)[0],
        np.array([industry.get(symbol, "") for symbol in market.symbols], dtype=np.str_),
        _is_gone(daily, session, market),
        risk.covariance(_returns(market), config),
    )


def _returns(market: Prices) -> Floats:
    """Daily returns (T - 1, N), NaN where the symbol did not trade."""
    return_TN = market.close_TN[1:] / market.close_TN[:-1] - 1
    return np.where(np.isfinite(market.fill_TN[1:]), return_TN, np.nan)


def _is_gone(daily: pl.DataFrame, session: date, market: Prices) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Names delisted by the session, or without a bar for `GONE_AFTER` sessions."""
    recent = daily.filter(pl.col("session").is_in(list(market.sessions[-GONE_AFTER:])))
    alive = recent.filter((pl.col("delist_date") > session).fill_null(True) | (pl.col("session") == session))
    return ~np.isin(np.array(market.symbols), alive["symbol"].unique().to_numpy())


def _decide(
    index: str, inputs: RebalanceInputs, members: pl.DataFrame, holdings: pl.DataFrame, stores: Stores
) -> Decision:
    """Optimise at a rebalance or where nothing is held yet; let the holding drift otherwise."""
    benchmark_N = _benchmark(index, inputs, members)
    own = holdings.filter(pl.col("index") == index)
    holding_N = np.where(inputs.is_gone_N, 0.0, _carried(own, inputs.market))
    if holding_N.sum() > 0 and not is_rebalance(stores.market, inputs.session):
        return Decision(index, _frame(index, inputs.market, holding_N / holding_N.sum(), benchmark_N), None)
    config = replace(PRESETS[stores.settings.preset], sessions_per_year=stores.market.sessions_per_year)
    solution = optimise(_candidates(inputs, benchmark_N, holding_N), config.bounds_for(index), config)
    return Decision(index, _frame(index, inputs.market, solution.weight_N, benchmark_N), solution)


def _candidates(inputs: RebalanceInputs, benchmark_N: Floats, holding_N: Floats) -> Candidates:
    market = inputs.market
    return Candidates(
        market.symbols,
        inputs.score_N,
        benchmark_N,
        holding_N,
        market.buyable_TN[-1] & market.sellable_TN[-1],
        inputs.industry_N,
        risk.size_exposure(inputs.log_size_N, benchmark_N),
        inputs.risk,
    )


def _benchmark(index: str, inputs: RebalanceInputs, members: pl.DataFrame) -> Floats:
    """Index weights at the session: the last snapshot drifted by prices; for `ALL`, equal over what trades."""
    market = inputs.market
    if index == EVERY_NAME:
        trading_N = np.isfinite(market.fill_TN[-1]) & ~inputs.is_gone_N
        return np.asarray(trading_N / max(1, int(trading_N.sum())), dtype=np.float64)
    own = members.filter(pl.col("index") == index)
    return _carried(own, market)


def _carried(weights: pl.DataFrame, market: Prices) -> Floats:
    """The newest weights in `weights`, drifted by prices to the market's last session; zeros if there are none.

    Names without a price are left out; the others sum to one.
    """
    if weights.is_empty():
        return np.zeros(len(market.symbols))
    from_session = weights["session"].max()
    assert isinstance(from_session, date)
    start_N = np.nan_to_num(pivot(weights, "weight", [from_session], market.symbols)[0])
    earlier = [index for index, session in enumerate(market.sessions) if session <= from_session]
    before_N = market.close_TN[earlier[-1] if earlier else 0]
    start_N = np.where(np.isfinite(market.close_TN[-1]), start_N, 0.0)
    return drift(start_N, market.close_TN[-1] / before_N - 1)


def _frame(index: str, market: Prices, weight_N: Floats, benchmark_N: Floats) -> pl.DataFrame:
    """Rows of the table `weights`: every name with a price, also those at 0, so that a sold name is served as 0."""
    rows = pl.DataFrame({"symbol": market.symbols, "weight": weight_N, "benchmark_weight": benchmark_N})
    priced = rows.filter(pl.Series(np.isfinite(market.close_TN[-1])))
    return priced.select("symbol", pl.lit(index).alias("index"), "weight", "benchmark_weight")


def _log(decision: Decision) -> None:
    solution = decision.solution
    if solution is None:
        return
    note = {"index": decision.index, "turnover": round(solution.turnover, 4)}
    if solution.relaxed:
        log.warning("bounds relaxed", relaxed=solution.relaxed, **note)
    shadow = {name: round(price, 4) for name, price in solution.shadow.items() if price >= SHADOW_TOLERANCE}
    log.info("rebalanced", tracking_error=round(solution.tracking_error, 4), shadow=shadow, **note)
