"""Sessions whose end, beginning or middle is missing over the market: dense and sparse vendors, all bar lengths."""

from datetime import date

import numpy as np
import pytest

from fpm.ingest.session_holes import Presence, hole, words
from fpm.markets import Market
from fpm.sessions import market, session_slots

DAY = date(2026, 1, 5)  # an ordinary session of every market here
HALF_DAY = date(2025, 11, 28)  # New York closes at 13:00 after Thanksgiving


def session(of: Market, symbols: int, density: float, seed: int, day: date = DAY) -> Presence:
    """Every slot of the session's hours has a row with this probability; none in a call's own minutes."""
    slots = session_slots(of, day)
    calls_N = np.array([minute in of.calls for minute in of.slots])
    rows_SN = np.random.default_rng(seed).random((symbols, len(of.slots))) < density
    rows_SN &= slots.open_N & ~calls_N
    return Presence(tuple(f"S{number}" for number in range(symbols)), rows_SN, rows_SN.copy(), slots.open_N)


def without(whole: Presence, slots: slice, symbols: slice = slice(None)) -> Presence:
    delivered_SN, traded_SN = whole.delivered_SN.copy(), whole.traded_SN.copy()
    delivered_SN[symbols, slots] = traded_SN[symbols, slots] = False
    return Presence(whole.symbols, delivered_SN, traded_SN, whole.open_N)


CASES = [("cn", 1.0), ("cn15", 1.0), ("nse60", 1.0), ("us", 0.6), ("crypto5", 0.97), ("crypto60", 1.0), ("XHKG30", 0.9)]


@pytest.mark.parametrize(("name", "density"), CASES)
def test_whole_sessions_are_whole_however_sparse(name: str, density: float) -> None:
    of = market(name)
    days = [session(of, 40, density, seed) for seed in range(30)]
    assert [hole(days[i], days[max(0, i - 5) : i], of) for i in range(30)] == [None] * 30


@pytest.mark.parametrize(("name", "density"), CASES)
@pytest.mark.parametrize("known", [0, 5])
def test_ten_minutes_or_one_bar_at_either_edge_or_between_are_a_hole(name: str, density: float, known: int) -> None:
    of = market(name)
    before, today = [session(of, 40, density, seed) for seed in range(known)], session(of, 40, density, 9)
    used = np.flatnonzero(today.delivered_SN.any(axis=0))
    few = max(1, 10 // of.bar_minutes)
    middle = len(used) // 2
    for place, first, last in (
        ("end", used[-few], len(of.slots) - 1),
        ("beginning", 0, used[few - 1]),
        ("middle", used[middle], used[middle + few - 1]),
    ):
        found = hole(without(today, slice(first, last + 1)), before, of)
        assert found is not None
        assert (found.place, found.share) == (place, 1.0)
        assert first <= found.first <= found.last <= last
        assert found.last - found.first + 1 >= few


def test_a_file_of_half_the_market_that_ends_early_is_a_hole_and_three_halted_names_are_none() -> None:
    of = market("cn")
    before, today = [session(of, 100, 1.0, seed) for seed in range(5)], session(of, 100, 1.0, 9)
    half = hole(without(today, slice(231, 242), slice(0, 50)), before, of)
    assert half is not None
    assert words(half, of, DAY) == "its last minutes are missing: 50% of the symbols have no row from 14:50 to 14:57"
    assert hole(without(today, slice(100, 242), slice(0, 3)), before, of) is None


def test_a_part_that_lacks_the_afternoon_does_not_hide_an_end_that_all_lack() -> None:
    of = market("cn")
    before, today = [session(of, 100, 1.0, seed) for seed in range(5)], session(of, 100, 1.0, 9)
    found = hole(without(without(today, slice(121, 242), slice(0, 15)), slice(231, 242)), before, of)
    assert found is not None
    assert (found.place, found.share, found.first) == ("end", 1.0, 231)


def test_rows_without_a_trade_up_to_the_close_do_not_hide_where_the_market_ended() -> None:
    of = market("cn")
    before, today = [session(of, 60, 1.0, seed) for seed in range(3)], session(of, 60, 1.0, 9)
    traded_SN = today.traded_SN.copy()
    traded_SN[:, 231:] = False
    found = hole(Presence(today.symbols, today.delivered_SN, traded_SN, today.open_N), before, of)
    assert found is not None
    assert found.untraded
    assert "no trade from 14:50" in words(found, of, DAY)


def test_the_calendar_knows_a_half_day_and_a_closing_call_that_always_came_is_missed() -> None:
    us, cn = market("us"), market("cn")
    before = [session(us, 50, 0.95, seed) for seed in range(5)]
    assert hole(session(us, 50, 0.95, 9, HALF_DAY), before, us) is None

    def with_call(seed: int) -> Presence:
        whole = session(cn, 50, 1.0, seed)
        whole.delivered_SN[:, -1] = whole.traded_SN[:, -1] = True
        return whole

    days = [with_call(seed) for seed in range(6)]
    assert hole(days[5], days[:5], cn) is None
    found = hole(without(days[5], slice(241, 242)), days[:5], cn)
    assert found is not None
    assert (found.place, found.first, found.last) == ("end", 241, 241)


def test_a_third_of_the_market_that_never_came_is_missing_and_one_coin_of_five_is_delisted() -> None:
    of = market("crypto5")
    before, today = [session(of, 90, 1.0, seed) for seed in range(2)], session(of, 60, 1.0, 9)
    found = hole(today, before, of)
    assert found is not None
    assert (found.place, round(found.share, 3)) == ("whole", 0.333)
    few = [session(of, 5, 1.0, seed) for seed in range(3)]
    assert hole(session(of, 4, 1.0, 9), few, of) is None


def test_a_quiet_day_of_a_sparse_market_is_whole() -> None:
    """Half the ordinary activity, and a quieter afternoon than ever."""
    of = market("us")
    before, quiet = [session(of, 80, 0.5, seed) for seed in range(5)], session(of, 80, 0.25, 9)
    calm_SN = quiet.delivered_SN & (np.random.default_rng(1).random(quiet.delivered_SN.shape) < 0.8)
    calm_SN[:, :200] = quiet.delivered_SN[:, :200]
    assert hole(Presence(quiet.symbols, calm_SN, calm_SN, quiet.open_N), before, of) is None
