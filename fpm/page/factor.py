"""The factor: RankIC of the scores as they were served, groups, turnover, drift, seed spread, the last reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fpm.page import drawings
from fpm.page.drawings import Bar
from fpm.page.marks import moment, size
from fpm.page.views import Card, Cell, Row, Table, Tile, View
from fpm.report.figure_text import ABSENT, interval, number, percent, several

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date, datetime

    from fpm.evaluation.intervals import Estimate

    Series = Sequence[tuple[date, float]]

ENDS = (
    (
        "RankIC: Spearman correlation across the market of a session's scores with the return from the close of the "
        "next session to the close that ends the label, and known then. Scores are "
        "those of the session's own cut-off: what was served, without later corrections. Bands: 95 %, Newey and West, "
        "with as many degrees of freedom as there are disjoint label windows."
    ),
    "Figures of the whole history, and what they rest on: fpm report, fpm passport, fpm evaluate.",
)


@dataclass(frozen=True)
class StreamFigures:
    """Figures of one stream over the sessions looked at; each series is by session.

    `mean`: of the RankIC, with its interval; `groups`: mean return of each score group, lowest first; `turnover`: share
    of the outer groups replaced; `spread`: between seeds, in standard deviations of the scores.
    """

    rank_ic: Series
    smooth: Series
    mean: Estimate
    groups: Sequence[Estimate] = ()
    turnover: Series = ()
    spread: Series = ()


@dataclass(frozen=True)
class Document:
    """A file of the home's reports."""

    name: str
    size: int
    written_at: datetime


@dataclass(frozen=True)
class Factor:
    """What the view shows. `horizon`: sessions that a label spans; `drift`: lines; `passport`: its words, or none.

    `born`: of a stream under vectors from outside, the last session that their encoder has seen.
    """

    sessions: Sequence[date]
    horizon: int
    streams: Mapping[str, StreamFigures] = field(default_factory=dict)
    drift: Mapping[str, Series] = field(default_factory=dict)
    documents: Sequence[Document] = ()
    passport: Mapping[str, Any] | None = None
    born: Mapping[str, date] = field(default_factory=dict)


def factor(content: Factor) -> View:
    """The view."""
    todo = []
    if not content.streams:
        todo.append(
            ("No session has scores. Train models on the history, then run nights:", "fpm walk-forward FIRST LAST")
        )
    if content.passport is None:
        todo.append(("No report has a passport yet:", "fpm report"))
    sections = [
        ("RankIC as labels mature", list(_rank_ics(content))),
        ("Groups by score", list(_groups(content))),
        ("Steadiness", list(_steadiness(content))),
        ("Reports and their passport", list(_reports(content))),
    ]
    span = f"{content.sessions[0]} to {content.sessions[-1]}" if content.sessions else "nothing scored yet"
    return View(
        "factor",
        "The factor",
        f"Scores as served, {several(len(content.sessions), 'session')}: {span}",
        [_tile(name, figures, content.born.get(name)) for name, figures in content.streams.items()],
        todo,
        [(heading, cards) for heading, cards in sections if cards],
        ends=ENDS,
    )


def _tile(name: str, figures: StreamFigures, born: date | None) -> Tile:
    origin = [f"vectors from outside, born {born}"] if born else []
    if not figures.rank_ic:
        return Tile(f"RankIC, {name}", ABSENT, [*origin, "no label is known yet"], "awaited")
    day, value = figures.rank_ic[-1]
    lines = [f"mean of {several(figures.mean.sessions, 'session')}, 95 % {interval(figures.mean.interval)}"]
    lines.append(f"newest labelled {day}: {number(value)}")
    return Tile(f"RankIC, {name}", number(figures.mean.value), [*origin, *lines])


def _rank_ics(content: Factor) -> Iterator[Card]:
    for name, figures in content.streams.items():
        bounds = figures.mean.interval
        band = (bounds.low, bounds.high) if bounds else None
        plot = drawings.dots(figures.rank_ic, band, figures.smooth, f"RankIC of {name} by session")
        text = "Dots: sessions. Line: mean of 20. Band: 95 % of the mean over all."
        if plot is None:
            text = f"No label is known yet: the first comes {content.horizon + 1} sessions after the score."
        yield Card(name, text, plot=plot, wide=False)


def _groups(content: Factor) -> Iterator[Card]:
    for name, figures in content.streams.items():
        heights = [
            Bar(str(place + 1), group.value, *((group.interval.low, group.interval.high) if group.interval else ()))
            for place, group in enumerate(figures.groups)
            if group.value is not None
        ]
        plot = drawings.bars(heights, f"Mean return of the score groups of {name}")
        if plot is not None:
            yield Card(
                name,
                f"Mean return over {several(content.horizon, 'session')}, lowest scores left, with 95 %.",
                plot=plot,
                wide=False,
            )


def _steadiness(content: Factor) -> Iterator[Card]:
    turnover = drawings.lines({name: each.turnover for name, each in content.streams.items()}, share=True)
    if turnover is not None:
        yield Card(
            "Turnover", "Share of the outer groups replaced from one session to the next.", plot=turnover, wide=False
        )
    spread = drawings.lines({name: each.spread for name, each in content.streams.items()})
    if spread is not None:
        text = "Mean standard deviation over the seeds, in standard deviations of the session's scores."
        yield Card("Seed spread", text, plot=spread, wide=False)
    drift = drawings.lines(content.drift)
    text = "Distance of the session's fingerprints from those of training, given volatility; above its band: drifted."
    if drift is not None:
        yield Card("Drift of the fingerprints", text, plot=drift, wide=False)
    elif content.streams:
        yield Card(
            "Drift of the fingerprints", "No night measured it twice yet: fpm nightly (step vitals).", wide=False
        )
    rows = [list(row) for row in _rows(content)]
    if rows:
        columns = (
            "stream",
            "labelled|sessions",
            "newest|labelled",
            "RankIC|newest",
            "RankIC|mean",
            "95 %",
            "turnover|newest",
            "seed spread|newest",
        )
        yield Card("Figures", "", Table(columns, rows))


def _rows(content: Factor) -> Iterator[Sequence[Cell | str]]:
    for name, each in content.streams.items():
        day, value = each.rank_ic[-1] if each.rank_ic else (ABSENT, None)
        yield (
            name,
            number(each.mean.sessions, 0),
            str(day),
            number(value),
            number(each.mean.value),
            interval(each.mean.interval),
            percent(each.turnover[-1][1] if each.turnover else None, 1),
            number(each.spread[-1][1] if each.spread else None),
        )


def _reports(content: Factor) -> Iterator[Card]:
    if content.passport is not None:
        sealed: list[Row] = [[name, value] for name, value in content.passport.items()]
        text = "Sealed figures and the hashes of all they follow from. Is all of it still so? fpm passport"
        yield Card("Passport", text, Table(("", ""), sealed, (0, 1), (1,)), wide=False)
    if content.documents:
        rows: list[Row] = [
            [
                Cell(each.name, f"/reports/{each.name}" if each.name.endswith(".html") else ""),
                size(each.size),
                moment(each.written_at),
            ]
            for each in content.documents
        ]
        yield Card("Files", "As they were written then.", Table(("file", "size", "written"), rows), wide=False)
