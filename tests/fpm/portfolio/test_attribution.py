"""Lines of an excess return: by hand for a day, exact sums over a walk, and Brinson on a worked example."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from fpm.portfolio.attribution import (
    Day,
    attribution,
    blocked_worth,
    brinson,
    carino,
    day_of,
    group_of,
    grown,
    linked,
    linked_by_period,
)
from fpm.portfolio.book import Book, cents, closes, last_rows
from fpm.portfolio.mandate import Mandate
from fpm.portfolio.session import DayPrices, Decision, Evening, asset_returns, step
from fpm.risk.model import RiskModel
from tests.fpm.portfolio import walks

DAY = date(2025, 6, 3)
FACTORS = ("country", "industry:x", "industry:y", "beta", "score")


def model(symbols, exposure_NK) -> RiskModel:
    count = len(FACTORS)
    return RiskModel(
        tuple(symbols), FACTORS, np.asarray(exposure_NK, float), np.eye(count) * 1e-4, np.ones(len(symbols))
    )


def names(rows) -> pl.DataFrame:
    columns = ["symbol", "weight", "benchmark_weight", "blocked", "return"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def lines(frame) -> dict[str, float]:
    return dict(frame.select("line", "contribution").iter_rows())


def test_a_day_by_hand():
    """Active weights A +0.10, B -0.15 (0.05 is cash); B was to be bought 0.05 more.

    Wanted active: A 0.10, B -0.10. Beta exposure 0.10 x 1 + 0.10 x 0.5 = 0.15, at a factor return of 2 %: 0.30 %.
    Returns 3 % and -1 %: 0.30 + 0.15 = 0.45 %, of which the blocked purchase is 0.05 % (it would have lost).
    """
    held = names([("A", 0.6, 0.5, 0.0, 0.03), ("B", 0.35, 0.5, 0.05, -0.01)])
    factor_return = {"country": 0.01, "beta": 0.02, "industry:x": 0.004}
    known = model("AB", [[1, 1, 0, 1, 0], [1, 0, 1, -0.5, 0]])
    day = Day(DAY, held, 0.0150, 0.0100, cost=0.0002)
    contribution = lines(attribution(day, known, factor_return))
    assert contribution["country"] == pytest.approx(0.0, abs=1e-15)
    assert contribution["industry:x"] == pytest.approx(0.10 * 0.004)
    assert contribution["beta"] == pytest.approx(0.15 * 0.02)
    assert contribution["specific"] == pytest.approx(0.10 * 0.03 + 0.10 * 0.01 - 0.0004 - 0.0030)
    assert contribution["blocked trades"] == pytest.approx(0.0005)
    assert contribution["costs"] == -0.0002
    assert contribution["trading and cash"] == pytest.approx(0.0050 - 0.0045 + 0.0002)
    assert sum(contribution.values()) == pytest.approx(day.excess, abs=1e-15)


def test_a_name_that_the_model_lacks_is_specific_and_one_without_a_row_stands_still():
    held = names([("Z", 1.0, 0.0, 0.0, 0.02), ("A", 0.0, 1.0, 0.0, None)])
    contribution = lines(attribution(Day(DAY, held, 0.02, 0.0), model("A", [[0, 0, 0, 0, 0]]), {"beta": 0.5}))
    assert contribution["specific"] == pytest.approx(0.02) and contribution["trading and cash"] == pytest.approx(0)


def test_groups_are_the_risk_rooms():
    groups = ["country", "industry", "industry", "style", "score"]
    assert [group_of(factor) for factor in FACTORS] == groups


def test_carino_links_differences_to_the_compounded_one():
    """Two sessions, 10 % and 20 % against 5 % and 25 %: 1.32 - 1.3125."""
    own_T, base_T = np.array([0.10, 0.20]), np.array([0.05, 0.25])
    factor_T = carino(own_T, base_T)
    assert factor_T @ (own_T - base_T) == pytest.approx(1.32 - 1.3125, abs=1e-14)
    # by hand: k = (ln 1.10 - ln 1.05) / 0.05 = 0.930400, K = (ln 1.32 - ln 1.3125) / 0.0075 = 0.759741
    assert factor_T[0] == pytest.approx(0.930400 / 0.759741, rel=1e-5)


def test_carino_where_returns_are_equal_or_impossible():
    same_T = np.array([0.01, -0.02])
    assert carino(same_T, same_T) == pytest.approx(1.01 * 0.98 / (1 + same_T))
    assert len(carino(np.empty(0), np.empty(0))) == 0
    with pytest.raises(ValueError, match="-100 %"):
        carino(np.array([-1.0]), np.array([0.0]))


def test_carino_against_nothing_compounds_the_daily_differences():
    gap_T = np.random.default_rng(3).normal(0, 0.003, 1000)
    assert carino(gap_T, np.zeros(1000)) @ gap_T == pytest.approx(np.prod(1 + gap_T) - 1, abs=1e-12)


def walked_days() -> list[tuple[Day, pl.DataFrame]]:
    """Days and their lines of a walk through the exchange that hurts, with random exposures and factor returns."""
    generator = np.random.default_rng(11)
    daily = walks.daily_panel()
    known = model(walks.SYMBOLS[2:], generator.normal(size=(len(walks.SYMBOLS) - 2, len(FACTORS))))
    mandate, decision = Mandate("X", capital=1e7), None
    worth: dict[str, float] = {}
    by_session = {key[0]: rows for key, rows in daily.partition_by("session", as_dict=True).items()}
    evening = Evening(Book({}, cents(mandate.capital)), last_rows(by_session[walks.SESSIONS[0]]))
    days = []
    for number, session in enumerate(walks.SESSIONS[1:], 1):
        index = walks.benchmark(walks.SESSIONS[number - 1])
        if number % 5 == 1:
            today = by_session[walks.SESSIONS[number - 1]]
            chosen = walks.naive_targets(evening, today, index, generator.normal(size=len(walks.SYMBOLS)))
            decision = Decision(walks.SESSIONS[number - 1], chosen)
        returns = asset_returns(by_session[session], evening.last)
        done = step(mandate, session, evening.book, DayPrices(by_session[session], evening.last), index, decision)
        day = day_of(done, evening, index, returns, worth)
        days.append((day, attribution(day, known, dict(zip(FACTORS, generator.normal(0, 0.01, 5), strict=True)))))
        worth = blocked_worth(done.blocked, closes(done.evening.last)) if decision else grown(worth, returns)
        evening, decision = done.evening, None
    return days


@pytest.fixture(scope="module")
def days():
    return walked_days()


def test_lines_sum_to_the_excess_of_every_session(days):
    for day, contribution in days:
        assert contribution["contribution"].sum() == pytest.approx(day.excess, abs=1e-12)


def test_linked_lines_sum_to_the_compounded_excess(days):
    returns = pl.DataFrame([(day.session, day.portfolio_return, day.benchmark_return) for day, _ in days], orient="row")
    returns.columns = ["session", "portfolio_return", "benchmark_return"]
    total = linked(pl.concat([contribution for _, contribution in days]), returns)
    own, base = (float((1 + returns[name]).product()) for name in ("portfolio_return", "benchmark_return"))
    assert total["contribution"].sum() == pytest.approx(own - base, abs=1e-10)
    assert lines(total)["costs"] < 0 and lines(total)["blocked trades"] != 0
    assert total.height == len(FACTORS) + 4


def test_what_trading_and_cash_leave_is_small_in_a_session_without_trades(days):
    """All that is left then is the rounding of reference prices, dividends and cash that earns nothing."""
    left = [lines(contribution)["trading and cash"] for day, contribution in days[1:] if day.cost == 0]
    assert len(left) > 50 and max(map(abs, left)) < 1e-4


def test_blocked_worth_has_a_sign_and_grows_with_returns():
    rows = {"symbol": ["A", "B"], "side": ["buy", "sell"], "ordered": [300, 100], "filled": [100, 0]}
    worth = blocked_worth(pl.DataFrame(rows), {"A": 10.0, "B": 5.0})
    assert worth == {"A": 2000.0, "B": -500.0}
    returns = pl.DataFrame({"symbol": ["A"], "return": [0.1]})
    assert grown(worth, returns) == {"A": pytest.approx(2200.0), "B": -500.0}


def test_brinson_by_hand():
    """Two industries, 70/30 against 50/50; x returns 4 % against 3 %, y -1 % against 2 %; the benchmark's 2.5 %.

    x: allocation 0.2 x 0.5 %, selection 0.5 x 1 %, interaction 0.2 x 1 %; y: -0.2 x -0.5 %, 0.5 x -3 %, -0.2 x -3 %.
    """
    rows = [
        ("A", 0.7, 0.0, 0.04, "x"),
        ("B", 0.0, 0.5, 0.03, "x"),
        ("C", 0.3, 0.0, -0.01, "y"),
        ("D", 0.0, 0.5, 0.02, "y"),
    ]
    columns = ["symbol", "weight", "benchmark_weight", "return", "industry"]
    industries = brinson(pl.DataFrame(rows, schema=columns, orient="row").with_columns(session=DAY))
    by_industry = {row["industry"]: row for row in industries.iter_rows(named=True)}
    effects = ("allocation", "selection", "interaction")
    assert [by_industry["x"][name] for name in effects] == pytest.approx([0.001, 0.005, 0.002])
    assert [by_industry["y"][name] for name in effects] == pytest.approx([0.001, -0.015, 0.006])
    assert [by_industry["cash"][name] for name in effects] == pytest.approx([0, 0, 0])


def test_brinson_sums_to_the_active_return_with_cash_and_one_sided_industries():
    rows = [
        ("A", 0.5, 0.3, 0.04, "x"),
        ("B", 0.2, 0.0, 0.03, "y"),
        ("C", 0.0, 0.7, -0.01, "z"),
        ("D", 0.1, 0.0, None, None),
    ]
    columns = ["symbol", "weight", "benchmark_weight", "return", "industry"]
    industries = brinson(pl.DataFrame(rows, schema=columns, orient="row").with_columns(session=DAY))
    total = industries.select("allocation", "selection", "interaction").to_numpy().sum()
    assert total == pytest.approx(0.5 * 0.04 + 0.2 * 0.03 - (0.3 * 0.04 - 0.7 * 0.01), abs=1e-15)


def test_every_year_sums_to_its_own_excess_and_a_short_walk_has_months():
    generator = np.random.default_rng(2)
    sessions = [date(2023, 6, 1) + timedelta(days=7 * week) for week in range(80)]
    own_T, base_T = generator.normal(0, 0.02, (2, 80))
    share_T = generator.uniform(0, 1, 80)
    gap_T = own_T - base_T
    rows = [
        (session, "style", "beta", gap * share) for session, gap, share in zip(sessions, gap_T, share_T, strict=True)
    ]
    rows += [
        (session, "costs", "costs", gap * (1 - share))
        for (session, *_), gap, share in zip(rows, gap_T, share_T, strict=True)
    ]
    effects = pl.DataFrame(rows, schema=["session", "group", "line", "contribution"], orient="row")
    returns = pl.DataFrame({"session": sessions, "portfolio_return": own_T, "benchmark_return": base_T})
    by_year = linked_by_period(effects, returns)
    assert by_year["period"].unique(maintain_order=True).to_list() == ["2023", "2024"]
    for year in (2023, 2024):
        inside = np.array([session.year == year for session in sessions])
        excess = np.prod(1 + own_T[inside]) - np.prod(1 + base_T[inside])
        assert by_year.filter(period=str(year))["contribution"].sum() == pytest.approx(excess, abs=1e-10)
    few = linked_by_period(effects.filter(pl.col("session") < date(2024, 1, 1)), returns.head(31))
    assert few["period"].unique(maintain_order=True).to_list() == [f"2023-{month:02d}" for month in range(6, 13)]
    assert linked_by_period(effects.clear(), returns.clear()).is_empty()
