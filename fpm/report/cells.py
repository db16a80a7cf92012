"""Rows and cells of the report's tables as text.

An absent figure is a dash. Rows of the source report's figures are marked as published.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fpm.report.figure_text import ABSENT, interval, number, percent, percent_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.evaluation.intervals import Interval


@dataclass(frozen=True)
class Row:
    """Cells in the order of the columns. `colour_key`: the stream or index whose colour marks the row."""

    cells: Sequence[str]
    colour_key: str = ""
    published: bool = False


@dataclass(frozen=True)
class Table:
    """Column titles ("|" is a possible line break) and rows.

    `words`: columns of text, aligned left. `prose`: those of them whose lines may break. `empty`: text of a table
    without rows.
    """

    columns: Sequence[str]
    rows: Sequence[Row]
    words: Sequence[int] = (0,)
    prose: Sequence[int] = ()
    empty: str = ""


def compact(table: Table) -> Table:
    """The table without rows and columns that hold nothing but dashes; the first column is the name of a row.

    A table of published rows alone is empty: there is nothing of ours beside them.
    """
    rows = [row for row in table.rows if any(cell != ABSENT for cell in row.cells[1:])]
    if not rows or all(row.published for row in rows):
        return replace(table, rows=())
    kept = [n for n in range(len(table.columns)) if n == 0 or any(row.cells[n] != ABSENT for row in rows)]
    place = {column: n for n, column in enumerate(kept)}
    return replace(
        table,
        columns=tuple(table.columns[n] for n in kept),
        rows=tuple(replace(row, cells=tuple(row.cells[n] for n in kept)) for row in rows),
        words=tuple(place[n] for n in table.words if n in place),
        prose=tuple(place[n] for n in table.prose if n in place),
    )


def cell(value: float | None, bounds: Interval | None) -> str:
    """A figure with its interval, if any."""
    return number(value) if bounds is None else f"{number(value)} {interval(bounds)}"


def percent_cell(value: float | None, bounds: Interval | None, digits: int = 2) -> str:
    """A figure with its interval, if any, in percent."""
    return percent(value, digits) if bounds is None else f"{percent(value, digits)} {percent_interval(bounds, digits)}"
