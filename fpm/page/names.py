"""Names: one symbol's scores through time, its factors, its fingerprint explained, its likes; and the search."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from fpm.page import drawings
from fpm.page.views import Card, Cell, Row, Table, Tile, View
from fpm.report.figure_text import ABSENT, number, percent, several

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date


PLACE = "/names"
NEWEST = 20  # sessions of the table


@dataclass(frozen=True)
class Scored:
    """A session's score of one stream: its value, its place among all (0 lowest, 1 highest), its spread over seeds."""

    session: date
    score: float
    place: float
    spread: float | None


@dataclass(frozen=True)
class Value:
    """A factor's value in a session and its place among all symbols, 0 lowest."""

    name: str
    value: float | None
    place: float | None


@dataclass(frozen=True)
class Name:
    """What there is of a symbol. `streams`: scores by stream, oldest first; `labels`: what followed.

    `bar`: the newest daily bar; `weights`: rows of the newest portfolios; `refused`: rows in quarantine (session,
    table, code, reason), of the last `looked_at` sessions; `horizon`: sessions that a label
    spans; `fingerprint`: the newest session that has one.
    """

    symbol: str
    session: date | None
    streams: Mapping[str, Sequence[Scored]] = field(default_factory=dict)
    labels: Mapping[date, float] = field(default_factory=dict)
    symbols: int = 0
    bar: Mapping[str, Any] | None = None
    factor_session: date | None = None
    factors: Sequence[Value] = ()
    classic: int = 0
    weights: Sequence[Mapping[str, Any]] = ()
    refused: Sequence[tuple[str, str, str, str]] = ()
    looked_at: int = 0
    horizon: int = 0
    fingerprint: date | None = None


@dataclass(frozen=True)
class Ranked:
    """A symbol with its score, for the lists of the empty search."""

    symbol: str
    score: float
    industry: str = ""


def address(symbol: str, page: str = "", **fields: object) -> str:
    """Where a symbol's view is, or one of its questions."""
    return f"{PLACE}{page}?{urlencode({'q': symbol, **fields})}"


def link(symbol: str) -> Cell:
    """A symbol that leads to its view."""
    return Cell(symbol, address(symbol))


def search(
    question: str,
    matches: Sequence[str],
    session: date | None,
    top: Sequence[Ranked],
    bottom: Sequence[Ranked],
    stream: str,
) -> View:
    """What a search found, or where nobody asked the ends of the newest session's scores."""
    todo = [] if session else [("No session has scores yet:", "fpm walk-forward FIRST LAST")]
    sections: list[tuple[str, Sequence[Card]]] = []
    if question:
        heading = f"{several(len(matches), 'symbol')} like {question}" if matches else f"No symbol is like {question}"
        card = Card(
            heading,
            "" if matches else "Symbols look like 600000.SH; a part of one is enough.",
            Table(("symbol",), [[link(each)] for each in matches]) if matches else None,
        )
        sections.append(("", [card]))
    elif session is not None:
        ends = [("Highest scores", top), ("Lowest scores", bottom)]
        cards = [
            Card(
                title,
                f"Stream {stream}, session {session}",
                Table(
                    ("symbol", "score", "industry"),
                    [[link(row.symbol), number(row.score), row.industry] for row in rows],
                    (0, 2),
                ),
                wide=False,
            )
            for title, rows in ends
        ]
        sections.append(("", cards))
    return View(
        "names",
        "Names",
        "Search a symbol: press / and type; a part of it is enough.",
        todo=todo,
        sections=sections,
        question=question,
    )


def name(content: Name) -> View:
    """The view of one symbol."""
    sections = [
        ("Scores", list(_scores(content))),
        ("The fingerprint", list(_fingerprint(content))),
        ("Its session", list(_session(content))),
        ("Factor values", list(_factors(content))),
        ("Quarantine", [_refused(content)]),
    ]
    return View(
        "names",
        content.symbol,
        f"Newest scored session {content.session}, {several(content.symbols, 'symbol')} scored"
        if content.session
        else "Not scored",
        [_tile(stream, rows[-1], content) for stream, rows in content.streams.items() if rows],
        sections=[(heading, cards) for heading, cards in sections if cards],
        question=content.symbol,
    )


def _tile(stream: str, newest: Scored, content: Name) -> Tile:
    remark = "" if newest.session == content.session else "; not scored since"
    lines = [f"higher than {percent(newest.place, 1)} of the market", f"session {newest.session}{remark}"]
    if newest.spread is not None:
        lines.insert(1, f"± {number(newest.spread)} over seeds")
    where = f"/lineage?{urlencode({'table': 'scores', 'session': newest.session, 'symbol': content.symbol})}"
    return Tile(f"Score, {stream}", number(newest.score), lines, href=where)


def _scores(content: Name) -> Iterator[Card]:
    places = {stream: [(row.session, row.place) for row in rows] for stream, rows in content.streams.items()}
    plot = drawings.lines(places, share=True)
    if plot is not None:
        yield Card("Place in the market", "100 %: the highest score of the session.", plot=plot, wide=False)
    plot = drawings.lines(
        {stream: [(row.session, row.score) for row in rows] for stream, rows in content.streams.items()}
    )
    if plot is not None:
        yield Card("Score", "As served at each session's cut-off.", plot=plot, wide=False)
    by_day: dict[date, dict[str, Scored]] = {}
    for stream, rows in content.streams.items():
        for row in rows:
            by_day.setdefault(row.session, {})[stream] = row
    if not by_day:
        yield Card("Never scored", "No session looked at has a score of it: see the daily bars and quarantine below.")
        return
    streams = list(content.streams)
    table: list[Row] = [
        [
            Cell(str(day), f"/lineage?{urlencode({'table': 'scores', 'session': day, 'symbol': content.symbol})}"),
            *(number(by_day[day][stream].score) if stream in by_day[day] else ABSENT for stream in streams),
            *(percent(by_day[day][stream].place, 1) if stream in by_day[day] else ABSENT for stream in streams),
            percent(content.labels.get(day)),
        ]
        for day in sorted(by_day, reverse=True)[:NEWEST]
    ]
    columns = (
        "session",
        *(f"{stream}|score" for stream in streams),
        *(f"{stream}|place" for stream in streams),
        f"what followed,|{several(content.horizon, 'session')}",
    )
    yield Card(
        "By session",
        "A session leads to what its score was made of.",
        Table(columns, table),
        folded=len(table) > NEWEST,
    )


def _fingerprint(content: Name) -> Iterator[Card]:
    if content.fingerprint is None:
        return
    day = content.fingerprint
    links = [
        (f"What the encoder saw on {day}", address(content.symbol, "/explain", session=day)),
        ("Its nearest stock-days, and what followed", address(content.symbol, "/similar", session=day)),
    ]
    yield Card("Ask", "Both compute for a while the first time; the answers are kept.", links=links)


def _session(content: Name) -> Iterator[Card]:
    if content.bar is not None:
        rows: list[Row] = [[str(label), str(value)] for label, value in content.bar.items()]
        yield Card("Newest daily bar", "Raw prices.", Table(("", ""), rows), wide=False)
    if content.weights:
        held: list[Row] = [
            [
                str(row["index"]),
                str(row["session"]),
                percent(row["weight"]),
                percent(row["benchmark_weight"]),
                percent(row["weight"] - row["benchmark_weight"]),
            ]
            for row in content.weights
        ]
        yield Card(
            "Portfolios", "", Table(("index", "session", "weight", "in the index", "active"), held, (0, 1)), wide=False
        )


def _factors(content: Name) -> Iterator[Card]:
    parts = [("Classic", content.factors[: content.classic]), ("Alpha158", content.factors[content.classic :])]
    for title, values in parts:
        if values:
            rows: list[Row] = [[value.name, number(value.value, 4), percent(value.place, 0)] for value in values]
            half = (len(rows) + 1) // 2
            wide = [[*left, *right] for left, right in zip(rows[:half], [*rows[half:], ["", "", ""]], strict=False)]
            table = Table(("factor", "value", "place", "factor", "value", "place"), wide, (0, 3))
            yield Card(
                title,
                f"Session {content.factor_session}; place: share of the market with a lower value.",
                table,
                folded=title != "Classic",
            )


def _refused(content: Name) -> Card:
    if not content.refused:
        return Card(
            "Nothing", f"No row of it was refused in the last {several(content.looked_at, 'session')} with bars."
        )
    rows = [list(row) for row in content.refused]
    return Card(several(len(rows), "row"), "", Table(("session", "table", "code", "reason"), rows, (0, 1, 2, 3), (3,)))
