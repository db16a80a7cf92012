"""A batch of a vendor's Level-2 rows -> tape, and the rows that may not enter it, each with one reason.

`side` of an order is its own, of a trade the aggressor's where the exchange says it (1 buy, -1 sell, 0 nobody).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import FpmError
from fpm.ingest.bar_files import refuse
from fpm.ingest.quarantine import RULES
from fpm.ingest.vendor_bars import named_session
from fpm.sessions import UTC, Market, sessions_between
from fpm.symbols import symbol_table
from fpm.ticks.tape import (
    ADD,
    CANCEL,
    CHANNELS,
    DELETE,
    EXCHANGES,
    MERGED,
    NUMBERS,
    ORDERS,
    SHANGHAI,
    SHENZHEN,
    STATUS,
    STREAMS,
    TAPE,
    TRADE,
    TRADES,
    UNITS,
    TickRules,
    sid_of,
    slot_of,
)

if TYPE_CHECKING:
    from fpm.ticks.files import TickFile

FAULTS = pl.Schema({"row": pl.UInt32, "session": pl.Date, "reason_code": pl.String, "reason": pl.String})
SIDES = {"B": 1, "S": -1, "N": 0, "1": 1, "-1": -1, "0": 0, "2": -1}  # Shenzhen's orders: 1 buy, 2 sell
EXECUTIONS = {"T": TRADE, "F": TRADE, "C": CANCEL, "4": CANCEL}
SH_RECORDS = {"A": ADD, "D": DELETE, "T": TRADE, "S": STATUS}
SZ_ORDERS = {"1": ADD, "2": ADD, "U": ADD, "A": ADD}
AT_MARKET = ("1", "U")  # Shenzhen's order types without a price of their own: market, best of the own side
HIGHEST = 100_000.0  # currency a share; no A-share ever traded above 3,000


@dataclass(frozen=True)
class Records:
    """`tape` (columns of `TAPE`, and session) and `faults`; `status`: records that say only the state of trading."""

    tape: pl.DataFrame
    faults: pl.DataFrame
    status: int


def records(batch: pl.DataFrame, file: TickFile, number: int, market: Market, now: datetime) -> Records:
    """One batch of a file of trades, orders or the merged stream. `number` is the file's in the delivery.

    Raises InputRefused: 006 a column that an exchange in the file needs, 028 times in the future, 147 two schemas.
    """
    named = _named(batch, market)
    _check_exchanges(named, file)
    timed = _timed(named, file, market, now)
    kinds = timed.with_columns(_kind(file).alias("kind"), _side(file).alias("side"), *_numbers(timed, file))
    spoken = kinds.filter(pl.col("kind").ne_missing(STATUS)) if file.stream != TRADES else kinds
    placed = spoken.with_columns(slot_of(market, TickRules()).alias("slot"))
    sessions = _sessions(placed["session"], file, market)
    faults = _faults(placed, _checks(named_session(file.path), sessions))
    good = placed.join(faults, on="row", how="anti", maintain_order="left") if faults.height else placed
    constants = {"stream": STREAMS.index(file.stream), "file": number}
    tape = good.with_columns(sid_of(pl.col("symbol")), *(pl.lit(v).alias(k) for k, v in constants.items()))
    ready = tape.select("session", *(pl.col(name).cast(kind) for name, kind in TAPE.items()))
    return Records(ready, faults, kinds.height - spoken.height)


def _named(batch: pl.DataFrame, market: Market) -> pl.DataFrame:
    spelt = batch.with_columns(pl.col("symbol").cast(pl.String)).rename({"symbol": "spelling"})
    table = symbol_table(spelt["spelling"].drop_nulls().unique(), market)
    return spelt.join(table, on="spelling", how="left", maintain_order="left").with_columns(
        pl.col("symbol").str.slice(7).alias("exchange")
    )


def _check_exchanges(batch: pl.DataFrame, file: TickFile) -> None:
    """What one exchange needs must be there; two schemas in one file are refused."""
    exchanges = set(batch["exchange"].drop_nulls().unique().to_list())
    if file.stream == MERGED and SHENZHEN in exchanges:
        wrong = "Shanghai's merged stream with records of Shenzhen: two schemas in one file"
        raise refuse("FPM-IN-147", file.path, wrong, "give Shenzhen's trades and orders as files of their own")
    needs = {(TRADES, SHANGHAI): "side", (TRADES, SHENZHEN): "exec_type", (ORDERS, SHANGHAI): "order_type"}
    for (stream, exchange), column in needs.items():
        if file.stream == stream and exchange in exchanges and column not in batch.columns:
            wrong = f"missing column {column}, which {stream} of {exchange} need"
            raise refuse("FPM-IN-006", file.path, wrong, "add the column under this name")


def _timed(batch: pl.DataFrame, file: TickFile, market: Market, now: datetime) -> pl.DataFrame:
    """`session` and `time` (milliseconds of the day), exchange-local."""
    moment = batch["time"]
    zone = moment.dtype.time_zone if isinstance(moment.dtype, pl.Datetime) else None
    if zone:
        moment = moment.dt.convert_time_zone(market.timezone).dt.replace_time_zone(None)
    latest = (now + timedelta(minutes=RULES[market.name].future_minutes)).astimezone(market.zone).replace(tzinfo=None)
    last = moment.max()
    if isinstance(last, datetime) and last > latest:
        wrong = f"{(moment > latest).sum()} rows after {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC, the last at {last}"
        raise refuse("FPM-IN-028", file.path, wrong, "check the source's clock and the time zone of its stamps")
    day = moment.dt.date().alias("session")
    since = moment.dt.epoch("ms") - day.cast(pl.Datetime("ms")).dt.epoch("ms")
    return batch.with_columns(day, since.cast(pl.Int32).alias("time"))


def _kind(file: TickFile) -> pl.Expr:
    shenzhen = pl.col("exchange") == SHENZHEN
    if file.stream == TRADES:
        if "exec_type" not in file.names:
            return pl.lit(TRADE, pl.UInt8)
        told = _told("exec_type", EXECUTIONS, pl.UInt8)
        return pl.when(shenzhen | (told == TRADE)).then(told).otherwise(None)
    if file.stream == MERGED:
        return _told("record_type", SH_RECORDS, pl.UInt8)
    if "order_type" not in file.names:
        return pl.lit(ADD, pl.UInt8)
    told = _told("order_type", SH_RECORDS, pl.UInt8)
    return pl.when(shenzhen).then(_told("order_type", SZ_ORDERS, pl.UInt8)).when(told != TRADE).then(told)


def _told(column: str, meanings: dict[str, int], kind: type[pl.UInt8 | pl.Int8]) -> pl.Expr:
    """What a flag means, null where the exchange has no such flag."""
    text = pl.col(column).cast(pl.String).str.strip_chars()
    return text.replace_strict(meanings, default=None, return_dtype=kind)


def _side(file: TickFile) -> pl.Expr:
    if file.stream != TRADES:
        return _told("side", SIDES, pl.Int8)
    told = _told("side", SIDES, pl.Int8) if "side" in file.names else pl.lit(None, pl.Int8)
    shenzhen = pl.col("exchange") == SHENZHEN  # the larger order number is the later order: the aggressor
    by_number = pl.when(pl.col("buy_order") > pl.col("sell_order")).then(1).otherwise(-1).cast(pl.Int8)
    return pl.when(shenzhen).then(by_number).otherwise(told)


def _numbers(batch: pl.DataFrame, file: TickFile) -> list[pl.Expr]:
    """Prices in 1/10,000, volumes as given, order numbers by side; what cannot be a number becomes null."""
    exact = pl.col("price").cast(pl.Float64)
    if batch["price"].dtype == pl.Float32:  # seven digits: cents above 1,000, thousandths below
        price = pl.when(exact >= 1000).then((exact * 100).round() * 100).otherwise((exact * 1000).round() * 10)
    else:
        price = (exact * UNITS).round()
    if file.stream == ORDERS and "order_type" in file.names:
        market_order = (pl.col("exchange") == SHENZHEN) & pl.col("order_type").cast(pl.String).is_in(AT_MARKET)
        price, exact = (
            pl.when(market_order).then(0.0).otherwise(price),
            pl.when(market_order).then(0.0).otherwise(exact),
        )
    off_grid = batch["price"].dtype != pl.Float32
    off = (exact * UNITS - price).abs() > 0.01 if off_grid else pl.lit(False)
    volume = pl.col("volume").cast(pl.Float64)
    columns = [
        price.fill_nan(None).alias("price"),
        off.alias("finer"),
        exact.is_infinite().alias("endless"),
        volume.fill_nan(None).alias("volume"),
        (pl.col("channel") if "channel" in file.names else pl.lit(0)).alias("channel"),
    ]
    if file.stream == ORDERS:
        buys = _told("side", SIDES, pl.Int8) == 1
        columns += [pl.when(buys).then("order_no").otherwise(0).alias("buy")]
        columns += [pl.when(~buys).then("order_no").otherwise(0).alias("sell")]
    else:
        columns += [pl.col("buy_order").fill_null(0).alias("buy"), pl.col("sell_order").fill_null(0).alias("sell")]
    return columns


def _sessions(days: pl.Series, file: TickFile, market: Market) -> list[date]:
    first, last = days.min(), days.max()
    if not isinstance(first, date) or not isinstance(last, date):
        return []
    try:
        return sessions_between(market, first, last)
    except FpmError as error:
        raise refuse(error.code, file.path, error.wrong, error.todo) from None


def _checks(named: date | None, sessions: list[date]) -> list[tuple[pl.Expr, pl.Expr, pl.Expr]]:
    """(code, condition, reason), in the order in which they are asked."""
    kind, session, price, volume, channel = (pl.col(name) for name in ("kind", "session", "price", "volume", "channel"))
    cells = pl.format(
        "price {}, volume {}, buy order {}, sell order {}",
        *(pl.col(name).cast(pl.String).fill_null("empty") for name in ("price", "volume", "buy", "sell")),
    )
    ids = (
        ((kind == TRADE) & ((pl.col("buy") <= 0) | (pl.col("sell") <= 0)))
        | ((kind == CANCEL) & ((pl.col("buy") > 0) == (pl.col("sell") > 0)))
        | (kind.is_in((ADD, DELETE)) & (pl.max_horizontal("buy", "sell") <= 0))
        | (pl.max_horizontal("buy", "sell") >= NUMBERS)
    )
    flagged = kind.is_null() | pl.col("side").is_null() | (kind.is_in((ADD, DELETE)) & (pl.col("side") == 0))
    return [
        (
            pl.col("reason_code").fill_null("FPM-IN-031"),
            pl.col("symbol").is_null(),
            pl.col("reason").fill_null("the row has no symbol"),
        ),
        (
            pl.lit("FPM-IN-149"),
            ~pl.col("exchange").is_in(EXCHANGES),
            pl.format("no Level-2 rules are known for exchange {}", pl.col("exchange")),
        ),
        (pl.lit("FPM-IN-029"), session.is_null(), pl.lit("the row has no time")),
        (
            pl.lit("FPM-IN-027"),
            session != pl.lit(named, pl.Date),
            pl.format("dated {}, the file is of {}", session, pl.lit(named, pl.Date)),
        ),
        (pl.lit("FPM-IN-135"), ~session.is_in(sessions), pl.format("{} is no session of the market", session)),
        (pl.lit("FPM-IN-140"), flagged, pl.lit("unknown flag: side, exec_type, order_type or record_type")),
        (
            pl.lit("FPM-IN-138"),
            pl.col("seq").is_null() | (pl.col("seq") < 0) | ~channel.is_between(0, CHANNELS - 1) | channel.is_null(),
            pl.lit("no sequence number, or no channel"),
        ),
        (pl.lit("FPM-IN-024"), price.is_null() | volume.is_null() | pl.col("endless"), cells),
        (pl.lit("FPM-IN-022"), (price < 0) | (volume < 0), cells),
        (pl.lit("FPM-IN-009"), pl.col("finer") | (volume != volume.round()), cells),
        (pl.lit("FPM-IN-146"), (price > HIGHEST * UNITS) | (volume > 2**31 - 1), cells),
        (pl.lit("FPM-IN-023"), (volume == 0) | ((kind == TRADE) & (price == 0)), cells),
        (pl.lit("FPM-IN-141"), ids, cells),
        (pl.lit("FPM-IN-029"), pl.col("slot").is_null(), pl.lit("outside the hours of trading")),
    ]


def _faults(batch: pl.DataFrame, checks: list[tuple[pl.Expr, pl.Expr, pl.Expr]]) -> pl.DataFrame:
    """Rows with a fault, and the first that applies."""
    which = pl.lit(None, pl.Int8)
    for number, (_, condition, _) in reversed(list(enumerate(checks))):
        which = pl.when(condition.fill_null(False)).then(pl.lit(number, pl.Int8)).otherwise(which)
    bad = batch.with_columns(which.alias("which")).filter(pl.col("which").is_not_null())
    parts = [
        bad.filter(pl.col("which") == number).select("row", "session", reason_code=code, reason=reason)
        for number, (code, _, reason) in enumerate(checks)
    ]
    return pl.concat([part.cast(FAULTS) for part in parts]).sort("row")
