"""A whole home with a late session: the replay of that night, its derived rows, later nights, and the leak suite.

History and its first published session come in time. Of the sessions after it one comes after the next session's
cut-off, by statement, and every job then runs to the end; the other sessions come in time, by statement too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import pytest

from consumers.questions import leaks
from consumers.questions.replay import replay
from fpm.commands.night import nightly
from fpm.errors import UsageError
from fpm.exchange import simulate
from fpm.leaks.records import CLOCK
from fpm.sessions import cut_off
from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.stores import Stores
from fpm.store.postgres.server import Server
from producers import bars
from tests.small_chain import compute, opened, quiet
from tests.test_corrections import first_copies

SESSIONS, FIRST_SCORED, PUBLISHED, LATE = 47, 36, 37, 39
DERIVED = ("session_totals", "minute_features", "daily_factors", "fingerprints", "scores")


@dataclass(frozen=True)
class Home:
    """`arrival`: when the late session came; `night`: the steps of its own night, run afterwards."""

    stores: Stores
    sessions: list[date]
    arrival: datetime
    night: list[dict[str, object]]

    @property
    def late(self) -> date:
        return self.sessions[LATE]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, postgres_server: Server) -> Iterator[Home]:
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("deliveries")
    simulate.write(replace(simulate.PRESETS["tiny"], sessions=SESSIONS, symbols=10, seed=5, spoiled_every=0), source)
    sessions = sorted(date.fromisoformat(path.stem) for path in (source / "minute_bars").glob("*.parquet"))
    with opened(tmp_path_factory.mktemp("home"), postgres_server) as stores:

        def take(days: list[date], arrival: datetime) -> None:
            delivery = first_copies(source, folder / f"{days[0]}", days)
            if len(days) == 1:
                (delivery / "index_members.parquet").unlink()  # the exchange's members change once a month
            bars.ingest([delivery], bars.Arrival(arrival, arrival, known_at_stated=len(days) == 1), stores, quiet)

        take(sessions[: PUBLISHED + 1], cut_off(stores.market, sessions[PUBLISHED]))
        compute(stores, sessions[0], sessions[FIRST_SCORED], sessions[PUBLISHED])
        nightly(sessions[PUBLISHED], stores)
        for session in sessions[PUBLISHED + 1 :]:
            if session != sessions[LATE]:
                take([session], cut_off(stores.market, session))
        arrival = cut_off(stores.market, sessions[LATE + 1]) + timedelta(hours=1)
        take([sessions[LATE]], arrival)
        compute(stores, sessions[0], sessions[FIRST_SCORED], sessions[-1])
        night = nightly(sessions[LATE], stores)
        yield Home(stores, sessions, arrival, night)


def test_a_replay_as_of_that_night_does_not_see_the_session(home: Home) -> None:
    with pytest.raises(UsageError, match="FPM-RPL-002"):
        replay(home.late, None, home.stores)
    with pytest.raises(UsageError, match="FPM-RPL-002"):
        replay(home.late, home.arrival - timedelta(microseconds=1), home.stores)
    assert replay(home.late, home.arrival, home.stores).equal


def test_every_other_night_replays_bit_for_bit(home: Home) -> None:
    for session in (home.sessions[LATE - 1], home.sessions[LATE + 1], home.sessions[-1]):
        for known_at in (None, home.arrival, cut_off(home.stores.market, home.sessions[-1])):
            if known_at is None or known_at >= cut_off(home.stores.market, session):
                assert replay(session, known_at, home.stores).equal, (session, known_at)


@pytest.mark.parametrize("table", DERIVED)
def test_derived_rows_carry_the_arrival(table: str, home: Home) -> None:
    for _, path in home.stores.lake.files(table, home.late, home.late):
        created = home.stores.lake.decode(path)["created_timestamp"]
        assert len(created) and created.min() == home.arrival
    before = home.stores.read(table, home.sessions[LATE - 1])["created_timestamp"]
    assert before.max() == cut_off(home.stores.market, home.sessions[LATE - 1])


def test_its_labels_wait_for_no_more_than_their_window(home: Home) -> None:
    created = home.stores.read("labels", home.late)["created_timestamp"].unique().to_list()
    assert created == [cut_off(home.stores.market, home.sessions[LATE + 6])]


def test_its_own_night_is_green(home: Home) -> None:
    assert {row["status"] for row in home.night} <= {"published", "unchanged"}


def test_the_leak_suite_passes_and_names_an_early_claim(home: Home) -> None:
    """This test is the last, because it spoils the home."""
    stores = home.stores
    answers = leaks.run((None, None), leaks.Width(2, 3), stores, quiet)
    assert [answer.to_dict() for answer in answers if answer.finding and answer.check == CLOCK] == []
    unexpected = [answer.to_dict() for answer in answers if answer.finding and "label" not in answer.check]
    assert unexpected == [], "shuffled labels and shifted calendars need more than ten symbols"
    last = home.sessions[-1]
    raw = {table: stores.read(table, last) for table in ("daily_bars", "minute_bars")}
    early = {table: rows.drop("session", "created_timestamp", "event_timestamp") for table, rows in raw.items()}
    for sql in ("DELETE FROM fpm.files WHERE", "DELETE FROM fpm.ledger WHERE"):
        stores.ledger.execute(f"{sql} job = 'bars' AND partition = %s", (str(last),))
    publish_frames("bars", last, early, stores)
    again = leaks.run((None, None), leaks.Width(1, 3), stores, quiet)
    (clocks,) = [answer for answer in again if answer.check == CLOCK]
    assert clocks.finding is not None and clocks.finding.session == last
    assert clocks.finding.column == "daily_bars.created_timestamp"
