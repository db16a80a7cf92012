"""Mixed units of volume in one file of minutes: converted by symbol and session, and named."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from fpm.errors import InputRefused
from fpm.ingest.units import Stated, symbol_day, units
from fpm.ingest.vendor_bars import Parsed
from fpm.sessions import market, sessions_between
from tests.fpm.ingest.test_vendor_bars import parsed
from tests.tape import FIRST, tape

CN = market("cn")
MIXED = ("600000.SH", "000001.SZ", "688001.SH", "688002.SH")
THIRTY = sessions_between(CN, FIRST, FIRST + timedelta(days=60))[:30]


def read(frame: pl.DataFrame, folder: Path, name: str) -> Parsed:
    return parsed("cn", frame, folder, name)


def test_star_in_shares_and_the_rest_in_lots(tmp_path: Path) -> None:
    shares = tape("cn", symbols=MIXED)
    star = pl.col("symbol").str.starts_with("688")
    mixed = shares.with_columns(pl.when(star).then(pl.col("volume")).otherwise(pl.col("volume") / 100).alias("volume"))
    file = read(mixed, tmp_path, "mixed.parquet")
    assert file.frame.equals(read(shares, tmp_path, "shares.parquet").frame)
    assert not file.quarantined.height
    unit = {"shares": "volume in lots", "lots": "volume in shares"}[file.report.conventions.volume_unit]
    named = {"volume in lots": "000001.SZ, 600000.SH", "volume in shares": "688001.SH, 688002.SH"}[unit]
    assert file.report.exceptions == (f"{unit} on 2026-01-05, converted: 2 symbols, {named}",)


@pytest.mark.parametrize("number", [0, 17, 29])
def test_lots_on_one_session_of_thirty(number: int, tmp_path: Path) -> None:
    shares = pl.concat([tape("cn", day, symbols=MIXED[:2]) for day in THIRTY])
    hit = pl.col("minute").dt.date() == THIRTY[number]
    mixed = shares.with_columns(pl.when(hit).then(pl.col("volume") / 100).otherwise("volume").alias("volume"))
    file = read(mixed, tmp_path, "mixed.parquet")
    assert file.frame.equals(read(shares, tmp_path, "shares.parquet").frame)
    text = f"volume in lots on {THIRTY[number]}, converted: 2 symbols, 000001.SZ, 600000.SH"
    assert (file.report.conventions.volume_unit, file.report.exceptions) == ("shares", (text,))


def test_one_symbol_in_thousands_is_set_aside_by_name(tmp_path: Path) -> None:
    hit = pl.col("symbol") == "688001.SH"
    odd = tape("cn", symbols=MIXED).with_columns(
        pl.when(hit).then(pl.col("volume") / 1000).otherwise("volume").alias("volume")
    )
    file = read(odd, tmp_path, "odd.parquet")
    assert file.quarantined["reason_code"].unique().to_list() == ["FPM-IN-126"]
    assert file.quarantined.height == 241
    assert sorted(file.frame["symbol"].unique().to_list()) == ["000001.SZ", "600000.SH", "688002.SH"]


def test_factors_by_hand() -> None:
    """One bar each: 100 shares near 10 cost 1,000; one lot of them costs the same."""
    bars = pl.DataFrame(
        {
            "symbol": ["A", "B", "C"],
            "day": date(2026, 1, 5),
            "low": 9.9,
            "high": 10.1,
            "close": 10.0,
            "volume": [100.0, 1.0, 100.0],
            "amount": [1000.0, 1000.0, 1000.0],
        }
    )
    unit = units(bars.with_columns(symbol_day(bars)), CN.exchange, Stated(), None)
    assert unit.volume_unit == "shares" and not unit.refused.height
    assert unit.factors.rows() == [("B", date(2026, 1, 5), 100.0)]


def test_prices_without_amounts_that_are_whole_numbers_throughout_are_scaled(tmp_path: Path) -> None:
    cents = tape("us").drop("amount").with_columns((pl.col("open", "high", "low", "close") * 100).round())
    with pytest.raises(InputRefused, match=r"FPM-IN-146 .*closes are whole numbers, .* the tick is 0\.01: scaled\?"):
        parsed("us", cents, tmp_path, "cents.parquet")
    given = parsed("us", tape("us").drop("amount"), tmp_path, "given.parquet")
    assert given.report.conventions.price_basis == "raw_by_tick"
