"""The kept calendar is the library's own, and it is asked again on another day."""

from datetime import date
from pathlib import Path

import exchange_calendars
import pytest

from fpm import bytecode_cache, trading_calendars
from fpm.trading_calendars import trading_calendar

HALF = date(2024, 7, 3)  # New York closes at 13:00: nyse.com/markets/hours-calendars


@pytest.mark.parametrize("name", ["XNYS", "XSHG"])
def test_first_and_kept_answers_are_the_library_s(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytecode_cache, "FOLDER", tmp_path)
    first, again = trading_calendar.__wrapped__(name), trading_calendar.__wrapped__(name)
    assert first == again and len(list(tmp_path.glob("calendar.*.json"))) == 1
    library = exchange_calendars.get_calendar(name)
    assert list(first.sessions) == [stamp.date() for stamp in library.sessions]
    assert first.timezone == str(library.tz)
    monkeypatch.setattr(trading_calendars, "_facts", lambda name: pytest.fail("asked again"))
    assert trading_calendar.__wrapped__(name) == first
    monkeypatch.setattr(trading_calendars, "_today", lambda: date(2099, 1, 1))
    with pytest.raises(pytest.fail.Exception):
        trading_calendar.__wrapped__(name)


def test_hours_other_than_the_ordinary_ones() -> None:
    calendar = trading_calendar("XNYS")
    assert calendar.ordinary == ((570, 960),)
    assert calendar.special[HALF] == ((570, 780),) == calendar.other_than(((570, 960),))[HALF]
    longer = calendar.other_than(((570, 961),))
    assert longer[date(2024, 7, 5)] == ((570, 960),) and longer[HALF] == ((570, 780),)
    assert calendar.other_than(((570, 780),)).get(HALF) is None
