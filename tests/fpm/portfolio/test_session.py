"""Sessions of a real book: by hand, and audited by a program that shares no code with it."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from fpm.errors import InputRefused
from fpm.portfolio.book import Book, last_rows
from fpm.portfolio.costs import cost_table, flat
from fpm.portfolio.mandate import Mandate
from fpm.portfolio.session import (
    DayPrices,
    Decision,
    Evening,
    asset_returns,
    benchmark_return,
    decision_frame,
    orders_of,
    step,
    targets_frame,
)
from tests.fpm.portfolio import walks

AUDITOR = Path(__file__).parents[4] / "shared" / "checks" / "check_enhance.py"
EXPORT = ("decisions", "targets", "trades", "holdings", "nav", "actions", "exposures", "covariance")
CHECKS = 21  # of the auditor's ledger and fills
NEEDS_AUDITOR = pytest.mark.skipif(not AUDITOR.exists(), reason="the independent auditor is not beside this checkout")
MONDAY, TUESDAY = date(2025, 6, 2), date(2025, 6, 3)


@pytest.fixture(scope="module")
def daily():
    return walks.daily_panel()


@pytest.fixture(scope="module")
def walked(daily):
    return walks.walk(daily, Mandate("X", capital=1e6))


def audit(tables, daily, folder: Path, mandate: Mandate) -> dict[str, bool]:
    """Check -> passed, of the auditor's ledger and fills."""
    for name in EXPORT:
        tables[name].write_parquet(folder / f"{name}.parquet")
    daily.write_parquet(folder / "daily.parquet")
    walks.members().write_parquet(folder / "members.parquet")
    cost_table(mandate.costs).write_csv(folder / "costs.csv")
    said = subprocess.run(
        [
            *(sys.executable, AUDITOR, folder, "--index", "X", "--capital", str(mandate.capital)),
            *("--daily", folder / "daily.parquet", "--members", folder / "members.parquet"),
            *("--costs", folder / "costs.csv"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = re.findall(r"^(ok  |FAIL)  (.+): \d+", said.stdout.partition("  bound ")[0], re.MULTILINE)
    assert len(lines) == CHECKS, said.stdout + said.stderr
    return {name: word == "ok  " for word, name in lines}


@NEEDS_AUDITOR
@pytest.mark.parametrize("capital", [1e5, 1e6, 1e8])
def test_an_auditor_finds_no_fault_in_the_walk(daily, tmp_path, capital):
    mandate = Mandate("X", capital=capital)
    checks = audit(walks.walk(daily, mandate), daily, tmp_path, mandate)
    assert not [name for name, passed in checks.items() if not passed]


@NEEDS_AUDITOR
def test_prices_stored_as_float32_or_with_half_cents_are_audited_alike(daily, tmp_path):
    half = pl.when(pl.col("symbol") == walks.SYMBOLS[20]).then(0.005).otherwise(0.0)  # 10.125 is 10.13, or 10.12
    rough = daily.with_columns((pl.col("close", "open") + half).cast(pl.Float32))
    checks = audit(walks.walk(rough, Mandate("X", capital=1e6)), rough, tmp_path, Mandate("X", capital=1e6))
    faults = {name for name, passed in checks.items() if not passed}
    assert not faults - {"actions keep value at the reference price", "every ex-date of a held name has an action"}


@NEEDS_AUDITOR
@pytest.mark.parametrize(
    ("table", "column", "by", "check"),
    [
        ("nav", "nav", 0.02, "NAV to the cent on every session"),
        ("trades", "cost", 0.02, "trade cost = rate x amount"),
        ("holdings", "price", 0.01, "holdings marked at the raw close"),
        ("trades", "shares", 1, "buys in lots (STAR: 200 and more)"),
    ],
)
def test_the_auditor_sees_a_planted_fault(daily, walked, tmp_path, table, column, by, check):
    tables, mandate = dict(walked), Mandate("X", capital=1e6)
    row = pl.int_range(pl.len()) == 0
    tables[table] = tables[table].with_columns(pl.when(row).then(pl.col(column) + by).otherwise(column).alias(column))
    assert not audit(tables, daily, tmp_path, mandate)[check]


def test_the_walk_meets_everything_that_hurts(daily, walked):
    """Each kind of refusal and action happens on the way, so that the audit is of all of them."""
    tables = [walked, walks.walk(daily, Mandate("X"))]
    reasons = {reason for each in tables for reason in each["blocked"]["reason"]}
    assert reasons >= {"no trading", "limit", "participation", "lot", "cash"}
    assert {kind for each in tables for kind in each["actions"]["kind"]} == {"cash", "split", "delisted"}
    assert any((each["trades"]["shares"] % 100 != 0).any() for each in tables)


def test_a_walk_cut_short_has_the_same_rows(daily):
    """No session knows of a later one."""
    mandate, cut = Mandate("X"), walks.SESSIONS[47]
    whole, part = walks.walk(daily, mandate), walks.walk(daily, mandate, sessions=48)
    for name in ("trades", "holdings", "nav", "actions", "blocked"):
        assert part[name].equals(whole[name].filter(pl.col("session") <= cut))


# --- one session by hand ----------------------------------------------------------------------------------------------
def bars(session, rows) -> pl.DataFrame:
    """daily_bars rows of symbol, close, pre_close, adj_factor: all trade at the close, without limits."""
    frame = pl.DataFrame(rows, schema=["symbol", "close", "pre_close", "adj_factor"], orient="row")
    price = {name: pl.col("close") for name in ("open", "high", "low")}
    return frame.with_columns(
        session=pl.lit(session), volume=pl.lit(1e6), amount=pl.col("close") * 1e6, suspended=pl.lit(False), **price
    )


def evening(shares, cash, rows) -> Evening:
    return Evening(Book(shares, cash), last_rows(bars(MONDAY, rows)))


def test_a_session_by_hand():
    """A splits in two; the target of 200 A is then 400, of which 300 too few are held; B is sold; C has no row.

    Cash 10,000.00 + 100 B at 20 (2,000 - 3.00) - 200 A at 5.00 (1,000 + 1.50).
    """
    before = evening(
        {"A": 100, "B": 100, "C": 50}, 10_000_00, [("A", 10.0, 10.0, 1.0), ("B", 19.0, 19.0, 1.0), ("C", 7.0, 7.0, 1.0)]
    )
    today = bars(TUESDAY, [("A", 5.0, 5.0, 2.0), ("B", 20.0, 19.0, 1.0)])
    targets = pl.DataFrame({"symbol": ["A", "B", "C"], "shares": [200, 0, 0]})
    index = pl.DataFrame({"symbol": ["A", "B", "C"], "weight": [0.5, 0.25, 0.25]})
    mandate = Mandate("X", costs=flat(0.0015))
    done = step(mandate, TUESDAY, before.book, DayPrices(today, before.last), index, Decision(MONDAY, targets))
    assert done.actions.rows() == [("X", TUESDAY, "A", "split", 100, 200, 0.0)]
    assert done.trades.rows() == [
        ("X", TUESDAY, "B", "sell", 100, 20.0, 2000.0, 3.0, MONDAY),
        ("X", TUESDAY, "A", "buy", 200, 5.0, 1000.0, 1.5, MONDAY),
    ]
    assert done.blocked.rows() == [("X", TUESDAY, "C", "sell", 50, 0, "no trading")]
    assert done.holdings.rows() == [("X", TUESDAY, "A", 400, 5.0, 2000.0), ("X", TUESDAY, "C", 50, 7.0, 350.0)]
    (row,) = done.nav.rows()
    assert row[2:4] == (10_995.5, 13_345.5)
    assert row[4] == pytest.approx(0.25 * (20 / 19 - 1))
    assert before.book.shares == {"A": 100, "B": 100, "C": 50}


def test_without_a_decision_nothing_trades():
    before = evening({"A": 100}, 5, [("A", 10.0, 10.0, 1.0)])
    done = step(
        Mandate("X"),
        TUESDAY,
        before.book,
        DayPrices(bars(TUESDAY, [("A", 11.0, 10.0, 1.0)]), before.last),
        pl.DataFrame(schema={"symbol": pl.String, "weight": pl.Float64}),
    )
    assert done.trades.is_empty() and done.evening.nav == 1100_05
    assert done.nav["benchmark_return"].item() == 0.0


def test_returns_hold_splits_and_fall_back_to_the_reference_price():
    last = last_rows(bars(MONDAY, [("A", 10.0, 10.0, 1.0), ("B", 10.0, 10.0, None), ("C", 10.0, 10.0, 1.0)]))
    today = bars(TUESDAY, [("A", 6.0, 5.0, 2.0), ("B", 9.9, 9.0, None), ("D", 1.0, 1.0, 1.0)])
    gains = dict(asset_returns(today, last).rows())
    assert gains == {"A": pytest.approx(0.2), "B": pytest.approx(0.1)}
    index = pl.DataFrame({"symbol": ["A", "B", "C"], "weight": [1.0, 0.5, 0.5]})  # scaled to 0.5, 0.25, 0.25
    assert benchmark_return(index, asset_returns(today, last)) == pytest.approx(0.5 * 0.2 + 0.25 * 0.1)


def test_orders_go_from_the_book_to_the_targets():
    last = last_rows(bars(MONDAY, [("A", 10.0, 10.0, 1.0), ("B", 10.0, 10.0, 1.0)]))
    today = bars(TUESDAY, [("A", 10.0, 10.0, 1.0), ("B", 5.0, 5.0, 2.0)])
    targets = pl.DataFrame({"symbol": ["A", "B", "GONE"], "shares": [0, 100, 300]})
    orders = orders_of(targets, Book({"A": 150, "KEPT": 10}, 0), today, last)
    assert [(each.symbol, each.side, each.shares) for each in orders] == [("A", "sell", 150), ("B", "buy", 200)]


def names(rows) -> pl.DataFrame:
    columns = ["symbol", "shares", "benchmark_weight", "score", "tradable", "industry", "size"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def test_target_rows_start_from_the_book_and_keep_what_nobody_named():
    """Worth 1,000 + 500 + 8,500 = 10,000."""
    before = evening(
        {"A": 100, "H": 50}, 8_500_00, [("A", 10.0, 10.0, 1.0), ("B", 20.0, 20.0, 1.0), ("H", 10.0, 10.0, 1.0)]
    )
    rows = targets_frame(
        "X", MONDAY, before, names([("A", 300, 0.6, 1.0, True, "x", 0.1), ("B", 100, 0.4, None, True, "y", None)])
    )
    picked = rows.select("symbol", "shares_held", "shares", "close", "weight_held", "weight", "tradable", "industry")
    assert picked.rows() == [
        ("A", 100, 300, 10.0, 0.1, 0.3, True, "x"),
        ("B", 0, 100, 20.0, 0.0, 0.2, True, "y"),
        ("H", 50, 50, 10.0, 0.05, 0.05, False, ""),
    ]
    assert "beta" not in rows.columns


@pytest.mark.parametrize(
    "row", [("Z", 100, 0, 0, True, "x", 0), ("A", -1, 0, 0, True, "x", 0), ("A", 1200, 0, 0, True, "x", 0)]
)
def test_impossible_targets_are_refused(row):
    with pytest.raises(InputRefused, match="FPM-PF-024"):
        targets_frame("X", MONDAY, evening({}, 10_000_00, [("A", 10.0, 10.0, 1.0)]), names([row]))


def test_a_decision_row_holds_the_mandates_bounds():
    mandate = Mandate("X", active=0.005)
    row = decision_frame(mandate, MONDAY, TUESDAY, "relaxed", 0.031, 1.5, {"turnover": 0.02}, {"size": 3.0}).to_dicts()[
        0
    ]
    assert row["relaxed"] == '{"turnover": 0.02}' and row["shadow"] == '{"size": 3.0}'
    assert (row["active_cap"], row["members_floor"], row["turnover_cap"]) == (0.005, 0.8, 0.3)
    assert (row["fill_session"], row["status"], row["tracking_error"]) == (TUESDAY, "relaxed", 0.031)
