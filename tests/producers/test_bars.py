"""Ingest into a real lake and ledger: first copies, corrections, resumption, and a home's decisions."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fpm.errors import UsageError
from fpm.exchange import simulate
from fpm.ingest.ingest_report import IngestReport
from fpm.sessions import close, cut_off, market
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.settings import Settings
from producers.bars import WRITES, Arrival, ingest
from producers.decisions import profile_of
from tests.tape import FIRST, tape, write

NEXT = date(2026, 1, 6)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
CN = market("cn")


def take(path: Path, stores: Stores, known_at: datetime = NOW) -> IngestReport:
    return ingest([path], Arrival(known_at, NOW), stores, lambda done, total, item: None)


def doubled(frame: pl.DataFrame) -> pl.DataFrame:
    """Twice the volume and amount: a correction that is consistent in itself."""
    return frame.with_columns(pl.col("volume", "amount") * 2)


def volume(stores: Stores, session: date, known_at: datetime | None, symbol: str = "600000.SH") -> float:
    rows = stores.as_of(known_at).read("minute_bars", session, columns=("symbol", "volume"))
    return float(rows.filter(pl.col("symbol") == symbol)["volume"].sum())


@pytest.fixture
def us_stores(settings: Settings) -> Iterator[Stores]:
    stores = open_stores(settings.model_copy(update={"market": "us"}))
    yield stores
    stores.ledger.close()


def test_first_copy_is_known_from_the_cut_off(tmp_path: Path, stores: Stores) -> None:
    take(write(tape("cn"), tmp_path / "bars.parquet"), stores)
    minutes, daily = stores.read("minute_bars", FIRST), stores.read("daily_bars", FIRST)
    for frame in (minutes, daily):
        assert frame["created_timestamp"].unique().to_list() == [cut_off(CN, FIRST)]
    assert daily["event_timestamp"].unique().to_list() == [close(CN, FIRST)]
    one = minutes.filter(pl.col("symbol") == "600000.SH")
    ends = dict(one.select("slot", "event_timestamp").iter_rows())
    assert ends[0] == datetime(2026, 1, 5, 1, 25, tzinfo=UTC)
    assert ends[1] == datetime(2026, 1, 5, 1, 31, tzinfo=UTC)
    assert ends[241] == datetime(2026, 1, 5, 7, 0, tzinfo=UTC)


def test_a_correction_is_added_and_the_past_remembers(tmp_path: Path, stores: Stores) -> None:
    take(write(tape("cn"), tmp_path / "bars.parquet"), stores)
    original, arrived = volume(stores, FIRST, None), datetime(2026, 1, 8, 9, tzinfo=UTC)
    again = doubled(tape("cn").filter(pl.col("symbol") == "600000.SH"))
    report = take(write(again, tmp_path / "corrections" / "bars.parquet"), stores, arrived)
    assert (report.changed, report.unchanged) == (1, 0)
    assert volume(stores, FIRST, arrived - timedelta(seconds=1)) == original
    assert volume(stores, FIRST, arrived) == 2 * original
    daily = stores.read("daily_bars", FIRST)
    revised = dict(daily.select("symbol", "created_timestamp").iter_rows())
    assert revised == {"600000.SH": arrived, "600519.SH": cut_off(CN, FIRST), "000001.SZ": cut_off(CN, FIRST)}
    assert daily.filter(pl.col("symbol") == "600000.SH")["volume"].to_list() == [2 * original]


def test_a_correction_of_a_few_minutes_is_no_hole(tmp_path: Path, stores: Stores) -> None:
    take(write(tape("cn"), tmp_path / "bars.parquet"), stores)
    report = take(write(doubled(tape("cn")[100:104]), tmp_path / "few.parquet"), stores)
    assert (report.rows_out, dict(report.quarantined)) == (4, {})
    assert stores.read("minute_bars", FIRST).height == 3 * 241


def test_a_file_ingested_before_is_skipped_even_after_its_correction(tmp_path: Path, stores: Stores) -> None:
    first = write(tape("cn"), tmp_path / "bars.parquet")
    take(first, stores)
    original = volume(stores, FIRST, None)
    take(write(doubled(tape("cn")), tmp_path / "again.parquet"), stores)
    report = take(first, stores)
    assert report.to_dict()["taken_before"] == 1
    assert volume(stores, FIRST, None) == 2 * original


def test_a_lost_partition_is_ingested_again(tmp_path: Path, stores: Stores) -> None:
    path = write(tape("cn"), tmp_path / "bars.parquet")
    take(path, stores)
    before = stores.ledger.current(WRITES)
    for file in stores.lake.root.rglob("*.parquet"):
        file.unlink()
    report = take(path, stores)
    assert report.changed == 1
    assert stores.ledger.current(WRITES) == before


def test_previous_close_comes_from_the_session_before(tmp_path: Path, stores: Stores) -> None:
    write(tape("cn"), tmp_path / "bars" / "one.parquet")
    write(tape("cn", NEXT), tmp_path / "bars" / "two.parquet")
    take(tmp_path / "bars", stores)
    closes = dict(stores.read("daily_bars", FIRST).select("symbol", "close").iter_rows())
    assert dict(stores.read("daily_bars", NEXT).select("symbol", "pre_close").iter_rows()) == closes
    assert stores.read("daily_bars", FIRST)["pre_close"].null_count() == 3


def test_files_by_symbol_make_whole_sessions(tmp_path: Path, stores: Stores) -> None:
    both = pl.concat([tape("cn"), tape("cn", NEXT)])
    for symbol in both["symbol"].unique():
        write(both.filter(pl.col("symbol") == symbol), tmp_path / "bars" / f"{symbol}.parquet")
    report = take(tmp_path / "bars", stores)
    assert (report.changed, len(report.symbols), report.rows_out) == (2, 3, both.height)
    assert stores.read("minute_bars", NEXT)["symbol"].n_unique() == 3


def test_us_bars_without_amount(tmp_path: Path, us_stores: Stores) -> None:
    thin = tape("us").drop("amount").with_row_index().filter(pl.col("index") % 10 != 3).drop("index")
    report = take(write(thin, tmp_path / "bars.parquet"), us_stores)
    assert (report.profile, report.derived, report.rows_out) == ("bar_32", {"amount = close x volume"}, thin.height)
    assert us_stores.read("daily_bars", FIRST)["symbol"].to_list() == ["AAPL.US", "GE.US", "IBM.US"]


@pytest.mark.parametrize(
    ("flows", "profile"),
    [
        (set(), "bar_32"),
        ({"trades", "buy_volume", "buy_amount"}, "bar_32"),
        ({"buy_volume", "buy_amount", "sell_volume", "sell_amount"}, "bar_flow_32"),
    ],
)
def test_profile_follows_the_columns(flows: set[str], profile: str) -> None:
    assert profile_of(flows) == profile


def test_a_later_delivery_without_flows_reports_them_as_unavailable(tmp_path: Path, stores: Stores) -> None:
    half = pl.col("volume", "amount") * 0.5
    flows = tape("cn").with_columns(half.name.prefix("buy_")).with_columns(half.name.prefix("sell_"))
    assert take(write(flows, tmp_path / "one.parquet"), stores).profile == "bar_flow_32"
    report = take(write(tape("cn", NEXT), tmp_path / "two.parquet"), stores)
    assert report.profile == "bar_flow_32"
    assert {"buy_amount", "sell_volume"} <= report.unavailable


def test_the_whole_synthetic_exchange_is_ingested(tmp_path: Path, stores: Stores) -> None:
    folder = tmp_path / "exchange"
    simulate.write(replace(simulate.PRESETS["tiny"], sessions=17), folder)
    report = take(folder, stores)
    counts = report.to_dict()
    assert (counts["profile"], counts["sessions"], counts["refused"], counts["quarantined"]) == ("l2_32", 17, [], {})
    session = stores.sessions("minute_bars")[5]
    delivered = pl.read_parquet(folder / "daily_bars.parquet").filter(pl.col("session") == session).sort("symbol")
    stored = stores.read("daily_bars", session).select(delivered.columns)
    assert stored.equals(delivered.select(stored.columns))
    members = pl.read_parquet(folder / "index_members.parquet")
    assert stores.sessions("index_members") == members["session"].unique().sort().to_list()


def test_the_synthetic_exchanges_correction_completes_the_session(tmp_path: Path, stores: Stores) -> None:
    """Ten minutes are late: the correction has them, and is not known before it arrives."""
    folder = tmp_path / "exchange"
    simulate.write(replace(simulate.PRESETS["tiny"], sessions=8), folder)
    report = take(folder, stores)
    assert report.missing_minutes == 30
    (late,) = (folder / "corrections" / "minute_bars").glob("*.parquet")
    session = date.fromisoformat(late.stem)
    first = stores.read("minute_bars", session).height
    arrived = cut_off(CN, session) + timedelta(days=2)
    daily = stores.ledger.current(["daily_bars"])
    assert take(folder / "corrections", stores, arrived).changed == 1
    assert stores.read("minute_bars", session).height == first + 30
    assert stores.as_of(arrived - timedelta(seconds=1)).read("minute_bars", session).height == first
    assert stores.ledger.current(["daily_bars"]) == daily  # the vendor's own: minutes do not change them


def test_a_daily_table_is_refused_where_daily_bars_were_derived(tmp_path: Path, stores: Stores) -> None:
    take(write(tape("cn"), tmp_path / "bars.parquet"), stores)
    daily = tape("cn").group_by("symbol").first().drop("minute", "amount").with_columns(session=pl.lit(NEXT))
    with pytest.raises(UsageError, match="FPM-CFG-010"):
        take(write(daily, tmp_path / "more" / "daily_bars.parquet"), stores)


def test_a_path_without_tables_is_a_usage_error(tmp_path: Path, stores: Stores) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        take(tmp_path / "nowhere", stores)
    with pytest.raises(UsageError, match="holds no"):
        take(tmp_path, stores)
