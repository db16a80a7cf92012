"""A vendor's daily table and the minutes of the same sessions, through the ingest: converted, or set aside by name."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from fpm.ingest.ingest_report import IngestReport
from fpm.store.ledger.stores import Stores
from fpm.universe import Finding
from producers.bars import Arrival, ingest
from tests.tape import FIRST, SYMBOLS, tape, write

NEXT = date(2026, 1, 6)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAMES = sorted(SYMBOLS["cn"])
BAD = "600000.SH"
ROWS = 241  # of a symbol-session


def take(path: Path, stores: Stores) -> IngestReport:
    report = ingest([path], Arrival(NOW, NOW), stores, lambda done, total, item: None)
    assert report.rows_in == report.rows_out + sum(report.quarantined.values()) + report.deduplicated
    for counts in report.reference.values():
        assert counts["rows_in"] == counts["rows_out"] + counts["quarantined"]
    return report


def table(*sessions: date) -> pl.DataFrame:
    """The daily table that agrees with the tape."""
    minutes = pl.concat([tape("cn", day).with_columns(session=pl.lit(day)) for day in sessions or (FIRST,)])
    return minutes.group_by("symbol", "session", maintain_order=True).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume", "amount").sum(),
    )


def of_one(symbol: str, **factors: float) -> pl.DataFrame:
    hit = pl.col("symbol") == symbol
    return table().with_columns(
        pl.when(hit).then(pl.col(name) * factor).otherwise(name).alias(name) for name, factor in factors.items()
    )


def deliver(folder: Path, daily: pl.DataFrame | None, *sessions: date) -> Path:
    for day in sessions or (FIRST,):
        write(tape("cn", day), folder / "minute_bars" / f"{day}.parquet")
    if daily is not None:
        write(daily, folder / "daily_bars.parquet")
    return folder


def stored(stores: Stores, name: str = "daily_bars", day: date = FIRST) -> list[str]:
    return sorted(set(stores.read(name, day)["symbol"].to_list())) if day in stores.sessions(name) else []


def reasons(stores: Stores, name: str, day: date = FIRST) -> pl.DataFrame:
    files = sorted((stores.settings.quarantine / name / f"session={day}").glob("*.parquet"))
    return pl.concat([pl.read_parquet(file) for file in files], how="diagonal_relaxed")


@pytest.mark.parametrize(
    ("volume", "amount", "said"),
    [
        (100, 1000, ["daily_bars.parquet: volume in lots, amount in thousands: converted"]),
        (100, 1, ["daily_bars.parquet: volume in lots, amount in currency: converted"]),
        (1, 1000, ["daily_bars.parquet: volume in shares, amount in thousands: converted"]),
        (1, 1, []),
        (
            1000,
            1000,  # agrees with itself: only the minutes show it
            [
                "daily_bars.parquet: volume x 1000 to agree with the minutes: converted",
                "daily_bars.parquet: amount x 1000 to agree with the minutes: converted",
            ],
        ),
    ],
)
def test_a_table_in_other_units_is_converted_and_named(
    volume: float, amount: float, said: list[str], tmp_path: Path, stores: Stores
) -> None:
    daily = table().with_columns(pl.col("volume") / volume, pl.col("amount") / amount)
    report = take(deliver(tmp_path, daily), stores)
    assert report.exceptions == said
    expected = table().sort("symbol").select("symbol", "volume", "amount")
    rows = stores.read("daily_bars", FIRST).sort("symbol").select("symbol", "volume", "amount")
    assert rows["volume"].to_list() == expected["volume"].to_list()
    assert rows["amount"].to_list() == pytest.approx(expected["amount"].to_list())
    assert not report.quarantined and not report.disagreements


def test_lots_without_amounts_are_seen_beside_the_minutes_and_hold_for_sessions_without_any(
    tmp_path: Path, stores: Stores
) -> None:
    daily = table(FIRST, NEXT).drop("amount").with_columns(pl.col("volume") / 100)
    report = take(deliver(tmp_path, daily, FIRST), stores)
    assert report.exceptions == ["daily_bars.parquet: volume x 100 to agree with the minutes: converted"]
    for day in (FIRST, NEXT):
        rows = stores.read("daily_bars", day).sort("symbol")
        assert rows["volume"].to_list() == table(day).sort("symbol")["volume"].to_list()


@pytest.mark.parametrize(
    ("factors", "column"),
    [
        (dict.fromkeys(("open", "high", "low", "close"), 0.5), "high"),
        ({"close": 1.006}, "close"),
        ({"volume": 100.0}, "volume"),
        ({"amount": 1000.0, "volume": 1000.0}, "volume"),
    ],
)
def test_one_symbol_that_disagrees_costs_its_day_and_its_minutes(
    factors: dict[str, float], column: str, tmp_path: Path, stores: Stores
) -> None:
    report = take(deliver(tmp_path, of_one(BAD, **factors)), stores)
    others = [name for name in NAMES if name != BAD]
    assert stored(stores) == stored(stores, "minute_bars") == others
    assert report.quarantined == {"FPM-IN-148": ROWS}
    assert report.reference["daily_bars"] == {"rows_in": 3, "rows_out": 2, "quarantined": 1}
    (text,) = report.disagreements
    assert text.startswith(f"{FIRST} {BAD}: two sources disagree: daily {column}")
    for name, rows in (("daily_bars", 1), ("minute_bars", ROWS)):
        bad = reasons(stores, name)
        assert bad.height == rows and bad["symbol"].unique().to_list() == [BAD]
        assert bad["reason_code"].unique().to_list() == ["FPM-IN-148"]
        assert bad["reason"].unique().to_list() == [text.removeprefix(f"{FIRST} {BAD}: ")]
    assert reasons(stores, "daily_bars")["high"].item() == of_one(BAD, **factors).row(0, named=True)["high"]


def test_adjusted_prices_of_a_whole_table_leave_nothing(tmp_path: Path, stores: Stores) -> None:
    report = take(deliver(tmp_path, table().with_columns(pl.col("open", "high", "low", "close") * 0.5)), stores)
    assert (stored(stores), stored(stores, "minute_bars"), len(report.disagreements)) == ([], [], 3)
    assert not report.sessions
    again = take(tmp_path, stores)
    assert len(again.disagreements) == 3 and not again.skipped, "the same delivery says the same again"
    report = take(deliver(tmp_path, table()), stores)
    assert (stored(stores), stored(stores, "minute_bars"), report.disagreements) == (NAMES, NAMES, [])


def test_a_table_that_comes_alone_loses_its_row_and_the_stored_minutes_stay(tmp_path: Path, stores: Stores) -> None:
    take(deliver(tmp_path / "first", table()), stores)
    late = of_one(BAD, close=1.006, high=1.006, open=1.0).with_columns(pl.col("volume") / 100, pl.col("amount") / 1000)
    (tmp_path / "later").mkdir()
    report = take(write(late, tmp_path / "later" / "daily_bars.parquet").parent, stores)
    assert [text.split(":")[0] for text in report.disagreements] == [f"{FIRST} {BAD}"]
    assert report.reference["daily_bars"] == {"rows_in": 3, "rows_out": 2, "quarantined": 1}
    assert stored(stores, "minute_bars") == NAMES
    close = stores.read("daily_bars", FIRST).filter(pl.col("symbol") == BAD)["close"].item()
    assert close == table().filter(pl.col("symbol") == BAD)["close"].item(), "the first copy stays"


def test_minutes_that_come_later_are_compared_with_the_stored_table(tmp_path: Path, stores: Stores) -> None:
    take(deliver(tmp_path / "first", table(FIRST, NEXT), FIRST), stores)
    other = tape("cn", NEXT).with_columns(
        pl.when(pl.col("symbol") == BAD).then(pl.col("volume") * 100).otherwise("volume").alias("volume"),
        pl.when(pl.col("symbol") == BAD).then(pl.col("amount") * 100).otherwise("amount").alias("amount"),
    )
    report = take(write(other, tmp_path / "later.parquet"), stores)
    assert report.quarantined == {"FPM-IN-148": ROWS}
    assert stored(stores, "minute_bars", NEXT) == [name for name in NAMES if name != BAD]
    assert stored(stores, day=NEXT) == NAMES


def test_a_correction_of_a_few_minutes_is_compared_as_the_whole_day(tmp_path: Path, stores: Stores) -> None:
    take(deliver(tmp_path / "first", table()), stores)
    few = tape("cn")[100:104].with_columns(pl.col("volume", "amount") * 2)
    report = take(write(few, tmp_path / "few.parquet"), stores)
    assert (report.rows_out, report.disagreements) == (4, [])


def test_a_suspended_row_is_not_compared(tmp_path: Path, stores: Stores) -> None:
    daily = of_one(BAD, volume=0.0, amount=0.0)
    assert take(deliver(tmp_path, daily), stores).disagreements == []


# --- a universe that shrinks ------------------------------------------------------------------------------------
def absent(report: IngestReport) -> dict[date, tuple[str, ...]]:
    return {finding.session: finding.symbols for finding in report.universe if finding.code == "FPM-IN-180"}


def test_symbols_that_vanish_are_named_by_session(tmp_path: Path, stores: Stores) -> None:
    deliver(tmp_path, None, FIRST)
    write(tape("cn", NEXT).filter(pl.col("symbol") != BAD), tmp_path / "minute_bars" / f"{NEXT}.parquet")
    report = take(tmp_path, stores)
    assert absent(report) == {NEXT: (BAD,)}
    (line,) = report.to_dict()["universe"]
    assert (line["session"], line["code"], line["count"], line["symbols"]) == (str(NEXT), "FPM-IN-180", 1, [BAD])


def test_the_last_stored_session_counts_as_the_one_before(tmp_path: Path, stores: Stores) -> None:
    take(deliver(tmp_path / "first", None, FIRST), stores)
    few = tape("cn", date(2026, 1, 8)).filter(pl.col("symbol") == BAD)
    report = take(write(few, tmp_path / "later.parquet"), stores)
    assert absent(report) == {date(2026, 1, 8): ("000001.SZ", "600519.SH")}


@pytest.mark.parametrize("reason", ["suspended", "delisted"])
def test_suspended_and_delisted_symbols_are_not_missing(reason: str, tmp_path: Path, stores: Stores) -> None:
    daily = table(FIRST, NEXT)
    gone = (pl.col("symbol") == BAD) & (pl.col("session") == NEXT)
    if reason == "suspended":
        daily = daily.with_columns(
            pl.when(gone).then(0.0).otherwise(name).alias(name) for name in ("volume", "amount")
        ).with_columns(suspended=gone)
    else:
        date_of = pl.when(pl.col("symbol") == BAD).then(pl.lit(NEXT))
        daily = daily.with_columns(delist_date=date_of).filter(~gone)
    deliver(tmp_path, daily, FIRST)
    write(tape("cn", NEXT).filter(pl.col("symbol") != BAD), tmp_path / "minute_bars" / f"{NEXT}.parquet")
    assert absent(take(tmp_path, stores)) == {}


def test_a_universe_of_daily_rows_alone_is_watched_too(tmp_path: Path, stores: Stores) -> None:
    daily = table(FIRST, NEXT).filter((pl.col("symbol") != BAD) | (pl.col("session") == FIRST))
    report = take(write(daily, tmp_path / "daily_bars.parquet"), stores)
    assert absent(report) == {NEXT: (BAD,)}


def test_long_lists_are_capped_with_their_count() -> None:
    names = tuple(f"{number:06d}.SZ" for number in range(50))
    (shown,) = IngestReport(universe=[Finding(FIRST, "FPM-IN-180", "absent", names)]).to_dict()["universe"]
    assert (shown["count"], len(shown["symbols"]), shown["symbols"][-1]) == (50, 21, "and 30 more")
