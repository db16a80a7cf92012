"""One symbol through every table, and the search."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from consumers.page import names
from consumers.page.names import answered
from consumers.page.served import served
from fpm.page.sheets import html
from fpm.sessions import sessions_between
from fpm.store.ledger.stores import Stores
from tests.consumers.page.conftest import LAKE, LAST, REFUSED
from tests.consumers.small_lake import FIRST, put

SYMBOL = LAKE.names[4]


def test_a_symbol_has_its_own_values(home: Stores) -> None:
    content = names.gathered(SYMBOL, served(home), home)
    days = sessions_between(home.market, FIRST, LAST)
    dual = content.streams["dual"]
    assert [row.session for row in dual] == days
    own = [
        LAKE.scores(day).filter((pl.col("symbol") == SYMBOL) & (pl.col("stream") == "dual"))["score"][0] for day in days
    ]
    assert [row.score for row in dual] == pytest.approx(own) and {row.spread for row in dual} == {0.1}
    assert content.labels[FIRST] == pytest.approx(LAKE.labels(FIRST)["label"][4]) and LAST not in content.labels
    factors = LAKE.daily_factors(LAST)
    for value in content.factors[:3]:
        column = factors[value.name].to_numpy()
        assert value.value == pytest.approx(float(column[4]))
        assert value.place == pytest.approx(float((column < column[4]).mean()))
    assert content.classic == 20 and len(content.factors) == 178
    assert content.bar is not None and content.bar["close"] == f"{LAKE.daily_bars(LAST)['close'][4]:.2f}"
    assert content.fingerprint == LAST and content.symbols == LAKE.symbols
    weights = home.read("weights", LAST).filter((pl.col("symbol") == SYMBOL) & (pl.col("index") == "CSI300"))
    assert [row["weight"] for row in content.weights] == weights["weight"].to_list()


def test_quarantine_names_its_rows_and_its_damage(home: Stores) -> None:
    content = names.gathered(REFUSED, served(home), home)
    assert (str(LAST), "daily_bars", "FPM-IN-021", "high below low") in content.refused
    assert any(code == "FPM-IN-196" for _, _, code, _ in content.refused) and len(content.refused) == 2
    assert len(names.gathered(LAKE.names[0], served(home), home).refused) == 1


@pytest.mark.parametrize(
    ("question", "title", "words"),
    [
        ("", "Names", "Highest scores"),
        ("600004", SYMBOL, "Place in the market"),
        ("sh600004", SYMBOL, "Place in the market"),
        (" 600004.sh ", SYMBOL, "Place in the market"),
        ("60002", "Names", "10 symbols like 60002"),
        ("600029", "600029.SH", "Classic"),
        ("600004.SZ", "Names", "8 symbols like 600004.SZ"),
        ("%", "Names", "No symbol is like %"),
        ("<b>", "Names", "No symbol is like &lt;b&gt;"),
    ],
)
def test_the_search(home: Stores, question: str, title: str, words: str) -> None:
    view = answered(question, served(home), home)
    assert view.title == title
    assert words in html(view)


def test_the_ends_of_the_newest_session(home: Stores) -> None:
    stream, top, bottom = names.ends(served(home), home)
    rows = LAKE.scores(LAST)
    dual = rows.filter(rows["stream"] == "dual")["score"].to_numpy()
    order = np.argsort(dual)
    assert stream == "dual" and [row.symbol for row in bottom] == [LAKE.names[i] for i in order[:15]]
    assert [row.symbol for row in top] == [LAKE.names[i] for i in order[::-1][:15]]


def test_a_home_without_scores(stores: Stores) -> None:
    assert "fpm walk-forward" in html(answered("", served(stores), stores))
    assert "No symbol is like 600000" in html(answered("600000", served(stores), stores))


def test_a_renamed_company_is_one_name(stores: Stores) -> None:
    """600003.SH became 600004.SH, and was 600998.SH before there were scores; whose 600004.SH was is told apart."""
    days, (former, present) = LAKE.fill(stores, FIRST, date(2024, 12, 6)), LAKE.names[3:5]
    spans = [
        ("600998.SH", date(2020, 1, 2), date(2024, 1, 2), "one"),
        (former, date(2024, 1, 3), days[1], "one"),
        (present, days[2], None, "one"),
    ]
    table = pl.DataFrame(spans, ["symbol", "first", "last", "identity"], orient="row")
    put("symbols", days[0], {"symbols": table}, stores)
    rows = names.gathered(present, served(stores), stores).streams["dual"]
    symbols = [former, former, *[present] * (len(days) - 2)]
    own = [
        LAKE.scores(day).filter((pl.col("symbol") == symbol) & (pl.col("stream") == "dual"))["score"][0]
        for day, symbol in zip(days, symbols, strict=True)
    ]
    assert [row.score for row in rows] == pytest.approx(own)
    assert answered("600998.SH", served(stores), stores).title == present
    assert "~" not in html(answered("6000", served(stores), stores))
