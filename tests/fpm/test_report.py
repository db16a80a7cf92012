"""The page: self-contained, the same bytes twice, and honest about what is missing."""

from __future__ import annotations

import json
import re
from datetime import date
from html.parser import HTMLParser

import numpy as np
import pytest

from fpm.backtest import backtest
from fpm.evaluation import PRESETS, Surroundings, compare, evaluate, oracle_share
from fpm.report import (
    THEIR_FACTORS,
    THEIR_PORTFOLIOS,
    Coverage,
    Encoder,
    Fold,
    Quarantined,
    Rebalance,
    ReportData,
    build,
    number,
    percent,
    plots,
    twin,
)
from tests.fpm.panels_of import long, weekdays
from tests.fpm.test_backtest import daily

MONDAY = date(2025, 6, 2)


def made(sessions: int = 60, symbols: int = 24) -> ReportData:
    """A whole report on drawn scores."""
    generator = np.random.default_rng(1)
    days = weekdays(MONDAY, sessions)
    close_TN = 10 * np.exp(np.cumsum(generator.normal(0, 0.02, (sessions, symbols)), axis=0))
    label_TN = np.full_like(close_TN, np.nan)
    label_TN[:-6] = close_TN[6:] / close_TN[1:-5] - 1
    known = np.nan_to_num(label_TN) * 20
    scores = {
        name: long(share * known + generator.normal(size=known.shape), "score", days)
        for name, share in (("fingerprint", 0.2), ("traditional", 0.1), ("dual", 0.3))
    }
    labels = long(label_TN, "label", days)
    around = Surroundings(long(close_TN, "close", days), long(close_TN, "size", days))
    equal = long(np.full_like(close_TN, 1 / symbols), "weight", days)
    return ReportData(
        title="A <title> & more",
        as_of="2025-08-22",
        market="cn",
        preset="tiny",
        streams={name: evaluate(frame, labels, PRESETS["tiny"], around) for name, frame in scores.items()},
        comparisons={"dual - fingerprint": compare(scores["dual"], scores["fingerprint"], labels)},
        oracles={"dual": oracle_share(scores["dual"], long(known, "score", days), labels)},
        spreads={"dual": [(day, 0.25) for day in days]},
        portfolios={"ALL": backtest(equal.filter(equal["session"] == days[0]), equal, daily(close_TN, days))},
        rebalances=[Rebalance("ALL", days[-1], {"turnover": 0.12}, {"active": 2.0, "size": 0.0})],
        coverage=[Coverage("minute_bars", sessions, 1234567, days[0], days[-1])],
        quarantined=[Quarantined("minute_bars", "FPM-IN-023", "price 0 with <volume>", 12)],
        encoders=[Encoder("abc-20250530-def", MONDAY, "promoted", {"effective_rank": 41.2}, [{"forward": 0.9}])],
        folds=[Fold("abc-20250530-def", "scorer-1", days[0], days[-1], sessions)],
    )


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


@pytest.fixture(scope="module")
def page() -> str:
    return build(made())


def test_the_page_fetches_nothing_and_carries_plotly_once(page):
    links = Links()
    links.feed(page)
    assert links.addresses == []
    assert len(re.findall(r"plotly\.js v\d", page)) == 1


def test_same_figures_same_bytes(page):
    assert build(made()) == page
    assert twin(made()) == twin(made())


def test_every_plot_is_there_once_under_its_own_id(page):
    links = Links()
    links.feed(page)
    expected = {
        "cumulative", "rank-ic-fingerprint", "rank-ic-traditional", "rank-ic-dual", "groups", "long-short", "decay",
        "by-size", "spread", "excess", "losses",
    }  # fmt: skip
    assert set(plots(made())) == expected
    assert sorted(set(links.ids) & expected) == sorted(expected)
    assert all(links.ids.count(name) == 1 for name in expected)


def test_text_from_data_is_escaped(page):
    assert "A &lt;title&gt; &amp; more" in page
    assert "price 0 with &lt;volume&gt;" in page


def test_the_source_reports_figures_are_labelled_as_theirs(page):
    assert "their dual-stream GRU" in page
    assert "not reproduced here" in page
    # as the source report states them
    assert [row["rank_ic"] for row in THEIR_FACTORS] == [0.106, 0.109]
    assert [row["annual_excess"] for row in THEIR_PORTFOLIOS] == [0.0712, 0.1138, 0.1484]


def test_independent_periods_and_intervals_are_said(page):
    figures = made().streams["dual"]
    assert f"<strong>{figures.independent_periods} independent periods.</strong>" in page
    assert f"[{number(figures.newey_west.low)}, {number(figures.newey_west.high)}]" in page


def test_a_history_too_short_for_anything_still_makes_a_page():
    short = build(made(sessions=8, symbols=4))
    assert "1 independent period." in short
    assert "there are no intervals" in short


def test_the_twin_holds_what_the_page_shows():
    data = made()
    held = json.loads(twin(data))
    assert held["streams"]["dual"]["rank_ic"] == data.streams["dual"].rank_ic
    assert held["streams"]["dual"]["series"][0][0] == "2025-06-02"
    assert held["portfolios"]["ALL"]["total_return"] == data.portfolios["ALL"].total_return
    assert held["quarantined"][0]["count"] == 12


def test_an_empty_deployment_has_a_page_too():
    empty = ReportData("nothing yet", "2025-01-01", "us", "short", {})
    assert "0 independent periods" in build(empty)
    assert json.loads(twin(empty))["streams"] == {}


def test_numbers_for_people():
    assert percent(0.1234) == "12.34 %"
    assert number(-0.05) == "\u22120.050"
    assert number(1234567, 0) == "1,234,567"
    assert percent(None) == number(None) == "\u2013"
