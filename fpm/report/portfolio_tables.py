"""Tables of the index-enhanced portfolios: their figures, and the last rebalance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.report.cells import Row, Table
from fpm.report.data import PUBLISHED_PORTFOLIOS
from fpm.report.figure_text import ABSENT, number, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm.portfolio.performance import Performance
    from fpm.report.data import PublishedPortfolio, Rebalance, ReportData

SHADOW_TOLERANCE = 0.0005  # shadow prices below it are the solver's inaccuracy


def portfolios(report: ReportData) -> Table:
    """Six figures of every index and those behind them, and those of the source report."""
    return six_figures(report.portfolios, PUBLISHED_PORTFOLIOS)


def six_figures(own: Mapping[str, Performance], claimed: Sequence[PublishedPortfolio]) -> Table:
    """Six figures of every index and those behind them, then the rows `claimed`, marked as theirs."""
    columns = (
        "index",
        "return|a year",
        "excess|a year",
        "tracking|error",
        "IR",
        "monthly|win rate",
        "max. excess|drawdown",
        "return|in total",
        "excess|in total",
        "turnover|a week",
        "not|tradable",
        "sessions",
    )
    ours = [Row((name, *_portfolio_cells(figures)), name) for name, figures in own.items()]
    published = [
        Row(
            (
                f"their {row.name}",
                percent(row.annual_return),
                percent(row.annual_excess),
                percent(row.tracking_error),
                number(row.information_ratio, 2),
                percent(row.monthly_win_rate, 0),
                percent(row.max_drawdown),
                *[ABSENT] * 5,
            ),
            published=True,
        )
        for row in claimed
    ]
    return Table(columns, [*ours, *published] if ours else ())


def _portfolio_cells(figures: Performance) -> tuple[str, ...]:
    return (
        percent(figures.annual_return),
        percent(figures.annual_excess),
        percent(figures.tracking_error),
        number(figures.information_ratio, 2),
        percent(figures.monthly_win_rate, 0),
        percent(figures.max_drawdown),
        percent(figures.total_return),
        percent(figures.total_excess),
        percent(figures.turnover, 1),
        percent(figures.blocked, 1),
        number(figures.sessions, 0),
    )


def rebalances(report: ReportData) -> Table:
    """Relaxed bounds and shadow prices of the last rebalance of every index."""
    columns = (
        "last rebalance",
        "session",
        "bounds that gave way",
        "shadow prices (gain in the objective per unit of slack)",
    )
    rows = [
        Row((rebalance.index, str(rebalance.session), *_bounds(rebalance)), rebalance.index)
        for rebalance in report.rebalances
    ]
    return Table(columns, rows, words=(0, 1, 2, 3), prose=(2, 3))


def _bounds(rebalance: Rebalance) -> tuple[str, str]:
    relaxed = ", ".join(f"{bound} by {number(violation, 4)}" for bound, violation in rebalance.relaxed.items())
    prices = {bound: price for bound, price in sorted(rebalance.shadow.items()) if price >= SHADOW_TOLERANCE}
    shadow = ", ".join(f"{bound} {number(price)}" for bound, price in prices.items())
    return relaxed or "none", shadow or "no bound is felt"
