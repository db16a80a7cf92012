"""The tables of a report as text, made once: the page and its Markdown twin show the same cells.

An absent figure is a dash. Rows of the source report carry `theirs`, and say so in their first cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from fpm.report.data import THEIR_FACTORS, THEIR_PORTFOLIOS, THEIR_WEEKS, Fold, Rebalance, ReportData, SessionRange
from fpm.report.figure_text import ABSENT, count_or_number, interval, number, percent, percent_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from fpm.evaluation.figures import Figures
    from fpm.evaluation.intervals import Estimate, Interval
    from fpm.evaluation.sharpe import Sharpe
    from fpm.portfolio.backtest import Performance

FELT = 0.0005  # shadow prices below are the solver's tolerance


@dataclass(frozen=True)
class Row:
    """Cells in the order of the columns. `colour_of`: the stream or index whose colour marks the row."""

    cells: Sequence[str]
    colour_of: str = ""
    theirs: bool = False


@dataclass(frozen=True)
class Table:
    """Column titles ("|" is a possible line break) and rows. `words`: columns of text, set to the left; `prose`: those
    of them whose lines may break. `empty` stands for the rows where there are none.
    """

    columns: Sequence[str]
    rows: Sequence[Row]
    words: Sequence[int] = (0,)
    prose: Sequence[int] = ()
    empty: str = ""


def tables(data: ReportData) -> dict[str, Table]:
    """Every table that has something to say, by name."""
    made = {name: make(data) for name, make in TABLES.items()}
    return {name: table for name, table in made.items() if table.rows or table.empty}


# --- factors ------------------------------------------------------------------------------------------------------


def _headline(data: ReportData) -> Table:
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
    ours = [Row((name, *_headline_cells(figures)), name) for name, figures in data.streams.items()]
    theirs = [
        Row(
            (
                f"their {row.name}",
                number(row.rank_ic),
                percent(row.annual_return, 1),
                number(row.information_ratio, 2),
                percent(row.win_rate, 1),
                percent(row.max_drawdown, 1),
                *[ABSENT] * 4,
                number(THEIR_WEEKS, 0),
            ),
            theirs=True,
        )
        for row in THEIR_FACTORS
    ]
    return Table(columns, [*ours, *theirs])


def _headline_cells(figures: Figures) -> tuple[str, ...]:
    earned = figures.long_short
    return (
        number(figures.rank_ic),
        percent(earned.annual_return, 1),
        number(earned.information_ratio, 2),
        percent(earned.win_rate, 1),
        percent(earned.max_drawdown, 1),
        percent(earned.total_return, 1),
        number(figures.icir, 2),
        number(figures.icir_annual, 2),
        percent(earned.turnover, 0),
        number(figures.weeks, 0),
    )


def _certainty(data: ReportData) -> Table:
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
    return Table(columns, [Row((name, *_certainty_cells(figures)), name) for name, figures in data.streams.items()])


def _certainty_cells(figures: Figures) -> tuple[str, ...]:
    return (
        number(figures.rank_ic_paths),
        interval(figures.newey_west),
        interval(figures.bootstrap),
        number(figures.null_band),
        number(figures.independent_periods, 0),
        number(figures.labelled_sessions, 0),
        number(figures.symbols, 0),
        number(figures.ic.value if figures.ic else None),
    )


def _hits(data: ReportData) -> Table:
    """The weekly grid's mean, how often RankIC is above 0, and how many scores could be judged."""
    columns = ("stream", "RankIC|weekly", "95 % interval", "sessions with|RankIC > 0", "scores with|a label")
    rows = [
        Row(
            (
                name,
                number(figures.rank_ic),
                interval(figures.rank_ic_interval),
                _hit_rate(figures.hit_rate),
                percent(figures.coverage, 1),
            ),
            name,
        )
        for name, figures in data.streams.items()
    ]
    return Table(columns, rows)


def _hit_rate(each: Estimate | None) -> str:
    return ABSENT if each is None else percent_cell(each.value, each.interval, 0)


def _earned(data: ReportData) -> Table:
    """How sure the long-short portfolio's figures are, and its Sharpe ratio after so many tries."""
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
    return Table(columns, [Row((name, *_earned_cells(figures)), name) for name, figures in data.streams.items()])


def _earned_cells(figures: Figures) -> tuple[str, ...]:
    ends = dict(figures.long_short.intervals)
    return (
        percent_interval(ends.get("annual_return")),
        interval(ends.get("information_ratio"), 2),
        percent_interval(ends.get("win_rate")),
        percent_interval(ends.get("max_drawdown")),
        percent_interval(ends.get("turnover"), 0),
        *_sharpe_cells(figures.sharpe),
    )


def _sharpe_cells(of: Sharpe | None) -> tuple[str, ...]:
    if of is None:
        return (ABSENT,) * 5
    return (
        number(of.annual, 2),
        interval(of, 2),
        percent(of.probabilistic, 1),
        percent(of.deflated, 1),
        number(of.trials, 0),
    )


def _oracle(data: ReportData) -> Table:
    rows = []
    for name, share in data.oracles.items():
        ends = ABSENT if share.low is None else f"[{percent(share.low, 0)}, {percent(share.high, 0)}]"
        cells = (name, number(share.rank_ic), number(share.oracle_rank_ic), percent(share.share, 0), ends)
        rows.append(Row(cells, name))
    return Table(("stream", "RankIC", "oracle's RankIC", "share found", "95 % interval|of the share"), rows)


def _paired(data: ReportData) -> Table:
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
                number(each.difference, 4),
                interval(each.newey_west, 4),
                interval(each.bootstrap, 4),
                number(each.independent_periods, 0),
                number(each.sessions, 0),
            )
        )
        for name, each in data.comparisons.items()
    ]
    return Table(columns, rows)


def _by_size(data: ReportData) -> Table:
    rows = {name: _sure(figures.by_size, figures.by_size_intervals) for name, figures in data.streams.items()}
    return _by_stream("size group", rows)


def _by_year(data: ReportData) -> Table:
    """One row a year: years grow downwards, a page does not grow wider."""
    found = {
        name: {
            str(year): f"{cell(mean, sure)} ({number(count, 0)})"
            for (year, mean, count), sure in zip_longest(figures.by_year, figures.by_year_intervals)
        }
        for name, figures in data.streams.items()
    }
    return _by_stream("year (sessions)", found)


def _by_group(data: ReportData) -> Table:
    found = {
        name: {
            str(group): percent_cell(mean, sure)
            for group, (mean, sure) in enumerate(zip_longest(figures.groups, figures.group_intervals), start=1)
        }
        for name, figures in data.streams.items()
    }
    return _by_stream("group, lowest scores first", found)


def _bases(data: ReportData) -> Table:
    return _by_stream("bought at", {name: _estimates(figures.bases) for name, figures in data.streams.items()})


def _variants(data: ReportData) -> Table:
    """The plain RankIC beside that of what could be bought, and of what is left without industries and styles."""
    found = {}
    for name, figures in data.streams.items():
        plain_one = {"all names": cell(mean_of(figures.series), figures.newey_west)}
        fills = {"fillable": _estimate(figures.fillable)} if figures.fillable else {}
        neutral = {f"neutral to {what}": each for what, each in _estimates(figures.neutral).items()}
        found[name] = plain_one | fills | neutral if fills or neutral else {}
    return _by_stream("RankIC", found)


def _exposures(data: ReportData) -> Table:
    return _by_stream("style", {name: _estimates(figures.exposures) for name, figures in data.streams.items()})


def _by_stream(title: str, found: Mapping[str, Mapping[str, str]]) -> Table:
    """One row a part that any stream has, one column a stream."""
    parts = list(dict.fromkeys(part for cells in found.values() for part in cells))
    return Table(
        (title, *found), [Row((part, *(cells.get(part, ABSENT) for cells in found.values()))) for part in parts]
    )


def _sure(parts: Sequence[tuple[str, float | None]], ends: Sequence[Interval | None]) -> dict[str, str]:
    """Value and interval of each part, as text by its name."""
    return {name: cell(value, sure) for (name, value), sure in zip_longest(parts, ends)}


def _estimates(parts: Sequence[tuple[str, Estimate]]) -> dict[str, str]:
    return {name: _estimate(each) for name, each in parts}


def _estimate(each: Estimate) -> str:
    return cell(each.value, each.interval)


def cell(value: float | None, sure: Interval | None) -> str:
    """A figure and, where there is one, its interval."""
    return number(value) if sure is None else f"{number(value)} {interval(sure)}"


def percent_cell(value: float | None, sure: Interval | None, digits: int = 2) -> str:
    """The same in percent."""
    return percent(value, digits) if sure is None else f"{percent(value, digits)} {percent_interval(sure, digits)}"


def mean_of(series: Sequence[tuple[date, float]]) -> float | None:
    """Mean over all sessions, each once: what RankIC of other scores and returns are set beside."""
    return sum(value for _, value in series) / len(series) if series else None


# --- portfolios ---------------------------------------------------------------------------------------------------


def _portfolios(data: ReportData) -> Table:
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
    ours = [Row((name, *_portfolio_cells(figures)), name) for name, figures in data.portfolios.items()]
    theirs = [
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
            theirs=True,
        )
        for row in THEIR_PORTFOLIOS
    ]
    return Table(columns, [*ours, *theirs] if ours else ())


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


def _rebalances(data: ReportData) -> Table:
    columns = (
        "last rebalance",
        "session",
        "bounds that gave way",
        "shadow prices (gain in the objective per unit of slack)",
    )
    rows = [Row((each.index, str(each.session), *_bounds(each)), each.index) for each in data.rebalances]
    return Table(columns, rows, words=(0, 1, 2, 3), prose=(2, 3))


def _bounds(each: Rebalance) -> tuple[str, str]:
    relaxed = ", ".join(f"{bound} by {number(by, 4)}" for bound, by in each.relaxed.items())
    felt = ", ".join(f"{bound} {number(price)}" for bound, price in sorted(each.shadow.items()) if price >= FELT)
    return relaxed or "none", felt or "no bound is felt"


# --- models and data ----------------------------------------------------------------------------------------------


def _encoders(data: ReportData) -> Table:
    names = list(dict.fromkeys(name for each in data.encoders for name in each.figures))
    rows = [
        Row(
            (each.vintage, str(each.through), each.status, *(count_or_number(each.figures.get(name)) for name in names))
        )
        for each in data.encoders
    ]
    columns = ("vintage", "trained through", "status", *(name.replace("_", " ") for name in names))
    return Table(columns, rows, words=(0, 1, 2))


def _folds(data: ReportData) -> Table:
    columns = ("scorer", "vintage", "train", "validation", "out of sample", "seeds")
    return Table(columns, [Row(_fold_cells(fold)) for fold in data.folds], words=(0, 1, 2, 3, 4, 5))


def _fold_cells(fold: Fold) -> tuple[str, ...]:
    served = SessionRange(fold.first, fold.last, fold.sessions)
    seeds = ", ".join(map(str, fold.seeds)) or ABSENT
    return fold.model, fold.vintage, _stretch(fold.train), _stretch(fold.validation), _stretch(served), seeds


def _stretch(part: SessionRange | None) -> str:
    return ABSENT if part is None else f"{part.first} to {part.last} ({number(part.sessions, 0)})"


def _tried(data: ReportData) -> Table:
    columns = ("setting", "differs from the first in", "scorers", "first", "last trained through")
    rows = [
        Row((each.setting, each.differs or "nothing", number(each.models, 0), str(each.first), str(each.last)))
        for each in data.tried
    ]
    return Table(columns, rows, words=(0, 1, 3, 4), prose=(1,))


def _coverage(data: ReportData) -> Table:
    rows = [
        Row(
            (
                each.table,
                number(each.sessions, 0),
                number(each.rows, 0),
                str(each.first or ABSENT),
                str(each.last or ABSENT),
            )
        )
        for each in data.coverage
    ]
    return Table(("table", "sessions", "rows", "first", "last"), rows, words=(0, 3, 4), empty="not counted")


def _quarantined(data: ReportData) -> Table:
    rows = [Row((each.table, each.code, each.reason, number(each.count, 0))) for each in data.quarantined]
    return Table(("table", "code", "reason", "count"), rows, words=(0, 1, 2), prose=(2,), empty="nothing was kept out")


TABLES: Mapping[str, Callable[[ReportData], Table]] = {
    "headline": _headline,
    "certainty": _certainty,
    "hits": _hits,
    "earned": _earned,
    "oracle": _oracle,
    "paired": _paired,
    "by-group": _by_group,
    "by-size": _by_size,
    "by-year": _by_year,
    "variants": _variants,
    "bases": _bases,
    "exposures": _exposures,
    "portfolios": _portfolios,
    "rebalances": _rebalances,
    "encoders": _encoders,
    "folds": _folds,
    "tried": _tried,
    "coverage": _coverage,
    "quarantined": _quarantined,
}
