"""docs/vendors.md: every row of its table is a format here, and every format goes in as the row says."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from typer.main import get_command

from fpm.commands.cli import app
from fpm.errors import FpmError
from fpm.ingest.bar_files import order_in
from fpm.ingest.units import Stated
from fpm.ingest.vendor_bars import combine, read_bars
from fpm.sessions import market
from tests import vendor_formats as files
from tests.vendor_formats import PRICES, Format, stored, truth, with_extended_hours

PAGE = Path(__file__).parent.parent / "docs" / "vendors.md"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
CN, US, RAW = "fpm ingest bars.csv --market cn", "fpm ingest bars.csv --market us", "raw, by the amount"
CENTS = "raw, by the cent of the closes"
FORMATS = (
    Format(
        "TDX, pytdx", "END; the bar of 11:30 is labelled 13:00", "local text, `2025-04-28 09:31`",
        "lots or shares: the amount tells", RAW, "taken; 13:00 moved to 11:30 and said; lots times 100", CN,
        "cn", "end", files.tdx,
    ),
    Format(
        "tushare `stk_mins`", "END; 09:30 is the opening call", "local text, newest first", "shares, yuan", RAW,
        "taken; 09:30 becomes the call's slot", CN, "cn", "end", files.tushare, opening=True,
    ),
    Format(
        "akshare `stock_zh_a_hist_min_em`", "END", "local text", "lots, yuan", RAW,
        "refused for its Chinese header (006); renamed: taken, lots times 100; opens of 0 are refused in words (023)",
        CN,
        "cn", "end", files.akshare_renamed, files.akshare, "FPM-IN-006", "missing column(s): minute, open, high",
    ),
    Format(
        "baostock, 5 minutes", "END", "`20250428093500000`, local", "shares, yuan", RAW,
        "refused for its time (006); with `2025-04-28 09:35` as datetime: taken, `sh.600000` is 600000.SH",
        "fpm ingest bars.csv --market cn5",
        "cn5", "end", files.baostock_rewritten, files.baostock, "FPM-IN-006",
        "missing column(s): minute; found: date, time",
    ),
    Format(
        "JoinQuant `get_price`", "END", "local text", "shares; `money` is the amount", f"{RAW}; ask for `fq=None`",
        "taken; `600000.XSHG` is 600000.SH", CN, "cn", "end", files.joinquant,
    ),
    Format(
        "Lean, US equities", "START, extended hours", "milliseconds since midnight, New York; no header",
        "shares, no amount", "raw, in ten-thousandths",
        "refused without header (006); rewritten: taken, extended hours 029", US, "us", "start",
        files.lean_rewritten, files.lean, "FPM-IN-006", "missing column(s): symbol, minute",
        header=False, derived=True, extended=True,
    ),
    Format(
        "Polygon flat files", "START, extended hours", "`window_start`: epoch nanoseconds", "shares, no amount", CENTS,
        "refused for its time (006), unpack `.gz` first; with an ISO timestamp: taken, extended hours 029", US,
        "us", "start", files.polygon_rewritten, files.polygon, "FPM-IN-006", "missing column(s): minute; found: ticker",
        derived=True, extended=True,
    ),
    Format(
        "Databento `ohlcv-1m`", "START", "`ts_event`, ISO with nine decimals and Z", "shares, no amount", CENTS,
        "taken; amount derived", US, "us", "start", files.databento, derived=True,
    ),
    Format(
        "Alpaca", "START", "`+00:00`", "shares, no amount", CENTS, "taken; amount derived, vwap left out", US,
        "us", "start", files.alpaca, derived=True,
    ),
    Format(
        "Kibot", "START", "`02/20/2018,09:30`, month first, New York; no header", "shares, no amount",
        f"{CENTS}; or `--prices adjusted`",
        "refused without header (006); date and time in one column: taken, a day above 12 decides",
        US, "us", "start", files.kibot_with_header, files.kibot, "FPM-IN-006", "missing column(s): symbol, minute",
        header=False, derived=True,
    ),
    Format(
        "IEX `intraday-prices`", "START", "`date` and `minute` 09:30, New York", "shares; `notional` is left out",
        CENTS,
        "refused for its time (032); joined: taken, -1 in an untraded minute is an unknown price", US,
        "us", "start", files.iex_joined, files.iex, "FPM-IN-032", "row 2, column minute: '09:30' is not a time",
        derived=True, untraded=5,
    ),
    Format(
        "Binance klines", "START", "`open_time`: epoch milliseconds, UTC", "coins; `quote_volume` is the amount", "raw",
        "refused for symbol and time (006); rewritten: taken with taker volumes", "fpm ingest bars.csv --market crypto",
        "crypto", "start", files.binance_rewritten, files.binance, "FPM-IN-006", "missing column(s): symbol, minute",
    ),
    Format(
        "Kite historical", "START", "`+0530`", "shares, no amount", "raw by the tick of 0.05, or `--prices adjusted`",
        "refused for its column date (006); as datetime: taken", "fpm ingest bars.csv --market nse",
        "nse", "start", files.kite_renamed, files.kite, "FPM-IN-006", "missing column(s): minute", derived=True,
    ),
    Format(
        "NSE panels of a broker, 15 minutes", "START", "local times (Parquet)", "shares, no amount",
        "adjusted for splits: say so", "taken; amount derived",
        "fpm ingest bars.parquet --market nse15 --prices adjusted",
        "nse15", "start", files.nse, suffix=".parquet", derived=True,
    ),
)  # fmt: skip
IDS = [kind.vendor.split(",")[0] for kind in FORMATS]


def test_the_page_has_these_rows_and_no_others() -> None:
    formats = PAGE.read_text(encoding="utf-8").partition("\n## ")[0]
    lines = [line for line in formats.splitlines() if line.startswith("| ")]
    assert lines[1:] == [kind.row() for kind in FORMATS]


@pytest.mark.parametrize("kind", FORMATS, ids=IDS)
def test_the_command_parses_and_names_the_market(kind: Format) -> None:
    _, name, *arguments = shlex.split(kind.command)
    context = get_command(app).commands[name].make_context("fpm", arguments)  # type: ignore[attr-defined]
    assert context.params["market"] == kind.market


@pytest.mark.parametrize("kind", FORMATS, ids=IDS)
def test_a_vendors_file_goes_in_as_the_row_says(kind: Format, tmp_path: Path) -> None:
    true = truth(kind)
    bars = with_extended_hours(true) if kind.extended else true
    path = stored(tmp_path / f"bars{kind.suffix}", kind.readable(bars), header=True)
    stated = Stated(prices="adjusted" if "--prices adjusted" in kind.command else None)
    parsed = read_bars(path, market(kind.market), NOW, stated=stated, order=order_in([path]))
    combined = combine([parsed], market(kind.market))
    assert parsed.report.conventions.stamp_side == kind.side
    assert combined.quarantined.is_empty() and not combined.deduplicated
    outside = parsed.quarantined["reason_code"].unique().to_list()
    assert outside == (["FPM-IN-029"] if kind.extended else [])
    assert combined.frame.height == true.height
    _check(combined.frame, true, derived=kind.derived)


def _check(frame: pl.DataFrame, true: pl.DataFrame, derived: bool) -> None:
    keys = ["session", "symbol", "slot"]
    if derived:
        true = true.with_columns(amount=(pl.col("close") * pl.col("volume")).fill_null(0.0))
    both = frame.with_columns(pl.col("slot").cast(pl.Int64)).join(
        true.with_columns(pl.col("slot").cast(pl.Int64)), on=keys
    )
    assert both.height == true.height
    for name in PRICES:
        assert both[name].eq_missing(both[f"{name}_right"]).all(), name
    for name in ("volume", "amount"):
        assert ((both[name] - both[f"{name}_right"]).abs() <= 1e-9 * both[f"{name}_right"]).all(), name


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind.as_delivered], ids=lambda kind: kind.vendor)
def test_what_is_refused_as_delivered_is_refused_in_words(kind: Format, tmp_path: Path) -> None:
    assert kind.as_delivered
    path = stored(tmp_path / f"bars{kind.suffix}", kind.as_delivered(truth(kind)), kind.header)
    with pytest.raises(FpmError, match=re.escape(kind.words)) as refused:
        read_bars(path, market(kind.market), NOW, order=order_in([path]))
    assert refused.value.code == kind.code
    assert kind.code[-3:] in kind.outcome


def test_binance_flows_come_with_the_bars(tmp_path: Path) -> None:
    kind = next(kind for kind in FORMATS if kind.vendor.startswith("Binance"))
    true = truth(kind)
    path = stored(tmp_path / "bars.csv", kind.readable(true), header=True)
    frame = combine([read_bars(path, market("crypto"), NOW)], market("crypto")).frame.sort("session", "symbol", "slot")
    expected = true.sort("session", "symbol", "slot")
    assert ((frame["buy_volume"] - expected["volume"] / 4).abs() < 1e-9).all()
    assert ((frame["sell_amount"] - expected["amount"] * 3 / 4).abs() < 1e-4).all()
