"""Old minutes go where nothing needs them, and nothing else: plan, refusals, removal, kills, what rests on them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from consumers.questions.integrity import integrity
from fpm.commands import retention
from fpm.commands.retention import Decision
from fpm.commands.training import reach, require_history
from fpm.errors import UsageError
from fpm.nn.encoder.pretraining import PRESETS as ENCODERS
from fpm.report import passport
from fpm.running_session import cut
from fpm.sessions import close, market, sessions_between
from fpm.store.jobs.inputs import Window
from fpm.store.jobs.minutes import publish_minute
from fpm.store.jobs.runner import backfill, publish_frames, run_job
from fpm.store.ledger.retirements import retired, stored_sessions
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import Server
from fpm.store.settings import Settings
from fpm.walk_forward import Fold
from tests.consumers.questions.conftest import Command, command
from tests.databases import fresh_database, name_of
from tests.small_chain import quiet

__all__ = ["command"]  # a fixture
CN = market("cn")
DAYS = sessions_between(CN, date(2025, 1, 2), date(2025, 3, 31))  # 57 sessions
NOW = datetime(2025, 4, 1, tzinfo=UTC)
BACK = 3  # sessions that the night of this home looks back
KEEP = 30
BEFORE = DAYS[-KEEP]
WORDS = Decision("the disk is small", "olga")


def keeping(stores: Stores, policy: str = f"minute_bars={KEEP}", **settings: object) -> Stores:
    changes = {"retention": policy, "corrections_back": BACK, **settings}
    return replace(stores, settings=stores.settings.model_copy(update=changes))


@pytest.fixture(scope="module")
def filled(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """57 sessions of minutes and days of one symbol, with totals and features: a home and database to copy."""
    with fresh_database(postgres_server) as url:
        stores = open_stores(Settings(home=tmp_path_factory.mktemp("filled"), preset="tiny", database_url=url))
        stores.decide_profile("bar_32")
        for day in DAYS:
            fill(day, stores)
        stores.ledger.close()
        yield stores.settings.home, name_of(url)


@pytest.fixture
def home(filled: tuple[Path, str], postgres_server: Server, tmp_path: Path) -> Iterator[Stores]:
    folder, template = filled
    shutil.copytree(folder, tmp_path / "home")
    with fresh_database(postgres_server, template) as url:
        stores = open_stores(Settings(home=tmp_path / "home", preset="tiny", database_url=url))
        yield keeping(stores)
        stores.ledger.close()


def fill(day: date, stores: Stores, price: float = 10.0) -> None:
    """What came and what was computed of one session; another price is another delivery."""
    key = pl.DataFrame({"symbol": ["600000.SH"]})
    slot = key.with_columns(slot=pl.lit(0, pl.Int16))
    bars = {"minute_bars": slot.with_columns(close=pl.lit(price)), "daily_bars": key.with_columns(close=pl.lit(price))}
    publish_frames("bars", day, bars, stores)
    ends = key.with_columns(event_timestamp=pl.lit(close(CN, day)), profile=pl.lit("bar_32"))
    totals = ends.with_columns(adj_factor=pl.lit(price))
    computed = {"session_totals": totals, "minute_features": ends.with_columns(slot=pl.lit(0, pl.Int16))}
    publish_frames("minute_features", day, computed, stores)


def planned(stores: Stores) -> dict[str, tuple[str, str | None]]:
    """State of every table of the policy, and who needs it."""
    rows = retention.rows(retention.plan(stores, NOW), stores)
    return {row["table"]: (row["state"], row["needed"]) for row in rows}


def files(stores: Stores) -> set[str]:
    root = stores.lake.root
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def faults(stores: Stores) -> list[object]:
    return list(integrity(None, None, stores, quiet).faults)


def test_minutes_of_running_sessions_go_too(home: Stores) -> None:
    """The night's own minutes of the same sessions stay, and a later minute of today finds its earlier ones."""
    days = [*DAYS[:2], DAYS[-1]]
    rows = pl.DataFrame({"symbol": ["600000.SH"], "slot": pl.Series([1], dtype=pl.Int16), "close": [10.0]})
    for day in days:
        at = cut(day, "10:30", CN, CN.default_view)
        known_at = at.moment + timedelta(minutes=1)
        publish_minute("intraday_bars", rows.with_columns(event_timestamp=pl.lit(at.moment)), at, known_at, home)
    before, stores = files(home), keeping(home, "intraday_bars=1")
    assert planned(stores) == {"intraday_bars": ("removable", None)}
    assert retention.apply(retention.plan(stores, NOW), WORDS, stores, quiet) == 2
    assert files(home) == before - {f"intraday_bars/session={day}/part-0.parquet" for day in days[:2]}
    assert faults(home) == []


# --- removal ----------------------------------------------------------------------------------------------------------
def test_old_minutes_go_and_the_home_stays_sound(home: Stores) -> None:
    before = files(home)
    excesses = retention.plan(home, NOW)
    assert retention.refusal(excesses) is None
    assert retention.apply(excesses, WORDS, home, quiet) == len(DAYS) - KEEP
    gone = {f"minute_bars/session={day}/part-0.parquet" for day in DAYS if day < BEFORE}
    assert files(home) == before - gone
    assert not list((home.lake.root / "minute_bars").glob(f"session={DAYS[0]}"))
    assert home.sessions("minute_bars") == stored_sessions("minute_bars", home.ledger) == DAYS[-KEEP:]
    assert faults(home) == []
    rows = home.ledger.query('SELECT kind, subject, reason, "by" FROM fpm.overrides')
    assert rows == [("retention", f"minute_bars before {BEFORE}", "the disk is small", "olga")]
    assert retired(home.ledger) == {"minute_bars": BEFORE}
    again = retention.plan(home, NOW)
    assert [own.state for own in again] == ["nothing"]
    assert retention.apply(again, WORDS, home, quiet) == 0
    assert len(home.ledger.query("SELECT FROM fpm.overrides")) == 1


def test_what_was_delivered_again_stays(home: Stores) -> None:
    retention.apply(retention.plan(home, NOW), WORDS, home, quiet)
    fill(DAYS[0], home, 11.0)
    assert retention.apply([], WORDS, home, quiet) == 0
    assert DAYS[0] in home.sessions("minute_bars") and faults(home) == []


@pytest.mark.parametrize("point", ["retired:1", "unlinked:1", "unlinked:9"])
def test_a_killed_removal_is_finished_by_the_next(
    point: str, home: Stores, fpm_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    assert home.settings.database_url is not None
    variables = {
        "FPM_HOME": str(home.settings.home),
        "FPM_DATABASE_URL": home.settings.database_url.get_secret_value(),
        "FPM_RETENTION": f"minute_bars={KEEP}",
        "FPM_CORRECTIONS_BACK": str(BACK),
    }
    words = ("retention", "--apply", "--reason", "small disk", "--by", "olga", "--json")
    killed = fpm_command(*words, FPM_FAULT=point, **variables)
    assert killed.returncode == -9
    left = len([name for name in files(home) if name.startswith("minute_bars/")])
    assert left > KEEP
    finished = fpm_command(*words, **variables)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["removed files"] == left - KEEP
    assert home.sessions("minute_bars") == DAYS[-KEEP:] and faults(home) == []


# --- refusals ---------------------------------------------------------------------------------------------------------
def test_the_look_back_of_corrections_is_kept(home: Stores) -> None:
    assert planned(home)["minute_bars"] == ("removable", None)
    state, why = planned(keeping(home, corrections_back=KEEP))["minute_bars"]
    assert state == "needed" and why is not None and "FPM_CORRECTIONS_BACK=30" in why


def test_the_night_in_force_is_kept(home: Stores) -> None:
    """The tiny preset's features read earlier sessions: as many as the look-back of the oldest night says."""
    states = {keep: planned(keeping(home, f"minute_bars={keep}"))["minute_bars"][0] for keep in range(1, KEEP)}
    first = min(keep for keep, state in states.items() if state == "removable")
    assert first > BACK and all(state == "needed" for keep, state in states.items() if keep < first)
    own = {need.since for need in retention.needs(home, NOW) if need.table == "minute_bars"}
    assert min(own) == DAYS[-first]


def test_features_that_the_next_training_reads_are_kept(home: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENCODERS, "tiny", replace(ENCODERS["tiny"], sessions=20))
    both = f"minute_bars={KEEP}, minute_features={KEEP}"
    state, why = planned(keeping(home, both))["minute_features"]
    assert state == "needed" and why is not None and "FPM_TRAIN_WINDOW=expanding" in why
    sliding = keeping(home, both, train_window="sliding")
    count = reach(sliding.settings)
    assert count is not None and KEEP < count < len(DAYS)
    assert planned(sliding)["minute_features"][0] == "needed"
    wide = keeping(home, f"minute_features={count}", train_window="sliding")
    assert planned(wide)["minute_features"] == ("removable", None)
    retention.apply(retention.plan(wide, NOW), WORDS, wide, quiet)
    through = DAYS[-2]  # one session less than a training read
    fold = Fold((), (), (), (), (DAYS[-1],), through, through)
    with pytest.raises(UsageError, match="FPM-RET-002"):
        require_history([fold], wide)
    require_history([replace(fold, scorer_through=DAYS[-1])], wide)


def test_a_passport_keeps_what_it_vouches_for(home: Stores) -> None:
    path = home.settings.reports / "passport.json"
    path.parent.mkdir()
    path.write_bytes(passport.seal({"partitions": {f"minute_bars/session={DAYS[0]}/part-0.parquet": "0" * 64}}))
    assert planned(home)["minute_bars"] == ("needed", f"since {DAYS[0]} by the passport reports/passport.json")
    excesses = retention.plan(home, NOW)
    assert "FPM-RET-001" in str(retention.refusal(excesses))
    assert retention.apply(excesses, WORDS, home, quiet) == 0
    assert home.sessions("minute_bars") == DAYS


def test_minutes_without_features_are_kept(home: Stores) -> None:
    day = sessions_between(CN, date(2024, 12, 31), date(2024, 12, 31))[0]
    key = pl.DataFrame({"symbol": ["600000.SH"], "slot": [0]}, schema={"symbol": pl.String, "slot": pl.Int16})
    publish_frames("bars", day, {"minute_bars": key.with_columns(close=pl.lit(1.0))}, home)
    state, why = planned(home)["minute_bars"]
    assert state == "needed" and why is not None and "not computed yet" in why


def test_what_is_needed_of_one_table_stops_no_other(home: Stores) -> None:
    both = keeping(home, f"minute_features={KEEP}, minute_bars={KEEP}")
    excesses = retention.plan(both, NOW)
    assert retention.apply(excesses, WORDS, both, quiet) == len(DAYS) - KEEP
    assert "minute_features" in str(retention.refusal(excesses)) and both.sessions("minute_features") == DAYS


# --- what rests on it -------------------------------------------------------------------------------------------------
def job(price: float) -> SimpleNamespace:
    """A job that reads four sessions of minutes and writes what it was told."""

    def run(session: date, stores: Stores) -> None:
        stores.write("labels", session, pl.DataFrame({"symbol": ["600000.SH"], "label": [price]}))

    return SimpleNamespace(
        NAME="labels", READS={"minute_bars": Window(back=3), "daily_bars": Window()}, WRITES=("labels",), run=run
    )


def test_what_rests_on_removed_sessions_stands(home: Stores) -> None:
    resting, free = DAYS[-KEEP + 2], DAYS[-KEEP + 3]
    for day in (DAYS[5], resting, free):
        run_job(job(1.0), day, home)
    retention.apply(retention.plan(home, NOW), WORDS, home, quiet)
    correction = pl.DataFrame({"symbol": ["600000.SH"], "close": [99.0]})
    for day in (DAYS[5], resting, free):
        publish_frames("daily", day, {"daily_bars": correction}, home)
    outcomes = {day: run_job(job(2.0), day, home).status for day in (DAYS[5], resting, free)}
    assert outcomes == {DAYS[5]: "unchanged", resting: "unchanged", free: "published"}


def test_a_backfill_does_not_bring_removed_results_back(home: Stores) -> None:
    run = SimpleNamespace(
        NAME="minute_features",
        READS={"minute_bars": Window()},
        WRITES=("minute_features",),
        run=lambda *_: pytest.fail("it was computed again"),
    )
    wide = keeping(home, "minute_features=50", train_window="sliding")
    excesses = [replace(own, need=None) for own in retention.plan(wide, NOW)]
    retention.apply(excesses, WORDS, wide, quiet)
    assert backfill(run, DAYS[0], DAYS[-51], wide, quiet) == []


# --- the command ------------------------------------------------------------------------------------------------------
def test_the_command_plans_by_default_and_removes_when_told(
    home: Stores, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "FPM-CFG-073" in command(home, "retention").errors
    monkeypatch.setenv("FPM_RETENTION", "scores=5")
    assert "FPM_RETENTION" in command(home, "retention").errors
    monkeypatch.setenv("FPM_RETENTION", f"minute_bars={KEEP}")
    monkeypatch.setenv("FPM_CORRECTIONS_BACK", str(BACK))
    (row,) = json.loads(command(home, "retention", "--json").output)
    assert (row["state"], row["before"], row["sessions"]) == ("removable", str(BEFORE), len(DAYS) - KEEP)
    assert row["bytes"] > 0 and home.sessions("minute_bars") == DAYS
    assert command(home, "retention", "--apply").code == 2
    answer = command(home, "retention", "--apply", "--reason", "small disk", "--json")
    assert answer.code == 0 and json.loads(answer.output)["removed files"] == len(DAYS) - KEEP
    monkeypatch.setenv("FPM_CORRECTIONS_BACK", "200")
    monkeypatch.setenv("FPM_RETENTION", "minute_bars=5")
    answer = command(home, "retention", "--json")
    assert answer.code != 0 and "FPM-RET-001" in answer.errors and json.loads(answer.output)[0]["state"] == "needed"
