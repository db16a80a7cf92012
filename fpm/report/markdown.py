"""The report's Markdown twin: the same tables in the same order without plots, for a mail, ticket or repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.report.figure_text import several
from fpm.report.sections import Part, ends, sections_with
from fpm.report.tables import tables
from fpm.report.verdict import verdict

if TYPE_CHECKING:
    from fpm.report.cells import Table
    from fpm.report.data import ReportData


def markdown(report: ReportData) -> str:
    """The whole document in GitHub's dialect; the same figures give the same bytes."""
    filled_tables = tables(report)
    blocks = [f"# {plain(report.title)}", _subtitle(report), *(f"> {plain(note)}" for note in report.notes)]
    blocks.append("\n".join(f"- **{topic}**: {plain(sentence)}" for topic, sentence in verdict(report).items()))
    for section in sections_with({("table", name) for name in filled_tables}, report.horizon):
        blocks.append(f"## {section.heading}")
        for part in section.parts:
            blocks += _part(part, filled_tables[part.name])
    return "\n\n".join([*blocks, "---", *ends(report.horizon)]) + "\n"


def _subtitle(report: ReportData) -> str:
    facts = (
        f"As of {report.as_of}",
        f"market {report.market}",
        f"preset {report.preset}",
        f"{several(report.independent_periods, f'independent {report.horizon}-session period')} out of sample",
        f"{several(report.trials, 'model setting')} tried",
    )
    return " · ".join(facts)


def _part(part: Part, table: Table) -> list[str]:
    return [f"### {part.title}", table_text(table), *([part.text] if part.text else [])]


def table_text(table: Table) -> str:
    """A table in GitHub's dialect."""
    if not table.rows:
        return f"*{table.empty}*"
    heads = [plain(title.replace("|", " ")) for title in table.columns]
    rule = [":--" if column in table.words else "--:" for column in range(len(heads))]
    rows = [[f"*{plain(cell)}*" if row.published and cell else plain(cell) for cell in row.cells] for row in table.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows))


def plain(text: str) -> str:
    """Text with every special character escaped, so that it never becomes markup or breaks a table."""
    escaped = "".join(f"\\{letter}" if letter in "\\`*_[]|#" else letter for letter in text)
    return " ".join(escaped.replace("&", "&amp;").replace("<", "&lt;").split())
