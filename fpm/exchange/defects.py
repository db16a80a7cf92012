"""Defects of a real feed in a session's file: each has its own rate, and all are off by default.

A defect changes the first copy only. If it destroys values, a later delivery corrects them, as vendors do; if the
ingest can repair it (copies, order, stamps, lots, spellings), no correction follows. Each defect has its own random
stream, so switching one on changes neither another defect nor the true bars.

Letters in array names: S symbols.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.exchange_facts import shipped
from fpm.schema import OPTIONAL_FLOWS, PRICES

if TYPE_CHECKING:
    from collections.abc import Callable

FLOWS = ("volume", "amount", *OPTIONAL_FLOWS)
FEW, MANY = 4, 40  # missing minutes that an ingest tolerates, and missing minutes that it refuses
SPELLINGS = ("sh600001", "600001", "600001.XSHG")  # of one code; symbols take turns
OTHER_ZONE = timedelta(hours=-8)


@dataclass(frozen=True)
class Defects:
    """Rates of the defects: shares of symbol-sessions, or from `start_stamped` on shares of sessions (whole files)."""

    duplicated_rows: float = 0.0
    conflicting_rows: float = 0.0
    missing_minutes: float = 0.0
    broken_off: float = 0.0
    late_symbols: float = 0.0
    wrong_prices: float = 0.0
    inverted_prices: float = 0.0
    negative_cells: float = 0.0
    empty_cells: float = 0.0
    infinite_cells: float = 0.0
    priced_at_zero: float = 0.0
    quoted_minutes: float = 0.0
    lunch_rows: float = 0.0
    other_day_rows: float = 0.0
    strange_codes: float = 0.0
    stale_rows: float = 0.0
    start_stamped: float = 0.0
    in_lots: float = 0.0
    unordered: float = 0.0
    spelled_otherwise: float = 0.0
    other_zone: float = 0.0
    extra_column: float = 0.0
    without_a_flow: float = 0.0
    without_volume: float = 0.0
    volume_as_text: float = 0.0
    half_day: float = 0.0
    other_values: float = 0.0
    truncated_file: float = 0.0
    late_file: float = 0.0


def all_defects(rate: float) -> Defects:
    """Return every defect at one rate."""
    return Defects(**{field.name: rate for field in fields(Defects)})


@dataclass(frozen=True)
class FirstCopy:
    """The first delivery of a session: its bars, the symbols that need a correction, and whether the file is cut off.

    Empty bars mean that no file arrives.
    """

    bars: pl.DataFrame
    spoiled: frozenset[str] = frozenset()
    truncated: bool = False


def first_copy(true_bars: pl.DataFrame, suspended: pl.DataFrame, defects: Defects, seed: list[int]) -> FirstCopy:
    """Apply randomly selected defects to a session's true bars. `suspended`: symbol and close of suspended symbols."""
    copy = FirstCopy(true_bars)
    names = true_bars["symbol"].unique(maintain_order=True)
    for number, (name, rate) in enumerate(asdict(defects).items()):
        rng = np.random.default_rng([*seed, number])
        if not rate:
            continue
        if name in BY_FILE:
            if rng.random() < rate:
                copy = BY_FILE[name](copy, names, rng)
        elif name == "stale_rows":
            halted = suspended.filter(pl.Series(rng.random(len(suspended)) < rate))
            copy = replace(copy, bars=with_stale_rows(copy.bars, halted))
        else:
            symbols = names.filter(pl.Series(rng.random(len(names)) < rate))
            if len(symbols) and len(copy.bars):
                change, spoils = BY_SYMBOL[name]
                bars = change(copy.bars, first_rows(copy.bars, symbols, rng))
                copy = replace(copy, bars=bars, spoiled=copy.spoiled | (frozenset(symbols) if spoils else frozenset()))
    return copy


def first_rows(bars: pl.DataFrame, symbols: pl.Series, rng: np.random.Generator) -> pl.DataFrame:
    """Draw one traded row of each symbol where its defect begins, with room for missing rows after it.

    Returns `symbol` and `first`, the number of that row among the symbol's rows.
    """
    traded = (
        bars.filter(pl.col("symbol").is_in(symbols.to_list()))
        .with_columns(pl.int_range(pl.len()).over("symbol").alias("first"))
        .filter((pl.col("volume") > 0) & pl.col("first").is_between(5, 150))
    )
    dice = traded.with_columns(pl.Series("dice", rng.random(len(traded))))
    return dice.sort("symbol", "dice").unique("symbol", keep="first", maintain_order=True).select("symbol", "first")


def _with_offset(bars: pl.DataFrame, first: pl.DataFrame) -> pl.DataFrame:
    """Add `off`, the number of rows since the symbol's first struck row; null for symbols without a defect."""
    joined = bars.join(first, on="symbol", how="left", maintain_order="left")
    offset = pl.int_range(pl.len()).over("symbol") - pl.col("first")
    return joined.with_columns(offset.alias("off")).drop("first")


def _cells(**values: pl.Expr) -> Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]:
    """Return a defect that puts other values into one row of each symbol."""

    def change(bars: pl.DataFrame, first: pl.DataFrame) -> pl.DataFrame:
        here = (pl.col("off") == 0).fill_null(False)
        return (
            _with_offset(bars, first)
            .with_columns(
                pl.when(here).then(value).otherwise(pl.col(name)).alias(name) for name, value in values.items()
            )
            .drop("off")
        )

    return change


def _without(rows: int) -> Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]:
    """Return a defect that drops `rows` minutes of each symbol."""

    def change(bars: pl.DataFrame, first: pl.DataFrame) -> pl.DataFrame:
        missing = pl.col("off").is_between(0, rows - 1).fill_null(False)
        return _with_offset(bars, first).filter(~missing).drop("off")

    return change


def _again(**values: pl.Expr) -> Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]:
    """Return a defect that delivers a few rows of each symbol a second time, with the given values."""

    def change(bars: pl.DataFrame, first: pl.DataFrame) -> pl.DataFrame:
        copies = _with_offset(bars, first).filter(pl.col("off").is_between(0, FEW - 1)).drop("off")
        copies = copies.with_columns(value.alias(name) for name, value in values.items())
        return pl.concat([bars, copies.cast(bars.schema)])

    return change


def _absent(bars: pl.DataFrame, first: pl.DataFrame) -> pl.DataFrame:
    return bars.join(first, on="symbol", how="anti", maintain_order="left")


def _quoted(bars: pl.DataFrame, first: pl.DataFrame) -> pl.DataFrame:
    """Give minutes without a trade the price of a quote, one tick above the last price, and no volume."""
    still = (pl.col("volume") == 0) & pl.col("symbol").is_in(first["symbol"].to_list())
    return bars.with_columns(pl.when(still).then(pl.col(name) + 0.01).otherwise(pl.col(name)) for name in PRICES)


def with_stale_rows(bars: pl.DataFrame, halted: pl.DataFrame) -> pl.DataFrame:
    """Add a whole session of rows for suspended symbols: the last close everywhere, no volume (20)."""
    if not len(halted) or not len(bars):
        return bars
    minutes = bars.filter(pl.col("symbol") == bars["symbol"][0]).select("minute")
    rows = halted.join(minutes, how="cross").with_columns(
        *(pl.col("close").alias(name) for name in PRICES), *(pl.lit(0).alias(name) for name in FLOWS)
    )
    return pl.concat([bars, rows.select(bars.columns).cast(bars.schema)])


# Defects of a symbol-session, and whether its rows need a correction. The numbers are those of the list of feed defects
# behind the codes FPM-IN-0nn.
BY_SYMBOL: dict[str, tuple[Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame], bool]] = {
    "duplicated_rows": (_again(), False),  # 14
    "conflicting_rows": (_again(volume=pl.col("volume") + 100), True),  # 15
    "missing_minutes": (_without(FEW), True),  # 17
    "broken_off": (_without(MANY), True),  # 18
    "late_symbols": (_absent, True),  # 19
    "wrong_prices": (_cells(**{name: pl.col(name) * 10 for name in PRICES}), True),  # 25, 26: a fat finger
    "inverted_prices": (_cells(high=pl.col("low") - 0.05), True),  # 21
    "negative_cells": (_cells(volume=-pl.col("volume")), True),  # 22
    "empty_cells": (_cells(close=pl.lit(np.nan)), True),  # 24
    "infinite_cells": (_cells(high=pl.lit(np.inf)), True),  # 24
    "priced_at_zero": (_cells(**{name: pl.lit(0.0) for name in PRICES}), True),  # 23
    "quoted_minutes": (_quoted, False),
    "lunch_rows": (_again(minute=pl.col("minute").dt.truncate("1d") + pl.duration(hours=12, minutes=15)), False),  # 29
    "other_day_rows": (_again(minute=pl.col("minute") - pl.duration(days=7)), False),  # 27
    "strange_codes": (_again(symbol=pl.lit("../../etc")), False),  # 31
}


# --- the whole file ---------------------------------------------------------------------------------------------
def _start_stamped(bars: pl.DataFrame) -> pl.DataFrame:
    """Stamp bars by their START; the calls keep their own moment (13)."""
    label = pl.col("minute").dt.hour().cast(pl.Int32) * 60 + pl.col("minute").dt.minute().cast(pl.Int32)
    earlier = pl.col("minute") - pl.duration(minutes=1)
    return bars.with_columns(pl.when(label.is_in((565, 900))).then(pl.col("minute")).otherwise(earlier).alias("minute"))


def _in_lots(bars: pl.DataFrame) -> pl.DataFrame:
    """Give volumes in lots of 100 shares (26)."""
    return bars.with_columns(pl.col(name) / shipped()["cn"].lot for name in FLOWS if name.endswith("volume"))


def _spelled(bars: pl.DataFrame) -> pl.DataFrame:
    """Write codes as other vendors do, each symbol in one of three spellings (30)."""
    code, exchange = pl.col("symbol").str.slice(0, 6), pl.col("symbol").str.slice(7)
    turn = code.cast(pl.Int32, strict=False) % len(SPELLINGS)
    mic = pl.when(exchange == "SH").then(pl.lit(".XSHG")).otherwise(pl.lit(".XSHE"))
    spelt = pl.when(turn == 0).then(exchange.str.to_lowercase() + code).when(turn == 1).then(code).otherwise(code + mic)
    return bars.with_columns(pl.when(exchange.is_in(("SH", "SZ"))).then(spelt).otherwise(pl.col("symbol")))


def _mended(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[..., FirstCopy]:
    """Return a defect that writes the same values differently; the ingest repairs it."""

    def defect(copy: FirstCopy, _names: pl.Series, _rng: np.random.Generator) -> FirstCopy:
        return replace(copy, bars=change(copy.bars))

    return defect


def _spoiled(change: Callable[[pl.DataFrame], pl.DataFrame], truncated: bool = False) -> Callable[..., FirstCopy]:
    """Return a defect that makes the file useless; every symbol needs a correction."""

    def defect(copy: FirstCopy, names: pl.Series, _rng: np.random.Generator) -> FirstCopy:
        return FirstCopy(change(copy.bars), frozenset(names), copy.truncated or truncated)

    return defect


def _unordered(copy: FirstCopy, _names: pl.Series, rng: np.random.Generator) -> FirstCopy:
    order = pl.Series(rng.permutation(len(copy.bars)))
    return replace(copy, bars=copy.bars[order])


def _whole(bars: pl.DataFrame) -> pl.DataFrame:
    return bars


def _drop(name: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda bars: bars.drop(name, strict=False)


def _more(bars: pl.DataFrame) -> pl.DataFrame:
    """Raise every flow by a sixteenth in every row: consistent, and wrong."""
    numbers = [name for name in FLOWS if name in bars.columns and bars[name].dtype.is_numeric()]
    return bars.with_columns((pl.col(name) + pl.col(name) // 16).alias(name) for name in numbers)


BY_FILE: dict[str, Callable[[FirstCopy, pl.Series, np.random.Generator], FirstCopy]] = {
    "start_stamped": _mended(_start_stamped),
    "in_lots": _mended(_in_lots),
    "unordered": _unordered,  # 16
    "spelled_otherwise": _mended(_spelled),
    "other_zone": _spoiled(lambda bars: bars.with_columns(pl.col("minute") + OTHER_ZONE)),  # 11
    "extra_column": _mended(lambda bars: bars.with_columns(pl.lit("x").alias("remark"))),  # 5
    "without_a_flow": _spoiled(_drop("cancel_amount")),
    "without_volume": _spoiled(_drop("volume")),  # 6
    "volume_as_text": _spoiled(lambda bars: bars.with_columns(pl.col("volume").cast(pl.String))),  # 8
    "half_day": _spoiled(lambda bars: bars.filter(pl.col("minute").dt.hour() < 12)),  # 35
    "other_values": _spoiled(_more),
    "truncated_file": _spoiled(_whole, truncated=True),  # 2
    "late_file": _spoiled(lambda bars: bars.clear()),  # 19
}
