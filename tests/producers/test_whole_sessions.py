"""A session cut before its close: said at ingest, red until its rest comes or somebody says why."""

from dataclasses import replace
from datetime import date, datetime, time
from pathlib import Path

import polars as pl
import pytest

from fpm.calendar_overrides import Override
from fpm.commands.agenda import accept_session, agenda, begin, due, refusal, run_due
from fpm.commands.night import nightly
from fpm.errors import FpmError, UsageError
from fpm.exchange import simulate
from fpm.ingest.ingest_report import IngestReport
from fpm.sessions import cut_off
from fpm.store.ledger.stores import Stores
from producers import bars, delivery_check, whole_sessions
from tests.small_chain import quiet

CUT = "its last minutes are missing: all symbols have no row from 14:50 to 15:00"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    simulate.write(replace(simulate.PRESETS["tiny"], sessions=40, symbols=10, seed=3, spoiled_every=0), folder)
    return folder


@pytest.fixture
def days(source: Path) -> list[date]:
    return sorted(date.fromisoformat(path.stem) for path in (source / "minute_bars").glob("*.parquet"))[:4]


@pytest.fixture
def home(stores: Stores, source: Path, days: list[date], tmp_path: Path) -> Stores:
    """Three whole sessions, and a fourth that ends at 14:50; the home runs its nights since the second."""
    for day in days[:3]:
        assert deliver(source, tmp_path / f"{day}", day, stores).incomplete_sessions == {}
    stores.ledger.decide("nights_since", days[2].isoformat())
    checked = check(source, tmp_path / "checked", days[3], stores)
    assert checked.incomplete == {days[3]: CUT} and checked.to_dict()["incomplete_sessions"]
    report = deliver(source, tmp_path / "cut", days[3], stores, until=time(14, 50))
    assert report.incomplete_sessions == {days[3]: f"FPM-NGT-020  {CUT}"}
    assert report.to_dict()["incomplete_sessions"] == {str(days[3]): f"FPM-NGT-020  {CUT}"}
    return stores


def deliver(source: Path, target: Path, day: date, stores: Stores, until: time | None = None) -> IngestReport:
    (target / "minute_bars").mkdir(parents=True)
    rows = pl.read_parquet(source / "minute_bars" / f"{day}.parquet")
    if until is not None:
        rows = rows.filter(pl.col("minute") <= datetime.combine(day, until))
    rows.write_parquet(target / "minute_bars" / f"{day}.parquet")
    arrival = cut_off(stores.market, day)
    return bars.ingest([target], bars.Arrival(known_at=arrival, now=arrival), stores, quiet)


def check(source: Path, target: Path, day: date, stores: Stores) -> delivery_check.DeliveryCheck:
    (target / "minute_bars").mkdir(parents=True)
    rows = pl.read_parquet(source / "minute_bars" / f"{day}.parquet")
    rows = rows.filter(pl.col("minute") <= datetime.combine(day, time(14, 50)))
    rows.write_parquet(target / "minute_bars" / f"{day}.parquet")
    arrival = cut_off(stores.market, day)
    home = delivery_check.Home(stores.market, stores)
    return delivery_check.check([target], bars.Arrival(known_at=arrival, now=arrival), home, quiet)


def state(stores: Stores, day: date) -> str:
    night = agenda(stores, cut_off(stores.market, day))[-1]
    assert night.session == day
    return night.state


def test_the_night_is_red_and_does_not_run_until_the_rest_came(
    home: Stores, source: Path, days: list[date], tmp_path: Path
) -> None:
    now = cut_off(home.market, days[3])
    night = agenda(home, now)[-1]
    assert (night.state, night.why) == ("red", f"the bars are not whole: {CUT}")
    assert days[3] not in due(home, now)
    with pytest.raises(FpmError, match=f"FPM-NGT-020  the bars of {days[3]} are not whole") as refused:
        nightly(days[3], home)
    assert refused.value.exit_code == 1
    _, rest = run_due(home, now)
    assert home.ledger.rows(days[3])[0]["job"] == "bars" and len(home.ledger.rows(days[3])) == 1
    error = refusal(rest)
    assert error is not None and error.code == "FPM-NGT-010" and "fpm accept" in error.todo
    report = deliver(source, tmp_path / "rest", days[3], home)
    assert report.incomplete_sessions == {}
    assert state(home, days[3]) != "red"
    assert days[3] in due(home, now)


def test_before_the_cut_off_its_rest_is_awaited(home: Stores, days: list[date]) -> None:
    closed = datetime.combine(days[3], time(7, 30), cut_off(home.market, days[3]).tzinfo)
    assert agenda(home, closed)[-1].state == "awaited"


def test_an_early_close_of_the_calendar_makes_it_whole(home: Stores, days: list[date]) -> None:
    said = replace(home, market=replace(home.market, overrides=(Override(days[3], "early 14:50", "the exchange"),)))
    assert whole_sessions.fault(days[3], said) is None
    assert state(said, days[3]) == "due"
    assert state(home, days[3]) == "red"


def test_a_person_accepts_what_will_never_come(home: Stores, days: list[date]) -> None:
    answer = accept_session(days[3], "the vendor lost the close", "somebody", home)
    assert answer["recorded"] and answer["accepted"] == CUT
    assert state(home, days[3]) == "due"
    assert not accept_session(days[3], "again", "another", home)["recorded"]
    with pytest.raises(UsageError, match="FPM-NGT-021"):
        accept_session(days[2], "by mistake", "somebody", home)


def test_a_home_that_runs_no_nights_is_never_late(
    stores: Stores, source: Path, days: list[date], tmp_path: Path
) -> None:
    deliver(source, tmp_path / "cut", days[3], stores, until=time(14, 50))
    assert state(stores, days[3]) == "awaited"
    begin(stores, cut_off(stores.market, days[3]))
    assert state(stores, days[3]) == "red"
