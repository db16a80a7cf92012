"""Small self-contained pages in the look of the report: cards with a plot, a table, or text.

The same content gives the same bytes: there is no clock and no random id.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isnan
from typing import TYPE_CHECKING, Any

from fpm.report.figure_text import ABSENT, number
from fpm.report.templates import render

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Table:
    """Column titles and rows; the first column is aligned left."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Card:
    """One card: a plotly figure, a table, or both; `wide` takes the page's whole width."""

    title: str
    text: str
    plot: Any = None
    table: Table | None = None
    wide: bool = True


@dataclass(frozen=True)
class Page:
    """A page. `sections`: headings with their cards. `notes`: warnings at the top. `ends`: small print.

    `first_line`: what a reader must know first. `links`: title and relative address of the pages beside it.
    """

    title: str
    subtitle: str
    sections: Sequence[tuple[str, Sequence[Card]]]
    notes: Sequence[str] = ()
    ends: Sequence[str] = ()
    first_line: str = ""
    links: Sequence[tuple[str, str]] = ()


def build(page: Page) -> str:
    """HTML of a page. Columns without a value, tables without a row and cards without content are left out."""
    sections = [(heading, [filled for card in cards if (filled := _filled(card))]) for heading, cards in page.sections]
    page = replace(page, sections=[(heading, cards) for heading, cards in sections if cards])
    plots = {
        f"plot-{section}-{place}": card.plot
        for section, (_, cards) in enumerate(page.sections, 1)
        for place, card in enumerate(cards, 1)
        if card.plot is not None
    }
    return render("page.html.j2", {"cell_text": cell_text}, {"page": page}, plots)


def _filled(card: Card) -> Card | None:
    """The card with the columns of its table that hold a value; None where nothing is left."""
    table = card.table and compact(card.table)
    rows = table.rows if table else ()
    return replace(card, table=table if rows else None) if rows or card.plot is not None else None


def compact(table: Table) -> Table:
    """The table without rows and columns that are absent throughout; the first column is the name of a row."""
    absent = [[cell_text(value) == ABSENT for value in row] for row in table.rows]
    rows = [n for n, cells in enumerate(absent) if not all(cells[1:])]
    kept = [n for n in range(len(table.columns)) if n == 0 or not all(absent[row][n] for row in rows)]
    return Table([table.columns[n] for n in kept], [[table.rows[row][n] for n in kept] for row in rows])


def cell_text(value: object) -> str:
    """A cell as text: floats with three digits, None and NaN as absent."""
    if value is None or (isinstance(value, float) and isnan(value)):
        return ABSENT
    return number(value) if isinstance(value, float) else str(value)
