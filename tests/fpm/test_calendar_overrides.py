"""Overrides amend the calendar; dates checked by hand against a wall calendar."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from fpm.calendar_overrides import Override, amend, read
from fpm.errors import UsageError
from fpm.sessions import calendar_end, is_session, last_slot, market, next_sessions, sessions_between
from fpm.store.settings import Settings

FRIDAY, MONDAY = date(2026, 12, 25), date(2026, 12, 28)
DAY = ((570, 690), (780, 900))  # 09:30-11:30, 13:00-15:00
NOTICE = "an announcement of the exchange"


def file(folder: Path, *lines: str) -> Path:
    path = folder / "calendar.csv"
    path.write_text("\n".join(["date,kind,source", *lines]) + "\n")
    return path


def test_each_kind_does_what_it_says() -> None:
    sessions = (date(2026, 12, 24), FRIDAY, MONDAY)
    overrides = [
        Override(FRIDAY, "closed", NOTICE),
        Override(MONDAY, "early 11:30", NOTICE),
        Override(date(2027, 1, 1), "closed", NOTICE),
        Override(date(2027, 1, 5), "through", NOTICE),
        Override(date(2027, 1, 2), "open", NOTICE),  # a Saturday
        Override(date(2026, 12, 29), "late 10:15", NOTICE),  # a typhoon that passes
        Override(date(2026, 12, 30), "hours 09:30-10:15,13:00-13:45", NOTICE),  # a drill
    ]
    amended, hours = amend(sessions, {FRIDAY: ((570, 690),)}, DAY, overrides)
    assert amended == (
        date(2026, 12, 24),
        MONDAY,
        date(2026, 12, 29),
        date(2026, 12, 30),
        date(2026, 12, 31),
        date(2027, 1, 2),
        date(2027, 1, 4),
        date(2027, 1, 5),
    )
    assert hours == {
        MONDAY: ((570, 690),),
        date(2026, 12, 29): ((615, 690), (780, 900)),
        date(2026, 12, 30): ((570, 615), (780, 825)),
    }


def test_no_session_is_guessed_after_the_last() -> None:
    assert amend((FRIDAY,), {}, DAY, [Override(date(2027, 1, 4), "closed", NOTICE)]) == ((FRIDAY,), {})


def test_a_year_that_the_library_lacks(tmp_path: Path) -> None:
    plain = market("cn")
    end = calendar_end(plain)
    assert end is not None
    with pytest.raises(UsageError, match=r"FPM-CAL-002.*FPM_CALENDAR"):
        next_sessions(plain, end, 1)
    year = end.year + 1
    path = file(tmp_path, f"{year}-01-01,closed,{NOTICE}", f'{year}-01-31,through,"{NOTICE}, one closing in January"')
    longer = Settings(home=tmp_path, market="cn", calendar=path).venue
    january = sessions_between(longer, date(year, 1, 1), date(year, 1, 28))
    days = [date(year, 1, day) for day in range(2, 29)]
    assert january == [day for day in days if day.weekday() < 5]
    assert calendar_end(longer) in (date(year, 1, 29), date(year, 1, 30), date(year, 1, 31))
    assert calendar_end(plain) == end  # without the file nothing changes


def test_a_typhoon_and_a_half_day_in_the_middle_of_the_calendar(tmp_path: Path) -> None:
    path = file(tmp_path, f"2024-09-16,closed,{NOTICE}", "2024-09-18,closed,x", "2024-09-19,early 11:30,x")
    amended = replace(market("cn"), overrides=read(path))
    assert is_session(market("cn"), date(2024, 9, 18)) and not is_session(amended, date(2024, 9, 18))
    assert amended.slots[last_slot(amended, date(2024, 9, 19))] == 11 * 60 + 30
    assert next_sessions(amended, date(2024, 9, 13), 1) == [date(2024, 9, 19)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["2024-09-31,closed,x"], r"line 2: '2024-09-31' is no ISO date"),
        (["2024-09-18,shut,x"], "line 2: 'shut' is no kind"),
        (["2024-09-18,early 25:00,x"], "'early 25:00' is no kind"),
        (["2024-09-18,closed,"], "the source is empty"),
        (['2024-09-18,"hours 11:00-09:30",x'], "line 2: the hours '11:00-09:30' overlap, or end before they begin"),
        (['2024-09-18,"hours 10:00-10:00",x'], "line 2: the hours '10:00-10:00' overlap"),
        (['2024-09-18,"hours 09:30-10:30,10:00-11:00",x'], "line 2: the hours '09:30-10:30,10:00-11:00' overlap"),
        (["2024-09-18,closed,x", "2024-09-18,open,y"], "two lines about 2024-09-18"),
    ],
)
def test_an_invalid_line_is_named(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=rf"FPM-CAL-003.*{message}"):
        read(file(tmp_path, *lines))


@pytest.mark.parametrize("kind", ["early 09:00", "late 15:30", "hours 18:00-19:00", "hours 11:40-12:40"])
def test_a_session_without_a_minute_of_the_market_is_refused(kind: str, tmp_path: Path) -> None:
    path = file(tmp_path, f'2024-09-19,"{kind}",{NOTICE}')
    with pytest.raises(UsageError, match=f"FPM-CAL-003.*'{kind}' of 2024-09-19 does not lie within the market's 09:30"):
        _ = Settings(home=tmp_path, market="cn", calendar=path).venue


def test_a_missing_file_and_other_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"FPM-CAL-003.*there is no file"):
        read(tmp_path / "nowhere.csv")
    (tmp_path / "other.csv").write_text("day,open\n")
    with pytest.raises(UsageError, match=r"FPM-CAL-003.*has columns"):
        read(tmp_path / "other.csv")
