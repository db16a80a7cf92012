"""The runner: freshness, knowledge history, failure, locks, workers. Crashes are in test_publishing.py."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import polars as pl
import pytest

from fpm import interruption
from fpm.errors import FpmError, InputRefused, LookAhead, TryLater, UsageError
from fpm.sessions import cut_off
from fpm.store.jobs.inputs import Window
from fpm.store.jobs.runner import _in_worker, backfill, publish_frames, run_job
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.settings import Settings
from tests.fpm.store import mean_close
from tests.fpm.store.small_bars import CN, SESSIONS, bars, ingest

MIDDLE = SESSIONS[3]  # A's closes in its window (two before, one after) are 2, 3, 4, 5, B's ten times that
NOTHING = pl.DataFrame({"symbol": [], "label": []})
TOO_EARLY = pl.DataFrame({"symbol": ["A"], "label": [1.0], "created_timestamp": [cut_off(CN, MIDDLE)]})
CORRECTED_AT = datetime(2026, 1, 20, 3, tzinfo=UTC)


@contextmanager
def opened(settings: Settings, **other: object) -> Iterator[Stores]:
    stores = open_stores(settings.model_copy(update=other))
    yield stores
    stores.ledger.close()


def counted(**changes: object) -> tuple[SimpleNamespace, list[date]]:
    """`mean_close` with `changes`, and the list of sessions it was computed for."""
    calls: list[date] = []

    def run(session: date, stores: Stores) -> None:
        calls.append(session)
        mean_close.run(session, stores)

    names = {"NAME": "labels", "READS": mean_close.READS, "WRITES": mean_close.WRITES, "run": run}
    return SimpleNamespace(**names | changes), calls


def lake_bytes(stores: Stores) -> dict[str, str]:
    paths = sorted(stores.lake.root.rglob("*.parquet"))
    return {str(path.relative_to(stores.lake.root)): sha256(path.read_bytes()).hexdigest() for path in paths}


def test_a_result_is_published_with_both_clocks_and_its_hash(stores: Stores) -> None:
    ingest(stores)
    outcome = run_job(mean_close, MIDDLE, stores)
    path = stores.lake.root / f"labels/session={MIDDLE}/part-0.parquet"
    assert (outcome.status, outcome.rows) == ("published", 2)
    assert outcome.sha256 == sha256(path.read_bytes()).hexdigest()
    rows = stores.read("labels", MIDDLE)
    assert rows["label"].to_list() == [3.5, 35.0]
    assert rows["event_timestamp"].unique().to_list() == [datetime(2026, 1, 8, 7, tzinfo=UTC)]  # 15:00 in Shanghai
    # the window ends one session later, so nothing was known before 20:00 of that session
    assert rows["created_timestamp"].unique().to_list() == [datetime(2026, 1, 9, 12, tzinfo=UTC)]
    assert not list(stores.lake.staging.rglob("*.parquet"))


def test_unchanged_inputs_compute_nothing(stores: Stores) -> None:
    ingest(stores)
    job, calls = counted()
    assert [run_job(job, MIDDLE, stores).status for _ in range(3)] == ["published", "unchanged", "unchanged"]
    assert calls == [MIDDLE]
    assert {outcome.status for outcome in ingest(stores)} == {"unchanged"}
    assert {row["attempt"] for row in stores.ledger.rows()} == {1}


def test_a_change_inside_the_window_computes_again_and_one_outside_does_not(stores: Stores) -> None:
    ingest(stores)
    job, calls = counted()
    run_job(job, MIDDLE, stores)
    ingest(stores, (SESSIONS[6], CORRECTED_AT, {"A": 70.0}))
    assert run_job(job, MIDDLE, stores).status == "unchanged"
    ingest(stores, (SESSIONS[6], CORRECTED_AT, {"A": 70.0}), (SESSIONS[1], CORRECTED_AT, {"A": 6.0}))
    assert run_job(job, MIDDLE, stores).status == "published"
    assert calls == [MIDDLE] * 3  # first, then as known before and as known after the correction


def test_the_same_bytes_from_changed_inputs_replace_nothing(stores: Stores) -> None:
    ingest(stores)
    constant = counted(
        run=lambda session, stores: stores.write("labels", session, pl.DataFrame({"symbol": ["A"], "label": [1.0]}))
    )[0]
    run_job(constant, MIDDLE, stores)
    path = stores.lake.root / f"labels/session={MIDDLE}/part-0.parquet"
    before = path.stat()
    ingest(stores, (SESSIONS[1], CORRECTED_AT, {"A": 6.0}))
    assert run_job(constant, MIDDLE, stores).status == "unchanged"
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_correction_adds_a_version_and_the_former_one_can_still_be_read(stores: Stores) -> None:
    ingest(stores)
    run_job(mean_close, MIDDLE, stores)
    ingest(stores, (SESSIONS[1], CORRECTED_AT, {"A": 6.0}))
    assert run_job(mean_close, MIDDLE, stores).rows == 3  # two rows, and the one of A that changed
    assert stores.read("labels", MIDDLE)["label"].to_list() == [4.5, 35.0]
    assert stores.as_of(cut_off(CN, SESSIONS[4])).read("labels", MIDDLE)["label"].to_list() == [3.5, 35.0]
    assert stores.as_of(cut_off(CN, MIDDLE)).read("labels", MIDDLE).is_empty()
    assert stores.read("labels", MIDDLE, known_at=CORRECTED_AT)["label"].to_list() == [4.5, 35.0]


def test_night_by_night_and_all_at_once_give_the_same_bytes(stores: Stores, settings: Settings, tmp_path: Path) -> None:
    corrections = [(SESSIONS[1], CORRECTED_AT, {"A": 6.0}), (SESSIONS[3], CORRECTED_AT.replace(day=21), {"B": 41.0})]
    for count in range(3):
        ingest(stores, *corrections[:count])
        backfill(mean_close, SESSIONS[2], SESSIONS[5], stores, lambda *_: None)
    night_by_night = lake_bytes(stores)
    stores.ledger.execute("TRUNCATE fpm.ledger, fpm.files, fpm.deployment")  # as new, for a second home
    with opened(settings, home=tmp_path / "other") as other:
        ingest(other, *corrections)
        backfill(mean_close, SESSIONS[2], SESSIONS[5], other, lambda *_: None)
        assert lake_bytes(other) == night_by_night


def test_a_symbol_that_disappears_gets_a_version_without_values(stores: Stores) -> None:
    def run(session: date, stores: Stores) -> None:
        rows = stores.read("daily_bars", session, columns=["symbol", "close"]).filter(pl.col("close") < 40)
        stores.write("labels", session, rows.select("symbol", label="close"))

    ingest(stores, (SESSIONS[2], CORRECTED_AT, {"A": 90.0}))
    run_job(counted(READS={"daily_bars": Window()}, run=run)[0], SESSIONS[2], stores)
    assert stores.as_of(cut_off(CN, SESSIONS[2])).read("labels", SESSIONS[2])["label"].to_list() == [3.0, 30.0]
    assert stores.read("labels", SESSIONS[2])["label"].to_list() == [None, 30.0]


def test_a_missing_input_waits_and_says_so_once(stores: Stores) -> None:
    ingest(stores)
    for _ in range(2):
        with pytest.raises(TryLater, match=r"FPM-JOB-075 .*daily_bars 2026-01-14"):
            run_job(mean_close, SESSIONS[6], stores)
    (row,) = stores.ledger.rows(SESSIONS[6])[1:]
    assert (row["job"], row["status"], row["attempt"]) == ("labels", "waiting", 1)


def test_a_hole_in_the_look_back_waits_but_the_start_of_history_does_not(stores: Stores) -> None:
    ingest(stores)
    chain = counted(NAME="chain", READS={"labels": Window(back=2, include=False)}, WRITES=("labels",), run=None)[0]
    run_job(mean_close, SESSIONS[0], stores)
    run_job(mean_close, SESSIONS[2], stores)
    with pytest.raises(TryLater, match="labels 2026-01-06"):
        run_job(chain, SESSIONS[3], stores)


def test_a_failure_is_recorded_raised_and_leaves_nothing(stores: Stores) -> None:
    def explode(session: date, stores: Stores) -> None:
        mean_close.run(session, stores)
        raise ArithmeticError("no such number")

    ingest(stores)
    with pytest.raises(ArithmeticError):
        run_job(counted(run=explode)[0], MIDDLE, stores)
    (row,) = [row for row in stores.ledger.rows(MIDDLE) if row["job"] == "labels"]
    assert (row["status"], row["error"]) == ("failed", "ArithmeticError: no such number")
    assert not stores.sessions("labels") and not list(stores.lake.staging.rglob("*.parquet"))
    assert run_job(mean_close, MIDDLE, stores).status == "published"


def test_a_panic_of_native_code_is_a_failure_like_others(stores: Stores) -> None:
    """polars derives its panics from BaseException; the night's loop over sessions must not end by one."""

    def panic(session: date, stores: Stores) -> None:
        raise pl.exceptions.PanicException("index out of bounds")

    ingest(stores)
    with pytest.raises(RuntimeError, match="index out of bounds"):
        run_job(counted(run=panic)[0], MIDDLE, stores)
    (row,) = [row for row in stores.ledger.rows(MIDDLE) if row["job"] == "labels"]
    assert (row["status"], row["error"]) == ("failed", "PanicException: index out of bounds")
    assert run_job(mean_close, MIDDLE, stores).status == "published"


def test_an_interruption_that_a_library_swallowed_ends_the_run(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that Ctrl-C became is no reason to go on with the next session."""
    monkeypatch.setattr(interruption, "_is_interrupted", True)
    ingest(stores)

    def explode(session: date, stores: Stores) -> None:
        raise ArithmeticError("what a library made of it")

    with pytest.raises(KeyboardInterrupt):
        run_job(counted(run=explode)[0], MIDDLE, stores)
    assert stores.ledger.latest("labels", str(MIDDLE)).status == "failed"


@pytest.mark.parametrize(
    ("run", "error", "match"),
    [
        (lambda session, stores: None, FpmError, "FPM-JOB-010"),
        (lambda session, stores: stores.write("labels", SESSIONS[0], NOTHING), FpmError, "FPM-JOB-010"),
        (lambda session, stores: stores.write("labels", session, NOTHING.drop("label")), InputRefused, "FPM-LAKE-002"),
        (lambda session, stores: stores.write("labels", session, TOO_EARLY), LookAhead, "FPM-PIT-010"),
    ],
)
def test_a_job_that_writes_something_else_publishes_nothing(
    stores: Stores, run: object, error: type, match: str
) -> None:
    ingest(stores)
    with pytest.raises(error, match=match):
        run_job(counted(run=run)[0], MIDDLE, stores)
    assert not stores.sessions("labels")


def test_a_deleted_or_damaged_file_is_made_again(stores: Stores) -> None:
    ingest(stores)
    first = run_job(mean_close, MIDDLE, stores)
    (stores.lake.root / f"labels/session={MIDDLE}/part-0.parquet").unlink()
    again = run_job(mean_close, MIDDLE, stores)
    assert (again.status, again.sha256) == ("published", first.sha256)


def test_a_promoted_model_makes_its_results_stale_and_dates_them(stores: Stores) -> None:
    ingest(stores)
    job, calls = counted(MODELS=("encoder",), READS={"daily_bars": Window()}, NAME="with_model")
    with pytest.raises(TryLater, match="FPM-ML-304"):
        run_job(job, MIDDLE, stores)
    born = datetime(2026, 1, 10, 12, tzinfo=UTC)
    stores.models.save("encoder", "v1", {"weights.safetensors": b"1"}, {}, born, SESSIONS[4], "promoted")
    run_job(job, MIDDLE, stores.for_vintage("v1"))
    assert stores.read("labels", MIDDLE)["created_timestamp"].unique().to_list() == [born]
    assert run_job(job, MIDDLE, stores.for_vintage("v1")).status == "unchanged"
    stores.models.save("encoder", "v2", {"weights.safetensors": b"2"}, {}, born, SESSIONS[4], "promoted")
    run_job(job, MIDDLE, stores.for_vintage("v2"))
    assert len(calls) == 2


def test_a_job_that_writes_elsewhere_runs_every_time(stores: Stores) -> None:
    ingest(stores)
    calls: list[datetime | None] = []
    job = SimpleNamespace(
        NAME="elsewhere", READS={"daily_bars": Window()}, WRITES=(), run=lambda _, as_of: calls.append(as_of.known_at)
    )
    ingest(stores, (MIDDLE, CORRECTED_AT, {"A": 6.0}))
    assert [run_job(job, MIDDLE, stores).status for _ in range(2)] == ["published", "unchanged"]
    assert calls == [CORRECTED_AT] * 2
    with pytest.raises(ZeroDivisionError):
        run_job(SimpleNamespace(**vars(job) | {"run": lambda *_: 1 / 0}), MIDDLE, stores)
    rows = {row["job"]: (row["status"], row["attempt"]) for row in stores.ledger.rows(MIDDLE)}
    assert rows["elsewhere"] == ("failed", 2)


def test_two_runners_at_once_compute_a_partition_once(stores: Stores, settings: Settings) -> None:
    ingest(stores)
    job, calls = counted()
    statuses: list[str] = []
    together = threading.Barrier(2)

    def run(own: Stores) -> None:
        together.wait()
        statuses.append(run_job(job, MIDDLE, own).status)

    with opened(settings) as other:
        threads = [threading.Thread(target=run, args=(own,)) for own in (stores, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(statuses) == ["published", "unchanged"] and calls == [MIDDLE]


@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_workers_and_one_process_give_the_same_bytes(
    engine: Literal["processes", "ray"], stores: Stores, settings: Settings, tmp_path: Path
) -> None:
    if engine == "ray":
        pytest.importorskip("ray", reason="the extra `ray` is not installed")
    ingest(stores)
    progress: list[tuple[int, int, object]] = []
    alone = backfill(mean_close, SESSIONS[0], SESSIONS[6], stores, lambda *step: progress.append(step))
    assert [outcome.status for outcome in alone] == ["published"] * 6 + ["waiting"]
    assert progress == [(number, 7, session) for number, session in enumerate(SESSIONS, 1)]
    expected = lake_bytes(stores)
    stores.ledger.execute("TRUNCATE fpm.ledger, fpm.files, fpm.deployment")  # as new, for a second home
    with opened(settings, home=tmp_path / "other", workers=2, engine=engine) as other:
        ingest(other)
        mapped = backfill(mean_close, SESSIONS[0], SESSIONS[6], other, lambda *_: None)
        assert mapped == [outcome.__class__(**vars(outcome)) for outcome in alone]
        assert lake_bytes(other) == expected
        again = backfill(mean_close, SESSIONS[0], SESSIONS[6], other, lambda *_: None)
        assert [outcome.status for outcome in again] == ["unchanged"] * 6 + ["waiting"]
        assert not list(other.lake.staging.rglob("*.parquet"))


def test_a_host_that_does_not_see_a_published_file_computes_nothing(stores: Stores) -> None:
    """A shared folder's cache may be behind the ledger: a look-back would silently be a session shorter."""
    ingest(stores)
    behind = stores.lake.root / stores.lake.relative("daily_bars", SESSIONS[2])
    content = behind.read_bytes()
    behind.unlink()
    content_digest, files = _in_worker("tests.fpm.store.mean_close", MIDDLE, stores.settings, None, "run")
    assert content_digest and not files
    with pytest.raises(TryLater, match=r"FPM-JOB-078 .*daily_bars/session="):
        run_job(mean_close, MIDDLE, stores)
    behind.write_bytes(content)
    assert run_job(mean_close, MIDDLE, stores).status == "published"


def test_a_backfill_of_nothing_says_so(stores: Stores) -> None:
    with pytest.raises(UsageError, match="FPM-CFG-065"):
        backfill(mean_close, SESSIONS[1], SESSIONS[0], stores, lambda *_: None)
    with pytest.raises(TryLater, match="FPM-JOB-074"):
        backfill(mean_close, SESSIONS[0], SESSIONS[1], stores, lambda *_: None)


def test_market_and_preset_are_decided_by_the_first_attempt(stores: Stores, settings: Settings) -> None:
    ingest(stores)
    with opened(Settings(home=settings.home, database_url=settings.database_url)) as later:
        assert (later.settings.market, later.settings.preset) == ("cn", "tiny")
    with pytest.raises(UsageError, match="FPM-CFG-010"):
        open_stores(settings.model_copy(update={"preset": "demo"}))
    with pytest.raises(UsageError, match="FPM-CFG-013"):
        open_stores(settings.model_copy(update={"preset": "enormous"}))


def test_a_window_may_follow_the_preset(stores: Stores) -> None:
    ingest(stores)
    job, _ = counted(READS={"daily_bars": Window(back=2, ahead=lambda settings: {"tiny": 1}[settings.preset])})
    assert run_job(job, MIDDLE, stores).status == "published"


def test_several_tables_of_one_job_are_published_together(stores: Stores) -> None:
    frames = {
        "daily_bars": bars(MIDDLE, {"A": 1.0}),
        "index_members": pl.DataFrame({"index": ["CSI300"], "symbol": ["A"], "weight": [1.0]}),
    }
    assert publish_frames("bars", MIDDLE, frames, stores).rows == 2
    assert stores.read("index_members", MIDDLE)["weight"].to_list() == [1.0]
    for table in frames:
        stores.verify(table, MIDDLE)
