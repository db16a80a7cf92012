"""The morning page: every part appears with its content, none without, and nothing comes from elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from fpm.portfolio.performance import performance
from fpm.report.figure_text import ABSENT, MINUS
from fpm.report.morning import Morning, Standing, build, notes, sections, text
from fpm.schema import TABLES
from fpm.store.lake.files import TYPES

THURSDAY, FRIDAY, MONDAY = date(2024, 12, 5), date(2024, 12, 6), date(2024, 12, 9)
CAPS = ("tracking_error_cap", "active_cap", "industry_cap", "size_cap", "style_cap", "members_floor", "turnover_cap")


def rows(table: str, *records: dict[str, Any]) -> pl.DataFrame:
    """Rows of a lake table; what a record leaves out is null."""
    kinds = {name: TYPES[kind] for name, kind in TABLES[table].columns.items()}
    return pl.DataFrame([dict.fromkeys(kinds) | record for record in records], schema=kinds)


def decision(session: date, **changed: Any) -> dict[str, Any]:
    caps = dict(zip(CAPS, (0.05, 0.01, 0.01, 0.1, 0.5, 0.8, 0.3), strict=True))
    own = {"session": session, "fill_session": MONDAY, "status": "optimal", "tracking_error": 0.021, "objective": 0.4}
    shadow = '{"turnover": 0.66, "size": 1e-9, "industry": 0.02}'
    return {**own, **caps, "tracking_error_realised": 0.033, "relaxed": "{}", "shadow": shadow, **changed}


def order(symbol: str, side: str, shares: int, reason: str, bound: str | None = None) -> dict[str, Any]:
    amount = shares * 10.0
    head = {"symbol": symbol, "side": side, "shares": shares, "close": 10.0, "amount": amount, "fill_session": MONDAY}
    return {**head, "reason": reason, "bound": bound, "expected_cost": amount / 1e3, "expected_impact": 0.0}


def held(symbol: str, shares: int) -> dict[str, Any]:
    return {"symbol": symbol, "shares": shares, "price": 10.0, "value": shares * 10.0}


def target(symbol: str, weight: float, benchmark: float, shares: int) -> dict[str, Any]:
    counts = {"shares_held": 500, "shares": shares, "close": 10.0}
    return {"symbol": symbol, "weight": weight, "benchmark_weight": benchmark, **counts}


def standing() -> Standing:
    """A decision of two orders, a fill that was cut, a dividend, a delisting, and a name that is halted."""
    frames = {
        "orders": rows("orders", order("A", "buy", 300, "bound", "tracking_error"), order("<i>B", "sell", 100, "exit")),
        "ordered": rows("orders", order("C", "buy", 200, "score"), order("D", "sell", 100, "risk")),
        "trades": rows(
            "trades", {"symbol": "C", "side": "buy", "shares": 100, "price": 10.5, "amount": 1050.0, "cost": 1.0}
        ),
        "blocked": rows(
            "blocked",
            {"symbol": "C", "side": "buy", "ordered": 200, "filled": 100, "reason": "participation"},
            {"symbol": "D", "side": "sell", "ordered": 100, "filled": 0, "reason": "no trading"},
        ),
        "actions": rows(
            "actions",
            {"symbol": "E", "kind": "cash", "shares_before": 10, "shares_after": 10, "cash": 3.0},
            {"symbol": "F", "kind": "delisted", "shares_before": 10, "shares_after": 0, "cash": 20.0},
        ),
        "holdings": rows("holdings", held("A", 400), held("<i>B", 200), held("D", 90)),
        "targets": rows("targets", target("A", 0.7, 0.6, 700), target("<i>B", 0.1, 0.0, 0)),
        "targets_before": rows("targets", target("A", 0.5, 0.6, 500), target("G", 0.2, 0.0, 200)),
    }
    nav = pl.DataFrame(
        {"session": [THURSDAY, FRIDAY], "nav": [9_900.0, 10_000.0], "benchmark_return": [0.0, 0.005]},
    )
    nothing: dict[str, list[Any]] = {"session": [], "amount": [], "cost": [], "value": []}
    empty = pl.DataFrame(nothing, schema={"session": pl.Date, **dict.fromkeys(("amount", "cost", "value"), pl.Float64)})
    return Standing(
        "CSI300",
        FRIDAY,
        decision(FRIDAY, relaxed='{"turnover": 0.0412}', turnover_cap=0.2),
        decision(THURSDAY),
        frames,
        nav={"nav": 10_000.0},
        entered=["A"],
        left=["<i>B"],
        halted=["D"],
        performance=performance(nav, empty, empty.select("session", "value")),
        exposures=pl.DataFrame(
            {
                "session": [THURSDAY, FRIDAY] * 2,
                "kind": ["style"] * 2 + ["industry"] * 2,
                "name": ["residual_volatility"] * 2 + [""] * 2,
                "active": [0.1, -0.2, 0.004, -0.006],
            }
        ),
        attribution=pl.DataFrame(
            {"group": ["style", "costs"], "line": ["beta", "costs"], "contribution": [0.006, -0.001]}
        ),
        periods=pl.DataFrame({"period": ["2024-12"], "group": ["style"], "contribution": [0.002]}),
        attributed=1,
    )


def cells(own: Standing, title: str) -> list[list[str]]:
    (table,) = [part.table for _, parts in sections(own) for part in parts if part.title == title]
    assert table is not None
    return [list(row.cells) for row in table.rows]


def test_every_order_has_its_reason_and_its_cost() -> None:
    assert cells(standing(), "Orders for 2024-12-09") == [
        ["A", "buy", "300", "bound: tracking error", "3.00", "3,000", "+30.00 %", "10.00"],
        ["<i>B", "sell", "100", "exit", "1.00", "1,000", f"{MINUS}10.00 %", "10.00"],
    ]
    assert cells(standing(), "By reason") == [["bound", "1", "3,000", "0", "3"], ["exit", "1", "0", "1,000", "1"]]


def test_bounds_that_bind_or_gave_way_have_their_price() -> None:
    assert cells(standing(), "Bounds that bind or gave way") == [
        ["turnover", "20.00 %", "0.660", "4.12 %"],
        ["industry", "1.00 %", "0.020", ABSENT],
    ]
    assert notes(standing())[0] == "Bounds that could not be met together gave way: turnover by 0.0412."


def test_the_decision_says_both_tracking_errors() -> None:
    figures = dict(cells(standing(), "Decision"))
    assert figures["tracking error, predicted"] == "2.10 %" and figures["tracking error, realised"] == "3.30 %"
    assert figures["names held, now and after"] == "2 → 1" and figures["weight of the index's members"] == "70.00 %"


def test_what_changed_is_named() -> None:
    own = standing()
    changed = {row[0]: row[1:] for row in cells(own, "Since the decision of 2024-12-05")}
    assert changed["turnover cap"] == ["30.00 %", "20.00 %"] and changed["relaxed"] == ["none", "turnover"]
    assert "size cap" not in changed
    assert cells(own, "Members of the index") == [["A", "entered", "40.00 %"], ["<i>B", "left", "20.00 %"]]
    assert cells(own, "Weights that moved most") == [  # 50 % wanted, 40 % held; G sold
        ["<i>B", "0.00 %", "20.00 %", "+20.00 %"],
        ["G", "20.00 %", "0.00 %", f"{MINUS}20.00 %"],
        ["A", "50.00 %", "40.00 %", f"{MINUS}10.00 %"],
        ["D", "0.00 %", "9.00 %", "+9.00 %"],
    ]


def test_what_was_done_stands_beside_what_was_ordered() -> None:
    own = standing()
    # 100 of 200 bought, half a yuan dearer; the sale was not done at all
    assert cells(own, "Fills") == [["sell", "0", "1", "0", "0", "0", "1"], ["buy", "1", "1", "1,050", "1", "50", "2"]]
    assert cells(own, "Not traded")[0] == ["C", "buy", "200", "100", "participation"]
    assert [row[1] for row in cells(own, "Splits, dividends, delistings")] == ["cash", "delisted"]
    assert cells(own, "Held and not traded today") == [["D", "90", "900"]]
    assert "Delisted, paid out at the last price: F." in notes(own)
    assert "2 of this session's orders were not filled whole." in notes(own)


def test_the_reports_figures_stand_beside_ours_as_its_own() -> None:
    figures = cells(standing(), "Six figures, and the source report's")
    assert [row[0] for row in figures] == ["CSI300", "their CSI300"] and figures[1][4] == "4.10"
    assert cells(standing(), "By group") == [
        ["style", "+0.60 %", "+0.20 %"],
        ["costs", f"{MINUS}0.10 %", ABSENT],
        ["excess", "+0.50 %", "+0.20 %"],
    ]


def test_every_part_without_content_is_left_out() -> None:
    own = standing()
    bare = Standing("ALL", FRIDAY, None, None, {name: frame.clear() for name, frame in own.frames.items()})
    assert sections(bare) == [] and notes(bare) == []
    assert "no orders" in build(Morning("cn", FRIDAY, [bare]))
    headings = [heading for heading, _ in sections(replace(own, decision=None, attribution=pl.DataFrame()))]
    assert headings == ["What changed", "Done in this session", "The portfolio against its index", "Exposures"]


def test_a_decision_without_weights_is_a_warning() -> None:
    kept = replace(standing(), decision=decision(FRIDAY, status="kept", tracking_error=None, objective=None))
    assert notes(kept)[0].startswith("No weights could be computed")
    assert ["tracking error, predicted", ABSENT] in cells(kept, "Decision")


@pytest.mark.parametrize(("status", "why"), [("kept", "No weights could be"), ("held", "The index is held")])
def test_a_book_that_stays_names_the_bounds_that_it_breaks(status: str, why: str) -> None:
    stays = replace(standing(), decision=decision(FRIDAY, status=status, relaxed='{"beta": 0.25, "industry": 0.02}'))
    assert notes(stays)[0].startswith(why)
    assert notes(stays)[1] == "The book that stays breaks bounds: beta by 0.2500, industry by 0.0200."


@pytest.fixture(scope="module")
def page() -> str:
    return build(Morning("cn", FRIDAY, [standing()]))


def test_the_page_is_one_file_without_a_script(page: str) -> None:
    assert "<script" not in page and "http" not in page and "url(" not in page and "@import" not in page
    assert "prefers-color-scheme: dark" in page and 'name="viewport"' in page
    assert page.count("<svg") == 4 and len(page.encode()) < 60_000
    assert "<i>B" not in page and "&lt;i&gt;B" in page
    assert 'class="name">CSI300' in page and re.search(r"2\.10 % tracking error · costs 4 \(4\.0 bp\)", page)


def test_page_and_twin_are_the_same_every_time_and_hold_the_same_cells(page: str) -> None:
    again, twin = Morning("cn", FRIDAY, [standing()]), text(Morning("cn", FRIDAY, [standing()]))
    assert build(again) == page and text(again) == twin
    for _, parts in sections(standing()):
        for part in parts:
            assert (f"#### {part.title}" in twin.splitlines()) == (part.table is not None)
    assert "| A | buy | 300 | bound: tracking error | 3.00 | 3,000 | +30.00 % | 10.00 |" in twin
    assert "&lt;i>B" in twin


def test_nine_years_of_three_indices_are_a_page_of_less_than_three_megabytes() -> None:
    """2,250 sessions, 450 decisions with 30 industries, 300 orders, attribution by year, for each of three indices."""
    days = [date(2015, 1, 2) + timedelta(days=int(number * 1.46)) for number in range(2250)]
    random = np.random.default_rng(1)
    nav = pl.DataFrame(
        {"session": days, "nav": 1e8 * np.cumprod(1 + random.normal(0, 0.01, 2250)), "benchmark_return": [0.0] * 2250}
    )
    empty = pl.DataFrame(schema={"session": pl.Date, **dict.fromkeys(("amount", "cost", "value"), pl.Float64)})
    kinds = [("style", f"style {number}") for number in range(6)] + [
        ("industry", f"i {number}") for number in range(30)
    ]
    exposures = [(day, *kind, random.normal()) for day in days[::5] for kind in kinds]
    groups = ("country", "industry", "style", "score", "specific", "blocked", "costs", "trading")
    many = replace(
        standing(),
        frames=standing().frames
        | {"orders": rows("orders", *(order(f"{number:06d}.SH", "buy", 100, "score") for number in range(300)))},
        performance=performance(nav, empty, empty.select("session", "value")),
        exposures=pl.DataFrame(exposures, schema=["session", "kind", "name", "active"], orient="row"),
        periods=pl.DataFrame(
            [(str(year), group, 0.01) for year in range(2015, 2024) for group in groups],
            schema=["period", "group", "contribution"],
            orient="row",
        ),
    )
    page = build(Morning("cn", FRIDAY, [replace(many, index=name) for name in ("CSI300", "CSI500", "CSI1000")]))
    assert len(page.encode()) < 3_000_000
    assert all(str(year) in page for year in range(2015, 2024))
