"""A figure has one value: page, Markdown twin and JSON twin say the same, and so do two places of one page."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from fpm.report.data import ReportData
from fpm.report.figure_text import number
from fpm.report.markdown import markdown, plain
from fpm.report.page import build, twin
from tests.fpm.report.sample_report import sample_report

FIGURE = re.compile(r"(\u2212?\d[\d,]*(?:\.(\d+))?)( %)?")
DATE = re.compile(r"\d{4}-\d{2}(-\d{2})?")
Tables = dict[str, list[list[str]]]


@pytest.fixture(scope="module", params=[(60, 24), (90, 24), (103, 30), (8, 4)], ids=str)
def report(request: pytest.FixtureRequest) -> ReportData:
    return sample_report(*request.param)


def page_tables(page: str) -> Tables:
    """Title -> rows of a table as text, its columns first."""
    found: Tables = {}
    for title, rows in re.findall(r"<h3>([^<]*)</h3>\s*<div class=\"scroll[^>]*><table>(.*?)</table>", page, re.DOTALL):
        cells = [
            [
                html.unescape(re.sub(r"<[^>]+>", "", cell.replace("<br>", "|")))
                for cell in re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row, re.DOTALL)
            ]
            for row in re.findall(r"<tr[^>]*>(.*?)</tr>", rows, re.DOTALL)
        ]
        found[html.unescape(title)] = cells
    return found


def markdown_tables(text: str) -> Tables:
    """Title -> lines of a table without the rule below its columns, split at bars that are not escaped."""
    parts = re.findall(r"^### (.*)\n\n((?:\|.*\n?)+)", text, re.MULTILINE)
    return {
        title: [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in block.splitlines()
            if not re.fullmatch(r"[|: -]+", line)
        ]
        for title, block in parts
    }


def leaves(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


def test_the_markdown_twin_has_the_cells_of_the_page(report):
    page, text = page_tables(build(report)), markdown_tables(markdown(report))
    shown = {title: rows for title, rows in page.items() if len(rows) > 1 and len(rows[1]) > 1}
    assert list(text) == list(shown) and len(text) >= 12
    for title, rows in shown.items():
        own = [[plain(cell.replace("|", " ") if n == 0 else cell) for cell in row] for n, row in enumerate(rows)]
        theirs = [[re.sub(r"^\*(.*)\*$", r"\1", cell) for cell in row] for row in text[title]]
        assert theirs == own, title


def test_every_figure_of_the_page_is_one_of_the_json_twin(report):
    values = sorted(set(leaves(json.loads(twin(report)))))

    @cache
    def texts(digits: int, percent: bool) -> set[str]:
        scales = (100,) if percent else (1, 1e-6)
        return {number(value * scale, digits) for value in values for scale in scales}

    page = re.sub(r'<tr class="theirs">.*?</tr>', "", build(report))
    outside = {"1 %", "5 %", "10 %", "20 %"}  # of a table's own names
    counted = 0
    for title, rows in page_tables(page).items():
        for row in rows[1:]:
            for cell in row[1:]:
                for figure, decimals, percent in FIGURE.findall(DATE.sub("", cell)):
                    known = figure in texts(len(decimals), bool(percent)) or figure + percent in outside
                    assert known or title in WORDS, (title, row[0], cell)
                    counted += 1
    assert counted > 200 or report.independent_periods < 2


WORDS = {"Settings tried", "Folds", "Quarantined", "B, the deviation of realised over predicted"}


def test_one_quantity_under_one_name_has_one_value(report):
    """Same row, same column title: the same text in every table that does not show intervals alone."""
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for title, (columns, *rows) in page_tables(build(report)).items():
        if columns[0].split(",")[0] != "stream":
            continue
        for row in rows:
            for column, cell in zip(columns[1:], row[1:], strict=True):
                if cell.startswith("[") or column.startswith("95 %"):
                    continue
                key = row[0].removesuffix(", before costs"), column
                assert seen.setdefault(key, (cell, title))[0] == cell, (key, title, seen[key])
    assert len(seen) >= 30


def test_the_mean_rank_ic_is_one_number_on_the_tile_in_the_verdict_and_in_every_table(report):
    """Sessions are no multiple of five here: a mean of five start-day paths would be another number."""
    page = build(report)
    tables, stated = page_tables(page), json.loads(twin(report))
    for column, name in enumerate(report.streams, 1):
        figures = stated["streams"][name]
        mean = sum(value for _, value in figures["series"]) / len(figures["series"])
        text = number(mean)
        tile = re.search(rf'<div class="name">{name}</div>\s*<div class="value">(.*?)</div>', page)
        assert tile and tile[1] == text
        assert {row[0]: row[1] for row in tables["How sure"]}[name] == text
        variants = {row[0]: row for row in tables["What could be bought, and what is left without the known"]}
        assert variants["all names"][column].split(" ")[0] == text
        assert tables["RankIC by year"][1][column].split(" ")[0] == text
        bases = {row[0]: row for row in tables["Four ways to be filled"]}
        assert bases["next close"][column] == variants["all names"][column]  # the label's own way
        if report.independent_periods >= 2:
            assert f"({text}, 95 %" in stated["verdict"]["Intervals"]
            middle = (figures["newey_west"]["low"] + figures["newey_west"]["high"]) / 2
            assert middle == pytest.approx(mean)  # the interval belongs to this mean
