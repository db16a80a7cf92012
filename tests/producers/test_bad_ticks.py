"""Bad ticks: refused or quarantined by code and counted; the bytes depend on the records alone."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fpm.errors import InputRefused, UsageError
from fpm.features.bars import grid
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.settings import Settings
from fpm.ticks.tape import TickRules
from producers import ticks
from producers.bars import Arrival
from tests.fpm.ticks.tiny_ticks import CN, DAY, SH, SZ, frame, trade
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


def test_remains_of_a_killed_ingest_are_removed(tmp_path: Path, stores: Stores) -> None:
    left = stores.lake.staging / "ticks" / str(2**22 + 1) / "2023-02-01" / "0-0.arrow"  # beyond any process number
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    ingest([deliver(tmp_path / "in", **whole())], stores)  # asserts that staging holds no file


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
