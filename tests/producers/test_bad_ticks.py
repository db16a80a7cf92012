"""Bad ticks: refused or quarantined by code and counted; the bytes depend on the records alone."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fpm.errors import InputRefused, UsageError
from fpm.features.bars import grid
from fpm.sessions import previous_sessions
from fpm.store.jobs.staging import run_of
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.settings import Settings
from fpm.ticks.tape import TickRules
from producers import ticks
from producers.bars import Arrival
from tests.fpm.ticks.tiny_ticks import CN, DAY, SH, SZ, at, frame, trade
from tests.producers.small_ticks import NOW, bars, deliver, ingest, session_ticks


def quarantined(stores: Stores, table: str) -> pl.DataFrame:
    files = sorted((stores.settings.quarantine / table).rglob("*.parquet"))
    return pl.concat([pl.read_parquet(file) for file in files], how="diagonal_relaxed")


def whole() -> dict[str, pl.DataFrame]:
    return session_ticks(DAY, 0)


def with_rows(table: pl.DataFrame, stream: str, *rows: dict[str, Any]) -> pl.DataFrame:
    return pl.concat([table, frame(stream, rows)], how="vertical_relaxed")


def test_bad_records_go_to_quarantine_unchanged_and_the_rest_goes_on(tmp_path: Path, stores: Stores) -> None:
    tables = whole()
    bad = [
        trade("10:00:00", 10.0, -100, 2, 1, 614, side="B"),
        trade("10:00:00", 10.0, 100, 2, 1, 615, side="?"),
        trade("12:00:00", 10.0, 100, 2, 1, 616, side="B"),
        trade("10:00:00", 10.0, 100, 70_001, 70_002, 12, side="B"),  # another record has this number
        trade("10:00:10", 10.0, 700, 70_003, 70_004, 618, side="B"),  # its orders have no record: it stays
    ]
    trades = with_rows(tables["trades"], "trades", *bad)
    trades = pl.concat([trades, trades[5:6]])  # an exact copy
    report = ingest([deliver(tmp_path / "in", trades=trades, orders=tables["orders"])], stores)
    codes = {"FPM-IN-015": 2, "FPM-IN-022": 1, "FPM-IN-029": 1, "FPM-IN-140": 1}
    assert report.ticks["quarantined"] == codes
    assert report.ticks["records"]["deduplicated"] == 1
    assert report.ticks["unknown_orders"] == 1
    rows = quarantined(stores, "trades")
    assert dict(rows["reason_code"].value_counts().rows()) == codes
    assert rows.filter(pl.col("reason_code") == "FPM-IN-022")["volume"].to_list() == [-100]
    assert set(rows["source"]) == {"trades.parquet"}
    good = tables["trades"].filter(pl.col("seq") != 12)
    assert bars(stores, DAY, SH)["volume"].sum() == good["volume"].sum() + 700


def test_trades_that_are_not_the_exchanges_totals_do_not_enter(tmp_path: Path, stores: Stores) -> None:
    one, symbols = whole()["trades"], [SH, "600001.SH", "600002.SH"]
    trades = [one.with_columns(symbol=pl.lit(symbol), seq=pl.col("seq") * 3 + i) for i, symbol in enumerate(symbols)]
    volume, cents = one["volume"].sum(), int((one["volume"] * (one["price"] * 100).round()).sum())
    totals = pl.DataFrame(
        {
            "symbol": symbols,
            "session": [DAY] * 3,
            "volume": [volume, volume + 1, volume],
            "amount": [cents / 100, cents / 100, cents / 100 + 0.01],
            "trades": [one.height] * 3,
        }
    )
    report = ingest([deliver(tmp_path / "in", trades=pl.concat(trades), totals=totals)], stores)
    assert report.ticks["reconciled"] == {"equal": 1, "differs": 2}
    assert report.ticks["symbol_sessions"] == {"made": 1, "FPM-IN-142": 2}
    assert report.quarantined == {"FPM-IN-142": 2 * 242}
    assert stores.read("minute_bars", DAY)["symbol"].unique().to_list() == [SH]
    reasons = quarantined(stores, "minute_bars")["reason"].unique()
    assert any(f"volume {float(volume)}, the exchange's {float(volume + 1)}" in reason for reason in reasons)


@pytest.mark.parametrize(("lost", "enters"), [(0, True), (1, True), (3, False)])
def test_above_a_thousandth_of_missing_numbers_nothing_enters(
    tmp_path: Path, stores: Stores, lost: int, enters: bool
) -> None:
    one = whole()
    records = pl.concat([table.select("seq", pl.lit(name).alias("stream")) for name, table in one.items()])
    ranks = records.sort("seq").with_row_index("rank", 1).with_columns(pl.col("rank").cast(pl.Int64))
    tables = {
        name: table.join(ranks.filter(stream=name), on="seq").with_columns(seq="rank").select(table.columns)
        for name, table in one.items()
    }
    deletes = tables["orders"].filter(pl.col("order_type") == "D")["seq"].head(lost)
    tables["orders"] = tables["orders"].filter(~pl.col("seq").is_in(deletes.implode()))
    report = ingest([deliver(tmp_path / "in", **tables)], stores)
    assert report.ticks["channels"]["judged"] == 2
    assert report.ticks["channels"]["worst_share_missing"] == pytest.approx(lost / records.height, abs=1e-6)
    assert (not report.quarantined) is enters
    assert set(report.quarantined) <= {"FPM-IN-138"}


def test_seconds_that_a_feed_loses_are_missing_minutes_and_no_smaller_volume(tmp_path: Path, stores: Stores) -> None:
    """A trade each 30 ms; twelve seconds without any, less than a thousandth of the session."""
    hours = [*range(34_200_000, 41_400_000, 30), *range(46_800_000, 53_820_000, 30)]
    clocks = pl.Series([33_900_000, *hours, 54_000_000]).cast(pl.Duration("ms"))
    trades = frame("trades", [trade("09:25:00", 10.0, 100, 2, 1, 1, side="B")]).drop("time", "seq")
    midnight = pl.lit(DAY).cast(pl.Datetime("ms"))
    trades = trades.join(pl.DataFrame({"clock": clocks}).with_row_index("seq", 1), how="cross")
    trades = trades.with_columns(pl.col("seq").cast(pl.Int64), time=midnight + pl.col("clock")).drop("clock")
    down = pl.col("time").is_between(pl.lit(at("10:30:20")), pl.lit(at("10:30:32")))
    report = ingest([deliver(tmp_path / "in", trades=trades.filter(~down))], stores)
    assert report.ticks["channels"]["worst_share_missing"] < TickRules().gaps
    stored = bars(stores, DAY, SH)
    missing = set(range(len(CN.slots))) - set(stored["slot"])
    assert 61 in missing and len(missing) <= 10  # 10:30 to 10:31, and what the numbers beside the gap cannot rule out
    assert report.ticks["channels"]["minutes_lost"] == len(missing)
    assert report.ticks["records"]["cut"] == trades.filter(~down).height - int(stored["trades"].sum())
    per_minute = stored.filter(pl.col("slot").is_between(1, len(CN.slots) - 6))["volume"].unique()
    assert per_minute.to_list() == [2000 * 100]


def test_a_sequence_that_begins_again_is_set_aside(tmp_path: Path, stores: Stores) -> None:
    tables = whole()
    again = pl.when(pl.col("time").dt.hour() >= 13).then(pl.col("seq") - 2405).otherwise(pl.col("seq"))
    report = ingest([deliver(tmp_path / "in", trades=tables["trades"].with_columns(again.alias("seq")))], stores)
    assert set(report.quarantined) == {"FPM-IN-138"}
    assert "begins again" in quarantined(stores, "minute_bars")["reason"][0]


def test_orders_without_any_trades_of_the_exchange_are_set_aside(tmp_path: Path, stores: Stores) -> None:
    tables = whole()
    foreign = tables["trades"].with_columns(symbol=pl.lit(SZ), exec_type=pl.lit("F"))
    report = ingest([deliver(tmp_path / "in", trades=foreign, orders=tables["orders"])], stores)
    assert report.ticks["symbol_sessions"] == {"made": 1, "FPM-IN-119": 1}
    assert stores.read("minute_bars", DAY)["symbol"].unique().to_list() == [SZ]


def test_a_refused_file_stops_only_itself(tmp_path: Path, stores: Stores) -> None:
    tables = whole()
    folder = deliver(tmp_path / "in", trades=tables["trades"], orders=tables["orders"].drop("order_no"))
    report = ingest([folder], stores)
    assert [(file["file"], file["code"]) for file in report.refused] == [("orders.parquet", "FPM-IN-006")]
    assert bars(stores, DAY, SH)["order_volume"].null_count() == 242
    full = ingest([deliver(folder, orders=tables["orders"])], stores)  # the vendor sends it again: a correction
    assert full.changed == 1
    assert bars(stores, DAY, SH)["order_volume"].null_count() == 0


def test_a_file_mostly_bad_is_refused_whole(tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = whole()
    broken = tables["trades"].with_columns(volume=pl.lit(-1))
    monkeypatch.setattr(ticks, "RULE", TickRules(few=10))
    with pytest.raises(InputRefused, match="FPM-IN-150"):
        ingest([deliver(tmp_path / "in", trades=broken)], stores).require_content()


def test_a_session_with_only_trades_after_hours_gives_no_bars(tmp_path: Path, stores: Stores) -> None:
    late = trade("15:10:00", 10.0, 100, 2, 1, 1, side="B", symbol="688001.SH")
    report = ingest([deliver(tmp_path / "in", trades=frame("trades", [late]))], stores)
    assert report.ticks["records"]["after_hours"] == 1
    assert not report.sessions


def test_remains_of_a_killed_ingest_are_removed_and_those_of_another_hosts_stay(tmp_path: Path, stores: Stores) -> None:
    left = stores.lake.staging / "ticks" / "another-host-1a2b3c" / "2023-02-01" / "0-0.arrow"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    with run_of(stores.ledger) as run:  # an ingest that lives, wherever
        living = stores.lake.staging / "ticks" / run
        living.mkdir()
        ingest([deliver(tmp_path / "in", **whole())], stores)  # asserts that staging holds no file
        assert living.is_dir()


def test_unavailable_order_legs_stay_so_where_nothing_trades(tmp_path: Path, stores: Stores) -> None:
    tables = whole()
    other = tables["trades"].with_columns(symbol=pl.lit("600001.SH"), channel=pl.lit(2, pl.Int64))
    folder = deliver(tmp_path / "in", trades=pl.concat([tables["trades"], other]), orders=tables["orders"])
    ingest([folder], stores)
    dense = grid(stores.read("minute_bars", DAY), CN, "240")
    assert dense.symbols == (SH, "600001.SH")
    assert not dense.traded_ST[:, 237].any()  # 14:58
    assert dense.columns["order_volume"][0, 237] == 0.0
    assert np.isnan(dense.columns["order_volume"][1, 237])
    assert dense.columns["buy_volume"][1, 237] == 0.0


def test_only_the_chinese_market_has_rules(tmp_path: Path, settings: Settings) -> None:
    stores = open_stores(settings.model_copy(update={"market": "us"}))
    with pytest.raises(UsageError, match="FPM-CFG-103"):
        ticks.ingest([tmp_path], Arrival(NOW, NOW), stores, lambda done, total, item: None)
    stores.ledger.close()


def test_the_bytes_do_not_depend_on_buckets_batches_or_the_order_of_rows(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, symbols = whole(), ["600000.SH", "600001.SH", "600007.SH", "601988.SH"]
    tables = {
        name: pl.concat([table.with_columns(symbol=pl.lit(symbol), channel=i + 1) for i, symbol in enumerate(symbols)])
        for name, table in one.items()
    }
    ingest([deliver(tmp_path / "in", **tables)], stores)
    plain = stores.read("minute_bars", DAY)
    monkeypatch.setattr(ticks, "BUCKET", 700)
    monkeypatch.setattr("fpm.ticks.files.BATCH", 311)
    shuffled = {name: table.sample(fraction=1.0, shuffle=True, seed=1) for name, table in tables.items()}
    again = ingest([deliver(tmp_path / "shuffled", **shuffled)], stores)
    assert (again.changed, again.unchanged) == (0, 1)
    assert stores.read("minute_bars", DAY).equals(plain)


# --- snapshots --------------------------------------------------------------------------------------------------
def snapshots(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """The exchange's counters after every trade, beside a book of two levels."""
    trades = tables["trades"].sort("time", "seq")
    return trades.select(
        "symbol",
        "time",
        cum_volume=pl.col("volume").cum_sum(),
        cum_amount=(pl.col("volume") * pl.col("price")).cum_sum().round(2),
        cum_trades=pl.int_range(1, pl.len() + 1),
        bid_price1=pl.lit(10.0),
        bid_qty1=pl.lit(100),
        bid_price2=pl.lit(9.99),
        bid_qty2=pl.lit(100),
        ask_price1=pl.lit(10.01),
        ask_qty1=pl.lit(100),
    )


def changed(table: pl.DataFrame, rows: range, **cells: object) -> pl.DataFrame:
    here = pl.int_range(pl.len()).is_in(list(rows))
    return table.with_columns(
        pl.when(here).then(pl.lit(cell)).otherwise(name).alias(name) for name, cell in cells.items()
    )


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ({"ask_price1": 10.0}, "FPM-IN-186"),
        ({"bid_price2": 10.0}, "FPM-IN-187"),
        ({"bid_price1": 0.0}, "FPM-IN-187"),
        ({"cum_volume": 1}, "FPM-IN-189"),
        ({"symbol": "no code"}, "FPM-IN-031"),
    ],
)
def test_cases_36_37_40_a_few_odd_snapshots_go_to_quarantine_and_the_session_stays(
    tmp_path: Path, stores: Stores, cells: dict[str, object], code: str
) -> None:
    tables = whole()
    table = changed(snapshots(tables), range(100, 104), **cells)
    report = ingest([deliver(tmp_path / "in", **tables, snapshots=table)], stores)
    assert report.ticks["snapshots"] == {code: 4, "in": table.height, "used": table.height - 4}
    assert report.ticks["symbol_sessions"] == {"made": 1}
    assert report.ticks["reconciled"] == {"equal": 1}
    rows = quarantined(stores, "snapshots").sort("row")
    assert (rows["row"].to_list(), rows["reason_code"].unique().to_list()) == ([100, 101, 102, 103], [code])
    assert rows.select(*cells).row(0) == tuple(cells.values())  # as the vendor wrote them


def test_cases_36_above_one_percent_of_odd_snapshots_the_session_is_set_aside(tmp_path: Path, stores: Stores) -> None:
    tables = whole()
    table = changed(snapshots(tables), range(100, 106), ask_price1=10.0)
    report = ingest([deliver(tmp_path / "in", **tables, snapshots=table)], stores)
    assert report.ticks["symbol_sessions"] == {"made": 0, "FPM-IN-188": 1}
    assert report.quarantined == {"FPM-IN-188": 242}
    assert not stores.sessions("minute_bars")
    assert "snapshots are odd: 6 of 476, e.g. crossed book" in quarantined(stores, "minute_bars")["reason"][0]


def test_a_symbol_with_snapshots_alone_costs_nobody_anything(tmp_path: Path, stores: Stores) -> None:
    tables = whole()
    table = pl.concat(
        [snapshots(tables), changed(snapshots(tables), range(50), ask_price1=9.0, symbol="600001.SH")[:50]]
    )
    report = ingest([deliver(tmp_path / "in", **tables, snapshots=table)], stores)
    assert report.ticks["symbol_sessions"] == {"made": 1}
    assert report.ticks["snapshots"]["FPM-IN-186"] == 49  # the first is of the call


# --- sequences, clocks, sizes -----------------------------------------------------------------------------------
def test_case_41_thousands_of_records_of_one_moment_keep_their_sequence(tmp_path: Path, stores: Stores) -> None:
    """The vendor cut every time to the minute, and the file is shuffled: numbers order the records, never times."""
    tables = whole()
    wide = pl.col("seq") * 10_000  # room for the burst
    cut = {name: table.with_columns(pl.col("time").dt.truncate("1m"), wide) for name, table in tables.items()}
    before = tables["trades"].filter(pl.col("time") <= at("10:00:00"))["seq"].max()
    assert isinstance(before, int)
    burst = [
        trade("10:00:00", 10 + n % 7 / 100, 100, 80_000 + n, 90_000 + n, before * 10_000 + 1 + n, side="B")
        for n in range(5_000)
    ]
    cut["trades"] = with_rows(cut["trades"], "trades", *burst).sample(fraction=1.0, shuffle=True, seed=3)
    report = ingest([deliver(tmp_path / "in", **cut)], stores)
    assert report.ticks["symbol_sessions"] == {"made": 1}
    (row,) = bars(stores, DAY, SH).filter(pl.col("slot") == 31).to_dicts()
    plain = tables["trades"].filter(pl.col("time").dt.truncate("1m") == at("10:00:00")).sort("seq")
    assert plain.height == 2  # of 10:00:00 before the burst, of 10:00:30 after it
    assert row["open"] == plain["price"][0] and row["close"] == plain["price"][1]
    assert row["volume"] == plain["volume"].sum() + 500_000


@pytest.mark.parametrize(("seconds", "counted", "enters"), [(2, 0, True), (30, 1, True), (90, 1, False)])
def test_case_41_a_clock_that_runs_back_is_counted_and_far_back_the_sequence_begins_again(
    tmp_path: Path, stores: Stores, seconds: int, counted: int, enters: bool
) -> None:
    tables = whole()
    one = tables["trades"]["seq"].sort()[200]
    late = pl.when(pl.col("seq") == one).then(pl.col("time").dt.offset_by(f"-{seconds + 30}s")).otherwise("time")
    trades = tables["trades"].with_columns(late.alias("time"))  # the one before is 30 seconds earlier
    report = ingest([deliver(tmp_path / "in", trades=trades)], stores)
    assert report.ticks["clock_backwards"] == counted
    assert report.ticks["symbol_sessions"].get("made", 0) == int(enters)


def test_case_43_a_symbol_fifty_times_the_others_is_made_alone_and_over_the_cap_set_aside(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = whole()["trades"]
    large = pl.concat([one.with_columns(seq=pl.col("seq") + 200_000 * copy) for copy in range(50)])
    large = large.with_columns(symbol=pl.lit("600001.SH"), channel=pl.lit(2, pl.Int64)).sort("time", "seq")
    large = large.with_columns(seq=pl.int_range(1, pl.len() + 1))
    folder = deliver(tmp_path / "in", trades=pl.concat([one, large], how="vertical_relaxed"))
    monkeypatch.setattr(ticks, "BUCKET", 2_000)  # twelve buckets
    report = ingest([folder], stores)
    assert report.ticks["symbol_sessions"] == {"made": 2}
    assert bars(stores, DAY, "600001.SH")["volume"].sum() == 50 * one["volume"].sum()
    monkeypatch.setattr(ticks, "RULE", TickRules(most_rows=10_000))
    other = deliver(tmp_path / "other", trades=pl.read_parquet(folder / "trades.parquet").reverse())
    again = ingest([other], stores)
    assert again.ticks["records"]["too_many"] + again.ticks["records"]["set_aside"] == large.height
    assert again.ticks["symbol_sessions"]["made"] == 1
    assert again.exceptions == [f"{DAY} 600001.SH: FPM-RES-143 {large.height} records, more than 10000"]


@pytest.mark.parametrize("bad", [4, 20])
def test_a_symbol_that_loses_more_than_one_percent_of_its_records_is_set_aside(
    tmp_path: Path, stores: Stores, bad: int
) -> None:
    """Case 46 in part: prices times 10,000 lie beyond the highest one for some trades of a cheap stock."""
    tables = whole()
    wrong = pl.when(pl.int_range(pl.len()) < bad).then(-1).otherwise("volume").alias("volume")
    report = ingest([deliver(tmp_path / "in", trades=tables["trades"].with_columns(wrong))], stores)
    if bad == 4:
        assert report.ticks["symbol_sessions"] == {"made": 1}
    else:
        assert report.ticks["symbol_sessions"] == {"made": 0, "FPM-IN-190": 1}
        assert "more than 1 % bad records: 20 beside 456 good ones" in quarantined(stores, "minute_bars")["reason"][0]


# --- prices and schemas -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("factor", "code"), [(100.0, "FPM-IN-146"), (1_000.0, "FPM-IN-146"), (1.4, "FPM-IN-185")])
def test_cases_25_and_46_ticks_beside_the_closes_before(
    tmp_path: Path, stores: Stores, factor: float, code: str
) -> None:
    days = previous_sessions(CN, DAY, 5)
    for number, day in enumerate(days):
        ingest([deliver(tmp_path / str(day), **session_ticks(day, number))], stores)
    dear = whole()["trades"].with_columns((pl.col("price") * factor).round(2))
    report = ingest([deliver(tmp_path / "in", trades=dear)], stores)
    assert report.quarantined == {code: 242}
    assert stores.sessions("minute_bars") == days
    assert report.ticks["records"]["set_aside"] == dear.height


def test_case_47_columns_of_both_exchanges_in_one_file_are_named(tmp_path: Path, stores: Stores) -> None:
    one = whole()["trades"]
    shanghai = one.rename({"buy_order": "TradeBuyNo", "sell_order": "TradeSellNo", "side": "TradeBSFlag"})
    shenzhen = one.with_columns(symbol=pl.lit(SZ), exec_type=pl.lit("F"))
    shenzhen = shenzhen.rename({"buy_order": "BidApplSeqNum", "sell_order": "OfferApplSeqNum"}).drop("side")
    both = pl.concat([shanghai.drop("exec_type"), shenzhen], how="diagonal")
    report = ingest([deliver(tmp_path / "in", trades=both)], stores)
    ((file,)) = report.refused
    assert file["code"] == "FPM-IN-147"
    assert (
        "Shanghai (TradeBuyNo, TradeSellNo, TradeBSFlag) and Shenzhen (BidApplSeqNum, OfferApplSeqNum)" in file["wrong"]
    )
