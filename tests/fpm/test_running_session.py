"""Minutes at which a running session may be read, in every market's hours."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.errors import UsageError
from fpm.running_session import cut
from fpm.sessions import close, market, moment, opening

MONDAY = date(2024, 12, 2)


def test_a_minute_is_a_slot_a_place_in_the_view_and_a_moment() -> None:
    """By hand: the view of 240 merges the call into 09:31, so 10:30 is its 60th minute; UTC is eight hours behind."""
    at = cut(MONDAY, "10:30", market("cn"), "240")
    assert (at.slot, at.position, at.moment) == (60, 59, datetime(2024, 12, 2, 2, 30, tzinfo=UTC))
    assert at.vintage("abc") == "abc@10:30"


def test_an_early_close_ends_the_minutes_that_may_be_read() -> None:
    """New York closed at 13:00 on 29 November 2024."""
    half_day = date(2024, 11, 29)
    assert cut(half_day, "12:59", market("us"), market("us").default_view).text == "12:59"
    for text in ("13:00", "14:30"):
        with pytest.raises(UsageError, match=r"FPM-DAY-003.*12:59"):
            cut(half_day, text, market("us"), market("us").default_view)


@pytest.mark.parametrize(
    ("text", "nearest"), [("09:25", "09:31"), ("12:15", "11:30"), ("15:00", "14:59"), ("08:00", "09:31")]
)
def test_another_minute_is_refused_with_the_nearest(text: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=rf"FPM-DAY-003.*{nearest}"):
        cut(MONDAY, text, market("cn"), "240")


@pytest.mark.parametrize("text", ["1430", "14:3", "25:00", "14:60", "", "14:30:00", " 14:30"])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="FPM-DAY-002"):
        cut(MONDAY, text, market("cn"), "240")


def test_a_day_without_trading_is_refused() -> None:
    with pytest.raises(UsageError, match="FPM-DAY-001"):
        cut(MONDAY - timedelta(days=1), "14:30", market("cn"), "240")


@given(st.sampled_from(["cn", "us", "crypto", "XHKG5", "XTKS15"]), st.integers(0, 24 * 60 - 1))
def test_every_minute_lies_within_the_session_or_is_refused(name: str, minute: int) -> None:
    venue, text = market(name), f"{minute // 60:02d}:{minute % 60:02d}"
    within = minute in {end for end in venue.slots if opening(venue, MONDAY) < moment(venue, MONDAY, end)}
    if not within or moment(venue, MONDAY, minute) >= close(venue, MONDAY):
        with pytest.raises(UsageError, match="FPM-DAY-003"):
            cut(MONDAY, text, venue, venue.default_view)
        return
    at = cut(MONDAY, text, venue, venue.default_view)
    assert at.moment == moment(venue, MONDAY, minute)
    assert venue.slots[at.slot] == minute and venue.views[venue.default_view][at.slot] == at.position
