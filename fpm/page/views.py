"""A view as data: tiles on top, then what to type, then sections of cards.

Whoever gathers fills it, `sheets` makes HTML of it. Text is plain text here: it is escaped where it becomes HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

    from fpm.report import cells

VIEWS = {"tonight": "/", "factor": "/factor", "names": "/names", "portfolio": "/portfolio", "lineage": "/lineage"}
"""The five views and where they are, in the order of their keys 1 to 5."""


@dataclass(frozen=True)
class Cell:
    """A cell with more than its text: a link, or the mark of a state (`marks`); `code`: something to type."""

    text: str
    href: str = ""
    mark: str = ""
    code: bool = False


Row = Sequence[Cell | str]


@dataclass(frozen=True)
class Table:
    """Column titles ("|" breaks a line) and rows; the columns `words` are text, `prose` those whose lines break."""

    columns: Sequence[str]
    rows: Sequence[Row]
    words: Sequence[int] = (0,)
    prose: Sequence[int] = ()


@dataclass(frozen=True)
class Card:
    """A plot, a table or words, with a title; `links`: text and address; `folded`: closed until somebody opens it."""

    title: str
    text: str = ""
    table: Table | None = None
    plot: Markup | None = None
    links: Sequence[tuple[str, str]] = ()
    wide: bool = True
    folded: bool = False


@dataclass(frozen=True)
class Tile:
    """A figure at the top: what it is, its value with a unit, and lines that say of when.

    `chosen`: what stands below the tiles is of this one.
    """

    name: str
    value: str
    lines: Sequence[str] = ()
    mark: str = ""
    href: str = ""
    chosen: bool = False


@dataclass(frozen=True)
class View:
    """A whole view. `name`: which of the five it belongs to, or none; `todo`: why, and what to type then.

    `refreshes`: the page asks again each minute while somebody looks at it.
    """

    name: str
    title: str
    subtitle: str = ""
    tiles: Sequence[Tile] = ()
    todo: Sequence[tuple[str, str]] = ()
    sections: Sequence[tuple[str, Sequence[Card]]] = ()
    notes: Sequence[str] = ()
    ends: Sequence[str] = field(default_factory=tuple)
    question: str = ""
    refreshes: bool = False


def of_report(table: cells.Table, link: Callable[[str], Cell | str]) -> Table:
    """A table of the report's pages as one of ours; the cells of its column `symbol` become `link` of them."""
    symbols = {place for place, title in enumerate(table.columns) if title == "symbol"}
    rows = [[link(cell) if place in symbols else cell for place, cell in enumerate(row.cells)] for row in table.rows]
    return Table(table.columns, rows, table.words, table.prose)
