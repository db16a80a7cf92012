"""Tables of what the scores would trade: outer names, costs, capacity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.report.cells import Row, Table
from fpm.report.figure_text import ABSENT, number, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm.evaluation.costs import Capacity
    from fpm.evaluation.figures import Figures
    from fpm.evaluation.outer_names import OuterName
    from fpm.report.data import ReportData

MILLION = 1e6


def longs(report: ReportData) -> Table:
    """Highest scores of the newest scored session."""
    return _names(report.longs)


def shorts(report: ReportData) -> Table:
    """Lowest scores of the newest scored session."""
    return _names(report.shorts)


def _names(names: Sequence[OuterName]) -> Table:
    columns = ("name", "score", "percentile", "spread of|the seeds", "industry", "float value,|million")
    return Table(columns, [Row((name.symbol, *_name_cells(name))) for name in names], words=(0, 4))


def _name_cells(name: OuterName) -> tuple[str, ...]:
    return (
        number(name.score),
        percent(name.percentile, 1),
        number(name.spread),
        name.industry or ABSENT,
        number(None if name.size is None else name.size / MILLION, 0),
    )


def costs(report: ReportData) -> Table:
    """Long-short figures of every stream before costs and after them."""
    columns = (
        "stream, cost of a trade",
        "mean|a week",
        "long-short|a year",
        "IR",
        "weekly|win rate",
        "max.|drawdown",
        "long-short|in total",
    )
    rows = [row for name, figures in report.streams.items() if figures.costs for row in _cost_rows(name, figures)]
    return Table(columns, rows)


def _cost_rows(name: str, figures: Figures) -> list[Row]:
    gross, after = figures.long_short, figures.costs
    assert after is not None
    before = (
        percent(after.weekly),
        percent(gross.annual_return, 1),
        number(gross.information_ratio, 2),
        percent(gross.win_rate, 1),
        percent(gross.max_drawdown, 1),
        percent(gross.total_return, 1),
    )
    rows = [Row((f"{name}, before costs", *before), name)]
    for net in after.net:
        cells = (
            percent(net.weekly),
            percent(net.annual_return, 1),
            number(net.information_ratio, 2),
            percent(net.win_rate, 1),
            percent(net.max_drawdown, 1),
            percent(net.total_return, 1),
        )
        rows.append(Row((f"{name}, {net.basis_points} bp", *cells)))
    return rows


def trades(report: ReportData) -> Table:
    """Value traded a week, and the cost that leaves nothing, of every stream."""
    rows = [
        Row((name, percent(figures.costs.traded, 0), number(figures.costs.break_even, 1)), name)
        for name, figures in report.streams.items()
        if figures.costs
    ]
    return Table(("stream", "traded a week,|of one side", "break-even cost|of a trade, bp"), rows)


def capacity(report: ReportData) -> Table:
    """Money a side by participation and stream: of the median week, and of nine weeks in ten."""
    streams = {name: figures.costs.capacity for name, figures in report.streams.items() if figures.costs}
    shares = list(dict.fromkeys(part.participation for parts in streams.values() for part in parts))
    cells = {name: {part.participation: part for part in parts} for name, parts in streams.items()}
    columns = (
        "share of the day's amount",
        *(f"{name}|{week}" for name in streams for week in ("median week", "nine in ten")),
    )
    rows = [
        Row((percent(share, 0), *(text for parts in cells.values() for text in _money(parts, share))))
        for share in shares
    ]
    return Table(columns, rows)


def _money(parts: Mapping[float, Capacity], share: float) -> tuple[str, str]:
    part = parts.get(share)
    return (ABSENT, ABSENT) if part is None else (number(part.median / MILLION, 1), number(part.cautious / MILLION, 1))
