"""Killed at every fault point and again in the recovery: invariants hold before recovery, bytes are equal after it."""

import multiprocessing
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

from fpm.errors import TryLater
from fpm.store.faults import FAULTPOINTS, passed
from fpm.store.jobs.publishing import Partition, attempt, ownership, recover_dead, stage
from fpm.store.jobs.runner import publish_frames, run_job
from fpm.store.jobs.staging import attempt_of, run_of
from fpm.store.ledger.stores import Output, Stores, open_stores
from fpm.store.settings import Settings
from tests.fpm.store import mean_close
from tests.fpm.store.small_bars import SESSIONS, bars, ingest

ROOT = Path(__file__).parents[4]
MIDDLE = SESSIONS[3]
# Children are forks of a process with all imports and no threads: they take a tenth of a second each.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.fpm.store.jobs.test_publishing"])


@contextmanager
def opened(settings: Settings) -> Iterator[Stores]:
    own = open_stores(settings)
    yield own
    own.ledger.close()


def work(stores: Stores) -> None:
    """Publish two tables from outside, and compute one from partitions that exist."""
    frames = {
        "daily_bars": bars(SESSIONS[4], {"A": 55.0}),
        "labels": bars(SESSIONS[4], {"A": 1.0}).rename({"close": "label"}),
    }
    publish_frames("two_tables", SESSIONS[4], frames, stores)
    run_job(mean_close, MIDDLE, stores)


def in_child(settings: Settings, fault: str) -> None:
    os.environ["FPM_FAULT"] = fault
    work(open_stores(settings))


def child(stores: Stores, fault: str) -> int | None:
    process = PROCESSES.Process(target=in_child, args=(stores.settings, fault))
    process.start()
    process.join(timeout=120)
    return process.exitcode


def visible(stores: Stores) -> dict[str, str]:
    paths = sorted(stores.lake.root.rglob("*"))
    return {str(p.relative_to(stores.lake.root)): sha256(p.read_bytes()).hexdigest() for p in paths if p.is_file()}


def check_invariants(stores: Stores) -> None:
    """Every visible file's hash is in the ledger; a published file is there, unless an attempt is replacing it."""
    recorded = stores.ledger.query(
        "SELECT file ->> 'path', file ->> 'sha256', status FROM fpm.ledger, jsonb_array_elements(files) file"
    )
    for path, sha in visible(stores).items():
        assert (path, sha) in {(row[0], row[1]) for row in recorded}
    replacing = {row[0] for row in recorded if row[2] == "prepared"}
    for path, file in stores.ledger.current(["daily_bars", "labels"]).items():
        assert path in replacing or visible(stores)[path] == file.sha256


@pytest.fixture
def expected(settings: Settings, stores: Stores) -> tuple[dict[str, str], Callable[[], None]]:
    """The bytes of an undisturbed run, and a function that restores the state before it."""

    def start() -> None:
        shutil.rmtree(settings.home, ignore_errors=True)
        stores.ledger.execute("TRUNCATE fpm.ledger, fpm.files")
        ingest(stores)

    start()
    work(stores)
    return visible(stores), start


PASSED = 6 + 5  # fault points that `work` passes: two files from outside, then one computed


def test_killed_at_every_fault_point_and_again_in_the_recovery(
    stores: Stores, expected: tuple[dict[str, str], Callable[[], None]]
) -> None:
    undisturbed, start = expected
    for passing in range(1, PASSED + 1):
        start()
        assert child(stores, f"*:{passing}") == -signal.SIGKILL, passing
        check_invariants(stores)
        if passing % 3 == 0:
            child(stores, "*:1")
            check_invariants(stores)
        work(stores)
        check_invariants(stores)
        assert visible(stores) == undisturbed, passing
        assert not list(stores.lake.staging.rglob("*.parquet")), passing
        assert {row["status"] for row in stores.ledger.rows()} == {"published"}
    start()
    assert child(stores, f"*:{PASSED + 1}") == 0  # there is no other fault point


def test_every_fault_point_has_a_name_and_does_nothing_without_the_variable() -> None:
    source = (ROOT / "fpm/store/jobs/publishing.py").read_text()
    assert {name for name in FAULTPOINTS if f'faultpoint("{name}")' in source} == set(FAULTPOINTS)


def test_a_prepared_attempt_is_finished_without_computing(stores: Stores) -> None:
    ingest(stores)
    assert child(stores, "prepared:2") == -signal.SIGKILL
    with ownership(Partition("labels", MIDDLE), stores):
        pass
    (row,) = [row for row in stores.ledger.rows(MIDDLE) if row["job"] == "labels"]
    assert (row["status"], row["attempt"]) == ("published", 1)
    stores.verify("labels", MIDDLE)


def test_a_prepared_attempt_whose_staged_file_is_lost_is_done_again(stores: Stores) -> None:
    ingest(stores)
    assert child(stores, "prepared:2") == -signal.SIGKILL
    for staged in stores.lake.staging.rglob("*.parquet"):
        staged.unlink()
    assert run_job(mean_close, MIDDLE, stores).status == "published"
    (row,) = [row for row in stores.ledger.rows(MIDDLE) if row["job"] == "labels"]
    assert (row["status"], row["attempt"]) == ("published", 2)


def test_an_attempt_that_lost_its_lock_cannot_publish(stores: Stores) -> None:
    old = stores.ledger.begin("labels", str(MIDDLE), "x")
    stores.ledger.begin("labels", str(MIDDLE), "x")
    with pytest.raises(TryLater, match="FPM-JOB-076"):
        stores.ledger.prepare(old, [])
    with pytest.raises(TryLater, match="FPM-JOB-076"):
        stores.ledger.publish(old, [])


def test_what_waits_for_a_living_run_stays_in_staging_and_all_else_goes(stores: Stores, settings: Settings) -> None:
    """Whether it lives, the database says, not a process id: another host's mean nothing here."""
    ingest(stores)

    def staged(run: str) -> Path:
        folder = stores.lake.staging / Partition("labels", MIDDLE).staging(attempt_of(run))
        folder.mkdir(parents=True)
        return folder

    with opened(settings) as elsewhere, run_of(elsewhere.ledger) as run:
        living, killed, ended = staged(run), staged(""), staged("another-host-1a2b")
        run_job(mean_close, MIDDLE, stores)
        assert living.exists() and not killed.exists() and not ended.exists()
    run_job(mean_close, MIDDLE, stores)
    assert not living.exists()


def test_two_attempts_at_one_partition_never_share_a_folder() -> None:
    """Ray repeats a task whose host fell silent, and process ids of two containers are equal."""
    names = [attempt_of(run) for run in ("", "", "run", "run")]
    assert len(set(names)) == len(names) and all(re.fullmatch("[A-Za-z0-9~-]+", name) for name in names)


def test_an_attempt_whose_lock_another_host_took_is_thrown_away(stores: Stores, settings: Settings) -> None:
    """The network loses the connection that holds the lock; the process lives on and knows nothing of it."""
    ingest(stores)
    expected: list[bytes] = []

    def slow(session: date, own: Stores) -> None:
        if not expected:
            own.ledger.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s",
                ("fpm labels%",),
            )
            with opened(settings) as other:
                run_job(mean_close, MIDDLE, other)
                expected.append((other.lake.root / other.lake.relative("labels", MIDDLE)).read_bytes())
        mean_close.run(session, own)

    job = SimpleNamespace(
        NAME=mean_close.NAME, READS=mean_close.READS, WRITES=mean_close.WRITES, run=slow, __file__=mean_close.__file__
    )
    with pytest.raises(TryLater, match="FPM-JOB-076"):
        run_job(job, MIDDLE, stores)
    assert (stores.lake.root / stores.lake.relative("labels", MIDDLE)).read_bytes() == expected[0]
    statuses = stores.ledger.query("SELECT status FROM fpm.ledger WHERE job = 'labels' ORDER BY attempt")
    assert statuses == [("failed",), ("published",)]
    run_job(mean_close, MIDDLE, stores)
    assert not list(stores.lake.staging.rglob("*.parquet"))


def test_an_attempt_that_another_host_finished_is_no_error_of_its_files(stores: Stores, settings: Settings) -> None:
    """The lock is lost between `prepared` and the rename: the next owner renames the file and publishes it."""
    ingest(stores)
    partition = Partition("labels", MIDDLE)
    outputs = [Output("labels", MIDDLE, None, bars(MIDDLE, {"A": 1.0}).rename({"close": "label"}))]

    def overtaken() -> None:
        with attempt(partition, "x", stores) as current:
            files = stage(partition, outputs, stores)
            stores.ledger.prepare(current, files)
            with opened(settings) as other, ownership(partition, other):
                pass
            stores.lake.put(stores.lake.staging / files[0].staging, files[0].file.path)

    with pytest.raises(TryLater, match="FPM-JOB-076"):
        overtaken()
    assert stores.ledger.latest("labels", str(MIDDLE)).status == "published"
    stores.verify("labels", MIDDLE)


def test_a_look_recovers_what_dead_processes_left(stores: Stores, settings: Settings) -> None:
    """A prepared attempt is finished, a folder that a power cut brought back goes, a living run keeps its own."""
    ingest(stores)
    assert child(stores, "prepared:2") == -signal.SIGKILL
    lost = [Partition("bars", MIDDLE), Partition("fingerprints", MIDDLE, "a_b")]
    folders = [stores.lake.staging / partition.staging(attempt_of()) for partition in lost]
    with opened(settings) as elsewhere, run_of(elsewhere.ledger) as run:
        kept = [stores.lake.staging / lost[0].staging(attempt_of(run)), stores.lake.staging / "models/other.1"]
        for folder in (*folders, *kept):
            folder.mkdir(parents=True)
        recover_dead(stores)
        assert sorted(path for path in stores.lake.staging.glob("*/*") if path.is_dir()) == sorted(kept)
    assert stores.ledger.latest("labels", str(MIDDLE)).status == "published"


def test_a_recovery_that_fails_delays_nothing(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug or a full disk met in the recovery of one partition: the others are recovered, and it is the next time."""
    ingest(stores)
    assert child(stores, "prepared:2") == -signal.SIGKILL
    folder = stores.lake.staging / Partition("totals", MIDDLE).staging(attempt_of())
    folder.mkdir(parents=True)
    monkeypatch.setenv("FPM_FAULT", f"renamed:{passed('renamed') + 1}:ENOSPC")
    recover_dead(stores)
    assert stores.ledger.latest("labels", str(MIDDLE)).status == "prepared"
    assert not folder.exists()
    monkeypatch.delenv("FPM_FAULT")
    recover_dead(stores)
    assert stores.ledger.latest("labels", str(MIDDLE)).status == "published"


def test_files_are_forced_to_the_disk_before_and_folders_after_the_rename(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of system calls, recorded by wrappers: fsync of the file and of all folders, rename, fsync."""
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def traced_fsync(handle: int) -> None:
        calls.append("fsync " + Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    def traced_rename(source: Path, target: Path) -> None:
        calls.append(f"rename {target.name}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(os, "rename", traced_rename)
    publish_frames("bars", MIDDLE, {"daily_bars": bars(MIDDLE, {"A": 1.0})}, stores)
    home = stores.settings.home.name
    (attempt,) = {call.split()[1] for call in calls if f"{MIDDLE}." in call}
    staged = [f"session={MIDDLE}", "daily_bars", attempt, "bars", "staging", home]
    assert calls == [
        "fsync part-0.parquet",
        *(f"fsync {folder}" for folder in staged),
        *(f"fsync {folder}" for folder in (f"session={MIDDLE}", "daily_bars", "lake", home)),
        "rename part-0.parquet",
        f"fsync session={MIDDLE}",
    ]
