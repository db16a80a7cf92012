"""Unit of volume and basis of prices, by symbol and session, from the amounts beside them.

Where a bar has an amount, amount / volume is its average price: near the bar's own prices volumes are shares, a hundred
times above they are lots, and outside the bar's range the prices are not the raw ones. A file may mix units (shares for
STAR, lots elsewhere; lots on one session of thirty), so every symbol-session is asked. Without amounts the exchange's
facts decide, or the caller's `Stated`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import InputRefused

if TYPE_CHECKING:
    from fpm.exchange_facts import Exchange

RATIO = 0.1  # amount / (volume x price) within this of 1 or of a lot
IN_RANGE = 0.95  # share of a symbol-session's bars whose average price lies in [low, high]
SLACK = 0.005  # relative width around [low, high]: amounts are rounded
ON_TICK = 0.5  # share of closes on the tick where raw prices show no other way
WHOLE = 20  # different closes that are not all whole by chance where the tick is a hundredth
SHARES, LOTS = "shares", "lots"
KEYS = ("symbol", "day")
DAYS = "symbol_day"  # `symbol_day`


@dataclass(frozen=True)
class Stated:
    """What the caller says of a vendor's files; None where the files have to show it.

    `stamp_side` start | end, `volume_unit` shares | lots, `prices` raw | adjusted.
    """

    stamp_side: str | None = None
    volume_unit: str | None = None
    prices: str | None = None


@dataclass(frozen=True)
class Units:
    """`volume_unit` and `price_basis` of most symbol-sessions, with the evidence in words.

    `factors`: symbol, day, factor: what its volumes are multiplied by to be shares, where that differs from the rest.
    `refused`: symbol, day, reason_code, reason: symbol-sessions whose volumes or prices mean something else.
    """

    volume_unit: str
    price_basis: str
    evidence: str
    factors: pl.DataFrame
    refused: pl.DataFrame


NO_FACTORS = pl.DataFrame(schema={"symbol": pl.String, "day": pl.Date, "factor": pl.Float64})
NO_REFUSALS = pl.DataFrame(schema={"symbol": pl.String, "day": pl.Date, "reason_code": pl.String, "reason": pl.String})


def symbol_day(bars: pl.DataFrame) -> pl.Series:
    """`DAYS`: a number for each symbol (null is one, too) and day; it is grouped at half the price of both columns."""
    names = bars["symbol"].unique().drop_nulls().sort()
    symbol = bars["symbol"].cast(pl.Enum(names)).to_physical().cast(pl.Int64).fill_null(len(names))
    day = bars["day"].cast(pl.Int32).cast(pl.Int64)
    return (day * (len(names) + 1) + symbol).alias(DAYS)


def units(bars: pl.DataFrame, exchange: Exchange, stated: Stated, fallback: tuple[str, str] | None) -> Units:
    """Units of one file: `bars` has symbol, day, `DAYS`, prices, volume, and amount where the vendor has it.

    `fallback`: unit and basis of earlier files. Raises InputRefused: 126 the unit of volume is not decidable, 127 most
    prices are not raw.
    """
    if "amount" in bars.columns and stated.prices != "adjusted":
        columns = bars.select(*KEYS, "low", "high", "volume", "amount", DAYS)
        active = columns.filter((pl.col("volume") > 0) & pl.col("symbol").is_not_null())
        traded = active.filter((pl.col("amount") > 0) & (pl.col("low") > 0))
        if traded.height:
            shown = _from_amounts(traded, exchange)
            days = active.group_by(DAYS).agg(pl.col(KEYS).first())
            silent = days.join(traded.select(DAYS).unique(), on=DAYS, how="anti").select(KEYS).sort(KEYS)
            return shown if _unit_is_a_fact(exchange, stated) else replace(shown, refused=_with_silent(shown, silent))
    return _from_facts(bars, exchange, stated, fallback)


def _unit_is_a_fact(exchange: Exchange, stated: Stated) -> bool:
    return bool(stated.volume_unit or exchange.volume_unit)


def _with_silent(shown: Units, silent: pl.DataFrame) -> pl.DataFrame:
    """The refused symbol-sessions and those without any amount: the unit of others is no evidence for theirs."""
    wrong = "unit of volume is not decidable: no amount beside the volumes, though other symbols or days have amounts"
    rows = silent.select(*KEYS, pl.lit("FPM-IN-126").alias("reason_code"), pl.lit(wrong).alias("reason"))
    return pl.concat([shown.refused, rows])


def _from_amounts(traded: pl.DataFrame, exchange: Exchange) -> Units:
    lot = float(exchange.lot if exchange.lot > 1 else 100)
    average = pl.col("amount") / pl.col("volume")
    ratio = (average * 2 / (pl.col("low") + pl.col("high"))).median()
    inside = (pl.col("price") >= pl.col("low") * (1 - SLACK)) & (pl.col("price") <= pl.col("high") * (1 + SLACK))
    by_symbol = traded.group_by(DAYS).agg(pl.col(KEYS).first(), ratio.alias("ratio")).sort(KEYS)
    near = [(pl.col("ratio") / factor - 1).abs() < RATIO for factor in (1.0, lot)]
    by_symbol = by_symbol.with_columns(factor=pl.when(near[0]).then(1.0).when(near[1]).then(lot))
    averages = traded.join(by_symbol.select(DAYS, "factor"), on=DAYS).with_columns(price=average / pl.col("factor"))
    shares = averages.group_by(DAYS).agg(inside.mean().alias("inside"), pl.len().alias("bars"))
    by_symbol = by_symbol.join(shares, on=DAYS, maintain_order="left")
    # one bad bar of a thin symbol is the bar's fault, not a unit's
    by_symbol = by_symbol.with_columns(
        raw=pl.col("factor").is_not_null()
        & ((1 - pl.col("inside")) * pl.col("bars") <= pl.max_horizontal(pl.lit(1.0), (1 - IN_RANGE) * pl.col("bars")))
    )
    raw = by_symbol.filter("raw")
    usual = float(by_symbol.select(pl.col("ratio").median()).item())
    evidence = f"amount / (volume x price) = {usual:.4g}"
    _require_raw(by_symbol, raw, evidence)
    factor = raw["factor"].mode().sort()[0]
    refused = by_symbol.filter(~pl.col("raw")).select(*KEYS, _code().alias("reason_code"), _reason().alias("reason"))
    others = raw.filter(pl.col("factor") != factor).select(*KEYS, "factor")
    share = f"{raw.height} of {by_symbol.height} symbol-sessions have raw prices"
    return Units(LOTS if factor != 1 else SHARES, "raw", f"{evidence}, {share}", others, refused)


def _require_raw(by_symbol: pl.DataFrame, raw: pl.DataFrame, evidence: str) -> None:
    """Refuse a file most of whose symbol-sessions show no unit, or no raw prices."""
    if raw.height * 2 > by_symbol.height:
        return
    worst = by_symbol.filter(~pl.col("raw")).sort("inside", *KEYS, nulls_last=False).row(0, named=True)
    where = f"{worst['symbol']} on {worst['day']}"
    if by_symbol["factor"].null_count() * 2 > by_symbol.height:
        raise _refusal(
            code="FPM-IN-126",
            wrong=f"unit of volume is not decidable: {evidence}, e.g. {where}",
            todo="give shares (or lots), raw prices and amounts in currency",
        )
    raise _refusal(
        code="FPM-IN-127",
        wrong=f"prices are not raw: {evidence}, e.g. {where}: {worst['inside']:.0%} of average prices in [low, high]",
        todo="give unadjusted prices",
    )


def _code() -> pl.Expr:
    return pl.when(pl.col("factor").is_null()).then(pl.lit("FPM-IN-126")).otherwise(pl.lit("FPM-IN-127"))


def _reason() -> pl.Expr:
    unit = pl.format("unit of volume is not decidable: amount / (volume x price) is {}", pl.col("ratio").round(6))
    basis = pl.format("prices are not raw: {} % of average prices in [low, high]", (pl.col("inside") * 100).round(1))
    return pl.when(pl.col("factor").is_null()).then(unit).otherwise(basis)


def _from_facts(bars: pl.DataFrame, exchange: Exchange, stated: Stated, fallback: tuple[str, str] | None) -> Units:
    """No amounts: the caller's word, the exchange's facts, or what earlier files decided. Raises 146 as well."""
    unit = stated.volume_unit or exchange.volume_unit or (fallback and fallback[0])
    if not unit:
        raise _refusal(
            code="FPM-IN-126",
            wrong="there is no amount, and volumes of this exchange come in lots or in shares",
            todo="add amount, or say it: --volume-unit shares (or lots) --prices raw (or adjusted)",
        )
    _require_decimals(bars, exchange)
    source = "your word" if stated.volume_unit else "the exchange" if exchange.volume_unit else "earlier files"
    words = f"no amount; volume in {unit} by {source}"
    if stated.prices or not exchange.adjusts:
        basis = stated.prices or "raw"
        return Units(unit, basis, f"{words}, prices {basis}", NO_FACTORS, NO_REFUSALS)
    if not exchange.tick:
        if fallback:
            return Units(unit, fallback[1], f"{words}, prices as in earlier files", NO_FACTORS, NO_REFUSALS)
        raise _refusal(
            code="FPM-IN-127",
            wrong="there is no amount, so raw and adjusted prices look alike",
            todo="add amount, or say it: --prices raw (or adjusted)",
        )
    ticks = pl.col("close") / exchange.tick
    on_tick = ((ticks - ticks.round()).abs() < 1e-3).mean()
    traded = bars.filter((pl.col("close") > 0) & pl.col("symbol").is_not_null())
    share = float(traded.select(on_tick.alias("share")).item() or 0.0)
    if share < ON_TICK and fallback is None:
        raise _refusal(
            code="FPM-IN-127",
            wrong=f"{share:.1%} of closes lie on the tick {exchange.tick}: adjusted prices?",
            todo="give raw prices or amounts, or say --prices adjusted",
        )
    return Units(
        unit, "raw_by_tick", f"{words}, {share:.1%} of closes on the tick {exchange.tick}", NO_FACTORS, NO_REFUSALS
    )


def _require_decimals(bars: pl.DataFrame, exchange: Exchange) -> None:
    """Refuse prices that are whole numbers throughout where the tick is smaller: cents, or ten-thousandths (Lean)."""
    closes = bars.filter(pl.col("close") > 0)["close"]
    if 0 < exchange.tick < 1 and closes.n_unique() > WHOLE and bool((closes == closes.round()).all()):
        raise _refusal(
            code="FPM-IN-146",
            wrong=f"{len(closes)} closes are whole numbers, e.g. {closes[0]:g}, the tick is {exchange.tick}: scaled?",
            todo="give prices in currency, not in cents or ten-thousandths",
        )


def _refusal(*, code: str, wrong: str, todo: str) -> InputRefused:
    return InputRefused(code=code, wrong=wrong, effect="the file is refused whole, nothing of it is stored", todo=todo)


def exceptions(factors: pl.DataFrame, usual: str) -> tuple[str, ...]:
    """Symbol-sessions whose volumes have another unit than the file's `usual` one, in words, by day."""
    if not factors.height:
        return ()
    unit = LOTS if usual == SHARES else SHARES
    by_day = factors.group_by("day").agg(pl.col("symbol").sort()).sort("day")
    return tuple(
        f"volume in {unit} on {day}, converted: {len(symbols)} symbols, {', '.join(symbols[:5])}"
        for day, symbols in by_day.iter_rows()
    )
