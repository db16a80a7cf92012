"""Snapshots: the counters of the close are totals, a counter that runs back is not believed (RELIABILITY 40)."""

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fpm.ticks.files import TickFile, batches, open_file
from fpm.ticks.snapshots import judged, odd_sessions, snapshot_rows, totals_of
from tests.fpm.ticks.tiny_ticks import CN, DAY, NOW, SH, SZ, at

SAMPLE = Path(__file__).parents[4] / "shared" / "data" / "a_share_level2_sample" / "snapshots.parquet"


def snapshot(clock: str, volume: int | None, symbol: str = SH, **more: Any) -> dict[str, Any]:
    amount = None if volume is None else 10.0 * volume
    return {"symbol": symbol, "time": at(clock), "cum_volume": volume, "cum_amount": amount, "cum_trades": 1.0, **more}


def read(rows: list[dict[str, Any]]) -> pl.DataFrame:
    table = pl.DataFrame(rows)
    file = TickFile(Path("snapshots.parquet"), "snapshots", table.height, {name: name for name in table.columns}, ())
    part = snapshot_rows(table.with_row_index("row"), file, 0, CN, NOW)
    assert part.faults.is_empty()
    return judged(part.rows)


def test_only_counters_of_the_close_are_totals() -> None:
    rows = [
        snapshot("10:00:00", 100),
        snapshot("15:00:00", 300),
        snapshot("14:00:00", 200),
        snapshot("10:00:00", 1, SZ),
    ]
    assert totals_of(read(rows)).select("session", "volume", "amount", "trades").rows() == [(DAY, 300, 30_000_000, 1)]


@pytest.mark.parametrize("order", [1, -1])
def test_case_40_from_the_row_that_runs_back_to_the_next_valid_one(order: int) -> None:
    volumes = [100, 200, 150, 190, 199, 200, 300]
    rows = [snapshot(f"10:00:{3 * number:02}", volume) for number, volume in enumerate(volumes)]
    odd = read(rows[::order]).filter(pl.col("reason_code").is_not_null()).sort("time")
    assert odd["cum_volume"].to_list() == [150, 190, 199]
    assert odd["reason_code"].unique().to_list() == ["FPM-IN-189"]
    assert odd["reason"][0] == "a counter runs back: cum_volume 150.0 after 200.0"


def test_case_40_each_symbol_and_session_has_counters_of_its_own() -> None:
    rows = [snapshot("10:00:00", 100), snapshot("10:00:01", 50, SZ)]
    rows.append({**snapshot("09:30:00", 10), "time": at("09:30:00", date(2023, 2, 2))})
    rows.append(snapshot("10:00:02", None))  # unknown, not behind
    assert read(rows)["reason_code"].null_count() == 4


def test_case_40_a_counter_beyond_all_others_makes_no_total() -> None:
    rows = [snapshot("10:00:00", 100), snapshot("10:00:03", 10**9), snapshot("15:00:00", 300)]
    assert totals_of(read(rows)).is_empty()


@pytest.mark.parametrize(("crossed", "odd"), [(1, 0), (2, 1)])
def test_case_36_above_one_percent_the_symbol_session_is_odd(crossed: int, odd: int) -> None:
    rows = [
        snapshot(f"10:{number // 60:02}:{number % 60:02}", 100 + number, bid_price1=10.0, ask_price1=10.01)
        for number in range(100)
    ]
    for number in range(crossed):
        rows[number]["ask_price1"] = 10.0
    sessions = odd_sessions(read(rows))
    assert sessions.height == odd
    if odd:
        assert sessions["reason_code"].to_list() == ["FPM-IN-188"]
        assert (
            sessions["reason"][0]
            == "more than 1 % of its snapshots are odd: 2 of 100, e.g. crossed book: bid 10.0, ask 10.0"
        )


@pytest.mark.skipif(not SAMPLE.is_file(), reason="the project's sample is not beside this checkout")
def test_no_book_and_no_counter_of_the_real_sample_is_odd() -> None:
    file = open_file(SAMPLE)
    assert {"bid_price1", "ask_qty10", "phase"} <= set(file.names)
    rows = pl.concat([snapshot_rows(batch, file, 0, CN, NOW).rows for batch in batches(file)])
    assert (rows.height, judged(rows)["reason_code"].null_count()) == (42_923, 42_923)
