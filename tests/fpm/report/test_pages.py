"""Small pages: the first line, links, and what is left out because it is empty."""

from __future__ import annotations

import re

import numpy as np

from fpm.report.encoder_charts import spectrum
from fpm.report.pages import Card, Page, Table, build, compact
from tests.fpm.report.test_page import script


def test_the_first_line_and_links_stand_before_everything_else():
    page = build(Page("A & B", "how", [], first_line="collapsed: no", links=[("Report", "report.html")]))
    body = page[page.index("<main>") :]
    order = [body.index(text) for text in ("A &amp; B", "collapsed: no", "how", 'href="report.html"')]
    assert order == sorted(order)
    assert 'id="packed"' not in page  # nothing to draw, nothing to carry


def test_cards_without_content_are_left_out_and_plots_keep_their_places():
    plot = spectrum({"trained": np.array([0.9, 0.1])})
    cards = [
        Card("Empty", "", table=Table(("name", "value"), [("a", None)])),
        Card("Plot", "", plot),
        Card("Table", "", table=Table(("name", "value", "absent"), [("a", 1.0, None), ("b", None, float("nan"))])),
    ]
    page = build(Page("t", "s", [("Nothing", cards[:1]), ("Something", cards)]))
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Something"]
    assert re.findall(r"<h3>(.*?)</h3>", page) == ["Plot", "Table"]
    assert re.findall(r'newPlot\("(.*?)"', script(page)) == re.findall(r'<div id="(plot-[^"]*)"', page) == ["plot-1-1"]


def test_compact_drops_what_is_absent_throughout():
    table = compact(Table(("name", "x", "y"), [("a", None, 1), ("b", None, None)]))
    assert (table.columns, table.rows) == (["name", "y"], [["a", 1]])
