"""Corporate actions, departures and holdings given by hand, in shares and cents."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from fpm.errors import InputRefused
from fpm.portfolio.book import (
    Book,
    Entitlement,
    action_of,
    actions_of,
    after_actions,
    book_of,
    departures,
    entitlement,
    last_rows,
)
from fpm.portfolio.fills import quotes

MONDAY, TUESDAY = date(2025, 6, 2), date(2025, 6, 3)


def change(close, pre_close, factors=(1.0, 1.0), counts=(None, None)):
    """Entitlement from a last close, the next reference price, adjustment factors and share counts."""
    before = {"close": close, "adj_factor": factors[0], "total_shares": counts[0]}
    return entitlement({"pre_close": pre_close, "adj_factor": factors[1], "total_shares": counts[1]}, before)


def test_no_change_is_no_action():
    assert change(10.0, 10.0) is None
    assert change(10.0, 10.0, (1.0, 1.0000000001)) is None
    assert change(10.0, None) is None
    assert change(None, 10.0) is None


def test_ten_for_ten_doubles_shares_without_cash():
    given = change(10.01, 5.01, (1.0, 2.0), (1e9, 2e9))  # 5.005 is quoted as 5.01
    assert given == Entitlement("split", 2.0, 0.0, 5.01)
    assert action_of("A", 300, given).shares_after == 600 and action_of("A", 300, given).cash == 0


def test_a_dividend_is_cash_to_the_accuracy_of_the_factor():
    """0.1234 yuan a share on 10.00: the reference is 9.88, the factor knows 9.8766."""
    assert action_of("A", 10_000, change(10.0, 9.88, (1.0, 10 / 9.8766))).cash == 1234_00
    assert action_of("A", 10_000, change(10.0, 9.88, (1.0, 10 / 9.88))).cash == 1200_00
    assert action_of("A", 10_000, change(10.0, 9.88, (None, None))).cash == 1200_00


def test_five_for_ten_and_2_50_yuan_per_ten_together():
    """(20.00 - 0.25) / 1.5 = 13.1667: 500 shares become 750, and 125 yuan are paid."""
    given = change(20.0, 13.17, (1.0, 20 * 1.5 / 19.75), (1e9, 1.5e9))
    action = action_of("A", 500, given)
    assert (action.kind, action.shares_after, action.cash) == ("split", 750, 125_00)


def test_without_counts_a_great_ratio_is_a_split_in_tenths_and_a_small_one_a_dividend():
    assert change(20.0, 15.38, (1.0, 1.3)) == Entitlement("split", 1.3, 0.0, 15.38)
    assert change(20.0, 19.0, (1.0, 20 / 19)).kind == "cash"


def test_an_issue_of_new_shares_beside_a_dividend_is_no_split():
    assert change(20.0, 19.0, (1.0, 20 / 19), (1e9, 1.01e9)) == Entitlement("cash", 1.0, 1.0, 19.0)
    assert change(20.0, 19.0, (1.0, 20 / 19), (1e9, 1.6e9)).kind == "cash"  # more than the price can explain


def test_a_reverse_split_leaves_whole_shares_and_pays_the_fraction():
    """One for ten at 1.23 -> 12.30: 1,234 shares become 123, 0.4 of one is paid: 4.92."""
    action = action_of("A", 1234, change(1.23, 12.30, (10.0, 1.0)))
    assert (action.shares_after, action.cash) == (123, 4_92)


def test_a_fraction_of_a_split_is_paid_at_the_reference():
    """301 shares, three for two at 10.00 -> 6.67: 451.5 shares are 451 and 3.335 yuan."""
    action = action_of("A", 301, change(10.0, 6.67, (1.0, 1.5), (2e9, 3e9)))
    assert action.shares_after == 451 and action.cash in (333, 334)


def test_without_a_reference_price_the_factor_makes_it():
    assert change(30.0, None, (1.0, 2.0)) == Entitlement("split", 2.0, 0.0, 15.0)


@pytest.mark.parametrize("held", [1, 99, 100, 101, 12_345, 1_000_003])
@pytest.mark.parametrize("close", [1.01, 3.33, 10.0, 99.99, 1720.5])
def test_worth_at_the_reference_price_is_kept(held, close):
    """The auditor's rule, for every kind of event: half a cent a share and a cent."""
    for ratio, dividend in ((1, 0.05), (1, 0.123), (1.1, 0), (1.5, 0.02), (2, 0), (1.05, 0.1), (0.1, 0), (4.9, 0.2)):
        exact = (close - dividend) / ratio
        for counts in ((1e9, 1e9 * ratio), (None, None)):
            for factor in (close / exact, None):
                given = change(close, round(exact, 2), (1.0, factor), counts)
                after, cash = (held, 0) if given is None else _after(held, given)
                gap = after * round(exact, 2) + cash - held * close
                if given is not None or abs(round(exact, 2) / close - 1) > 1e-6:
                    assert abs(gap) <= 0.005 * max(held, after) + 0.01, (ratio, dividend, counts, factor)
                    assert cash >= 0


def _after(held, given):
    action = action_of("A", held, given)
    return action.shares_after, action.cash / 100


def daily(rows) -> pl.DataFrame:
    names = ["session", "symbol", "close", "pre_close", "adj_factor", "delist_date"]
    schema = dict.fromkeys(names, pl.Float64) | {"session": pl.Date, "symbol": pl.String, "delist_date": pl.Date}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_only_names_held_act_and_the_last_row_may_be_old():
    last = last_rows(daily([(MONDAY, "A", 10.0, 10.0, 1.0, None), (MONDAY, "B", 10.0, 10.0, 1.0, None)]))
    today = daily([(TUESDAY, "A", 5.0, 5.0, 2.0, None), (TUESDAY, "B", 5.0, 5.0, 2.0, None)])
    actions = actions_of(Book({"A": 100}, 0), today, last)
    assert [(each.symbol, each.shares_after) for each in actions] == [("A", 200)]
    assert after_actions(Book({"A": 100}, 7), actions) == Book({"A": 200}, 7)


def test_a_delisted_name_leaves_at_its_last_price_or_the_given_one_on_its_date():
    last = last_rows(daily([(MONDAY, "A", 0.87, 0.87, 1.0, TUESDAY), (MONDAY, "B", 5.0, 5.0, 1.0, None)]))
    book, nothing = Book({"A": 1000, "B": 100}, 1), daily([])
    assert departures(book, MONDAY, nothing, last) == ()
    (left,) = departures(book, TUESDAY, nothing, last)
    assert (left.symbol, left.kind, left.shares_after, left.cash) == ("A", "delisted", 0, 870_00)
    assert after_actions(book, (left,)) == Book({"B": 100}, 870_01)
    assert departures(book, TUESDAY, nothing, last, terms={"A": 1.5})[0].cash == 1500_00
    assert departures(book, MONDAY, nothing, last, terms={"B": 6.0})[0].cash == 600_00  # taken over
    assert departures(book, TUESDAY, daily([(TUESDAY, "A", 0.9, 0.87, 1.0, TUESDAY)]), last) == ()


def test_a_name_that_has_been_silent_since_a_session_leaves_too():
    last = last_rows(daily([(MONDAY, "A", 2.0, 2.0, 1.0, None)]))
    assert departures(Book({"A": 100}, 0), TUESDAY, daily([]), last, silent_since=MONDAY) == ()
    assert departures(Book({"A": 100}, 0), TUESDAY, daily([]), last, silent_since=TUESDAY)[0].cash == 200_00


def test_last_rows_keep_the_newest_close_of_every_name():
    first = last_rows(daily([(MONDAY, "A", 1.0, 1.0, 1.0, None), (MONDAY, "B", 2.0, 2.0, 1.0, None)]))
    later = last_rows(daily([(TUESDAY, "A", 3.0, 1.0, 1.0, None), (TUESDAY, "B", None, 2.0, 1.0, None)]), first)
    assert later.select("symbol", "close", "session").rows() == [("A", 3.0, TUESDAY), ("B", 2.0, MONDAY)]


def test_holdings_given_by_a_person_are_taken_whole_or_refused_whole():
    table = pl.DataFrame({"symbol": ["A", "B", "C"], "shares": [100, 0, 250]})
    assert book_of(table, 12.34, frozenset("ABC")) == Book({"A": 100, "C": 250}, 12_34)
    wrong = pl.DataFrame({"symbol": ["A", "A", "B", "C", "Z"], "shares": [1.0, 2.0, -1.0, 0.5, 1.0]})
    with pytest.raises(InputRefused, match="FPM-PF-023") as refused:
        book_of(wrong, -0.01, frozenset("ABC"))
    assert all(text in str(refused.value) for text in ("cash is", "A is there twice", "B has", "C has", "Z has never"))


def test_prices_far_below_a_cent_keep_their_worth() -> None:
    """A coin at 0.00001234: with prices in cents it was worth nothing, and its return was anything."""
    rows = daily([(MONDAY, "A", 0.00001234, 0.00001234, 1.0, None)])
    last = last_rows(rows, decimals=8)
    assert last["close"].to_list() == [0.00001234]
    assert Book({"A": 10_000_000}, 5).value(dict(last.select("symbol", "close").iter_rows())) == 12_340 + 5
    today = daily([(TUESDAY, "A", 0.00001357, 0.00001234, 1.0, None)])
    assert actions_of(Book({"A": 100}, 0), today, last, 8) == ()
    quoted = quotes(
        today.with_columns(
            open=pl.col("close"), high=pl.col("close"), low=pl.col("close"), volume=1e9, amount=13_570.0
        ),
        ["A"],
        8,
    )
    assert quoted["A"].fill == 0.00001357
