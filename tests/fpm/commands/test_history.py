"""The history of a home from its bars alone: every stage in order, and all that is missing for it."""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from pydantic import SecretStr

from fpm.commands import history, training
from fpm.commands.jobs import sessions_with_bars
from fpm.errors import TryLater
from fpm.exchange import simulate
from fpm.sessions import cut_off
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import Server
from fpm.store.retrieval import features
from fpm.store.settings import Settings
from producers import bars
from tests.databases import fresh_database
from tests.small_chain import compute, quiet, silent

Fpm = Callable[..., subprocess.CompletedProcess[str]]
SESSIONS = 44
STAGES = ["session_totals", "minute_features", "daily_factors", "labels"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    simulate.write(replace(simulate.PRESETS["tiny"], sessions=SESSIONS, symbols=10, seed=5, spoiled_every=0), folder)
    return folder


@pytest.fixture(scope="module")
def days(source: Path) -> list[date]:
    return sorted(date.fromisoformat(path.stem) for path in (source / "minute_bars").glob("*.parquet"))


def opened(home: Path, url: str) -> Stores:
    return open_stores(Settings(home=home, market="cn", preset="tiny", database_url=SecretStr(url)))


def ingest(path: Path, stores: Stores, last: date) -> None:
    arrival = cut_off(stores.market, last)
    bars.ingest([path], bars.Arrival(known_at=arrival, now=arrival), stores, quiet)


@pytest.fixture(scope="module")
def by_hand(
    source: Path, days: list[date], tmp_path_factory: pytest.TempPathFactory, postgres_server: Server
) -> Iterator[Stores]:
    """What the five commands of old leave, each job by its name."""
    with fresh_database(postgres_server) as url:
        stores = opened(tmp_path_factory.mktemp("by_hand"), url)
        features.apply(stores.settings)
        ingest(source, stores, days[-1])
        compute(stores, days[0], days[-6], days[-1])
        yield stores
        stores.ledger.close()


def hashes(stores: Stores, *tables: str) -> dict[str, str]:
    return {path: file.sha256 for path, file in stores.ledger.current(tables).items()}


def test_the_stages_are_the_jobs_without_a_model() -> None:
    assert history.stages() == STAGES


def test_one_walk_forward_computes_all_that_comes_before_it(
    source: Path, days: list[date], by_hand: Stores, tmp_path: Path, database_url: str, fpm_command: Fpm
) -> None:
    """Two commands from files to scores; every table has the bytes that five commands leave."""
    where = {"FPM_HOME": str(tmp_path), "FPM_DATABASE_URL": database_url, "FPM_PRESET": "tiny"}
    assert fpm_command("ingest", str(source), "--market", "cn", **where).returncode == 0
    span = (str(days[-6]), str(days[-1]))
    plan = fpm_command("walk-forward", *span, "--plan", "--json", **where)
    stores = opened(tmp_path, database_url)
    assert plan.returncode == 0 and stores.sessions("session_totals") == [], plan.stderr
    answer = fpm_command("walk-forward", *span, "--json", timeout=600, **where)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == json.loads(plan.stdout)
    titles = list(dict.fromkeys(line[:34].strip() for line in answer.stderr.splitlines()))
    fold = [f"fold 1/1: {part}" for part in ("encoder", "fingerprints", "scorer", "scores", "intervals")]
    assert titles == [*(name.replace("_", " ") for name in STAGES), *fold]
    tables = ("minute_bars", "daily_bars", *STAGES, "fingerprints", "scores")
    assert hashes(stores, *tables) == hashes(by_hand, *tables)
    assert len(stores.sessions("scores")) == 6
    stores.ledger.close()


def test_all_stages_of_a_span_and_nothing_twice(by_hand: Stores, days: list[date]) -> None:
    rows = history.backfill(history.stages(), (days[0], days[-1]), by_hand, silent)
    assert [(row["job"], row["planned"], row["unchanged"]) for row in rows] == [
        (name, SESSIONS, SESSIONS - 6 * (name == "labels")) for name in STAGES
    ]
    assert rows[-1]["waiting"] == 6 and "daily_bars" in rows[-1]["waits_for"]


def test_a_home_of_daily_bars_backfills_what_they_allow(source: Path, days: list[date], stores: Stores) -> None:
    ingest(source / "daily_bars.parquet", stores, days[-1])
    daily = pl.read_parquet(source / "daily_bars.parquet")["session"].unique().sort().to_list()
    assert sessions_with_bars(stores, days[0], days[-1]) == daily
    rows = {row["job"]: row for row in history.backfill(history.stages(), (days[0], days[-1]), stores, silent)}
    for name in ("session_totals", "minute_features"):
        assert rows[name] == {"job": name, "planned": 0, "waits_for": "no session has minute_bars"}
    assert rows["daily_factors"]["published"] == len(daily)
    assert rows["labels"]["published"] == len(daily) - 6
    assert not [row for row in stores.ledger.rows() if row["job"] in ("session_totals", "minute_features")]


def test_an_empty_home_is_told_all_that_is_missing(stores: Stores, days: list[date]) -> None:
    with pytest.raises(TryLater, match="FPM-JOB-073") as error:
        history.backfill(["scores"], (days[-8], days[-1]), stores, silent)
    for thing in (
        "minute_bars",
        "daily_bars",
        "minute_features",
        "fingerprints",
        "scorer",
        "encoder",
    ):
        assert thing in error.value.wrong, thing
    assert error.value.todo == f"fpm ingest PATH, then fpm walk-forward {days[-8]} {days[-1]}"


def test_a_home_with_bars_is_told_what_else_is_missing(source: Path, days: list[date], stores: Stores) -> None:
    ingest(source, stores, days[-1])
    span = (days[-8], days[-7])
    with pytest.raises(TryLater) as error:
        history.backfill(["portfolio"], span, stores, silent)
    assert "minute_bars" not in error.value.wrong and "scores" in error.value.wrong
    both = f"{days[-8]} {days[-7]}"
    assert error.value.todo == f"fpm walk-forward {both}, then fpm backfill factor_returns {both}"
    missing = history.nothing_computed(["minute_features"], span, stores)
    assert missing.todo == "see what each session waits for: fpm status SESSION"  # only an earlier table was absent
    with pytest.raises(TryLater) as late:
        history.backfill(["labels"], (days[-3], days[-1]), stores, silent)
    assert "daily_bars of" in late.value.wrong and late.value.todo == "fpm ingest PATH"


def test_a_short_history_is_named_before_anything_is_computed(
    source: Path, days: list[date], tmp_path: Path, database_url: str, fpm_command: Fpm
) -> None:
    where = {"FPM_HOME": str(tmp_path), "FPM_DATABASE_URL": database_url, "FPM_PRESET": "tiny"}
    empty = fpm_command("walk-forward", str(days[5]), str(days[6]), **where)
    assert empty.returncode == 75 and "fpm ingest PATH" in empty.stderr, empty.stderr
    one = fpm_command("run", "minute_features", str(days[5]), **where)
    assert one.returncode == 75 and "fpm ingest PATH" in one.stderr and "Traceback" not in one.stderr
    stores = opened(tmp_path, database_url)
    ingest(source, stores, days[-1])
    short = fpm_command("walk-forward", str(days[5]), str(days[6]), **where)
    assert short.returncode == 2 and "FPM-WF-002" in short.stderr
    assert stores.sessions("session_totals") == []
    stores.ledger.close()


def test_sessions_with_features_are_those_that_will_have_them(by_hand: Stores, days: list[date]) -> None:
    assert history.with_features(by_hand) == days
    assert training.plan(by_hand, days[-8], days[-1], None) == training.plan(
        by_hand, days[-8], days[-1], None, history.with_features(by_hand)
    )
