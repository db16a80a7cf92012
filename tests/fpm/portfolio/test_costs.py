"""Costs to the cent, worked out by hand."""

from __future__ import annotations

from datetime import date

import pytest

from fpm.errors import UsageError
from fpm.portfolio.costs import A_SHARE, Cost, cost_cents, cost_in_force, cost_table, flat


@pytest.mark.parametrize(
    ("session", "side", "rate"),
    [
        (date(2022, 4, 28), "buy", 0.00027),  # commission 2.5 + transfer 0.2, in units of 0.01 %
        (date(2022, 4, 29), "buy", 0.00026),
        (date(2022, 4, 28), "sell", 0.00127),  # and stamp duty 10
        (date(2022, 4, 29), "sell", 0.00126),
        (date(2023, 8, 27), "sell", 0.00126),
        (date(2023, 8, 28), "sell", 0.00076),  # and stamp duty 5
        (date(2023, 8, 28), "buy", 0.00026),
    ],
)
def test_a_share_rates_change_on_the_days_that_the_announcements_name(session, side, rate):
    assert cost_in_force(A_SHARE, session, side).rate == rate


def test_a_sale_of_100_000_yuan_pays_76_yuan_after_the_duty_was_halved_and_126_before():
    assert cost_cents(100_000_00, cost_in_force(A_SHARE, date(2023, 8, 28), "sell")) == 76_00
    assert cost_cents(100_000_00, cost_in_force(A_SHARE, date(2023, 8, 25), "sell")) == 126_00


def test_the_least_cost_and_the_cent():
    five = Cost(date(2020, 1, 1), "buy", 0.00026, 5.0)
    assert cost_cents(19_230_00, five) == 5_00  # 4.9998 is 5.00
    assert cost_cents(1_00, five) == 5_00
    assert cost_cents(20_000_00, five) == 5_20
    assert cost_cents(12_345_67, flat(0.0015)[0]) == 18_52  # 18.518505


def test_a_trade_older_than_every_row_is_refused_not_free():
    with pytest.raises(UsageError, match="FPM-PF-022"):
        cost_in_force(A_SHARE, date(2008, 9, 18), "sell")


def test_the_table_is_the_auditors():
    table = cost_table(A_SHARE)
    assert table.columns == ["from", "side", "rate", "minimum"]
    assert table["from"].is_sorted() and table.height == 5
