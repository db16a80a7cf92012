"""Prices beyond their board's limit (RELIABILITY 25). Limits are those of the exchanges' rules, sums are by hand."""

from datetime import date

import polars as pl
import pytest

from fpm import sessions
from fpm.ingest.price_jumps import FACTS, Jumps, price_jumps
from fpm.sessions import previous_sessions

DAY = date(2024, 3, 8)  # a Friday
MAIN, STAR, CHINEXT, BEIJING = "600000.SH", "688001.SH", "300750.SZ", "830799.BJ"
CN = sessions.market("cn")


def bars(*days: tuple[date, float, float], symbol: str = MAIN) -> pl.DataFrame:
    """Two bars a session, from its first price to its last one."""
    rows = [
        {"session": day, "symbol": symbol, "slot": slot, "high": price, "low": price, "close": price, "volume": 100.0}
        for day, *prices in days
        for slot, price in enumerate(prices)
    ]
    return pl.DataFrame(rows)


def closes(
    count: int = 5, close: float = 10.0, day: date = DAY, symbol: str = MAIN, factor: float = 1.0
) -> pl.DataFrame:
    before = previous_sessions(CN, day, count)
    rows = {"session": before, "symbol": symbol, "close": 10.0, "adj_factor": factor}
    kinds = {"session": pl.Date, "symbol": pl.String, "close": pl.Float64, "adj_factor": pl.Float64}
    return pl.DataFrame(rows, schema=kinds)


def facts(day: date = DAY, symbol: str = MAIN, **cells: object) -> pl.DataFrame:
    row = {"session": day, "symbol": symbol, **dict.fromkeys(FACTS), **cells}
    return pl.DataFrame([row], schema={"session": pl.Date, "symbol": pl.String, **FACTS})


def judged(own: pl.DataFrame, before: pl.DataFrame, daily: pl.DataFrame | None = None, market: str = "cn") -> Jumps:
    return price_jumps(own, before, facts().clear() if daily is None else daily, sessions.market(market))


@pytest.mark.parametrize(
    ("symbol", "day", "highest", "beyond"),
    [
        (MAIN, DAY, 11.00, 11.20),
        (STAR, DAY, 12.00, 12.20),
        (CHINEXT, DAY, 12.00, 12.20),
        (CHINEXT, date(2020, 8, 21), 11.00, 11.20),  # the board had 10 % until this session
        (CHINEXT, date(2020, 8, 24), 12.00, 12.20),
        (BEIJING, DAY, 13.00, 13.20),
    ],
)
def test_case_25_each_board_has_its_own_limit(symbol: str, day: date, highest: float, beyond: float) -> None:
    before = closes(day=day, symbol=symbol)
    assert judged(bars((day, 10.5, highest), symbol=symbol), before).faults.is_empty()
    (row,) = judged(bars((day, 10.5, beyond), symbol=symbol), before).faults.rows()
    assert row[:2] == (day, symbol)
    assert f"a price of {beyond:.10g} after a close of 10: it is " in row[2]


def test_case_25_special_treatment_halves_the_limit_where_the_table_says_so() -> None:
    own = bars((DAY, 10.0, 10.8))
    assert judged(own, closes()).faults.is_empty()
    assert judged(own, closes(), facts(st=True)).faults.height == 1
    later = date(2025, 7, 1)  # the exchanges had proposed 10 % by then
    assert judged(bars((later, 10.0, 10.8)), closes(day=later), facts(later, st=True)).faults.is_empty()


def test_case_25_first_sessions_of_a_listing_have_no_limit() -> None:
    own = bars((DAY, 10.5, 14.0))
    assert judged(own, closes(count=4)).faults.is_empty()
    assert judged(own, closes(count=0), facts(list_date=DAY, pre_close=10.0)).faults.is_empty()
    old = facts(list_date=date(1999, 11, 10), pre_close=10.0)
    assert judged(own, closes(count=0), old).faults.height == 1  # listed long ago: the table's close before decides


def test_case_25_a_symbol_back_from_a_halt_is_not_judged() -> None:
    before = closes(count=8)
    assert judged(bars((DAY, 5.0, 5.2)), before[:5]).faults.is_empty()
    assert judged(bars((DAY, 14.0, 14.2)), before[:5]).faults.is_empty()
    assert judged(bars((DAY, 12.0, 12.05)), before[:7]).faults.is_empty()  # two sessions: 1.1 x 1.1
    assert judged(bars((DAY, 12.3, 12.4)), before[:7]).faults.height == 1


def test_case_25_a_fall_is_a_fault_where_factors_say_that_it_is_no_ex_date() -> None:
    own = bars((DAY, 6.6, 6.7))
    same = judged(own, closes(factor=3.0), facts(adj_factor=3.0))
    assert (same.faults.height, same.falls.height) == (1, 0)
    ex_date = judged(own, closes(factor=3.0), facts(adj_factor=4.5))  # five shares for ten
    assert (ex_date.faults.height, ex_date.falls.height) == (0, 0)


@pytest.mark.parametrize("factor", [None, 1.0])
def test_case_25_without_factors_a_fall_stays_and_is_named(factor: float | None) -> None:
    jumps = judged(bars((DAY, 6.6, 6.7)), closes(), facts(adj_factor=factor))
    assert jumps.faults.is_empty()
    assert "after a close of 10" in jumps.falls["reason"][0] and "ex-date" in jumps.falls["reason"][0]


def test_case_25_two_prices_of_one_session_are_never_further_apart_than_the_limit_allows() -> None:
    """Whatever the reference: 1.1 / 0.9 = 1.222. So a wrong price shows on an ex-date, too."""
    ex_date = facts(adj_factor=4.5)
    assert judged(bars((DAY, 6.0, 7.3)), closes(factor=3.0), ex_date).faults.is_empty()
    (row,) = judged(bars((DAY, 6.0, 7.5)), closes(factor=3.0), ex_date).faults.rows()
    assert row[2] == "beyond the price limit of its board: prices from 6 to 7.5 in one session: it is 10%"


def test_case_25_what_is_set_aside_is_no_close_before() -> None:
    days = [*previous_sessions(CN, DAY, 2), DAY]
    own = bars((days[0], 10.0, 15.0), (days[1], 10.1, 10.2), (days[2], 10.2, 10.3))
    assert judged(own, closes(day=days[0])).faults["session"].to_list() == days[:1]


def test_case_25_exchanges_without_limits_are_not_judged() -> None:
    for name in ("nse", "us", "crypto"):
        assert judged(bars((DAY, 10.0, 30.0), symbol="X.NS"), closes(symbol="X.NS"), market=name).faults.is_empty()
