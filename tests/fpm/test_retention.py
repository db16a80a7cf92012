"""Which sessions a policy lets go, and which need holds them back."""

from __future__ import annotations

from datetime import date

import pytest

from fpm.retention import Need, excess, policy

DAYS = [date(2025, 1, day) for day in (2, 3, 6, 7, 8)]
FIRST, LAST = DAYS[0], DAYS[-1]


@pytest.mark.parametrize(
    "text",
    ["", "minute_bars", "minute_bars=", "minute_bars=0", "minute_bars=-3", "scores=5", "minute_bars=5,minute_bars=6"],
)
def test_a_policy_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write TABLE=SESSIONS"):
        policy(text)


def test_the_last_sessions_stay() -> None:
    old = excess("minute_bars", 2, DAYS, [])
    assert (old.before, old.sessions, old.state) == (DAYS[3], tuple(DAYS[:3]), "removable")
    assert excess("minute_bars", 5, DAYS, []).state == excess("minute_bars", 9, DAYS, []).state == "nothing"


def test_the_earliest_need_of_the_table_itself_holds_it_back() -> None:
    others = [Need("minute_features", FIRST, "another table"), Need("minute_bars", LAST, "what stays anyway")]
    assert excess("minute_bars", 2, DAYS, others).state == "removable"
    own = [*others, Need("minute_bars", DAYS[2], "late"), Need("minute_bars", DAYS[1], "early")]
    surplus = excess("minute_bars", 2, DAYS, own)
    assert surplus.state == "needed" and surplus.need is not None and surplus.need.why == "early"
