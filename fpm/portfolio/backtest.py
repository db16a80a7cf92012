"""Backtest of weights: fills in the next session, names that cannot trade, costs, daily compounding.

Targets set at the close of a rebalance session are traded at the next session's vwap. All prices are adjusted, so
splits and dividends do not show as returns. Shapes: T sessions, N symbols.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from fpm.evaluation.groups import geometric_annual, max_drawdown
from fpm.panels import Floats, pivot, pivots

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from numpy.typing import NDArray

LOCKED = 1e-4  # share of its limit within which a price is at the limit (prices may be stored as float32)
VWAP_SLACK = 1e-3  # share by which amount / volume may leave [low, high]; beyond it the units must be wrong


@dataclass(frozen=True)
class BacktestConfig:
    """Settings of the backtest.

    `cost`: share of the traded value for a purchase and its sale together. `annualise_from`: sessions that yearly
    figures need.
    """

    cost: float = 0.003
    sessions_per_year: int = 252
    annualise_from: int = 20


@dataclass(frozen=True)
class Prices:
    """Adjusted prices and tradability. `close_TN` is carried forward, `fill_TN` is NaN where nothing trades."""

    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    close_TN: Floats
    fill_TN: Floats
    buyable_TN: NDArray[np.bool_]
    sellable_TN: NDArray[np.bool_]


@dataclass(frozen=True)
class Book:
    """Positions: shares in adjusted units, and cash. The total value starts at 1."""

    share_N: Floats
    cash: float

    def value(self, price_N: Floats) -> float:
        """Total value at `price_N`; a position without a price counts as 0."""
        return float(np.where(self.share_N != 0, self.share_N * np.nan_to_num(price_N), 0.0).sum()) + self.cash


@dataclass(frozen=True)
class Performance:
    """The six figures of the source report's table and those behind them; yearly ones are None for short histories.

    Excess figures compound the daily differences to the benchmark. `curve`: session, portfolio, benchmark and excess,
    each starting at 1 at the first close after the first purchase, which is not charged. `turnover`: two-sided traded
    value per rebalance. `blocked`: share of the intended trades that the market did not allow.
    """

    sessions: int
    rebalances: int
    total_return: float | None
    total_excess: float | None
    annual_return: float | None
    annual_excess: float | None
    tracking_error: float | None
    information_ratio: float | None
    monthly_win_rate: float | None
    max_drawdown: float | None
    turnover: float | None
    blocked: float | None
    curve: tuple[tuple[date, float, float, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values of the fields, dates as ISO text."""
        figures = asdict(self)
        return {**figures, "curve": [[session.isoformat(), *values] for session, *values in self.curve]}


@dataclass(frozen=True)
class Trade:
    """One rebalance: the book after it; `traded` (two-sided) and `blocked` value as shares of the book's value."""

    book: Book
    traded: float
    blocked: float


def prices(daily: pl.DataFrame) -> Prices:
    """Adjusted closes, fills and tradability from `daily_bars` rows with their session.

    The fill is the vwap = amount / volume where it lies between low and high, else the open. Nothing trades while
    suspended or without volume. In a session spent wholly at a limit, nothing can be bought at the upper limit or sold
    at the lower one.
    """
    sessions = tuple(sorted(daily["session"].unique().to_list()))
    symbols = tuple(sorted(daily["symbol"].unique().to_list()))
    factor, vwap = pl.col("adj_factor").fill_null(1.0), pl.col("amount") / pl.col("volume")
    fair = vwap.is_between(pl.col("low") * (1 - VWAP_SLACK), pl.col("high") * (1 + VWAP_SLACK)).fill_null(False)
    trades = (pl.col("volume") > 0).fill_null(False) & ~pl.col("suspended").fill_null(False)
    up = (pl.col("low") >= pl.col("limit_up") * (1 - LOCKED)).fill_null(False)
    down = (pl.col("high") <= pl.col("limit_down") * (1 + LOCKED)).fill_null(False)
    rows = daily.select(
        "session",
        "symbol",
        (pl.col("close") * factor).alias("close"),
        pl.when(trades).then(pl.when(fair).then(vwap).otherwise(pl.col("open")) * factor).alias("fill"),
        (trades & ~up).alias("buyable"),
        (trades & ~down).alias("sellable"),
    )
    panel = pivots(rows, ("close", "fill", "buyable", "sellable"), sessions, symbols)
    can_fill_TN = np.isfinite(panel["fill"])
    return Prices(
        sessions,
        symbols,
        _carried(panel["close"]),
        panel["fill"],
        (panel["buyable"] == 1) & can_fill_TN,
        (panel["sellable"] == 1) & can_fill_TN,
    )


def _carried(price_TN: Floats) -> Floats:
    """Last known price of every symbol (T, N); NaN before its first."""
    known_TN = np.isfinite(price_TN)
    last_TN = np.maximum.accumulate(np.where(known_TN, np.arange(len(price_TN))[:, None], 0), axis=0)
    return np.asarray(np.take_along_axis(price_TN, last_TN, axis=0), dtype=np.float64)


def backtest(
    targets: pl.DataFrame, benchmark: pl.DataFrame, daily: pl.DataFrame, config: BacktestConfig | None = None
) -> Performance:
    """Performance of following `targets` against `benchmark`, both with session, symbol and weight.

    `targets` has the rebalance sessions, `benchmark` every session, `daily` the daily_bars of all these sessions and of
    those after each rebalance.
    """
    config = config or BacktestConfig()
    market = prices(daily)
    rebalances = sorted(targets["session"].unique().to_list())
    target_TN = np.nan_to_num(pivot(targets, "weight", market.sessions, market.symbols))
    index_TN = np.nan_to_num(pivot(benchmark, "weight", market.sessions, market.symbols))
    rebalance_T = np.isin(np.array(market.sessions, dtype="datetime64[D]"), np.array(rebalances, dtype="datetime64[D]"))
    if not rebalance_T[:-1].any():
        return _performance([], [], config)
    start = int(np.flatnonzero(rebalance_T)[0]) + 1
    value_T, trades = _follow(market, target_TN, rebalance_T, start, config)
    own = value_T[1:] / value_T[:-1] - 1
    theirs = benchmark_returns(market, index_TN)[start + 1 :]
    days = list(zip(market.sessions[start:], [0.0, *own.tolist()], [0.0, *theirs.tolist()], strict=True))
    return _performance(days, trades, config)


def _follow(
    market: Prices, target_TN: Floats, rebalance_T: NDArray[np.bool_], start: int, config: BacktestConfig
) -> tuple[Floats, list[Trade]]:
    """Value at every close from session number `start` on, and every trade."""
    book, trades, values = Book(np.zeros(len(market.symbols)), 1.0), [], []
    for index in range(start, len(market.sessions)):
        if rebalance_T[index - 1]:
            cost = 0.0 if index == start else config.cost / 2
            trade = rebalance(book, target_TN[index - 1], market, index, cost)
            book = trade.book
            trades.append(trade)
        values.append(book.value(market.close_TN[index]))
    return np.array(values), trades


def rebalance(book: Book, target_N: Floats, market: Prices, index: int, cost: float) -> Trade:
    """Trade towards weights `target_N` at the fills of session number `index`; `cost` is a share of each side.

    What cannot be sold stays, what cannot be bought stays cash, and purchases shrink to the cash available.
    """
    fill_N = market.fill_TN[index]
    before_N = market.close_TN[max(index - 1, 0)]
    mark_N = np.nan_to_num(np.where(np.isfinite(fill_N), fill_N, before_N))
    value = book.value(mark_N)
    intended_N = target_N * value - book.share_N * mark_N
    sold_N = np.where(market.sellable_TN[index], np.maximum(-intended_N, 0.0), 0.0)
    bought_N = np.where(market.buyable_TN[index], np.maximum(intended_N, 0.0), 0.0)
    cash = book.cash + float(sold_N.sum()) * (1 - cost)
    needed = float(bought_N.sum()) * (1 + cost)
    bought_N = bought_N * (min(1.0, cash / needed) if needed > 0 else 0.0)
    share_N = book.share_N + np.divide(bought_N - sold_N, mark_N, out=np.zeros_like(mark_N), where=mark_N > 0)
    traded, intended = float(bought_N.sum() + sold_N.sum()), float(np.abs(intended_N).sum())
    spent = float(bought_N.sum()) * (1 + cost)
    return Trade(Book(share_N, cash - spent), traded / value, max(0.0, intended - traded) / value)


def benchmark_returns(market: Prices, index_TN: Floats) -> Floats:
    """Return of the index in each session at the weights of the previous close (T,); 0 for the first."""
    return_TN = np.zeros_like(market.close_TN)
    return_TN[1:] = np.nan_to_num(market.close_TN[1:] / market.close_TN[:-1] - 1)
    total_T = index_TN.sum(axis=1)
    gain_T = np.zeros(len(index_TN))
    gain_T[1:] = (index_TN[:-1] * return_TN[1:]).sum(axis=1) / np.where(total_T[:-1] > 0, total_T[:-1], 1.0)
    return gain_T


def _performance(days: list[tuple[date, float, float]], trades: list[Trade], config: BacktestConfig) -> Performance:
    """Figures of days (session, portfolio return, benchmark return); the first day only starts the curves."""
    own, theirs = (np.array([day[column] for day in days[1:]], dtype=np.float64) for column in (1, 2))
    gap, enough = own - theirs, len(own) >= config.annualise_from
    excess = geometric_annual(gap, config.sessions_per_year) if enough else None
    deviation = float(gap.std(ddof=1)) * sqrt(config.sessions_per_year) if enough else None
    later = trades[1:]
    intended = sum(trade.traded + trade.blocked for trade in trades)
    curves = [np.concatenate([[1.0], np.cumprod(1 + series)]).tolist() for series in (own, theirs, gap)]
    return Performance(
        sessions=len(own),
        rebalances=len(trades),
        total_return=float(np.prod(1 + own) - 1) if len(own) else None,
        total_excess=float(np.prod(1 + gap) - 1) if len(own) else None,
        annual_return=geometric_annual(own, config.sessions_per_year) if enough else None,
        annual_excess=excess,
        tracking_error=deviation,
        information_ratio=excess / deviation if excess is not None and deviation else None,
        monthly_win_rate=monthly_win_rate([day[0] for day in days[1:]], gap),
        max_drawdown=max_drawdown(gap),
        turnover=float(np.mean([trade.traded for trade in later])) if later else None,
        blocked=sum(trade.blocked for trade in trades) / intended if intended > 0 else None,
        curve=tuple((day[0], *values) for day, *values in zip(days, *curves, strict=True)) if days else (),
    )


def monthly_win_rate(sessions: Sequence[date], gap: Floats) -> float | None:
    """Share of calendar months with compounded daily differences `gap` above zero; None without sessions."""
    months: dict[tuple[int, int], float] = {}
    for session, difference in zip(sessions, gap.tolist(), strict=True):
        key = (session.year, session.month)
        months[key] = months.get(key, 1.0) * (1 + difference)
    return float(np.mean([growth > 1 for growth in months.values()])) if months else None
