"""What the weekly long-short portfolio pays for its trades, and how much money it can hold.

Weights are the targets of each week: +1/n on the n names of the top group, -1/m on the m names of the bottom group, so
that each side is 1. Trades are differences of targets; what prices did to the weights in between is left out. Shapes:
W weeks, N symbols.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fpm.evaluation.groups import geometric_annual, max_drawdown
from fpm.evaluation.long_short import information_ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fpm.evaluation.long_short import LongShortConfig
    from fpm.panels import Floats

BASIS_POINTS = (5, 10, 20)  # cost of one purchase or sale, in ten-thousandths of its value
PARTICIPATIONS = (0.01, 0.05, 0.1, 0.2)  # shares of a name's amount of the day of the fill
FILLED = 0.9  # share of a week's trades, by value, that must fit
ROUNDING = 1e-12  # a difference of shares that is no difference
CAUTIOUS = 0.1  # quantile of the weeks beside the median


@dataclass(frozen=True)
class Net:
    """Figures of the long-short portfolio after costs of so many basis points a trade; `weekly`: mean a week."""

    basis_points: int
    weekly: float
    total_return: float
    annual_return: float | None
    information_ratio: float | None
    win_rate: float
    max_drawdown: float | None


@dataclass(frozen=True)
class Capacity:
    """Money a side at a participation: of the median week, and what nine weeks of ten can hold."""

    participation: float
    median: float
    cautious: float


@dataclass(frozen=True)
class Costs:
    """`weekly`: mean return a week before costs. `traded`: mean value traded a week, in units of one side.

    `break_even`: basis points a trade that leave a mean of 0.
    """

    weekly: float
    traded: float
    break_even: float | None
    net: tuple[Net, ...]
    capacity: tuple[Capacity, ...] = ()


def weights(group_WN: NDArray[np.int64], groups: int) -> Floats:
    """Target weights of each week (W, N): top group +1 in all, bottom group -1 in all, both equal within."""
    top_WN, bottom_WN = (group_WN == groups - 1).astype(np.float64), (group_WN == 0).astype(np.float64)
    long_WN, short_WN = (side_WN / np.maximum(side_WN.sum(axis=1, keepdims=True), 1) for side_WN in (top_WN, bottom_WN))
    return np.asarray(long_WN - short_WN)


def trades(weight_WN: Floats) -> Floats:
    """Absolute change of every weight since the week before (W, N); the first week buys both sides whole."""
    return np.asarray(np.abs(np.diff(weight_WN, axis=0, prepend=np.zeros((1, weight_WN.shape[1])))))


def costs(spread_W: Floats, trade_WN: Floats, amount_WN: Floats | None, config: LongShortConfig) -> Costs | None:
    """Figures after costs, and capacity where amounts are known; None without weeks.

    `spread_W`: returns before costs. Return after costs of a week: spread - c x value traded, c in both directions;
    the last sale is not charged.
    """
    if not len(spread_W):
        return None
    traded_W = trade_WN.sum(axis=1)
    weekly, traded = float(spread_W.mean()), float(traded_W.mean())
    net = tuple(_net(points, spread_W - points / 1e4 * traded_W, config) for points in BASIS_POINTS)
    break_even = weekly / traded * 1e4 if traded > 0 else None
    return Costs(weekly, traded, break_even, net, () if amount_WN is None else capacities(trade_WN, amount_WN))


def _net(points: int, return_W: Floats, config: LongShortConfig) -> Net:
    annual = geometric_annual(return_W, config.weeks_per_year) if len(return_W) >= config.annualise_from else None
    return Net(
        points,
        float(return_W.mean()),
        float(np.prod(1 + return_W) - 1),
        annual,
        information_ratio(return_W, annual, config.weeks_per_year),
        float((return_W > 0).mean()),
        max_drawdown(return_W),
    )


def capacities(trade_WN: Floats, amount_WN: Floats) -> tuple[Capacity, ...]:
    """Median and cautious money a side, for every participation; the first purchase is left out where others follow."""
    later = slice(1, None) if len(trade_WN) > 1 else slice(None)
    whole_W = np.array([_capacity(*week) for week in zip(trade_WN[later], amount_WN[later], strict=True)])
    whole_W = whole_W[np.isfinite(whole_W)]
    if not len(whole_W):
        return ()
    middle, low = float(np.median(whole_W)), float(np.quantile(whole_W, CAUTIOUS))
    return tuple(Capacity(share, share * middle, share * low) for share in PARTICIPATIONS)


def _capacity(trade_N: Floats, amount_N: Floats) -> float:
    """Largest K with sum min(K d, a) >= FILLED x K x sum d: money a side at a participation of 1; NaN without trades.

    d: value traded of each name a unit of money, a: its amount (0 where it is unknown or nothing was traded). The sum
    is linear in K between the ratios a / d, so K is exact. At a participation p every amount and so K is p times that.
    """
    trading = trade_N > 0
    d, a = trade_N[trading], np.nan_to_num(amount_N[trading])
    if not len(d):
        return float("nan")
    order = np.argsort(a / d, kind="stable")
    d, a = d[order], a[order]
    full, free = np.cumsum(a), d.sum() - np.cumsum(d)  # amounts of the names that limit, value of those that do not
    slack = FILLED * d.sum() - free
    possible = slack > ROUNDING * d.sum()
    return float((full[possible] / slack[possible]).min())
