"""Formats of vendors: what their files look like, and synthetic files of that look with their truth.

A truth has symbol, session, slot, end (minute of the day), prices, volume in shares and amount; a vendor's file is made
from it in his columns and spelling. Facts: the vendors' own documentation and the READMEs of `../shared/cases`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from tests.tape import LABELS, tape

PRICES = ("open", "high", "low", "close")
SESSIONS = (date(2026, 1, 5), date(2026, 1, 13))  # of every market; the 13th decides the order of month and day
CANONICAL = {"us": ".US", "nse": ".NS", "crypto": ".BN"}
Make = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class Format:
    """One row of docs/vendors.md and its file.

    `as_delivered` makes the vendor's own columns, None where `readable` is what he delivers; these are refused with
    `code` and `words`, and `readable` is the same after the conversion that the page names. `derived`: the file has no
    amount. `opening`, `closing`: whether the call's bar is a row of its own. `extended`: quiet bars around the session.
    """

    vendor: str
    label: str
    time: str
    units: str
    prices: str
    outcome: str
    command: str
    market: str
    side: str
    readable: Make
    as_delivered: Make | None = None
    code: str = ""
    words: str = ""
    suffix: str = ".csv"
    header: bool = True
    derived: bool = False
    opening: bool = False
    untraded: int = 0
    extended: bool = False

    def row(self) -> str:
        """The row of the table."""
        cells = (self.vendor, self.label, self.time, self.units, self.prices, self.outcome, f"`{self.command}`")
        return f"| {' | '.join(cells)} |"


# --- truths -----------------------------------------------------------------------------------------------------------
def truth(kind: Format) -> pl.DataFrame:
    """The bars of two symbols and two sessions."""
    if kind.market == "crypto":
        return _coins()
    name, step = kind.market.rstrip("0123456789"), int(kind.market.lstrip("abcdefghijklmnopqrstuvwxyz") or 1)
    slots = {label: slot for slot, label in enumerate(LABELS[name])}
    if name == "cn" and step == 1:
        slots[900] += 1  # the closing call has the slot after the minute before 15:00
    bars = pl.concat([tape(name, session) for session in SESSIONS]).with_columns(
        session=pl.col("minute").dt.date(),
        end=pl.col("minute").dt.hour().cast(pl.Int32) * 60 + pl.col("minute").dt.minute(),
    )
    bars = bars.with_columns(slot=pl.col("end").replace_strict(slots, return_dtype=pl.Int32))
    bars = bars.with_columns(symbol=pl.col("symbol") + pl.lit(CANONICAL.get(name, ""))).drop("minute")
    if name == "nse":  # ticks of 0.05
        bars = bars.with_columns((pl.col([*PRICES, "amount"]) * 5).round(2))
    if not kind.opening and name != "nse":
        bars = bars.filter(pl.col("slot") > 0)
    if kind.untraded:
        quiet = pl.int_range(pl.len()) % kind.untraded == kind.untraded - 1
        bars = bars.with_columns(
            *(pl.when(quiet).then(0.0).otherwise(pl.col(name)).alias(name) for name in ("volume", "amount")),
            *(pl.when(~quiet).then(pl.col(name)).alias(name) for name in PRICES),
        )
    if step > 1:
        place = (pl.col("slot") - (0 if name == "nse" else 1)) // step  # the others' slot 0 is a call
        bars = bars.group_by("symbol", "session", place.alias("slot"), maintain_order=True).agg(
            pl.col("end").max(), pl.col("open").first(), pl.col("high").max(), pl.col("low").min(),
            pl.col("close").last(), pl.col("volume").sum(), pl.col("amount").sum(),
        )  # fmt: skip
    return bars


def _coins() -> pl.DataFrame:
    random, parts = np.random.default_rng(4), []
    for symbol in ("BTCUSDT.BN", "ETHUSDT.BN"):
        for session in SESSIONS:
            close = np.round(40_000 + np.cumsum(random.normal(0, 3, 1440)), 2)
            opens = np.concatenate([close[:1], close[:-1]])
            volume = np.round(random.gamma(1.0, 3.0, 1440) + 1e-5, 5)
            parts.append(
                pl.DataFrame(
                    {
                        "symbol": np.full(1440, symbol), "session": np.full(1440, np.datetime64(session, "D")),
                        "slot": np.arange(1440), "end": np.arange(1, 1441), "open": opens,
                        "high": np.maximum(opens, close) + 0.5, "low": np.minimum(opens, close) - 0.5, "close": close,
                        "volume": volume, "amount": np.round(volume * (opens + close) / 2, 8),
                    }
                )
            )  # fmt: skip
    return pl.concat(parts)


def with_extended_hours(bars: pl.DataFrame) -> pl.DataFrame:
    """The bars of a US truth and quiet ones from 08:00 to 18:00, whose slot is null."""
    ends = pl.DataFrame({"end": [*range(481, 571), *range(961, 1081)]}, schema={"end": bars.schema["end"]})
    edges = bars.group_by("symbol", "session", maintain_order=True).first().drop("end", "slot")
    quiet = edges.join(ends, how="cross").with_columns(
        slot=pl.lit(None, bars.schema["slot"]), volume=pl.lit(10.0), amount=pl.lit(10.0) * pl.col("close"),
        open=pl.col("close"), high=pl.col("close"), low=pl.col("close"),
    )  # fmt: skip
    return pl.concat([bars, quiet.select(bars.columns)]).sort("symbol", "session", "end")


# --- parts of files ---------------------------------------------------------------------------------------------------
def local(side: str, step: int = 1) -> pl.Expr:
    """The naive local stamp of a bar."""
    minute = pl.col("end") - (step if side == "start" else 0)
    return pl.col("session").cast(pl.Datetime("us")) + pl.duration(minutes=minute)


def zoned(stamp: pl.Expr, zone: str, to: str = "UTC") -> pl.Expr:
    """A local stamp in another zone."""
    return stamp.dt.replace_time_zone(zone).dt.convert_time_zone(to)


def text(stamp: pl.Expr, spelling: str) -> pl.Expr:
    """A stamp as text."""
    return stamp.dt.strftime(spelling)


def code() -> pl.Expr:
    """A symbol without its exchange."""
    return pl.col("symbol").str.replace(r"\.[A-Z]+$", "")


NEW_YORK, INDIA = "America/New_York", "Asia/Kolkata"
EXCHANGES = {"SH": "XSHG", "SZ": "XSHE"}
EPOCH = pl.datetime(1970, 1, 1, time_unit="us", time_zone="UTC")


def tdx(bars: pl.DataFrame) -> pl.DataFrame:
    lunch = pl.when(pl.col("end") == 690).then(780).otherwise(pl.col("end"))
    stamp = pl.col("session").cast(pl.Datetime("us")) + pl.duration(minutes=lunch)
    return bars.select(
        code=code(), open="open", close="close", high="high", low="low", vol=pl.col("volume") / 100, amount="amount",
        datetime=text(stamp, "%Y-%m-%d %H:%M"),
    )  # fmt: skip


def tushare(bars: pl.DataFrame) -> pl.DataFrame:
    call = pl.when(pl.col("slot") == 0).then(570).otherwise(pl.col("end"))
    stamp = pl.col("session").cast(pl.Datetime("us")) + pl.duration(minutes=call)
    return bars.select(
        ts_code="symbol", trade_time=text(stamp, "%Y-%m-%d %H:%M:%S"), open="open", close="close", high="high",
        low="low", vol="volume", amount="amount",
    ).reverse()  # fmt: skip


EASTMONEY = {
    "时间": "datetime",
    "开盘": "open",
    "收盘": "close",
    "最高": "high",
    "最低": "low",
    "成交量": "volume",
    "成交额": "amount",
}


def akshare(bars: pl.DataFrame) -> pl.DataFrame:
    names = {ours: chinese for chinese, ours in EASTMONEY.items()}
    columns = {names[name]: pl.col(name) for name in ("open", "close", "high", "low", "amount")}
    stamp = text(local("end"), "%Y-%m-%d %H:%M:%S")
    lots = pl.col("volume") / 100
    return bars.select(code().alias("code"), stamp.alias("时间"), lots.alias("成交量"), **columns)


def akshare_renamed(bars: pl.DataFrame) -> pl.DataFrame:
    return akshare(bars).rename(EASTMONEY)


def baostock(bars: pl.DataFrame) -> pl.DataFrame:
    prefixed = pl.col("symbol").str.replace(r"(\d{6})\.(\w\w)", "${2}.${1}").str.to_lowercase()
    return bars.select(
        pl.col("session").cast(pl.String).alias("date"), text(local("end"), "%Y%m%d%H%M%S000").alias("time"),
        prefixed.alias("code"), *PRICES, "volume", "amount", pl.lit("3").alias("adjustflag"),
    )  # fmt: skip


def baostock_rewritten(bars: pl.DataFrame) -> pl.DataFrame:
    moment = pl.col("time").str.slice(0, 14).str.to_datetime("%Y%m%d%H%M%S").dt.strftime("%Y-%m-%d %H:%M")
    return baostock(bars).with_columns(moment.alias("datetime")).drop("date", "time")


def joinquant(bars: pl.DataFrame) -> pl.DataFrame:
    exchange = pl.col("symbol").str.slice(7).replace_strict(EXCHANGES)
    return bars.select(
        code=code() + "." + exchange, datetime=text(local("end"), "%Y-%m-%d %H:%M:%S"), open="open", close="close",
        high="high", low="low", volume="volume", money="amount",
    )  # fmt: skip


def lean(bars: pl.DataFrame) -> pl.DataFrame:
    """One symbol and day as Lean writes it: milliseconds since midnight and prices in ten-thousandths, no header."""
    first = bars.filter((pl.col("symbol") == bars["symbol"][0]) & (pl.col("session") == SESSIONS[0]))
    prices = [(pl.col(name) * 10_000).round().cast(pl.Int64).alias(name) for name in PRICES]
    return first.select(((pl.col("end") - 1) * 60_000).alias("ms"), *prices, pl.col("volume").cast(pl.Int64))


def lean_rewritten(bars: pl.DataFrame) -> pl.DataFrame:
    return bars.select(
        code().alias("symbol"), text(local("start"), "%Y-%m-%d %H:%M:%S").alias("datetime"), *PRICES, "volume"
    )


def polygon(bars: pl.DataFrame) -> pl.DataFrame:
    nanoseconds = (zoned(local("start"), NEW_YORK) - EPOCH).dt.total_nanoseconds()
    return bars.select(
        ticker=code(), volume=pl.col("volume").cast(pl.Int64), open="open", close="close", high="high", low="low",
        window_start=nanoseconds, transactions=pl.lit(9),
    )  # fmt: skip


def polygon_rewritten(bars: pl.DataFrame) -> pl.DataFrame:
    moment = pl.from_epoch(pl.col("window_start"), "ns").dt.replace_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return polygon(bars).with_columns(moment.alias("timestamp")).drop("window_start")


def databento(bars: pl.DataFrame) -> pl.DataFrame:
    stamp = text(zoned(local("start"), NEW_YORK), "%Y-%m-%dT%H:%M:%S.000000000Z")
    return bars.select(
        stamp.alias("ts_event"), pl.lit(33).alias("rtype"), pl.lit(2).alias("publisher_id"),
        pl.lit(38).alias("instrument_id"), *PRICES, pl.col("volume").cast(pl.Int64), code().alias("symbol"),
    )  # fmt: skip


def alpaca(bars: pl.DataFrame) -> pl.DataFrame:
    stamp = text(zoned(local("start"), NEW_YORK), "%Y-%m-%d %H:%M:%S+00:00")
    return bars.select(
        code().alias("symbol"), stamp.alias("timestamp"), *PRICES, "volume", pl.lit(12.0).alias("trade_count"),
        pl.col("close").alias("vwap"),
    )  # fmt: skip


def kibot(bars: pl.DataFrame) -> pl.DataFrame:
    stamp = local("start")
    return bars.filter(pl.col("symbol") == bars["symbol"][0]).select(
        text(stamp, "%m/%d/%Y").alias("date"),
        text(stamp, "%H:%M").alias("time"),
        *PRICES,
        pl.col("volume").cast(pl.Int64),
    )


def kibot_with_header(bars: pl.DataFrame) -> pl.DataFrame:
    return bars.select(
        code().alias("symbol"), text(local("start"), "%m/%d/%Y %H:%M").alias("datetime"), *PRICES,
        pl.col("volume").cast(pl.Int64),
    )  # fmt: skip


def iex(bars: pl.DataFrame) -> pl.DataFrame:
    lost = {name: pl.col(name).fill_null(-1.0) for name in ("high", "low")}
    return bars.select(
        symbol=code(), date=pl.col("session").cast(pl.String), minute=text(local("start"), "%H:%M"), **lost,
        open="open", close="close", volume="volume", notional="amount", numberOfTrades=pl.lit(3),
    )  # fmt: skip


def iex_joined(bars: pl.DataFrame) -> pl.DataFrame:
    return iex(bars).with_columns(minute=pl.col("date") + " " + pl.col("minute")).drop("date")


def binance(bars: pl.DataFrame) -> pl.DataFrame:
    opened = (zoned(local("start"), "UTC") - EPOCH).dt.total_milliseconds()
    return bars.filter(pl.col("symbol") == bars["symbol"][0]).select(
        opened.alias("open_time"), *PRICES, "volume", (opened + 59_999).alias("close_time"),
        pl.col("amount").alias("quote_volume"), pl.lit(5).alias("count"),
        (pl.col("volume") / 4).alias("taker_buy_volume"), (pl.col("amount") / 4).alias("taker_buy_quote_volume"),
        pl.lit(0).alias("ignore"),
    )  # fmt: skip


def binance_rewritten(bars: pl.DataFrame) -> pl.DataFrame:
    stamp = text(local("start"), "%Y-%m-%d %H:%M:%S")
    return bars.select(
        code().alias("symbol"), stamp.alias("datetime"), *PRICES, "volume", pl.col("amount").alias("quote_volume"),
        (pl.col("volume") / 4).alias("taker_buy_volume"), (pl.col("amount") / 4).alias("taker_buy_quote_volume"),
    )  # fmt: skip


def kite(bars: pl.DataFrame) -> pl.DataFrame:
    stamp = text(zoned(local("start"), INDIA, INDIA), "%Y-%m-%dT%H:%M:%S%z")
    return bars.select(code().alias("symbol"), stamp.alias("date"), *PRICES, pl.col("volume").cast(pl.Int64))


def kite_renamed(bars: pl.DataFrame) -> pl.DataFrame:
    return kite(bars).rename({"date": "datetime"})


def nse(bars: pl.DataFrame) -> pl.DataFrame:
    return bars.select(
        code().alias("symbol"), local("start", 15).alias("datetime"), *PRICES, pl.col("volume").cast(pl.Int64)
    )


def stored(path: Path, frame: pl.DataFrame, header: bool) -> Path:
    """Write a vendor's file."""
    if path.suffix == ".csv":
        frame.write_csv(path, include_header=header)
    else:
        frame.write_parquet(path)
    return path
