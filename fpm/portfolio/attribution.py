"""Where an excess return came from: factors, specific, costs, blocked trades, and what trading and cash left.

Daily, from the active weights at the close before and the factor returns of the day (realised attribution of Grinold
and Kahn, "Active Portfolio Management", 2nd edition 1999, chapter 17; trading and costs as lines of their own). Lines
sum to the day's excess, and linked over time to the compounded one (Carino, "Combining Attribution Effects Over Time",
Journal of Performance Measurement, summer 1999). Brinson, Hood and Beebower, "Determinants of Portfolio Performance",
Financial Analysts Journal, July 1986, stands beside it. Shapes: N symbols, K factors, T sessions, L lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.portfolio.book import closes, worth
from fpm.portfolio.costs import CENTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fpm.panels import Floats
    from fpm.portfolio.session import Evening, Step
    from fpm.risk.model import RiskModel

COUNTRY, SCORE, INDUSTRY = "country", "score", "industry:"
MONTHS = 12  # up to which periods are months
CASH = "cash"  # Brinson's group of what is not invested
LINE_SCHEMA = {"session": pl.Date, "group": pl.String, "line": pl.String, "contribution": pl.Float64}
NAME_SCHEMA = {
    "symbol": pl.String,
    **dict.fromkeys(("weight", "benchmark_weight", "blocked", "return"), pl.Float64),
}


@dataclass(frozen=True)
class Day:
    """One session as a portfolio saw it.

    `names`: symbol, weight and benchmark_weight at the close before, blocked (weight that an order did not get, less
    than 0 where a sale did not), return of the session (null counts as 0: no row). `cost`: share of the worth before.
    """

    session: date
    names: pl.DataFrame
    portfolio_return: float
    benchmark_return: float
    cost: float = 0.0

    @property
    def excess(self) -> float:
        """Return over the benchmark's."""
        return self.portfolio_return - self.benchmark_return


def group_of(factor: str) -> str:
    """The group of a factor of the risk model.

    >>> group_of("industry:Banks"), group_of("beta"), group_of("country")
    ('industry', 'style', 'country')
    """
    if factor in (COUNTRY, SCORE):
        return factor
    return "industry" if factor.startswith(INDUSTRY) else "style"


def day_of(
    outcome: Step,
    before: Evening,
    benchmark: pl.DataFrame,
    returns: pl.DataFrame,
    blocked: Mapping[str, float] | None = None,
) -> Day:
    """The day of a session's step, from what the step was given.

    `before`: the evening before. `benchmark`: symbol and weight at that close. `returns`: symbol and return
    (`session.asset_returns`). `blocked`: symbol -> worth at that close of what the decision in force asked for and did
    not get (`blocked_worth`, then `grown`).
    """
    value, close, nav = before.nav / CENTS, closes(before.last), outcome.nav.row(0, named=True)
    weights = {symbol: worth(count, close[symbol]) / CENTS / value for symbol, count in before.book.shares.items()}
    lacking = {symbol: money / value for symbol, money in (blocked or {}).items()}
    total = float(benchmark["weight"].sum()) or 1.0
    base = {symbol: weight / total for symbol, weight in benchmark.select("symbol", "weight").iter_rows()}
    gain = dict(returns.select("symbol", "return").iter_rows())
    rows = [
        (symbol, weights.get(symbol, 0.0), base.get(symbol, 0.0), lacking.get(symbol, 0.0), gain.get(symbol))
        for symbol in sorted({*weights, *base, *lacking})
    ]
    return Day(
        nav["session"],
        pl.DataFrame(rows, schema=NAME_SCHEMA, orient="row"),
        nav["nav"] / value - 1,
        nav["benchmark_return"],
        float(outcome.trades["cost"].sum()) / value,
    )


def blocked_worth(blocked: pl.DataFrame, close: Mapping[str, float]) -> dict[str, float]:
    """Symbol -> worth at the close of the fills of what orders (`Step.blocked`) did not get, negative for sales."""
    sign = pl.when(pl.col("side") == "buy").then(1).otherwise(-1)
    lacking = blocked.select("symbol", sign * (pl.col("ordered") - pl.col("filled")))
    return {symbol: count * close.get(symbol, 0.0) for symbol, count in lacking.iter_rows()}


def grown(worth: Mapping[str, float], returns: pl.DataFrame) -> dict[str, float]:
    """The worth one session later: with the returns (symbol, return), whatever split in between."""
    gain = dict(returns.select("symbol", "return").iter_rows())
    return {symbol: money * (1 + gain.get(symbol, 0.0)) for symbol, money in worth.items()}


def attribution(day: Day, model: RiskModel, factor_return: Mapping[str, float]) -> pl.DataFrame:
    """Lines of one session (session, group, line, contribution) that sum to its excess.

    `model`: exposures of the evening before; names that it lacks have none, so that they are specific.
    `factor_return`: factor -> return of the session, 0 where it is missing. Factor and specific lines are those of the
    portfolio that the decision asked for; `blocked` is what the market's refusal added, `costs` what trades paid, and
    `trading and cash` the rest: fills against closes, dividends' rounding, cash.
    """
    rows = day.names.with_columns(pl.col("return").fill_null(0.0))
    weight_N, benchmark_N, blocked_N, return_N = (
        rows[name].to_numpy().astype(np.float64) for name in ("weight", "benchmark_weight", "blocked", "return")
    )
    wanted_N = weight_N + blocked_N - benchmark_N
    exposure_NK = _exposures(model, rows["symbol"].to_list())
    factor_K = np.array([factor_return.get(name, 0.0) for name in model.factors])
    contribution_K = (wanted_N @ exposure_NK) * factor_K
    specific = float(wanted_N @ return_N) - float(contribution_K.sum())
    blocked = -float(blocked_N @ return_N)
    rest = day.excess - float((weight_N - benchmark_N) @ return_N) + day.cost
    lines = [
        *((group_of(name), name, value) for name, value in zip(model.factors, contribution_K.tolist(), strict=True)),
        ("specific", "specific", specific),
        ("blocked", "blocked trades", blocked),
        ("costs", "costs", -day.cost),
        ("trading", "trading and cash", rest),
    ]
    return pl.DataFrame([(day.session, *line) for line in lines], schema=LINE_SCHEMA, orient="row")


def _exposures(model: RiskModel, symbols: list[str]) -> Floats:
    """Exposures (N, K) of the symbols; zeros for those that the model lacks."""
    place = {symbol: number for number, symbol in enumerate(model.symbols)}
    padded_NK = np.vstack([model.exposure_NK, np.zeros((1, len(model.factors)))])
    rows_N = np.array([place.get(symbol, -1) for symbol in symbols], dtype=np.intp)
    return np.asarray(padded_NK[rows_N], dtype=np.float64)


# --- over time --------------------------------------------------------------------------------------------------------
def carino(portfolio_T: Floats, benchmark_T: Floats) -> Floats:
    """Factors (T,) by which daily lines sum to the difference of the two compounded returns (Carino 1999).

    With 0 as the benchmark and daily excess returns as the portfolio, they sum to the compounded daily differences.
    Raises ValueError for a return of -1 or less, after which nothing compounds.
    """
    if len(portfolio_T) == 0:
        return np.empty(0)
    if min(portfolio_T.min(), benchmark_T.min()) <= -1:
        raise ValueError("a return of -100 % or less cannot be linked")
    total, base = np.prod(1 + portfolio_T) - 1, np.prod(1 + benchmark_T) - 1
    return np.asarray(_log_slope(portfolio_T, benchmark_T) / _log_slope(np.array([total]), np.array([base]))[0])


def _log_slope(high_T: Floats, low_T: Floats) -> Floats:
    """(ln(1 + high) - ln(1 + low)) / (high - low), and its limit 1 / (1 + low) where the two are equal."""
    step_T = (high_T - low_T) / (1 + low_T)
    slope_T = np.divide(np.log1p(step_T), step_T, out=np.ones_like(step_T), where=step_T != 0)
    return np.asarray(slope_T / (1 + low_T))


def linked(lines: pl.DataFrame, returns: pl.DataFrame) -> pl.DataFrame:
    """group, line, contribution over all sessions, which sum to the compounded return less the benchmark's.

    `lines`: rows of `attribution`. `returns`: session, portfolio_return, benchmark_return.
    """
    ordered = returns.sort("session")
    factor_T = carino(ordered["portfolio_return"].to_numpy(), ordered["benchmark_return"].to_numpy())
    weights = ordered.select("session").with_columns(factor=pl.Series(factor_T, dtype=pl.Float64))
    joined = lines.join(weights, on="session", how="inner")
    total = (pl.col("contribution") * pl.col("factor")).sum().alias("contribution")
    return joined.group_by("group", "line", maintain_order=True).agg(total)


def linked_by_period(lines: pl.DataFrame, returns: pl.DataFrame) -> pl.DataFrame:
    """period, group, contribution: as `linked`, within every calendar year, or month where all lies within twelve.

    A period's groups sum to its own compounded return less the benchmark's, so periods do not add up to the whole.
    """
    months = returns["session"].dt.strftime("%Y-%m").n_unique()
    shape = "%Y-%m" if months <= MONTHS else "%Y"
    parts = [pl.DataFrame(schema={"period": pl.String, "group": pl.String, "contribution": pl.Float64})]
    period = pl.col("session").dt.strftime(shape)
    for (name,), own in returns.group_by(period, maintain_order=True):
        groups = linked(lines.filter(period == name), own).group_by("group", maintain_order=True)
        parts.append(groups.agg(pl.col("contribution").sum()).select(pl.lit(name).alias("period"), pl.all()))
    return pl.concat(parts)


# --- Brinson ------------------------------------------------------------------------------------------------------
def brinson(names: pl.DataFrame) -> pl.DataFrame:
    """Allocation, selection and interaction by session and industry; a session's sum is active weights times returns.

    `names`: session, symbol, weight, benchmark_weight, return (null counts as 0), industry. What weights leave to 1 is
    the group `cash`, with return 0. A group that one side does not hold has the other side's return there.
    """
    weight, base, gain = pl.col("weight"), pl.col("benchmark_weight"), pl.col("return")
    rows = names.select("session", weight, base, gain.fill_null(0.0), pl.col("industry").fill_null(""))
    rest = rows.group_by("session").agg(weight=1 - weight.sum(), benchmark_weight=1 - base.sum())
    cash = rest.with_columns(pl.lit(0.0).alias("return"), industry=pl.lit(CASH)).select(rows.columns)
    groups = pl.concat([rows, cash]).group_by("session", "industry")
    sums = groups.agg(weight.sum(), base.sum(), own=(weight * gain).sum(), theirs=(base * gain).sum())
    returns = sums.with_columns(
        pl.when(weight.abs() > 1e-12).then(pl.col("own") / weight).alias("return"),
        pl.when(base.abs() > 1e-12).then(pl.col("theirs") / base).alias("benchmark_return"),
        total=pl.col("theirs").sum().over("session"),
    )
    both = returns.with_columns(
        pl.coalesce("return", "benchmark_return", 0.0), pl.coalesce("benchmark_return", "return", 0.0)
    )
    lead = gain - pl.col("benchmark_return")
    return both.select(
        *("session", "industry", "weight", "benchmark_weight", "return", "benchmark_return"),
        ((weight - base) * (pl.col("benchmark_return") - pl.col("total"))).alias("allocation"),
        (base * lead).alias("selection"),
        ((weight - base) * lead).alias("interaction"),
    ).sort("session", "industry")
