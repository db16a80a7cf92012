"""The report's Markdown twin: the same tables in the same order, for a mail, a ticket or a repository; no plots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.report.figure_text import several
from fpm.report.sections import ENDS, Part, shown
from fpm.report.tables import Table, tables

if TYPE_CHECKING:
    from fpm.report.data import ReportData


def markdown(data: ReportData) -> str:
    """The whole document, GitHub's dialect. Same figures, same bytes."""
    written = tables(data)
    blocks = [f"# {plain(data.title)}", _subtitle(data), *(f"> {plain(note)}" for note in data.notes)]
    for section in shown({("table", name) for name in written}):
        blocks.append(f"## {section.heading}")
        for part in section.parts:
            blocks += _part(part, written[part.name])
    return "\n\n".join([*blocks, "---", *ENDS]) + "\n"


def _subtitle(data: ReportData) -> str:
    said = (
        f"As of {data.as_of}",
        f"market {data.market}",
        f"preset {data.preset}",
        f"{several(data.independent_periods, 'independent five-session period')} out of sample",
        f"{several(data.trials, 'model setting')} tried",
    )
    return " · ".join(said)


def _part(part: Part, table: Table) -> list[str]:
    return [f"### {part.title}", _table(table), *([part.text] if part.text else [])]


def _table(table: Table) -> str:
    if not table.rows:
        return f"*{table.empty}*"
    heads = [plain(title.replace("|", " ")) for title in table.columns]
    rule = [":--" if place in table.words else "--:" for place in range(len(heads))]
    rows = [[f"*{plain(cell)}*" if row.theirs and cell else plain(cell) for cell in row.cells] for row in table.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows))


def plain(text: str) -> str:
    """Text whose characters mean themselves: nothing of it becomes markup, a table keeps its columns."""
    escaped = "".join(f"\\{letter}" if letter in "\\`*_[]|#" else letter for letter in text)
    return " ".join(escaped.replace("&", "&amp;").replace("<", "&lt;").split())
