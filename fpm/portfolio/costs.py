"""Costs of trades: dated rows of a rate and a least amount per side, to the cent.

A-share rows sum what every trade pays, per side and date:

- commission 0.025 % of the amount, handling and supervision fees included: a usual institutional rate, without a least
  amount (brokers ask private clients for 5 yuan a trade: give rows of your own with that minimum);
- transfer fee: 0.002 %, from 2022-04-29 0.001 %, both sides (China Securities Depository and Clearing, notice of April
  2022 on halving the transfer fee of stock trades);
- stamp duty on sales: 0.1 % since 2008-09-19, 0.05 % from 2023-08-28 (Ministry of Finance and State Taxation
  Administration, announcement 39 of 2023).

The first rows begin on 2008-09-19, when purchases stopped paying stamp duty; earlier trades need rows of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

SIDES = ("buy", "sell")
CENTS = 100  # a price and an amount have two decimals
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Cost:
    """What trades of one side cost from a session on: a share of the amount, and the least cost of a trade."""

    since: date
    side: str
    rate: float
    minimum: float = 0.0


A_SHARE = (
    Cost(date(2008, 9, 19), "buy", 0.00027),
    Cost(date(2008, 9, 19), "sell", 0.00127),
    Cost(date(2022, 4, 29), "buy", 0.00026),
    Cost(date(2022, 4, 29), "sell", 0.00126),
    Cost(date(2023, 8, 28), "sell", 0.00076),
)


def flat(rate: float, minimum: float = 0.0) -> tuple[Cost, ...]:
    """Rows of one rate for both sides and all time."""
    return tuple(Cost(EPOCH, side, rate, minimum) for side in SIDES)


def cost_in_force(costs: Sequence[Cost], session: date, side: str) -> Cost:
    """The newest row of a side that is not later than the session.

    Raises UsageError where there is none: a trade without a cost would be a gift.
    """
    rows = [row for row in costs if row.side == side and row.since <= session]
    if not rows:
        raise UsageError(
            code="FPM-PF-022",
            wrong=f"no cost of a {side} on {session}",
            effect="nothing was traded",
            todo=f"add a row of costs with side {side} that begins by {session}",
        )
    return max(rows, key=lambda row: row.since)


def cost_cents(amount: int, cost: Cost) -> int:
    """Cost in cents of a trade of `amount` cents: the rate's share to the cent, at least the minimum.

    >>> cost_cents(1_000_00, Cost(EPOCH, "buy", 0.00026))
    26
    >>> cost_cents(1_000_00, Cost(EPOCH, "buy", 0.00026, minimum=5.0))
    500
    """
    return max(round(round(amount / CENTS * cost.rate, 2) * CENTS), round(cost.minimum * CENTS))


def cost_table(costs: Sequence[Cost]) -> pl.DataFrame:
    """The rows as a table: from, side, rate, minimum, oldest first."""
    rows = sorted(costs, key=lambda row: (row.since, row.side))
    schema = {"from": pl.Date, "side": pl.String, "rate": pl.Float64, "minimum": pl.Float64}
    return pl.DataFrame([(row.since, row.side, row.rate, row.minimum) for row in rows], schema=schema, orient="row")
