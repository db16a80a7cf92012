"""Tables of a factor's figures: headline, certainty, groups, variants, differences, the oracle."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from fpm.report.cells import Row, Table, cell, percent_cell
from fpm.report.data import PUBLISHED_FACTORS, PUBLISHED_WEEKS
from fpm.report.figure_text import ABSENT, interval, number, percent, percent_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm.evaluation.coverage import Promise
    from fpm.evaluation.figures import Figures, NamedEstimates
    from fpm.evaluation.intervals import Estimate, Interval
    from fpm.evaluation.sharpe import Sharpe
    from fpm.report.data import ReportData


def headline(report: ReportData) -> Table:
    """Headline figures of every stream, and those of the source report."""
    columns = (
        "stream",
        "RankIC|weekly",
        "long-short|a year",
        "IR",
        "weekly|win rate",
        "max.|drawdown",
        "long-short|in total",
        "ICIR|raw",
        "ICIR|a year",
        "turnover|a week",
        "weeks",
    )
    ours = [Row((name, *_headline_cells(figures)), name) for name, figures in report.streams.items()]
    published = [
        Row(
            (
                f"their {row.name}",
                number(row.rank_ic),
                percent(row.annual_return, 1),
                number(row.information_ratio, 2),
                percent(row.win_rate, 1),
                percent(row.max_drawdown, 1),
                *[ABSENT] * 4,
                number(PUBLISHED_WEEKS, 0),
            ),
            published=True,
        )
        for row in PUBLISHED_FACTORS
    ]
    return Table(columns, [*ours, *published])


def _headline_cells(figures: Figures) -> tuple[str, ...]:
    portfolio = figures.long_short
    return (
        number(figures.rank_ic),
        percent(portfolio.annual_return, 1),
        number(portfolio.information_ratio, 2),
        percent(portfolio.win_rate, 1),
        percent(portfolio.max_drawdown, 1),
        percent(portfolio.total_return, 1),
        number(figures.icir, 2),
        number(figures.icir_annual, 2),
        percent(portfolio.turnover, 0),
        number(figures.weeks, 0),
    )


def certainty(report: ReportData) -> Table:
    """Mean RankIC of all days with its intervals and null band."""
    columns = (
        "stream",
        "RankIC|all days",
        "95 % interval|Newey-West",
        "95 % interval|block bootstrap",
        "null band|±",
        "independent|periods",
        "sessions|labelled",
        "symbols|median",
        "Pearson IC",
    )
    return Table(columns, [Row((name, *_certainty_cells(figures)), name) for name, figures in report.streams.items()])


def _certainty_cells(figures: Figures) -> tuple[str, ...]:
    return (
        number(figures.rank_ic_all_days),
        interval(figures.newey_west),
        interval(figures.bootstrap),
        number(figures.null_band),
        number(figures.independent_periods, 0),
        number(figures.labelled_sessions, 0),
        number(figures.symbols, 0),
        number(figures.ic.value if figures.ic else None),
    )


def hits(report: ReportData) -> Table:
    """Weekly RankIC, its mean over start days, the share of sessions above 0 and of scores with a label."""
    columns = (
        "stream",
        "RankIC|weekly",
        "95 % interval",
        "mean over|start days",
        "sessions with|RankIC > 0",
        "scores with|a label",
    )
    rows = [
        Row(
            (
                name,
                number(figures.rank_ic),
                interval(figures.rank_ic_interval),
                number(figures.rank_ic_start_days),
                _hit_rate(figures.hit_rate),
                percent(figures.coverage, 1),
            ),
            name,
        )
        for name, figures in report.streams.items()
    ]
    return Table(columns, rows)


def _hit_rate(rate: Estimate | None) -> str:
    return ABSENT if rate is None else percent_cell(rate.value, rate.interval, 0)


def earned(report: ReportData) -> Table:
    """Intervals of the long-short portfolio's figures, and its Sharpe ratio deflated by the trials."""
    columns = (
        "stream",
        "long-short|a year",
        "IR",
        "weekly|win rate",
        "max.|drawdown",
        "turnover|a week",
        "Sharpe|a year",
        "95 % interval|of it",
        "P(true > 0)",
        "deflated|Sharpe",
        "trials",
    )
    return Table(columns, [Row((name, *_earned_cells(figures)), name) for name, figures in report.streams.items()])


def _earned_cells(figures: Figures) -> tuple[str, ...]:
    intervals = dict(figures.long_short.intervals)
    return (
        percent_interval(intervals.get("annual_return")),
        interval(intervals.get("information_ratio"), 2),
        percent_interval(intervals.get("win_rate")),
        percent_interval(intervals.get("max_drawdown")),
        percent_interval(intervals.get("turnover"), 0),
        *_sharpe_cells(figures.sharpe),
    )


def _sharpe_cells(ratio: Sharpe | None) -> tuple[str, ...]:
    if ratio is None:
        return (ABSENT,) * 5
    return (
        number(ratio.annual, 2),
        interval(ratio, 2),
        percent(ratio.probabilistic, 1),
        percent(ratio.deflated, 1),
        number(ratio.trials, 0),
    )


def oracle(report: ReportData) -> Table:
    """RankIC of every stream beside the oracle's."""
    rows = []
    for name, share in report.oracles.items():
        bounds = ABSENT if share.low is None else f"[{percent(share.low, 0)}, {percent(share.high, 0)}]"
        cells = (name, number(share.rank_ic), number(share.oracle_rank_ic), percent(share.share, 0), bounds)
        rows.append(Row(cells, name))
    columns = ("stream", "RankIC beside|the oracle", "oracle's|RankIC", "share found", "95 % interval|of the share")
    return Table(columns, rows)


def paired(report: ReportData) -> Table:
    """Paired differences of RankIC with their intervals."""
    columns = (
        "RankIC of",
        "difference",
        "95 % interval|Newey-West",
        "95 % interval|block bootstrap",
        "independent|periods",
        "sessions",
    )
    rows = [
        Row(
            (
                name,
                number(comparison.difference, 4),
                interval(comparison.newey_west, 4),
                interval(comparison.bootstrap, 4),
                number(comparison.independent_periods, 0),
                number(comparison.sessions, 0),
            )
        )
        for name, comparison in report.comparisons.items()
    ]
    return Table(columns, rows)


def by_size(report: ReportData) -> Table:
    """RankIC by size group and stream."""
    cells = {name: _cells(figures.by_size, figures.by_size_intervals) for name, figures in report.streams.items()}
    return _by_stream("size group", cells)


def by_year(report: ReportData) -> Table:
    """RankIC by year and stream; years are rows, so that a long history does not widen the page."""
    cells = {
        name: {
            str(year): f"{cell(mean, bounds)} ({number(count, 0)})"
            for (year, mean, count), bounds in zip_longest(figures.by_year, figures.by_year_intervals)
        }
        for name, figures in report.streams.items()
    }
    return _by_stream("year (sessions)", cells)


def by_group(report: ReportData) -> Table:
    """Mean label by score group and stream; where ties left sessions without groups, also their number."""
    cells = {
        name: {
            str(group): percent_cell(mean, bounds)
            for group, (mean, bounds) in enumerate(zip_longest(figures.groups, figures.group_intervals), start=1)
        }
        | ({"sessions without groups (tie at an edge)": number(tied, 0)} if (tied := figures.tied_sessions) else {})
        for name, figures in report.streams.items()
    }
    return _by_stream("group, lowest scores first", cells)


def bases(report: ReportData) -> Table:
    """RankIC by execution basis and stream."""
    return _by_stream("bought at", {name: _estimates(figures.bases) for name, figures in report.streams.items()})


def variants(report: ReportData) -> Table:
    """RankIC over all names, over the fillable ones, and of the neutral scores."""
    cells = {}
    for name, figures in report.streams.items():
        plain = {"all names": cell(figures.rank_ic_all_days, figures.newey_west)}
        fills = {"fillable": _estimate(figures.fillable)} if figures.fillable else {}
        neutral = {f"neutral to {groups}": text for groups, text in _estimates(figures.neutral).items()}
        cells[name] = plain | fills | neutral if fills or neutral else {}
    return _by_stream("RankIC", cells)


def correlations(report: ReportData) -> Table:
    """Rank correlation of score and traditional factor by stream: styles first."""
    cells = {
        name: _estimates(
            (*figures.exposures, *((factor.replace("_", " "), part) for factor, part in figures.correlations))
        )
        for name, figures in report.streams.items()
    }
    return _by_stream("factor", cells)


def by_month(report: ReportData) -> Table:
    """RankIC by calendar month and stream."""
    cells = {
        name: {month: f"{_estimate(part)} ({number(part.sessions, 0)})" for month, part in figures.by_month}
        for name, figures in report.streams.items()
    }
    return _by_stream("month (sessions)", cells)


def by_industry(report: ReportData) -> Table:
    """RankIC inside each industry by stream."""
    return _by_stream("industry", {name: _estimates(figures.by_industry) for name, figures in report.streams.items()})


def promises(report: ReportData) -> Table:
    """How often the intervals of a stream's scores held, by part; tenths of the score are in the plot."""
    rows = [
        Row((f"{name}, {part.part}", percent(part.stated), percent(part.observed), *_size(part)))
        for name, parts in report.promises.items()
        for part in parts
        if not part.part.startswith("score")
    ]
    return Table(("stream, part", "stated", "held", "mean width", "intervals"), rows)


def _size(part: Promise) -> tuple[str, str]:
    return number(part.width), number(part.intervals, 0)


def persistence(report: ReportData) -> Table:
    """Autocorrelation of the scores by lag and stream."""
    return _by_stream(
        "sessions later", {name: _estimates(figures.persistence) for name, figures in report.streams.items()}
    )


def _by_stream(title: str, streams: Mapping[str, Mapping[str, str]]) -> Table:
    """Table with one row per part and one column per stream, from the cells of every stream by part."""
    parts = list(dict.fromkeys(part for cells in streams.values() for part in cells))
    rows = [Row((part, *(cells.get(part, ABSENT) for cells in streams.values()))) for part in parts]
    return Table((title, *streams), rows)


def _cells(parts: Sequence[tuple[str, float | None]], intervals: Sequence[Interval | None]) -> dict[str, str]:
    """Cells of value and interval by the name of the part."""
    return {name: cell(value, bounds) for (name, value), bounds in zip_longest(parts, intervals)}


def _estimates(parts: NamedEstimates) -> dict[str, str]:
    return {name: _estimate(part) for name, part in parts}


def _estimate(estimate: Estimate) -> str:
    return cell(estimate.value, estimate.interval)
