"""A first copy that comes after its night: known from its arrival, and so is everything derived from it."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from consumers.questions.leak_inputs import first_copies
from fpm.commands import jobs
from fpm.first_copies import NOTES
from fpm.ingest.ingest_report import IngestReport
from fpm.leaks.records import CLOCK, early_first_copies
from fpm.sessions import cut_off, market
from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.stores import Stores
from producers.bars import Arrival, ingest
from tests.small_chain import quiet
from tests.tape import FIRST, tape, write

BEFORE, NEXT, THIRD = date(2025, 12, 31), date(2026, 1, 6), date(2026, 1, 7)
CN = market("cn")
RAW = ("minute_bars", "daily_bars")


def take(session: date, folder: Path, stores: Stores, stated: datetime | None = None) -> IngestReport:
    """Ingest the session's bars now, as the command does."""
    now = datetime.now(UTC)
    path = write(tape("cn", session), folder / f"{session}.parquet")
    return ingest([path], Arrival(stated or now, now, known_at_stated=stated is not None), stores, quiet)


def publish(session: date, stores: Stores) -> None:
    """The ledger's record of a publication."""
    stores.ledger.publish(stores.ledger.begin("publish", session.isoformat(), ""), ())


def known(table: str, session: date, stores: Stores) -> list[datetime]:
    return stores.read(table, session)["created_timestamp"].unique().to_list()


@pytest.fixture
def live(stores: Stores, tmp_path: Path) -> Stores:
    """A home with history of one session, which it has published."""
    take(FIRST, tmp_path, stores)
    publish(FIRST, stores)
    return stores


def test_a_late_first_copy_is_known_from_its_arrival(live: Stores, tmp_path: Path) -> None:
    before = datetime.now(UTC)
    report = take(NEXT, tmp_path, live)
    (arrival,) = known("minute_bars", NEXT, live)
    assert before <= arrival <= datetime.now(UTC) and known("daily_bars", NEXT, live) == [arrival]
    assert report.to_dict()["knowledge"] == {"cut_off": 0, "arrival": 1, "stated": 0}
    for table in RAW:
        assert live.as_of(cut_off(CN, NEXT)).read(table, NEXT).is_empty(), "what the night could not know"
        assert live.as_of(arrival).read(table, NEXT).height == live.read(table, NEXT).height > 0


def test_what_is_derived_from_a_late_session_carries_its_arrival(live: Stores, tmp_path: Path) -> None:
    take(NEXT, tmp_path, live)
    (arrival,) = known("minute_bars", NEXT, live)
    for name in ("session_totals", "daily_factors"):
        jobs.backfill(name, FIRST, NEXT, live, quiet)
        assert known(name, FIRST, live) == [cut_off(CN, FIRST)]
        assert known(name, NEXT, live) == [arrival]
        (path,) = [path for day, path in live.lake.files(name, NEXT, NEXT) if day == NEXT]
        assert live.lake.decode(path).height == live.read(name, NEXT).height, "one version"


def test_a_night_before_the_arrival_keeps_what_it_knew(live: Stores, tmp_path: Path) -> None:
    """Session three came in time by statement and was computed without session two, which then comes late."""
    take(THIRD, tmp_path, live, stated=cut_off(CN, THIRD))
    jobs.backfill("daily_factors", THIRD, THIRD, live, quiet)
    that_night = live.as_of(cut_off(CN, THIRD)).read("daily_factors", THIRD)
    take(NEXT, tmp_path, live)
    (arrival,) = known("daily_bars", NEXT, live)
    jobs.backfill("daily_factors", THIRD, THIRD, live, quiet)
    assert live.as_of(cut_off(CN, THIRD)).read("daily_factors", THIRD).equals(that_night)
    assert known("daily_factors", THIRD, live) == [arrival]
    assert not live.read("daily_factors", THIRD).equals(that_night)


def test_the_previous_close_of_a_late_session_may_be_late_too(live: Stores, tmp_path: Path) -> None:
    for session in (NEXT, THIRD):
        take(session, tmp_path, live)
    closes = dict(live.read("daily_bars", NEXT).select("symbol", "close").iter_rows())
    assert dict(live.read("daily_bars", THIRD).select("symbol", "pre_close").iter_rows()) == closes


def test_history_in_bulk_is_known_from_its_cut_off(stores: Stores, tmp_path: Path) -> None:
    """Before the first publication every session; after it those up to the published one."""
    for session in (FIRST, NEXT):
        assert take(session, tmp_path, stores).knowledge == {"cut_off": 1}
    publish(FIRST, stores)
    assert take(BEFORE, tmp_path, stores).knowledge == {"cut_off": 1}
    for session in (BEFORE, FIRST, NEXT):
        assert [known(table, session, stores) for table in RAW] == [[cut_off(CN, session)]] * 2
        attempts = [row for row in stores.ledger.rows(session) if row["job"] == "bars"]
        assert [row["note"] for row in attempts] == [NOTES["cut_off"]]
    assert early_first_copies(first_copies(stores), stores.ledger.first_published("publish"), NOTES["stated"]) is None


def test_an_older_session_published_later_moves_no_boundary(live: Stores, tmp_path: Path) -> None:
    publish(BEFORE, live)
    first = live.ledger.first_published("publish")
    assert first is not None and first[0] == FIRST


@pytest.mark.parametrize(("hours", "expected"), [(3, 3), (-3, 0)])
def test_a_stated_moment_decides_but_never_before_the_cut_off(
    live: Stores, tmp_path: Path, hours: int, expected: int
) -> None:
    limit = cut_off(CN, NEXT)
    report = take(NEXT, tmp_path, live, stated=limit + timedelta(hours=hours))
    assert report.knowledge == {"stated": 1}
    assert [known(table, NEXT, live) for table in RAW] == [[limit + timedelta(hours=expected)]] * 2


def test_a_lost_partition_keeps_the_moment_of_its_arrival(live: Stores, tmp_path: Path) -> None:
    take(NEXT, tmp_path, live)
    before = live.ledger.current(RAW)
    for table in RAW:
        for _, path in live.lake.files(table, NEXT, NEXT):
            path.unlink()
    report = take(NEXT, tmp_path, live)
    assert live.ledger.current(RAW) == before
    assert report.knowledge == {}, "no first copy"


def test_a_second_delivery_is_no_first_copy(live: Stores, tmp_path: Path) -> None:
    take(NEXT, tmp_path, live)
    (arrival,) = known("minute_bars", NEXT, live)
    double = tape("cn", NEXT).with_columns(pl.col("volume", "amount") * 2)
    now = datetime.now(UTC)
    report = ingest([write(double, tmp_path / "again.parquet")], Arrival(now, now), live, quiet)
    assert report.knowledge == {}, "a correction"
    assert max(known("minute_bars", NEXT, live)) > arrival
    total = {moment: live.as_of(moment).read("minute_bars", NEXT)["volume"].sum() for moment in (arrival, None)}
    assert total[None] == 2 * total[arrival]


# --- the ledger's wall clock ---------------------------------------------------------------------------------------
def early_claim(live: Stores, tmp_path: Path) -> None:
    """The third session's bars, published as known from the cut-off although they come months later."""
    take(NEXT, tmp_path, live)
    bars = live.read("minute_bars", NEXT).drop("session", "created_timestamp", "event_timestamp")
    publish_frames("bars", THIRD, {"minute_bars": bars}, live)


def claim_of_bulk(live: Stores, tmp_path: Path) -> None:
    """The same, marked as history in bulk: a home that has published loads none of later sessions."""
    early_claim(live, tmp_path)
    attempt = live.ledger.latest("bars", THIRD.isoformat())
    assert attempt is not None
    live.ledger.note(attempt, NOTES["cut_off"])


@pytest.mark.parametrize("plant", [early_claim, claim_of_bulk])
def test_the_leak_suite_catches_an_early_claim(
    plant: Callable[[Stores, Path], None], live: Stores, tmp_path: Path
) -> None:
    plant(live, tmp_path)
    finding = early_first_copies(first_copies(live), live.ledger.first_published("publish"), NOTES["stated"])
    assert finding is not None
    assert (finding.check, finding.column) == (CLOCK, "minute_bars.created_timestamp")
    assert finding.session == THIRD and str(cut_off(CN, THIRD)) in finding.explanation


def test_honest_and_stated_copies_pass(live: Stores, tmp_path: Path) -> None:
    take(NEXT, tmp_path, live)
    take(THIRD, tmp_path, live, stated=cut_off(CN, THIRD))
    copies = first_copies(live)
    assert {copy.session for copy in copies} == {FIRST, NEXT, THIRD}
    assert early_first_copies(copies, live.ledger.first_published("publish"), NOTES["stated"]) is None
