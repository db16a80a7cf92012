"""Portfolio: the tables of the morning page by index, and whether its forecast of risk came true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from fpm.page.names import link
from fpm.page.views import Card, Row, Table, Tile, View, of_report
from fpm.report import morning
from fpm.report.figure_text import ABSENT, number, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from fpm.report.morning import Morning, Standing


@dataclass(frozen=True)
class Portfolio:
    """What the view shows: the morning of a session, sessions beside it, and rows of `risk_tests` of `tested`.

    `index`: whose tables stand below the tiles; one that there is not: the first with orders, or the first.
    """

    morning: Morning | None
    index: str = ""
    sessions: Sequence[date] = ()
    tested: date | None = None
    tests: Sequence[Mapping[str, Any]] = ()


def portfolio(content: Portfolio) -> View:
    """The view."""
    if content.morning is None:
        todo = [
            ("No session has a portfolio. Members of an index come in with a delivery, a night decides:", "fpm nightly")
        ]
        return View("portfolio", "Portfolio", "Nothing decided yet", todo=todo)
    here = content.morning.session
    sections: list[tuple[str, Sequence[Card]]] = []
    notes = []
    for standing in content.morning.standings:
        notes += [f"{standing.index}: {note}" for note in morning.notes(standing)]
    chosen = _chosen(content.morning.standings, content.index)
    tiles = [_tile(standing, chosen=standing is chosen) for standing in content.morning.standings]
    for heading, parts in morning.sections(chosen):
        cards = [
            Card(part.title, part.text, of_report(part.table, link) if part.table else None, part.plot, wide=part.wide)
            for part in parts
        ]
        sections.append((f"{chosen.index}: {heading}", cards))
    sections.insert(1, ("Whether the forecasts of risk came true", list(_risk(content))))
    beside = Card("", links=[(str(day), address(day, content.index)) for day in content.sessions if day != here])
    if beside.links:
        sections.append(("Other sessions", [beside]))
    return View(
        "portfolio",
        content.morning.title,
        f"Market {content.morning.market} · the same page as a file: fpm morning {here}",
        tiles,
        sections=[(heading, cards) for heading, cards in sections if cards],
        notes=notes,
        ends=morning.ENDS,
    )


def _chosen(standings: Sequence[Standing], index: str) -> Standing:
    with_orders = [standing for standing in standings if standing.frames["orders"].height]
    return next((standing for standing in standings if standing.index == index), (with_orders or list(standings))[0])


def _tile(standing: Standing, *, chosen: bool) -> Tile:
    words = morning.tile(standing)
    where = address(standing.session, standing.index)
    return Tile(words["name"], words["value"], words["lines"].split(" · "), href=where, chosen=chosen)


def address(session: object, index: str = "") -> str:
    """Where the portfolios of a session are shown, below their tiles those of one index."""
    return f"/portfolio?{urlencode({'session': session} | ({'index': index} if index else {}))}"


def _risk(content: Portfolio) -> Iterator[Card]:
    assert content.morning is not None
    rows: list[Row] = []
    for standing in content.morning.standings:
        predicted = standing.decision["tracking_error"] if standing.decision else None
        realised = standing.performance.tracking_error if standing.performance else None
        own = {row["kind"]: row for row in content.tests if row["index"] == standing.index}
        for kind in own or {"": {}}:
            test = own.get(kind, {})
            band = (
                f"[{number(test.get('low'), 2)}, {number(test.get('high'), 2)}]"
                if test.get("low") is not None
                else ABSENT
            )
            verdict = {True: "inside", False: "outside", None: test.get("reason") or ABSENT}[test.get("inside")]
            rows.append(
                [
                    standing.index,
                    percent(predicted),
                    percent(realised),
                    kind or ABSENT,
                    number(test.get("bias"), 2),
                    band,
                    verdict,
                ]
            )
    if rows:
        columns = (
            "index",
            "predicted|yearly",
            "realised|yearly",
            "test|portfolios",
            "bias",
            "95 % of|a right model",
            "verdict",
        )
        nights = f"nights up to {content.tested}" if content.tested else "no night was tested yet"
        text = f"Tracking error. Bias: standard deviation of realised over predicted, {nights}; 1 is right."
        yield Card("Tracking error, predicted and realised", text, Table(columns, rows, (0, 3, 6), (6,)))
