"""Daily and index-member files: absent columns are filled, bad rows quarantined one by one."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from fpm.errors import InputRefused
from fpm.ingest.daily_files import read_daily, read_members
from fpm.sessions import market

CN = market("cn")


def daily(**columns: list[object]) -> pl.DataFrame:
    rows = {
        "ts_code": ["600000", "000001.SZ"],
        "trade_date": ["2026-01-05", "2026-01-05"],
        "open": [10.0, 20.0],
        "high": [11.0, 21.0],
        "low": [9.0, 19.0],
        "close": [10.5, 20.0],
        "vol": [1000.0, 0.0],
        "st": ["False", "true"],
    }
    return pl.DataFrame({**rows, **columns}, strict=False)


def test_absent_columns_are_filled_or_unavailable(tmp_path: Path) -> None:
    daily(float_shares=[10_000.0, 5_000.0]).write_csv(tmp_path / "daily_bars.csv")
    rows = read_daily(tmp_path / "daily_bars.csv", CN)
    one, two = rows.frame.rows(named=True)
    assert (one["symbol"], one["suspended"], one["turnover"], one["adj_factor"]) == ("000001.SZ", True, 0.0, 1.0)
    assert (two["symbol"], two["suspended"], two["turnover"]) == ("600000.SH", False, 0.1)
    assert two["session"] == date(2026, 1, 5)
    assert "limit_up" not in rows.frame.columns
    assert rows.synonyms == {"symbol": "ts_code", "session": "trade_date", "volume": "vol"}


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"high": [1.0, 21.0]}, "FPM-IN-021"),
        ({"low": [-1.0, 19.0]}, "FPM-IN-022"),
        ({"adj_factor": [0.0, 1.0]}, "FPM-IN-023"),  # RELIABILITY 49: zero, or missing beside others
        ({"adj_factor": [None, 2.0]}, "FPM-IN-024"),
        ({"adj_factor": [float("nan"), 2.0]}, "FPM-IN-024"),
        ({"close": [float("inf"), 20.0]}, "FPM-IN-024"),
        ({"ts_code": ["../600000", "000001.SZ"]}, "FPM-IN-031"),
        ({"trade_date": ["2026-01-10", "2026-01-05"]}, "FPM-IN-135"),
    ],
)
def test_a_bad_row_is_set_aside(columns: dict[str, list[object]], code: str, tmp_path: Path) -> None:
    daily(**columns).write_parquet(tmp_path / "daily_bars.parquet")
    rows = read_daily(tmp_path / "daily_bars.parquet", CN)
    assert rows.quarantined["reason_code"].to_list() == [code]
    assert rows.quarantined["row"].to_list() == [0]
    assert rows.frame["symbol"].to_list() == ["000001.SZ"]
    assert rows.rows_in == rows.frame.height + rows.quarantined.height


def test_two_rows_of_one_key_are_both_set_aside(tmp_path: Path) -> None:
    daily(ts_code=["600000", "sh600000"]).write_csv(tmp_path / "daily_bars.csv")
    rows = read_daily(tmp_path / "daily_bars.csv", CN)
    assert rows.quarantined["reason_code"].to_list() == ["FPM-IN-015"] * 2


def test_members_with_invalid_dates_are_refused(tmp_path: Path) -> None:
    rows = {"index": ["CSI300"], "session": ["yesterday"], "symbol": ["600000"], "weight": [1.0]}
    pl.DataFrame(rows).write_csv(tmp_path / "index_members.csv")
    with pytest.raises(InputRefused, match=r"FPM-IN-032 .* row 2, column session: 'yesterday' is not a day"):
        read_members(tmp_path / "index_members.csv", CN)


def test_members_by_index_and_symbol(tmp_path: Path) -> None:
    rows = {
        "index_code": ["CSI300", "CSI300"],
        "date": ["2026-01-05"] * 2,
        "symbol": ["600519", "000001"],
        "weight": [0.6, 0.4],
    }
    pl.DataFrame(rows).write_csv(tmp_path / "index_members.csv")
    frame = read_members(tmp_path / "index_members.csv", CN).frame
    assert frame.select("index", "symbol", "weight").rows() == [
        ("CSI300", "000001.SZ", 0.4),
        ("CSI300", "600519.SH", 0.6),
    ]


# --- weights of an index --------------------------------------------------------------------------------------------
def members(path: Path, weights: list[float | None], days: int = 1) -> Path:
    rows = [
        ("CSI300", date(2026, 1, 5 + day), f"60000{number}", weight)
        for day in range(days)
        for number, weight in enumerate(weights)
    ]
    pl.DataFrame(rows, schema=["index", "session", "symbol", "weight"], orient="row").write_parquet(path)
    return path


def test_percent_weights_are_converted_where_every_snapshot_is_in_percent(tmp_path: Path) -> None:
    rows = read_members(members(tmp_path / "m.parquet", [60.0, 40.3], days=2), CN)
    assert rows.frame["weight"].to_list() == pytest.approx([0.6, 0.403] * 2)
    assert rows.conversions == ("weights in percent: converted to shares of 1",)
    mixed = pl.read_parquet(tmp_path / "m.parquet").with_columns(
        weight=pl.when(pl.col("session") == date(2026, 1, 5)).then(pl.col("weight") / 100).otherwise("weight")
    )
    mixed.write_parquet(tmp_path / "m.parquet")
    rows = read_members(tmp_path / "m.parquet", CN)
    assert rows.frame["session"].unique().to_list() == [date(2026, 1, 5)] and rows.conversions == ()
    assert rows.quarantined["reason_code"].to_list() == ["FPM-IN-165"] * 2


@pytest.mark.parametrize(
    ("weights", "codes"),
    [
        ([0.5, 0.5, None], ["FPM-IN-022"]),
        ([0.5, 0.5, float("nan")], ["FPM-IN-022"]),
        ([0.7, 0.3, -0.1], ["FPM-IN-022"]),
        ([0.5, 0.3, 0.1], ["FPM-IN-165"] * 3),
        ([0.5, float("nan"), 0.3], ["FPM-IN-165", "FPM-IN-022", "FPM-IN-165"]),
    ],
)
def test_bad_weights_are_set_aside(weights: list[float | None], codes: list[str], tmp_path: Path) -> None:
    rows = read_members(members(tmp_path / "m.parquet", weights), CN)
    assert rows.quarantined.sort("row")["reason_code"].to_list() == codes
    assert rows.rows_in == rows.frame.height + rows.quarantined.height
