"""Sessions that have nothing to do, asked of the ledger at once: the same outcomes as one run after the other."""

from datetime import date

from fpm.store.jobs import runner
from fpm.store.jobs.freshness import Freshness
from fpm.store.jobs.runner import backfill, run_job
from fpm.store.ledger.stores import Stores
from tests.fpm.store import mean_close
from tests.fpm.store.jobs.test_runner import CORRECTED_AT, counted
from tests.fpm.store.small_bars import SESSIONS, ingest

SPAN = SESSIONS[2:6]


def quiet(done: int, total: int, what: object) -> None:
    """No progress."""


def test_what_is_published_is_settled_until_an_input_in_its_window_changes(stores: Stores) -> None:
    ingest(stores)
    assert {outcome.status for outcome in backfill(mean_close, SPAN[0], SPAN[-1], stores, quiet)} == {"published"}
    fresh = Freshness(mean_close, SPAN, stores)
    assert [fresh.settled(session) for session in SPAN] == [run_job(mean_close, session, stores) for session in SPAN]
    assert runner.is_settled(mean_close, SPAN[0], SPAN[-1], stores)
    ingest(stores, (SESSIONS[1], CORRECTED_AT, {"A": 6.0}))  # in the windows, two back and one ahead, of SESSIONS[2:4]
    fresh = Freshness(mean_close, SPAN, stores)
    settled = [session for session in SPAN if fresh.settled(session)]
    assert settled == [session for session in SPAN if session not in SESSIONS[:4]]
    statuses = [outcome.status for outcome in backfill(mean_close, SPAN[0], SPAN[-1], stores, quiet)]
    assert statuses == ["published", "published", "unchanged", "unchanged"]


def test_a_lost_file_or_another_code_is_not_settled(stores: Stores) -> None:
    ingest(stores)
    job, calls = counted()
    backfill(job, SPAN[0], SPAN[-1], stores, quiet)
    (stores.lake.root / f"labels/session={SPAN[1]}/part-0.parquet").unlink()
    fresh = Freshness(job, SPAN, stores)
    assert [session for session in SPAN if fresh.settled(session) is None] == [SPAN[1]]
    assert calls == list(SPAN)
    assert not runner.is_settled(mean_close, SPAN[0], SPAN[0], stores)  # the same name, and code in a file


def test_a_session_that_waits_still_waits_for_the_same_inputs(stores: Stores) -> None:
    ingest(stores)
    last = SESSIONS[-1]  # its window ends a session later, which nobody delivered
    (waiting,) = backfill(mean_close, last, last, stores, quiet)
    assert waiting.status == "waiting"
    assert Freshness(mean_close, [last], stores).settled(last) == waiting
    assert len(stores.ledger.rows(last)) == len({row["job"] for row in stores.ledger.rows(last)})


def test_a_job_that_writes_outside_the_lake_is_never_settled(stores: Stores) -> None:
    ingest(stores)
    calls: list[date] = []
    job, _ = counted(WRITES=(), run=lambda session, stores: calls.append(session))
    backfill(job, SPAN[0], SPAN[0], stores, quiet)
    assert Freshness(job, SPAN, stores).settled(SPAN[0]) is None
    backfill(job, SPAN[0], SPAN[0], stores, quiet)
    assert calls == [SPAN[0]] * 2
