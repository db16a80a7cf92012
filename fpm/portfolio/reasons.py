"""Orders of a decision: what is to be traded, what it will cost, and why.

At the optimum, one more unit of a traded name would add to the objective what the trade costs (Boyd and Vandenberghe,
"Convex Optimization", 2004, section 5.5.3; duals of the cone program). That gain has four parts, the pushes, in units
of the objective per unit of weight:

    score  its score less the index's
    risk   minus the slope of risk aversion x yearly active variance
    bound  minus what it uses of the bounds, at their shadow prices: industry, styles, members, active, tracking error
    cash   the index's score less what one more unit of value would add

For a name that is bought, or sold, the pushes in that direction sum to its cost, never less than zero (more where
participation or a closed side stopped it). So one at least speaks for the trade, and the largest is its reason. A
constant added to every score changes none of them.

Reasons that come first: `exit` (a sale of a name that left the index, or that must not be held), `blocked` (the same
side was ordered before and not filled), and `cash` where the weights before rounding want less than half of the order:
the rest is what whole lots make of it. Shapes: N candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.portfolio.book import worth
from fpm.portfolio.costs import CENTS, cost_cents, cost_in_force

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import date

    from numpy.typing import NDArray

    from fpm.panels import Floats
    from fpm.portfolio.costs import Cost
    from fpm.portfolio.lots import LotSolution
    from fpm.portfolio.problem import Problem
    from fpm.portfolio.solve import Solution

EXIT, BLOCKED, CASH, BOUND = "exit", "blocked", "cash", "bound"
TERMS = ("score", "risk", BOUND, CASH)
FRICTION = "turnover"  # its price speaks against every trade, as costs do
ORDER_SCHEMA = {
    **dict.fromkeys(("symbol", "index"), pl.String),
    "fill_session": pl.Date,
    "side": pl.String,
    "shares": pl.Int64,
    **dict.fromkeys(("close", "amount", "expected_cost", "expected_impact"), pl.Float64),
    **dict.fromkeys(("reason", "bound"), pl.String),
    **dict.fromkeys((f"{name}_push" for name in TERMS), pl.Float64),
}


@dataclass(frozen=True)
class Pushes:
    """The four pushes (N,) by name of `TERMS`, and those of every single bound (N,)."""

    terms: dict[str, Floats]
    bounds: dict[str, Floats]


def pushes(problem: Problem, exact: Solution) -> Pushes:
    """What one more unit of each name's weight would add at the optimum, by part."""
    base_N, risk = problem.benchmark_N, problem.risk
    index_score = float(problem.gain_N @ base_N / base_N.sum())
    active_N = exact.weight_N - base_N
    slope_N = risk.exposure_NK @ (risk.covariance_KK @ (risk.exposure_NK.T @ active_N)) + risk.specific_N * active_N
    own = exact.prices.bounds if exact.prices else {}
    bounds = {name: -use_N for name, use_N in own.items() if name != FRICTION}
    cash = index_score - exact.prices.cash if exact.prices else 0.0
    terms = {
        "score": problem.gain_N - index_score,
        "risk": -2 * problem.risk_aversion * problem.sessions_per_year * slope_N,
        BOUND: np.sum([np.zeros(len(base_N)), *bounds.values()], axis=0),
        CASH: np.full(len(base_N), cash),
    }
    return Pushes(terms, bounds)


def reason(push: Pushes, name: int, sign: int, share_of_exact: float, *, excluded: bool) -> tuple[str, str | None]:
    """Reason of one order and, of reason `bound`, the bound that speaks most for it.

    `sign`: 1 bought, -1 sold. `share_of_exact`: part of the order that the weights before rounding want.
    """
    if excluded and sign < 0:
        return EXIT, None
    if share_of_exact < 0.5:
        return CASH, None
    largest = max(TERMS, key=lambda term: sign * float(push.terms[term][name]))
    if largest != BOUND:
        return largest, None
    return BOUND, max(push.bounds, key=lambda bound: sign * float(push.bounds[bound][name]))


def order_frame(
    index: str,
    fill_session: date,
    problem: Problem,
    lots: LotSolution,
    held_N: NDArray[np.int64],
    price_N: Floats,
    value: float,
    costs: Sequence[Cost],
) -> pl.DataFrame:
    """Rows of `orders`: every name whose shares change, at the close of the decision.

    `value`: worth of the book, in the currency of the prices. `expected_cost`: fees in force in the fill's session, to
    the cent, and `expected_impact`, the mandate's estimate of the market's answer to the order.
    """
    push = pushes(problem, lots.exact)
    rows = []
    for name in np.flatnonzero(lots.share_N != held_N).tolist():
        change = int(lots.share_N[name] - held_N[name])
        sign, side, count, price = int(np.sign(change)), "buy" if change > 0 else "sell", abs(change), price_N[name]
        amount = worth(count, price)
        fee = cost_cents(amount, cost_in_force(costs, fill_session, side)) / CENTS
        weight = amount / CENTS / value
        impact = float(problem.impact_N[name]) * weight**1.5 * value
        exact = sign * float(lots.exact.weight_N[name] - held_N[name] * price / value)
        why, bound = reason(push, name, sign, exact / weight, excluded=bool(problem.excluded_N[name]))
        head = (problem.symbols[name], index, fill_session, side, count, price, amount / CENTS, fee + impact, impact)
        rows.append((*head, why, bound, *(float(push.terms[term][name]) for term in TERMS)))
    return pl.DataFrame(rows, schema=ORDER_SCHEMA, orient="row").sort("symbol")


def with_past(orders: pl.DataFrame, left: Collection[str], unfilled: Collection[tuple[str, str]]) -> pl.DataFrame:
    """The orders with the reasons that the sessions before give.

    `left`: names that the index lost since the last decision. `unfilled`: (symbol, side) of orders that it did not get.
    """
    pairs = pl.DataFrame(sorted(unfilled), schema={"symbol": pl.String, "side": pl.String}, orient="row")
    again = pairs.with_columns(again=pl.lit(True))
    rows = orders.join(again, on=["symbol", "side"], how="left", maintain_order="left")
    gone = (pl.col("side") == "sell") & pl.col("symbol").is_in(list(left))
    why = pl.when(gone).then(pl.lit(EXIT)).when(pl.col("again")).then(pl.lit(BLOCKED)).otherwise("reason")
    rows = rows.with_columns(reason=why)
    return rows.with_columns(bound=pl.when(pl.col("reason") == BOUND).then("bound")).select(list(ORDER_SCHEMA))
