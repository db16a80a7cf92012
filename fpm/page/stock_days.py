"""A stock-day's fingerprint: what the encoder saw, and the stock-days most like it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fpm.page import drawings
from fpm.page.names import address, link
from fpm.page.views import Card, Cell, Row, Table, Tile, View
from fpm.report.figure_text import number, percent, percent_interval, several

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from fpm.evaluation.analogues import Comparison


@dataclass(frozen=True)
class Map:
    """An explained fingerprint: the map's `cells` (a row a family), its bars, and its words."""

    symbol: str
    session: date
    vintage: str
    known_at: str
    unit: float
    parts: Sequence[str]
    families: Sequence[str]
    cells: Sequence[Sequence[float | None]]
    whole: Sequence[float | None]
    by_part: Sequence[float | None]
    words: Sequence[tuple[str, float | None, float, float | None]] = ()
    minutes: int = 0


def explained(content: Map) -> View:
    """What the encoder saw in one session."""
    cells = [
        *([*row, whole] for row, whole in zip(content.cells, content.whole, strict=True)),
        [*content.by_part, None],
    ]
    plot = drawings.heat(
        [*content.parts, "all day"],
        [*content.families, "all"],
        cells,
        f"Map of the fingerprint of {content.symbol}, {content.session}",
    )
    text = (
        "How far the fingerprint moves when a family of features is hidden for the half-hour that ends there; 1 is the "
        "typical distance between two fingerprints. Empty: there was nothing to hide."
    )
    cards = [Card("What the fingerprint rests on", text, plot=plot)]
    if content.words:
        rows: list[Row] = [
            [word.replace("_", " "), number(sure, 2), number(read, 2), number(measured, 2)]
            for word, sure, read, measured in content.words
        ]
        columns = (
            "statistic",
            "sure: correlation|out of sample",
            "read from the|fingerprint, z",
            "measured from|the minutes, z",
        )
        cards.append(Card("In words", "Z-scores across the session's market.", Table(columns, rows)))
    return View(
        "names",
        f"What the encoder saw: {content.symbol}, {content.session}",
        f"Vintage {content.vintage} · as known at {content.known_at} · typical distance {number(content.unit)}",
        sections=[("", cards)],
        ends=[f"The page with price and volume: fpm explain {content.symbol} {content.session}"],
        question=content.symbol,
    )


@dataclass(frozen=True)
class Likes:
    """The nearest stock-days: session, symbol, similarity, outcome, matched; and how the outcomes compare."""

    symbol: str
    session: date
    vintage: str
    known_at: str
    candidates: int
    horizon: int
    rows: Sequence[tuple[date, str, float, float | None, float | None]]
    compared: Comparison | None = None


def likes(content: Likes) -> View:
    """The stock-days most like one, and what happened next."""
    ahead = several(content.horizon, "session")
    rows: list[Row] = [
        [
            Cell(str(day), address(symbol, "/explain", session=day)),
            link(symbol),
            number(similarity),
            percent(outcome),
            percent(matched),
        ]
        for day, symbol, similarity, outcome, matched in content.rows
    ]
    columns = ("session", "symbol", "similarity", f"what followed,|{ahead}", "what followed|matched ones")
    tiles = []
    if content.compared is not None:
        compared = content.compared
        tiles = [
            Tile("What followed these", percent(compared.analogues), [f"mean return, {ahead}"]),
            Tile("Matched ones", percent(compared.matched), ["same session, industry and size"]),
            Tile(
                "Difference",
                percent(compared.difference),
                [f"95 % {percent_interval(compared.interval)}", several(compared.periods, "disjoint period")],
            ),
        ]
    return View(
        "names",
        f"Stock-days most like {content.symbol}, {content.session}",
        f"Vintage {content.vintage} · as known at {content.known_at} · of {several(content.candidates, 'stock-day')}",
        tiles,
        sections=[
            (
                "",
                [
                    Card(
                        "Nearest first",
                        "Cosine of the fingerprints. A dash: not known then.",
                        Table(columns, rows, (0, 1)),
                    )
                ],
            )
        ],
        ends=[f"The same in a terminal: fpm similar {content.symbol} {content.session}"],
        question=content.symbol,
    )
