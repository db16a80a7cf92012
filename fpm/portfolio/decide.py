"""A decision at the close of a session: from the book and what is known of every name to shares to hold.

Shapes: N names, K factors.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.errors import FpmError
from fpm.portfolio.book import closes
from fpm.portfolio.costs import CENTS, cost_in_force
from fpm.portfolio.instructions import KEPT
from fpm.portfolio.lots import optimise_lots
from fpm.portfolio.problem import Bounds, Problem, limits_of
from fpm.portfolio.reasons import ORDER_SCHEMA, order_frame
from fpm.portfolio.second_solver import is_sampled, second_solution
from fpm.portfolio.session import decision_frame, targets_frame
from fpm.portfolio.solve import broken_bounds
from fpm.portfolio.unpriced import with_unpriced_bound
from fpm.schema import STYLES

if TYPE_CHECKING:
    from datetime import date

    from fpm.panels import Floats
    from fpm.portfolio.lots import LotSolution
    from fpm.portfolio.mandate import Mandate
    from fpm.portfolio.session import Evening
    from fpm.risk.model import RiskModel


@dataclass(frozen=True)
class Decided:
    """Rows of `targets`, `decisions` and `orders`, and why nothing was solved ("" where it was)."""

    targets: pl.DataFrame
    decision: pl.DataFrame
    refusal: str = ""
    orders: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=ORDER_SCHEMA))


@dataclass(frozen=True)
class Dates:
    """The decision's session and the one it fills in."""

    session: date
    fill_session: date
    sessions_per_year: int = 252


def decide(mandate: Mandate, dates: Dates, evening: Evening, names: pl.DataFrame, risk: RiskModel) -> Decided:
    """Shares to hold within the mandate's bounds, after lots; the book as it is where no weights can be computed.

    `names`: in the order of `risk.symbols`: symbol, score (NaN or null: none), benchmark_weight, industry, the styles,
    buyable, sellable, value (money that a session trades), deviation (of daily returns); perhaps restricted, excluded
    and restriction (`restrictions.marked`).
    """
    problem = problem_of(mandate, dates, evening, names, risk)
    bounds = bounds_of(mandate)
    active = limits_of(problem, bounds)["active"]
    price, shares = closes(evening.last), evening.book.shares
    price_N = np.array([price.get(symbol, 0.0) for symbol in problem.symbols])
    held_N = np.array([shares.get(symbol, 0) for symbol in problem.symbols], dtype=np.int64)
    own = replace(mandate, active=active)
    try:
        lots = optimise_lots(problem, bounds, price_N, evening.nav / CENTS, held_N, mandate.lot)
    except FpmError as refusal:
        return stood(mandate, dates, evening, names, risk, KEPT, str(refusal))
    rows = _targets(mandate, dates, evening, names, lots.share_N, problem)
    solution = lots.solution
    decision = decision_frame(
        own,
        dates.session,
        dates.fill_session,
        solution.status,
        solution.tracking_error,
        solution.objective,
        solution.relaxed,
        solution.shadow,
    ).with_columns(_second(mandate, dates, lots))
    orders = order_frame(
        mandate.index, dates.fill_session, problem, lots, held_N, price_N, evening.nav / CENTS, mandate.costs
    )
    return Decided(rows, with_unpriced_bound(decision, rows, mandate), orders=orders)


def stood(
    mandate: Mandate,
    dates: Dates,
    evening: Evening,
    names: pl.DataFrame,
    risk: RiskModel,
    status: str,
    refusal: str,
) -> Decided:
    """A decision that leaves the book as it is, with its status, the reason, and every bound that this book breaks."""
    problem = problem_of(mandate, dates, evening, names, risk)
    limits = limits_of(problem, bounds_of(mandate))
    shares = evening.book.shares
    held_N = np.array([shares.get(symbol, 0) for symbol in problem.symbols], dtype=np.int64)
    rows = _targets(mandate, dates, evening, names, held_N, problem)
    decision = decision_frame(
        replace(mandate, active=limits["active"]),
        dates.session,
        dates.fill_session,
        status,
        problem.tracking_error(problem.weight_N),
        float("nan"),
        broken_bounds(problem, limits, problem.weight_N),
    ).with_columns(_second_columns())
    return Decided(rows, with_unpriced_bound(decision, rows, mandate), refusal)


def _second(mandate: Mandate, dates: Dates, lots: LotSolution) -> list[pl.Expr]:
    """What a second solver says of the weights before rounding; null for a decision outside the sample."""
    exact = lots.exact
    if exact.within is None or not is_sampled(mandate.index, dates.session, mandate.second_solver):
        return _second_columns()
    second = second_solution(lots.problem, exact.within, exact.weight_N)
    return _second_columns(second.verdict, second.difference)


def _second_columns(verdict: str | None = None, difference: float | None = None) -> list[pl.Expr]:
    return [
        pl.lit(verdict, dtype=pl.String).alias("second_solver"),
        pl.lit(difference, dtype=pl.Float64).alias("second_difference"),
    ]


def bounds_of(mandate: Mandate) -> Bounds:
    """The optimiser's bounds of a mandate."""
    names = ("active", "industry", "size", "style", "members", "turnover", "tracking_error", "cash")
    return Bounds(**{name: getattr(mandate, name) for name in names})


def problem_of(mandate: Mandate, dates: Dates, evening: Evening, names: pl.DataFrame, risk: RiskModel) -> Problem:
    """The optimiser's inputs: weights are those of the real book, trades are capped by what a session trades."""
    price, nav = closes(evening.last), evening.nav / CENTS
    weight = {symbol: count * price[symbol] / nav for symbol, count in evening.book.shares.items()}
    priced_N = np.array([symbol in price for symbol in names["symbol"]])
    buyable_N, sellable_N = (names[side].to_numpy().astype(bool) & priced_N for side in ("buyable", "sellable"))
    value_N = np.maximum(_numbers(names, "value"), 0.0)
    if mandate.candidates == "members":
        buyable_N = buyable_N & (_numbers(names, "benchmark_weight") > 0)
    restricted_N, excluded_N = (
        names[kind].to_numpy().astype(bool) if kind in names.columns else np.zeros(len(names), bool)
        for kind in ("restricted", "excluded")
    )
    rate = {side: cost_in_force(mandate.costs, dates.session, side).rate for side in ("buy", "sell")}
    return Problem(
        symbols=risk.symbols,
        score_N=names["score"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
        benchmark_N=_numbers(names, "benchmark_weight"),
        weight_N=np.array([weight.get(symbol, 0.0) for symbol in names["symbol"]]),
        tradable_N=buyable_N | sellable_N,
        buyable_N=buyable_N,
        sellable_N=sellable_N,
        restricted_N=restricted_N,
        excluded_N=excluded_N,
        industry_N=names["industry"].fill_null("").to_numpy().astype(np.str_),
        style={name: _numbers(names, name) for name in STYLES},
        risk=risk,
        buy_cost_N=np.full(len(names), rate["buy"]),
        sell_cost_N=np.full(len(names), rate["sell"]),
        impact_N=_impact(mandate.impact, _numbers(names, "deviation"), nav, value_N),
        participation_N=mandate.participation * value_N / nav,
        risk_aversion=mandate.risk_aversion,
        sessions_per_year=dates.sessions_per_year,
    )


def _impact(coefficient: float, deviation_N: Floats, nav: float, value_N: Floats) -> Floats:
    """Coefficient of |Δw|^1.5: a trade of a share q of the session's value costs coefficient x deviation x √q.

    Almgren, Thum, Hauptmann, Li 2005, "Direct estimation of equity market impact".
    """
    ratio_N = np.divide(nav, value_N, out=np.zeros_like(value_N), where=value_N > 0)
    return coefficient * deviation_N * np.sqrt(ratio_N)


def _numbers(names: pl.DataFrame, column: str) -> Floats:
    return names[column].cast(pl.Float64).fill_null(0.0).fill_nan(0.0).to_numpy()


def _targets(
    mandate: Mandate,
    dates: Dates,
    evening: Evening,
    names: pl.DataFrame,
    share_N: np.ndarray[tuple[int], np.dtype[np.int64]],
    problem: Problem,
) -> pl.DataFrame:
    """Rows of `targets`: members, and every name held before or after."""
    rows = names.with_columns(pl.Series("shares", share_N), pl.Series("tradable", problem.tradable_N))
    in_book = pl.col("symbol").is_in(list(evening.book.shares))
    own = rows.filter((pl.col("shares") > 0) | in_book | (pl.col("benchmark_weight") > 0))
    return targets_frame(mandate.index, dates.session, evening, own)
