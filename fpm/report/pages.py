"""Small self-contained pages in the look of the report: cards with a plot, a table, or text.

The same content gives the same bytes: there is no clock and no random id.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

from fpm.report.figure_text import ABSENT, number
from fpm.report.templates import plot_html, render

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
    """A page. `sections`: headings with their cards. `notes`: warnings at the top. `ends`: small print."""

    title: str
    subtitle: str
    sections: Sequence[tuple[str, Sequence[Card]]]
    notes: Sequence[str] = ()
    ends: Sequence[str] = ()


def build(page: Page) -> str:
    """HTML of a page."""
    return render("page.html.j2", {"cell_text": cell_text, "plot_html": plot_html}, {"page": page})


def cell_text(value: object) -> str:
    """A cell as text: floats with three digits, None and NaN as absent."""
    if value is None or (isinstance(value, float) and isnan(value)):
        return ABSENT
    return number(value) if isinstance(value, float) else str(value)
