"""A vendor's daily table beside the minutes of the same sessions: its units, and whether the two agree.

Units first: where a daily row has an amount, amount / (volume x mid price) tells shares from lots and currency from
thousands; against the minutes a factor of 100 or 1,000 over the whole table is a unit too. What then still differs is a
fault of one of the two sources, and nobody can say of which, so both go. Nothing here reads a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from fpm.features.bars import required_minutes
from fpm.ingest.quarantine import FAULT_COLUMNS
from fpm.row_order import by_runs, in_order
from fpm.sessions import session_slots

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from fpm.markets import Market

CODE, WRONG = "FPM-IN-148", "two sources disagree"
KEYS = ("session", "symbol")
RATIO = 0.1  # amount / (volume x mid price) within this of a unit's own; a day's average lies near its mid
AMOUNTS = {1.0: "currency", 1e3: "thousands", 1e4: "ten thousands"}
SCALES = (1.0, 100.0, 1000.0)  # of a whole table beside the minutes
SCALE_WIDTH = 1.5  # a table's median within this factor of a scale has it


@dataclass(frozen=True)
class Bounds:
    """Largest relative differences of a day's prices and sums in two sources."""

    price: float
    total: float


# Sums: a first copy of minutes may be wrong by a half-hour and STAR trades at fixed prices after the close, which a
# daily table counts. Prices elsewhere: an official close may be an auction's or an average (NSE: the last half-hour).
EVERY_MINUTE = Bounds(price=0.005, total=0.25)
SPARSE = Bounds(price=0.02, total=0.5)


def bounds(market: Market) -> Bounds:
    """The bounds of a market: narrow where its vendors deliver every minute."""
    return EVERY_MINUTE if market.exchange.every_minute else SPARSE


# --- units ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class DailyUnits:
    """Rows of a daily table in shares and currency, and what was converted, in words."""

    rows: pl.DataFrame
    conversions: tuple[str, ...]


def in_shares(rows: pl.DataFrame, market: Market) -> DailyUnits:
    """Daily rows (symbol, session, high, low, volume, and amount where the vendor has it) in shares and currency.

    Each row with an amount shows its units; a row that shows none has those of most rows. Where most rows show none
    (adjusted prices, amounts of something else), nothing is converted: the minutes have to tell.
    """
    if "amount" not in rows.columns:
        return DailyUnits(rows, ())
    lot = float(market.exchange.lot if market.exchange.lot > 1 else 100)
    ratio = pl.col("amount") * 2 / (pl.col("volume") * (pl.col("low") + pl.col("high")))
    pairs = {(volume, amount): volume / amount for volume in (1.0, lot) for amount in AMOUNTS}
    number = pl.lit(None, pl.Int8)
    for index, unit_ratio in enumerate(pairs.values()):
        near = ((ratio / unit_ratio - 1).abs() < RATIO).fill_null(False)
        number = pl.when(near).then(pl.lit(index, pl.Int8)).otherwise(number)
    shown = ((pl.col("volume") > 0) & (pl.col("amount") > 0) & (pl.col("low") > 0)).fill_null(False)
    units = rows.select(unit=pl.when(shown).then(number), shown=shown)
    rows_with_both, numbers = units["shown"].sum(), units["unit"].drop_nulls()
    if len(numbers) * 2 <= rows_with_both:
        return DailyUnits(rows, ())
    usual = numbers.mode().sort()[0]
    unit = units["unit"].fill_null(usual)
    names = list(pairs)
    if usual == 0 and (unit == 0).all():
        return DailyUnits(rows, ())
    factors = {
        column: unit.replace_strict(range(len(names)), [pair[which] for pair in names], return_dtype=pl.Float64)
        for which, column in enumerate(("volume", "amount"))
    }
    converted = rows.with_columns((pl.col(name) * factor).round(4).alias(name) for name, factor in factors.items())
    return DailyUnits(converted, _conversions(rows, unit, usual, names))


def _conversions(
    rows: pl.DataFrame, unit: pl.Series, usual: int, names: Sequence[tuple[float, float]]
) -> tuple[str, ...]:
    """The table's usual units where they are converted, and by session the symbols with others."""
    text = [] if usual == 0 else [f"{_words(names[usual])}: converted"]
    others = rows.select(*KEYS).with_columns(unit.alias("unit")).filter(pl.col("unit") != usual)
    by_session = others.group_by("session", "unit").agg(pl.col("symbol").cast(pl.String).sort()).sort("session", "unit")
    for session, number, symbols in by_session.iter_rows():
        shown = ", ".join(symbols[:5]) + (" …" if len(symbols) > 5 else "")
        text.append(f"{_words(names[number])} on {session}, converted: {len(symbols)} symbols, {shown}")
    return tuple(text)


def _words(pair: tuple[float, float]) -> str:
    return f"volume in {'shares' if pair[0] == 1 else 'lots'}, amount in {AMOUNTS[pair[1]]}"


# --- the same day from minutes --------------------------------------------------------------------------------------
def day_totals(minutes: pl.DataFrame, market: Market) -> pl.DataFrame:
    """Each symbol-session of minute bars as a day: session, symbol, high, low, close, volume, amount, whole, ends.

    `minutes` has session, symbol, slot, high, low, close, volume, amount. `whole`: no required minute is absent;
    `ends`: the last required minute is there. Both are true where vendors leave out minutes without a trade.
    """
    traded = pl.col("volume") > 0
    price = {name: pl.when(traded).then(pl.col(name)) for name in ("high", "low", "close")}
    required, last = _required(minutes["session"].unique().to_list(), market)
    slots = [slot for slot, minute in enumerate(market.slots) if minute in required_minutes(market)]
    day = by_runs(
        in_order(minutes, (*KEYS, "slot")),
        KEYS,
        price["high"].max(),
        price["low"].min(),
        price["close"].drop_nulls().last(),
        pl.col("volume").sum(),
        pl.when(pl.col("amount").null_count() == 0).then(pl.col("amount").sum()).alias("amount"),
        pl.col("slot").is_in(slots).sum().alias("present"),
        pl.col("slot").max().alias("last"),
    )
    expected, end = (
        pl.col("session").replace_strict(list(by), list(by.values()), return_dtype=pl.Int64) for by in (required, last)
    )
    return day.with_columns(whole=pl.col("present") >= expected, ends=pl.col("last") >= end).drop("present", "last")


def _required(sessions: Sequence[date], market: Market) -> tuple[dict[date, int], dict[date, int]]:
    """Number of required minutes of each session, and the slot of the last; 0 and -1 where none is required."""
    always = required_minutes(market)
    slots = {
        session: [
            slot
            for slot, is_open in enumerate(session_slots(market, session).open_N)
            if is_open and market.slots[slot] in always
        ]
        for session in sessions
    }
    return {day: len(own) for day, own in slots.items()}, {day: max(own, default=-1) for day, own in slots.items()}


def table_scales(daily: pl.DataFrame, totals: pl.DataFrame) -> dict[str, float]:
    """volume, amount -> what the whole daily table is multiplied by to be in the minutes' unit; only what is not 1.

    `daily` and `totals` (`day_totals`) share some symbol-sessions; the median over these decides.
    """
    both = _both(daily, totals)
    scales: dict[str, float] = {}
    for name in [name for name in ("volume", "amount") if name in daily.columns]:
        pairs = both.filter((pl.col(name) > 0) & (pl.col(f"{name}_minutes") > 0))
        ratio = pairs.select((pl.col(f"{name}_minutes") / pl.col(name)).median()).item()
        for scale in SCALES[1:] if ratio else ():
            if 1 / SCALE_WIDTH < ratio / scale < SCALE_WIDTH:
                scales[name] = scale
    return scales


def scaled(daily: pl.DataFrame, scales: dict[str, float]) -> pl.DataFrame:
    """Daily rows times `table_scales`; a turnover that was derived from the volume follows it."""
    if not scales:
        return daily
    factors = [(pl.col(name) * scale).round(4).alias(name) for name, scale in scales.items() if name in daily.columns]
    if "volume" in scales and {"turnover", "float_shares"} <= set(daily.columns):
        derived = pl.col("turnover") == pl.col("volume") / pl.col("float_shares")
        factors.append(
            pl.when(derived).then(pl.col("turnover") * scales["volume"]).otherwise("turnover").alias("turnover")
        )
    return daily.with_columns(factors)


# --- agreement ------------------------------------------------------------------------------------------------------
def disagreements(daily: pl.DataFrame, totals: pl.DataFrame, market: Market) -> pl.DataFrame:
    """session, symbol, reason of the symbol-sessions whose daily row and minutes differ; the reason shows both values.

    `daily`: daily rows in shares and currency, `totals`: `day_totals`. Suspended rows, and symbols that only one source
    has, are not compared. No price lies beyond the day's limits where the daily row has them (first days and ex-dates
    have none, or their own). Where minutes are absent, their range has to lie within the day's, and their sums may be
    smaller by half.
    """
    limit, tick = bounds(market), market.exchange.tick
    both = _both(daily, totals).filter(~pl.col("suspended").fill_null(False))
    if not market.exchange.every_minute:
        both = both.filter(pl.col("close_minutes").is_not_null())
    low, high, whole = pl.col("low_minutes"), pl.col("high_minutes"), pl.col("whole")
    below, above = 1 - limit.price, 1 + limit.price
    both = both.with_columns(limit_up_minutes=high, limit_down_minutes=low)
    beyond = {"limit_up": high > pl.col("limit_up") + tick, "limit_down": low < pl.col("limit_down") - tick}
    faults = {
        **{name: fault for name, fault in beyond.items() if name in daily.columns},
        "high": (high > pl.col("high") * above + tick) | (whole & (high < pl.col("high") * below - tick)),
        "low": (low < pl.col("low") * below - tick) | (whole & (low > pl.col("low") * above + tick)),
        "close": pl.col("ends")
        & ((pl.col("close_minutes") - pl.col("close")).abs() > pl.col("close") * limit.price + tick),
    }
    # minutes that are not whole have to touch the day's range all the same
    faults["high"] |= high < pl.col("low") * below - tick
    faults["low"] |= low > pl.col("high") * above + tick
    for name in (name for name in ("volume", "amount") if name in daily.columns):
        ratio = (pl.col(f"{name}_minutes") / pl.col(name)).fill_nan(None)
        least = pl.when(whole).then(1 - limit.total).otherwise(min(0.5, 1 - limit.total))
        faults[name] = (ratio > 1 + limit.total) | (ratio < least)
    reason = pl.coalesce(
        pl.when(fault.fill_null(False)).then(
            pl.format(f"{WRONG}: daily {name} {{}}, minutes {{}}", pl.col(name), pl.col(f"{name}_minutes"))
        )
        for name, fault in faults.items()
    )
    return both.select(*KEYS, reason.alias("reason")).drop_nulls("reason").sort(*KEYS)


def minute_faults(bars: pl.DataFrame, differing: pl.DataFrame) -> pl.DataFrame:
    """The faults (`quarantine.FAULT_COLUMNS`) of all rows of these symbol-sessions (`disagreements`)."""
    rows = bars.join(differing, on=KEYS, how="inner", maintain_order="left")
    return rows.with_columns(pl.lit(CODE).alias("reason_code")).select(FAULT_COLUMNS)


def _both(daily: pl.DataFrame, totals: pl.DataFrame) -> pl.DataFrame:
    """Symbol-sessions of both, the minutes' columns with the suffix `_minutes`."""
    return daily.join(totals, on=KEYS, how="inner", suffix="_minutes", maintain_order="left")
