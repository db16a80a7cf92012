"""A daily table, an index or the table `symbols` that lost names: stopped with both numbers, or accepted by name."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from getpass import getuser
from pathlib import Path

import polars as pl
import pytest

from fpm.errors import InputRefused
from fpm.ingest.ingest_report import IngestReport
from fpm.store.ledger.stores import Stores
from producers.bars import Arrival, ingest
from producers.delivery_check import Home, check
from producers.shrinkage import Acceptance

MONDAY, TUESDAY, WEDNESDAY = date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 7)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAMES = [f"60{number:04d}.SH" for number in range(40)]
LATE = "2026-06-01T00:00:00+00:00"


def silent(done: int, total: int, item: object) -> None:
    """No progress is shown."""


def daily(day: date, names: Sequence[str], **columns: pl.Expr) -> pl.DataFrame:
    prices = dict.fromkeys(("open", "high", "low", "close"), 10.0)
    rows = pl.DataFrame({"symbol": list(names), "session": day, **prices, "volume": 1000.0, "amount": 10_000.0})
    return rows.with_columns(**columns)


def index(day: date, names: Sequence[str], name: str = "CSI300") -> pl.DataFrame:
    return pl.DataFrame({"index": name, "session": day, "symbol": list(names), "weight": 1 / len(names)})


def companies(names: Sequence[str]) -> pl.DataFrame:
    last = pl.Series([None] * len(names), dtype=pl.Date)
    return pl.DataFrame({"symbol": names, "first": date(2020, 1, 2), "last": last, "identity": names})


def take(folder: Path, stores: Stores, *, acceptance: Acceptance | None = None, **tables: pl.DataFrame) -> IngestReport:
    folder.mkdir()
    for name, rows in tables.items():
        rows.write_parquet(folder / f"{name}.parquet")
    return ingest([folder], Arrival(NOW, NOW, acceptance=acceptance), stores, silent)


@pytest.fixture
def known(tmp_path: Path, stores: Stores) -> Stores:
    report = take(
        tmp_path / "known",
        stores,
        daily_bars=daily(MONDAY, NAMES),
        index_members=pl.concat([index(MONDAY, NAMES[:20]), index(MONDAY, NAMES, "CSI500")]),
        symbols=companies(NAMES),
    )
    assert not report.refused and not report.accepted, "nothing was known before"
    return stores


LOSSES = {
    "daily_bars": (daily(TUESDAY, NAMES[:36]), "daily_bars at 2026-01-06: 40 at 2026-01-05 -> 36, 10% less"),
    "index_members": (index(TUESDAY, NAMES[:18]), "CSI300 at 2026-01-06: 20 at 2026-01-05 -> 18, 10% less"),
    "symbols": (companies(NAMES[:30]), "symbols: 40 at 2020-01-02 -> 30, 25% less"),
}


@pytest.mark.parametrize("table", LOSSES)
def test_what_lost_more_than_a_twentieth_is_stopped_with_both_numbers(
    table: str, tmp_path: Path, known: Stores
) -> None:
    rows, words = LOSSES[table]
    before = known.ledger.current(["daily_bars", "index_members", "symbols"])
    report = take(tmp_path / "next", known, **{table: rows})
    (refused,) = report.refused
    assert (refused["file"], refused["code"]) == (f"{table}.parquet", "FPM-IN-184")
    assert refused["wrong"].endswith(f"universe shrinks: {words}") and "--accept-universe" in refused["todo"]
    assert known.ledger.current(["daily_bars", "index_members", "symbols"]) == before
    assert list((known.settings.quarantine).rglob("*")), "the refusal is kept"
    with pytest.raises(InputRefused, match="FPM-IN-184"):
        report.require_content()
    answer = check([tmp_path / "next"], Arrival(NOW, NOW), Home(known.market, known), silent)
    assert [(file["goes_in"], file["code"]) for file in answer.files] == [("refused", "FPM-IN-184")]


@pytest.mark.parametrize("table", LOSSES)
def test_somebodys_word_lets_it_in_and_is_recorded(table: str, tmp_path: Path, known: Stores) -> None:
    rows, words = LOSSES[table]
    report = take(tmp_path / "next", known, acceptance=Acceptance("ada", NOW), **{table: rows})
    report.require_content()
    said = f"universe accepted by ada at {LATE}: {words}"
    assert not report.refused and report.to_dict()["accepted"] == [said]
    notes = known.ledger.query("SELECT note FROM fpm.ledger WHERE note LIKE '%%accepted%%'")
    ((note,),) = notes
    assert note.split("; ")[-1] == said


def test_the_other_files_of_the_delivery_go_in(tmp_path: Path, known: Stores) -> None:
    members = index(TUESDAY, NAMES[:20])
    report = take(tmp_path / "next", known, daily_bars=daily(TUESDAY, NAMES[:30]), index_members=members)
    assert [file["file"] for file in report.refused] == ["daily_bars.parquet"]
    assert TUESDAY in known.sessions("index_members") and TUESDAY not in known.sessions("daily_bars")
    with pytest.raises(InputRefused, match=r"FPM-IN-184 .* the other files of the delivery were"):
        report.require_content()


def test_a_review_replaces_members_and_loses_none(tmp_path: Path, known: Stores) -> None:
    assert not take(tmp_path / "next", known, index_members=index(TUESDAY, NAMES[15:35])).refused


def test_a_twentieth_a_correction_and_a_delisting_are_no_loss(tmp_path: Path, known: Stores) -> None:
    assert not take(tmp_path / "twentieth", known, daily_bars=daily(TUESDAY, NAMES[:38])).refused
    few = daily(MONDAY, NAMES[:3]).with_columns(volume=2000.0, amount=20_000.0)
    assert not take(tmp_path / "correction", known, daily_bars=few).refused
    gone = pl.when(pl.col("symbol").is_in(NAMES[:10])).then(pl.lit(WEDNESDAY))
    dated = daily(WEDNESDAY, NAMES, delist_date=gone)
    assert not take(tmp_path / "dated", known, daily_bars=dated).refused
    after = daily(date(2026, 1, 8), NAMES[10:])
    assert not take(tmp_path / "after", known, daily_bars=after).refused


def test_one_universe_in_two_files_is_whole_and_alone_it_is_not(tmp_path: Path, known: Stores) -> None:
    halves = {"daily_one": daily(TUESDAY, NAMES[:20]), "daily_two": daily(TUESDAY, NAMES[20:])}
    assert not take(tmp_path / "both", known, **halves).refused
    assert take(tmp_path / "one", known, daily_one=daily(WEDNESDAY, NAMES[:20])).refused


def test_a_market_that_starts_small_and_history_before_it_are_not_stopped(tmp_path: Path, known: Stores) -> None:
    before = daily(date(2025, 12, 31), NAMES[:5])
    assert not take(tmp_path / "history", known, daily_bars=before).refused
    grown = pl.concat([daily(TUESDAY, NAMES), daily(WEDNESDAY, [*NAMES, "600900.SH"])])
    assert not take(tmp_path / "grown", known, daily_bars=grown).refused


def test_the_command_stops_and_goes_on(
    tmp_path: Path, database_url: str, fpm_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    where = {"FPM_HOME": str(tmp_path / "home"), "FPM_DATABASE_URL": database_url}
    path = tmp_path / "daily_bars.parquet"
    daily(MONDAY, NAMES).write_parquet(path)
    first = fpm_command("ingest", str(path), "--market", "cn", "--preset", "tiny", "--json", **where)
    assert first.returncode == 0 and "accepted" not in json.loads(first.stdout), first.stderr
    daily(TUESDAY, NAMES[:30]).write_parquet(path)
    second = fpm_command("ingest", str(path), "--json", **where)
    assert second.returncode == 1 and "40 at 2026-01-05 -> 30" in second.stderr
    third = fpm_command("ingest", "--accept-universe", str(path), "--json", **where)
    assert third.returncode == 0, third.stderr
    report = json.loads(third.stdout)
    (said,) = report["accepted"]
    assert said.startswith(f"universe accepted by {getuser()} at ")
    (absent,) = report["universe"]
    assert (absent["session"], absent["code"], absent["count"]) == (str(TUESDAY), "FPM-IN-180", 10)
