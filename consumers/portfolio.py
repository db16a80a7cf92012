"""Index-enhanced weights, one session at a time: decided at the last session of a week, drifting with prices between.

Weights are targets: what a portfolio that could always trade would hold. What trading allows is the backtest's matter.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from fpm.errors import TryLater, UsageError
from fpm.panels import Floats, pivot
from fpm.portfolio import risk
from fpm.portfolio.backtest import BacktestConfig, Performance, Prices, backtest, prices
from fpm.portfolio.optimise import PRESETS, Candidates, Solution, drift, optimise
from fpm.sessions import Market, next_sessions, previous_sessions
from fpm.store.jobs import runner
from fpm.store.jobs.runner import Window
from fpm.store.log import log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.progress import Progress
    from fpm.store.ledger.stores import Stores
    from fpm.store.settings import Settings

STREAM = "dual"
EVERY_NAME = "ALL"  # built-in index for data without index_members: equal weight over what the session trades
SNAPSHOT_AGE = 30  # sessions within which the last index snapshot must lie
GAP = 10  # sessions over which weights are carried when sessions between were not run
FELT = 0.0005  # shadow prices below are the solver's tolerance
GONE = 20  # a held name without a bar for so many sessions is taken as gone, at its last price


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
    """One index at one session; `solution` is None between rebalances."""

    index: str
    frame: pl.DataFrame
    solution: Solution | None


@dataclass(frozen=True)
class Night:
    """What every index's decision of one session shares. `market` ends at the session; arrays are over its symbols."""

    session: date
    market: Prices
    score_N: Floats
    log_size_N: Floats
    industry_N: np.ndarray[tuple[int], np.dtype[np.str_]]
    gone_N: np.ndarray[tuple[int], np.dtype[np.bool_]]
    risk: risk.Risk


def run(session: date, stores: Stores) -> None:
    """Write the session's weights of every index."""
    decided = decisions(session, stores)
    for decision in decided:
        _report(decision)
    stores.write("weights", session, pl.concat([decision.frame for decision in decided]))


def decisions(session: date, stores: Stores) -> list[Decision]:
    """Weights of every index at a session, with the optimiser's answer where it was a rebalance."""
    night = _night(session, stores)
    first = previous_sessions(stores.market, session, SNAPSHOT_AGE)[0]
    members = stores.read("index_members", first, session, columns=["index", "symbol", "weight"])
    held = stores.read("weights", *_span(stores.market, session, GAP), columns=["index", "symbol", "weight"])
    indices = sorted(members["index"].unique().to_list()) or [EVERY_NAME]
    return [_decide(index, night, members, held, stores) for index in indices]


def is_rebalance(market: Market, session: date) -> bool:
    """Whether the calendar's next session lies in another ISO week."""
    return next_sessions(market, session, 1)[0].isocalendar()[:2] != session.isocalendar()[:2]


def _span(market: Market, session: date, back: int) -> tuple[date, date]:
    """First and last of the `back` sessions before `session`."""
    before = previous_sessions(market, session, back)
    return before[0], before[-1]


def _night(session: date, stores: Stores) -> Night:
    config = risk.PRESETS[stores.settings.preset]
    daily = stores.read("daily_bars", previous_sessions(stores.market, session, config.window)[0], session)
    market = prices(daily)
    scores = stores.read("scores", session, columns=["symbol", "stream", "score"]).filter(pl.col("stream") == STREAM)
    sizes = stores.read("daily_factors", session, columns=["symbol", "log_size"])
    today = daily.filter(pl.col("session") == session)
    industry = dict(zip(today["symbol"].to_list(), today["industry"].fill_null("").to_list(), strict=True))
    return Night(
        session,
        market,
        pivot(scores, "score", [session], market.symbols)[0],
        pivot(sizes, "log_size", [session], market.symbols)[0],
        np.array([industry.get(symbol, "") for symbol in market.symbols], dtype=np.str_),
        _gone(daily, session, market),
        risk.covariance(_returns(market), config),
    )


def _returns(market: Prices) -> Floats:
    """Daily returns (T - 1, N), NaN where the symbol did not trade."""
    return_TN = market.close_TN[1:] / market.close_TN[:-1] - 1
    return np.where(np.isfinite(market.fill_TN[1:]), return_TN, np.nan)


def _gone(daily: pl.DataFrame, session: date, market: Prices) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Names delisted by the session, or without a bar for `GONE` sessions."""
    recent = daily.filter(pl.col("session").is_in(list(market.sessions[-GONE:])))
    alive = recent.filter((pl.col("delist_date") > session).fill_null(True) | (pl.col("session") == session))
    return ~np.isin(np.array(market.symbols), alive["symbol"].unique().to_numpy())


def _decide(index: str, night: Night, members: pl.DataFrame, held: pl.DataFrame, stores: Stores) -> Decision:
    benchmark_N = _benchmark(index, night, members)
    held_N = np.where(night.gone_N, 0.0, _carried(held.filter(pl.col("index") == index), night.market))
    if held_N.sum() > 0 and not is_rebalance(stores.market, night.session):
        return Decision(index, _frame(index, night.market, held_N / held_N.sum(), benchmark_N), None)
    config = replace(PRESETS[stores.settings.preset], sessions_per_year=stores.market.sessions_per_year)
    solution = optimise(_candidates(night, benchmark_N, held_N), config.bounds_for(index), config)
    return Decision(index, _frame(index, night.market, solution.weight_N, benchmark_N), solution)


def _candidates(night: Night, benchmark_N: Floats, held_N: Floats) -> Candidates:
    market = night.market
    return Candidates(
        market.symbols,
        night.score_N,
        benchmark_N,
        held_N,
        market.buyable_TN[-1] & market.sellable_TN[-1],
        night.industry_N,
        risk.size_exposure(night.log_size_N, benchmark_N),
        night.risk,
    )


def _benchmark(index: str, night: Night, members: pl.DataFrame) -> Floats:
    """Index weights at the session: the last snapshot drifted by prices; of ALL, equal over what trades."""
    market = night.market
    if index == EVERY_NAME:
        trading_N = np.isfinite(market.fill_TN[-1]) & ~night.gone_N
        return np.asarray(trading_N / max(1, int(trading_N.sum())), dtype=np.float64)
    own = members.filter(pl.col("index") == index)
    return _carried(own, market)


def _carried(weights: pl.DataFrame, market: Prices) -> Floats:
    """The last session's weights in `weights`, drifted by prices to the market's last session; zeros if there are none.

    Names without a price are left out and the rest sums to one.
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
    """Rows of the table `weights`: every name with a price, at 0 too, so that a name sold is served as 0."""
    rows = pl.DataFrame({"symbol": market.symbols, "weight": weight_N, "benchmark_weight": benchmark_N})
    priced = rows.filter(pl.Series(np.isfinite(market.close_TN[-1])))
    return priced.select("symbol", pl.lit(index).alias("index"), "weight", "benchmark_weight")


def _report(decision: Decision) -> None:
    solution = decision.solution
    if solution is None:
        return
    note = {"index": decision.index, "turnover": round(solution.turnover, 4)}
    if solution.relaxed:
        log.warning("bounds relaxed", relaxed=solution.relaxed, **note)
    felt = {name: round(price, 4) for name, price in solution.shadow.items() if price >= FELT}
    log.info("rebalanced", tracking_error=round(solution.tracking_error, 4), shadow=felt, **note)


# --- what following the weights would have earned ---------------------------------------------------------------------


def enhance(index: str, first: date, last: date, stores: Stores, progress: Progress) -> dict[str, Any]:
    """Weights of every session from `first` to `last`, then the index's six figures; the curve is in the report.

    Raises UsageError where the sessions have no such index.
    """
    runner.backfill(sys.modules[__name__], first, last, stores, progress)
    figures = performance(index, first, last, stores).to_dict()
    return {"index": index, "first": str(first), "last": str(last)} | {
        name: value for name, value in figures.items() if name != "curve"
    }


def performance(index: str, first: date, last: date, stores: Stores) -> Performance:
    """Backtest of one index's weights as served: bought as they stand at the first session, then each week's target."""
    weights = stores.read_served("weights", first, last, columns=["symbol", "index", "weight", "benchmark_weight"])
    if weights.is_empty():
        raise TryLater(
            code="FPM-PF-075",
            wrong=f"no weights from {first} to {last}",
            effect="nothing was computed",
            todo="score these sessions first",
        )
    own = weights.filter(pl.col("index") == index)
    if own.is_empty():
        known = ", ".join(sorted(weights["index"].unique().to_list()))
        raise UsageError(
            code="FPM-PF-002",
            wrong=f"no weights for index {index!r}",
            effect="nothing was computed",
            todo=f"use one of {known}",
        )
    sessions = sorted(own["session"].unique().to_list())
    targets = own.filter(pl.col("session").is_in(decided_sessions(sessions, stores.market)))
    return backtest(
        targets.select("session", "symbol", "weight"),
        own.select("session", "symbol", weight="benchmark_weight"),
        stores.read("daily_bars", sessions[0], last),
        BacktestConfig(sessions_per_year=stores.market.sessions_per_year),
    )


def decided_sessions(sessions: Sequence[date], market: Market) -> list[date]:
    """The first of the sessions and every rebalance after it."""
    return [session for session in sessions if session == sessions[0] or is_rebalance(market, session)]
