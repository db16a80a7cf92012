"""The Markdown twin: the page's tables in the page's order, as markup that keeps its shape."""

from __future__ import annotations

import re
from dataclasses import replace

from fpm.report.data import Quarantined, ReportData
from fpm.report.markdown import markdown, plain
from fpm.report.page import build
from fpm.report.tables import tables
from tests.fpm.report.sample_report import sample_report


def cells(line: str) -> list[str]:
    """A row's cells, split at the bars that are not escaped."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_every_table_is_there_with_as_many_cells_in_every_row():
    blocks = [block.splitlines() for block in markdown(sample_report()).split("\n\n") if block.startswith("|")]
    filled = [table for table in tables(sample_report()).values() if table.rows]
    assert len(blocks) == len(filled)
    for lines in blocks:
        assert len({len(cells(line)) for line in lines}) == 1
    assert sorted(len(lines) - 2 for lines in blocks) == sorted(len(table.rows) for table in filled)


def test_headings_are_those_of_the_page_in_its_order():
    page = [heading.replace("&#39;", "'") for heading in re.findall(r"<h2 id=[^>]*>(.*?)</h2>", build(sample_report()))]
    text = re.findall(r"^## (.*)$", markdown(sample_report()), re.MULTILINE)
    assert text == [heading for heading in page if heading in text] and len(text) >= 6


def test_published_rows_are_marked():
    published = [line for line in markdown(sample_report()).splitlines() if "their" in line and line.startswith("|")]
    assert len(published) == 5 and all(cells(line)[0].startswith("*their ") for line in published)
    assert "not reproduced here" in markdown(sample_report())


def test_text_from_data_stays_text():
    bars = replace(sample_report(), quarantined=[Quarantined("a|b", "X_1", "price *0* <b>\nand `more`", 3)])
    (line,) = [line for line in markdown(bars).splitlines() if "X\\_1" in line]
    assert cells(line) == ["a\\|b", "X\\_1", "price \\*0\\* &lt;b> and \\`more\\`", "3"]
    assert plain("[x](y) & #1") == "\\[x\\](y) &amp; \\#1"


def test_same_figures_same_bytes_and_an_empty_deployment_has_a_twin():
    assert markdown(sample_report()) == markdown(sample_report())
    assert "*nothing was kept out*" in markdown(ReportData("nothing yet", "2025-01-01", "us", "short", {}))
