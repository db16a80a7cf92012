"""Small self-contained pages in the look of the report: cards with a plot, a table, or words.

Same content, same bytes: no clock, no random ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fpm.report.figure_text import ABSENT, number

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Table:
    """Column titles and rows; numbers are shown to three digits, None as absent. The first column is to the left."""

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
    """`sections`: a heading and its cards each. `notes`: what a reader must know first. `ends`: small print."""

    title: str
    subtitle: str
    sections: Sequence[tuple[str, Sequence[Card]]]
    notes: Sequence[str] = ()
    ends: Sequence[str] = ()


def build(page: Page) -> str:
    """The page: plots inline, plotly's script once, no request to anywhere."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(shown=shown, drawn=lambda figure, name: Markup(drawn(figure, name)))
    template = environment.from_string(files("fpm.report").joinpath("page.html.j2").read_text(encoding="utf-8"))
    style = files("fpm.report").joinpath("page.css").read_text(encoding="utf-8")
    return template.render(page=page, plotly=Markup(get_plotlyjs()), style=Markup(style))


def drawn(figure: Any, name: str) -> str:
    """A figure as HTML whose element has that id."""
    config = {"displayModeBar": False, "responsive": True}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config))


def shown(value: object) -> str:
    """A cell as text."""
    if value is None or (isinstance(value, float) and value != value):
        return ABSENT
    return number(value) if isinstance(value, float) else str(value)
