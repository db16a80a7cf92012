"""Markets against literals: the five of old, every calendar at every bar length, an operator's own file."""

import re
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import exchange_calendars
import pytest

from fpm.calendar_overrides import Override
from fpm.errors import UsageError
from fpm.exchange_facts import read_exchanges
from fpm.markets import BARS, named, with_bar
from fpm.sessions import hours, is_session, market, session_slots


def minutes(first: str, last: str, step: int = 1) -> tuple[int, ...]:
    start, end = (int(text[:2]) * 60 + int(text[3:]) for text in (first, last))
    return tuple(range(start, end + 1, step))


EVENING, MIDNIGHT_AND_ONE = timedelta(hours=20), timedelta(hours=25)
OLD = {  # as release 0.1 had them, in code
    "cn": (
        "Asia/Shanghai",
        "XSHG",
        (565, *minutes("09:31", "11:30"), *minutes("13:01", "15:00"), 900),
        {
            "237": (-1, *range(237), -1, -1, -1, -1),
            "240": (0, *range(240), 239),
            "241": (0, *range(1, 241), 240),
            "242": tuple(range(242)),
        },
        ("240", "SH", EVENING, 252, 1, 565, 900),
    ),
    "cn15": (
        "Asia/Shanghai",
        "XSHG",
        (*minutes("09:45", "11:30", 15), *minutes("13:15", "15:00", 15)),
        {"16": tuple(range(16))},
        ("16", "SH", EVENING, 252, 15, None, None),
    ),
    "us": (
        "America/New_York",
        "XNYS",
        (570, *minutes("09:31", "16:00")),
        {"390": (0, *range(390)), "391": tuple(range(391))},
        ("390", "US", EVENING, 252, 1, 570, None),
    ),
    "nse": (
        "Asia/Kolkata",
        "XBOM",
        minutes("09:16", "15:30"),
        {"375": tuple(range(375))},
        ("375", "NS", EVENING, 252, 1, None, None),
    ),
    "crypto": (
        "UTC",
        None,
        tuple(range(1, 1441)),
        {"1440": tuple(range(1440))},
        ("1440", "BN", MIDNIGHT_AND_ONE, 365, 1, None, None),
    ),
}


@pytest.mark.parametrize("name", OLD)
def test_the_five_markets_stay_as_they_were(name: str) -> None:
    """Stored profiles and hashes rest on these values."""
    own = market(name)
    timezone, calendar, slots, views, rest = OLD[name]
    assert (own.timezone, own.calendar, own.slots, own.views) == (timezone, calendar, slots, views)
    facts = (own.default_view, own.suffix, own.cut_off, own.sessions_per_year, own.bar_minutes)
    assert (*facts, own.opening_call, own.closing_call) == rest


@pytest.mark.parametrize("calendar", sorted(exchange_calendars.get_calendar_names(include_aliases=False)))
def test_every_calendar_has_a_grid_at_every_bar_length(calendar: str) -> None:
    """Bars follow each other, lie within the hours, and cover them to the last minute."""
    for bar in BARS:
        own = named(calendar + (str(bar) if bar > 1 else ""))
        calls = {own.opening_call, own.closing_call} - {None}
        ends = [end for end in own.slots if own.bar_minutes > 1 or end not in calls]
        assert all(later > earlier for earlier, later in pairwise(ends)), bar
        assert all(later >= earlier for earlier, later in pairwise(own.slots)), bar
        assert all(any(start < end <= stop for start, stop in own.segments) for end in ends), bar
        assert {stop for _, stop in own.segments} <= set(own.slots), bar
        expected = sum(-(-(stop - start) // bar) for start, stop in own.segments)
        assert own.view_size(own.default_view) == expected, bar


@pytest.mark.parametrize(
    ("name", "bar", "expected"),
    [
        ("nse", "15m", "nse15"),
        ("cn", "1m", "cn"),
        ("XHKG", "5 min", "XHKG5"),
        ("us", "1h", "us60"),
        ("24/7", "5", "24/75"),
    ],
)
def test_a_market_at_a_bar_length(name: str, bar: str, expected: str) -> None:
    assert with_bar(name, bar) == expected


@pytest.mark.parametrize(("name", "bar"), [("cn", "7m"), ("cn15", "5m"), ("us", "0m"), ("us", "a day"), ("us", "2h")])
def test_other_bar_lengths_are_refused(name: str, bar: str) -> None:
    with pytest.raises(UsageError, match="FPM-CFG-014"):
        with_bar(name, bar)


# --- hours of single days, each from the exchange's own announcement -----------------------------------------------
FULL_HONG_KONG = ((570, 720), (780, 960))
HOURS = [
    ("XNYS", "2015-12-23", ((570, 960),)),
    ("XNYS", "2015-12-24", ((570, 780),)),  # NYSE: early close at 13:00 on Christmas Eve
    ("XNYS", "2024-11-29", ((570, 780),)),  # the day after Thanksgiving
    ("XNYS", "2024-07-03", ((570, 780),)),
    ("XHKG", "2024-12-23", FULL_HONG_KONG),
    ("XHKG", "2024-12-24", ((570, 720),)),  # HKEX: no afternoon on the eves of Christmas and of the New Year
    ("XHKG", "2025-01-28", ((570, 720),)),  # the eve of the Lunar New Year
    ("XTKS", "2024-11-01", ((540, 690), (750, 900))),  # JPX closes at 15:30 since 2024-11-05
    ("XTKS", "2024-11-05", ((540, 690), (750, 930))),
    ("XLON", "2024-12-24", ((480, 750),)),  # LSE: 12:30
    ("BVMF", "2024-02-14", ((780, 1080),)),  # B3 opens at 13:00 on Ash Wednesday
    ("BVMF", "2024-02-15", ((600, 1080),)),
    ("XBOM", "2024-10-31", ((555, 930),)),
    ("XSHG", "2025-04-30", ((570, 690), (780, 900))),
]


@pytest.mark.parametrize(("calendar", "day", "expected"), HOURS, ids=lambda part: str(part)[:10])
def test_hours_of_a_day(calendar: str, day: str, expected: tuple[tuple[int, int], ...]) -> None:
    session, own = date.fromisoformat(day), named(calendar)
    assert hours(own, session) == expected
    slots = session_slots(own, session)
    calls = int(slots.open_N[0]) * (own.opening_call is not None) + int(slots.open_N[-1]) * (
        own.closing_call is not None
    )
    assert int(slots.open_N.sum()) - calls == sum(stop - start for start, stop in expected)


@pytest.mark.parametrize(
    ("calendar", "day"),
    [
        ("XTKS", "2024-11-04"),  # a holiday
        ("XBOM", "2024-11-01"),  # Diwali: NSE trades from 18:00 to 19:00 alone
        ("XBOM", "2024-03-02"),  # a drill of two short windows on a Saturday
        ("XHKG", "2024-12-25"),
        ("XNYS", "2025-01-09"),  # a day of mourning
    ],
)
def test_days_without_an_ordinary_session(calendar: str, day: str) -> None:
    assert not is_session(named(calendar), date.fromisoformat(day))


def test_a_typhoon_that_the_calendar_lacks_is_the_operators_to_name() -> None:
    """HKEX was closed on 2023-09-01 (Saola) and opened at 14:00 on 2023-10-09 (Koinu); the library has both whole."""
    plain = named("XHKG")
    saola, koinu = date(2023, 9, 1), date(2023, 10, 9)
    assert hours(plain, saola) == hours(plain, koinu) == FULL_HONG_KONG
    notices = (Override(saola, "closed", "HKEX notice"), Override(koinu, "late 14:00", "HKEX notice"))
    own = replace(plain, overrides=notices)
    assert not is_session(own, saola)
    assert hours(own, koinu) == ((840, 960),)
    assert int(session_slots(own, koinu).open_N.sum()) == 120


# --- an operator's own exchanges -----------------------------------------------------------------------------------
OWN = 'calendar = "XNYS"\nsuffix = "AT"\n'


def exchanges(text: str, folder: Path) -> dict[str, object]:
    path = folder / "markets.toml"
    path.write_text(text)
    return dict(read_exchanges(path))


def test_an_exchange_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "markets.toml"
    path.write_text(f'[dark]\n{OWN}lot = 10\nvolume_unit = "lots"\n')
    own = named("dark5", read_exchanges(path))
    assert (own.suffix, own.exchange.lot, own.bar_minutes, own.timezone) == ("AT", 10, 5, "America/New_York")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"[dark]\n{OWN}colour = 1\n", r"\[dark\] has the unknown key colour"),
        (f'[dark]\n{OWN}lot = "ten"\n', r"\[dark\] lot is 'ten'"),
        (f"[dark]\n{OWN}lot = true\n", r"\[dark\] lot is True"),
        (f"[dark]\n{OWN}whole_shares = 1\n", r"\[dark\] whole_shares is 1"),
        ('[dark]\nsuffix = "AT"\n', r"\[dark\] lacks calendar"),
        ('[dark]\ncalendar = "XNYS"\n', r"\[dark\] lacks suffix"),
        (f'[dark]\n{OWN}cut_off = "8 pm"\n', r"\[dark\] cut_off is '8 pm', not HH:MM"),
        (f'[dark]\n{OWN}volume_unit = "grams"\n', r"volume_unit is 'grams', not shares or lots"),
        (f'[dark]\n{OWN}codes = "["\n', r"codes is no regular expression"),
        (f"[dark]\n{OWN}lot = 0\n", r"\[dark\] lot is 0, not from 1 to"),
        (f"[dark]\n{OWN}lot = 1{'0' * 400}\n", r"\[dark\] lot is 10000"),
        (f"[dark]\n{OWN}tick = nan\n", r"\[dark\] tick is nan"),
        (f"[dark]\n{OWN}sessions_per_year = 0\n", r"\[dark\] sessions_per_year is 0"),
        (f'[dark]\n{OWN}cut_off = "99:00"\n', r"\[dark\] cut_off is '99:00', not HH:MM"),
        (f"[dark]\n{OWN}sources = {{a = 1}}\n", r"\[dark\] sources is .*no list of texts"),
        (f"[dark]\n{OWN}closing_call_since = []\n", r"\[dark\] closing_call_since is \[\]"),
        (f'[dark]\n{OWN}closing_call_since = {{SH = "x"}}\n', r"\[dark\] closing_call_since 'SH' is 'x', no day"),
        (f"[dark2]\n{OWN}", "dark2 is not a section named by letters"),
        ("dark = 3\n", "dark is not a section"),
        ("[dark\n", "markets.toml: "),
    ],
)
def test_a_fault_of_the_file_is_named(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"FPM-CFG-015 .*{words}"):
        exchanges(text, tmp_path)


@pytest.mark.parametrize(
    "calls",
    [
        'opening_call = "12:00"',
        'closing_call = "15:59"',
        'closing_call = "16:00"\nclosing_call_begins = "17:00"',
        'closing_call = "23:59"\nclosing_call_begins = "09:31"',
    ],
)
def test_calls_within_the_hours_are_refused(calls: str, tmp_path: Path) -> None:
    path = tmp_path / "markets.toml"
    path.write_text(f"[dark]\n{OWN}{calls}\n")
    with pytest.raises(UsageError, match=r"FPM-CFG-015 .*\[dark\] has .* beside the hours 09:30-16:00"):
        named("dark", read_exchanges(path))


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        exchanges(f"[dark]\n{OWN}colour = 1\n[light]\nsuffix = 3\n", tmp_path)
    assert all(word in str(error.value) for word in ("colour", "[light] lacks calendar", "[light] suffix"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"FPM-CFG-015 .*absent\.toml"):
        read_exchanges(tmp_path / "absent.toml")


def test_the_example_of_the_page_is_an_exchange(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "markets.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "markets.toml"
    path.write_text(example)
    own = read_exchanges(path)
    assert named("hk5", own).segments == ((570, 720), (780, 960))
