"""The page: self-contained, the same bytes twice, absent figures shown as absent."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from gzip import decompress
from html.parser import HTMLParser

import pytest

from fpm.report.data import ReportData
from fpm.report.figure_text import number
from fpm.report.page import build, plots, twin
from tests.fpm.report.sample_report import sample_report


class Links(HTMLParser):
    """Every address the page would fetch, and every element id."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "data", "action") and tag != "a":
                self.addresses.append(str(value))
            if name == "id":
                self.ids.append(str(value))


def script(page: str) -> str:
    """What the page's own lines unpack."""
    (packed,) = re.findall(r'<script type="text/plain" id="packed">(.*?)</script>', page)
    return decompress(b64decode(packed)).decode()


@pytest.fixture(scope="module")
def page() -> str:
    return build(sample_report())


def test_the_page_fetches_nothing_and_carries_plotly_once(page):
    links = Links()
    links.feed(page)
    assert links.addresses == []
    assert len(re.findall(r"plotly\.js v\d", script(page))) == 1
    assert "plotly.js v" not in page  # packed: it would be three times as large


def test_same_figures_same_bytes(page):
    assert build(sample_report()) == page
    assert twin(sample_report()) == twin(sample_report())


def test_every_plot_is_there_once_under_its_own_id(page):
    links = Links()
    links.feed(page)
    expected = {
        "cumulative",
        "rank-ic-fingerprint",
        "rank-ic-traditional",
        "rank-ic-dual",
        "groups",
        "long-short",
        "decay",
        "by-size",
        "spread",
        "excess",
        "losses",
        "symbols",
        "group-curves-fingerprint",
        "group-curves-traditional",
        "group-curves-dual",
        "turnover",
        "exposures",
        "reliability",
        "scored",
        "risk-own",
        "risk-optimised",
        "risk-random",
    }
    assert set(plots(sample_report())) == expected
    assert sorted(set(links.ids) & expected) == sorted(expected)
    assert all(links.ids.count(name) == 1 for name in expected)
    assert set(re.findall(r'Plotly\.newPlot\("([a-z0-9-]+)"', script(page))) == expected


def test_text_from_data_is_escaped(page):
    assert "A &lt;title&gt; &amp; more" in page
    assert "price 0 with &lt;volume&gt;" in page


def test_published_figures_are_labelled(page):
    assert "their dual-stream GRU" in page
    assert "not reproduced here" in page
    # as the source report states them, in rows of their own class
    published = re.findall(r'<tr class="theirs">(.*?)</tr>', page)
    assert [re.findall(r"<td[^>]*>([^<]*)</td>", row)[1] for row in published] == [
        "0.106",
        "0.109",
        "11.00 %",
        "13.32 %",
        "13.23 %",
    ]


def test_independent_periods_and_intervals_are_shown(page):
    figures = sample_report().streams["dual"]
    assert f"<strong>{figures.independent_periods} independent periods.</strong>" in page
    assert f"[{number(figures.newey_west.low)}, {number(figures.newey_west.high)}]" in page


def test_a_history_too_short_for_anything_still_makes_a_page():
    short = build(sample_report(sessions=8, symbols=4))
    assert "1 independent period." in short
    assert "there are no intervals" in short


def test_the_twin_holds_what_the_page_shows():
    report = sample_report()
    values = json.loads(twin(report))
    assert values["streams"]["dual"]["rank_ic"] == report.streams["dual"].rank_ic
    assert values["streams"]["dual"]["series"][0][0] == "2025-06-02"
    assert values["portfolios"]["ALL"]["total_return"] == report.portfolios["ALL"].total_return
    assert values["quarantined"][0]["count"] == 12


def test_the_contents_lead_to_every_heading_and_links_to_the_pages_beside_it(page):
    headings = re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', page)
    contents = re.findall(r'<li><a href="#([^"]+)">(.*?)</a>', page)
    assert contents == headings and len(headings) >= 8
    assert page.index('class="verdict"') < page.index('class="contents"') < page.index("<h2 id=")
    assert 'class="links"' not in page
    linked = build(sample_report(), [("Encoder <1>", "encoder-1.html")])
    assert '<p class="links"><a href="encoder-1.html">Encoder &lt;1&gt;</a></p>' in linked


def test_the_verdict_is_on_the_page_and_in_the_twin(page):
    stated = json.loads(twin(sample_report()))["verdict"]
    shown = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert {topic: sentence.replace("&#39;", "'") for topic, sentence in shown.items()} == stated and len(stated) == 4


def test_an_empty_deployment_has_a_page_too():
    empty = ReportData("nothing yet", "2025-01-01", "us", "short", {})
    assert "0 independent periods" in build(empty)
    assert json.loads(twin(empty))["streams"] == {}
