"""A batch of a vendor's Level-2 rows -> tape, and the rows that may not enter it, each with one reason.

`side`: an order's own, or a trade's aggressor (1 buy, -1 sell, 0 nobody).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from fpm.ingest.balance import OUT_OF_SESSION
from fpm.ingest.quarantine import Check, first_faults
from fpm.ingest.stamps import local_times, session_in_name, sessions_of
from fpm.ingest.vendor_files import refusal
from fpm.symbols import with_symbols
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
    from datetime import date, datetime

    from fpm.markets import Market
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
    """`tape` (columns of `TAPE`, and session), `faults` (`FAULTS`), and the count of records of trading status.

    `bad`: session, sid, len: the faults that cost a symbol's session a record.
    """

    tape: pl.DataFrame
    faults: pl.DataFrame
    status: int
    bad: pl.DataFrame


def records(batch: pl.DataFrame, file: TickFile, number: int, market: Market, now: datetime) -> Records:
    """One batch of a file of trades, orders or the merged stream. `number` is the file's in the delivery.

    Raises InputRefused: 006 a missing column that an exchange in the file needs, 028 times in the future, 147 two
    schemas, CAL-001 beyond the calendar.
    """
    timed = placed(batch, file, market, now)
    _check_exchanges(timed, file)
    kinds = timed.with_columns(_kind(file).alias("kind"), _side(file).alias("side"), *_numbers(timed, file))
    events = kinds.filter(pl.col("kind").ne_missing(STATUS)) if file.stream != TRADES else kinds
    slotted = events.with_columns(
        slot_of(market, TickRules()).alias("slot"), pl.lit(session_in_name(file.path), pl.Date).alias("named_session")
    )
    faults = _faults(slotted, sessions_of(file.path, slotted["session"], market))
    good = slotted.join(faults, on="row", how="anti", maintain_order="left") if faults.height else slotted
    constants = {"stream": STREAMS.index(file.stream), "file": number}
    tape = good.with_columns(sid_of(pl.col("symbol")), *(pl.lit(v).alias(k) for k, v in constants.items()))
    ready = tape.select("session", *(pl.col(name).cast(kind) for name, kind in TAPE.items()))
    return Records(ready, faults, kinds.height - events.height, _bad(slotted, faults))


def _bad(rows: pl.DataFrame, faults: pl.DataFrame) -> pl.DataFrame:
    lost = faults.filter(~pl.col("reason_code").is_in([*OUT_OF_SESSION, "FPM-IN-149"])).select("row")
    own = rows.filter(pl.col("symbol").is_not_null()).join(lost, on="row", how="semi")
    return own.group_by("session", sid_of(pl.col("symbol"))).len().cast({"len": pl.Int64})


def placed(batch: pl.DataFrame, file: TickFile, market: Market, now: datetime) -> pl.DataFrame:
    """Adds `symbol` in canonical form, `exchange`, `session` and `time` (milliseconds of the day), exchange-local."""
    rows = with_symbols(batch, market).with_columns(pl.col("symbol").str.slice(7).alias("exchange"))
    moment = local_times(file.path, rows["time"], market, now)
    day = moment.dt.date().alias("session")
    since = moment.dt.epoch("ms") - day.cast(pl.Datetime("ms")).dt.epoch("ms")
    return rows.with_columns(day, since.cast(pl.Int32).alias("time"))


def _check_exchanges(batch: pl.DataFrame, file: TickFile) -> None:
    """Refuse a file without a column that one of its exchanges needs, or with the schemas of both."""
    exchanges = set(batch["exchange"].drop_nulls().unique().to_list())
    if file.stream == MERGED and SHENZHEN in exchanges:
        raise refusal(
            file.path,
            code="FPM-IN-147",
            wrong="Shanghai's merged stream with records of Shenzhen: two schemas in one file",
            todo="give Shenzhen's trades and orders as files of their own",
        )
    needs = {(TRADES, SHANGHAI): "side", (TRADES, SHENZHEN): "exec_type", (ORDERS, SHANGHAI): "order_type"}
    for (stream, exchange), column in needs.items():
        if file.stream == stream and exchange in exchanges and column not in batch.columns:
            raise refusal(
                file.path,
                code="FPM-IN-006",
                wrong=f"missing column {column}, which {stream} of {exchange} need",
                todo="add the column under this name",
            )


def _kind(file: TickFile) -> pl.Expr:
    shenzhen = pl.col("exchange") == SHENZHEN
    if file.stream == TRADES:
        if "exec_type" not in file.names:
            return pl.lit(TRADE, pl.UInt8)
        kind = _meaning("exec_type", EXECUTIONS, pl.UInt8)
        return pl.when(shenzhen | (kind == TRADE)).then(kind).otherwise(None)
    if file.stream == MERGED:
        return _meaning("record_type", SH_RECORDS, pl.UInt8)
    if "order_type" not in file.names:
        return pl.lit(ADD, pl.UInt8)
    kind = _meaning("order_type", SH_RECORDS, pl.UInt8)
    return pl.when(shenzhen).then(_meaning("order_type", SZ_ORDERS, pl.UInt8)).when(kind != TRADE).then(kind)


def _meaning(column: str, meanings: dict[str, int], kind: type[pl.UInt8 | pl.Int8]) -> pl.Expr:
    """The meaning of a flag; null where the exchange has no such flag."""
    text = pl.col(column).cast(pl.String).str.strip_chars()
    return text.replace_strict(meanings, default=None, return_dtype=kind)


def _side(file: TickFile) -> pl.Expr:
    if file.stream != TRADES:
        return _meaning("side", SIDES, pl.Int8)
    flag = _meaning("side", SIDES, pl.Int8) if "side" in file.names else pl.lit(None, pl.Int8)
    return pl.when(pl.col("exchange") == SHENZHEN).then(later_order()).otherwise(flag)


def later_order() -> pl.Expr:
    """Shenzhen's aggressor: the larger order number is the later order. 1 the buyer, -1 the seller.

    >>> orders = pl.DataFrame({"buy_order": [12, 7], "sell_order": [9, 8]})
    >>> orders.select(later_order().alias("side"))["side"].to_list()
    [1, -1]
    """
    return pl.when(pl.col("buy_order") > pl.col("sell_order")).then(1).otherwise(-1).cast(pl.Int8)


def _numbers(batch: pl.DataFrame, file: TickFile) -> list[pl.Expr]:
    """Prices in 1/10,000, volumes in shares, order numbers by side; a value that is no number becomes null."""
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
        buys = _meaning("side", SIDES, pl.Int8) == 1
        columns += [pl.when(buys).then("order_no").otherwise(0).alias("buy")]
        columns += [pl.when(~buys).then("order_no").otherwise(0).alias("sell")]
    else:
        columns += [pl.col("buy_order").fill_null(0).alias("buy"), pl.col("sell_order").fill_null(0).alias("sell")]
    return columns


def _faults(rows: pl.DataFrame, sessions: list[date]) -> pl.DataFrame:
    """Rows that may not enter the tape, each with the first fault that applies."""
    cells = pl.format(
        "price {}, volume {}, buy order {}, sell order {}",
        *(pl.col(name).cast(pl.String).fill_null("empty") for name in ("price", "volume", "buy", "sell")),
    )
    return first_faults(rows, [*place_checks(sessions), *_value_checks()], cells=cells).cast(FAULTS)


def place_checks(sessions: list[date]) -> list[Check]:
    """Symbol, exchange and day of a record."""
    session = pl.col("session")
    return [
        Check(code=pl.col("symbol_code"), condition=pl.col("symbol").is_null(), wrong="{symbol_reason}"),
        Check(
            code="FPM-IN-149",
            condition=~pl.col("exchange").is_in(EXCHANGES),
            wrong="no Level-2 rules are known for exchange {exchange}",
        ),
        Check(code="FPM-IN-029", condition=session.is_null(), wrong="the row has no time"),
        Check(
            code="FPM-IN-027",
            condition=session != pl.col("named_session"),
            wrong="dated {session}, the file is of {named_session}",
        ),
        Check(code="FPM-IN-135", condition=~session.is_in(sessions), wrong="{session} is no session of the market"),
    ]


def _value_checks() -> list[Check]:
    """Flags, numbers and minute of a record."""
    kind, price, volume, channel = (pl.col(name) for name in ("kind", "price", "volume", "channel"))
    flags = kind.is_null() | pl.col("side").is_null() | (kind.is_in((ADD, DELETE)) & (pl.col("side") == 0))
    no_sequence = (
        pl.col("seq").is_null() | (pl.col("seq") < 0) | ~channel.is_between(0, CHANNELS - 1) | channel.is_null()
    )
    order_numbers = (
        ((kind == TRADE) & ((pl.col("buy") <= 0) | (pl.col("sell") <= 0)))
        | ((kind == CANCEL) & ((pl.col("buy") > 0) == (pl.col("sell") > 0)))
        | (kind.is_in((ADD, DELETE)) & (pl.max_horizontal("buy", "sell") <= 0))
        | (pl.max_horizontal("buy", "sell") >= NUMBERS)
    )
    no_number = price.is_null() | volume.is_null() | pl.col("endless")
    too_large = (price > HIGHEST * UNITS) | (volume > 2**31 - 1)
    zero = (volume == 0) | ((kind == TRADE) & (price == 0))
    return [
        Check(code="FPM-IN-140", condition=flags, wrong="unknown flag: side, exec_type, order_type or record_type"),
        Check(code="FPM-IN-138", condition=no_sequence, wrong="no sequence number, or no channel"),
        Check(code="FPM-IN-024", condition=no_number, wrong="{cells}"),
        Check(code="FPM-IN-022", condition=(price < 0) | (volume < 0), wrong="{cells}"),
        Check(code="FPM-IN-009", condition=pl.col("finer") | (volume != volume.round()), wrong="{cells}"),
        Check(code="FPM-IN-146", condition=too_large, wrong="{cells}"),
        Check(code="FPM-IN-023", condition=zero, wrong="{cells}"),
        Check(code="FPM-IN-141", condition=order_numbers, wrong="{cells}"),
        Check(code="FPM-IN-029", condition=pl.col("slot").is_null(), wrong="outside the hours of trading"),
    ]
