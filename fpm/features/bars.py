"""Minute bars as a dense grid: stored slots merged into a view, and what an untraded minute holds.

Letters in array names: S symbols, N stored slots of the market, T slots of the view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.schema import MINUTE_BARS, ORDER_FLOWS, PRICES
from fpm.sessions import Market, last_slot

if TYPE_CHECKING:
    from collections.abc import Sequence

FLOWS = tuple(name for name in MINUTE_BARS.columns if name not in ("symbol", "slot", *PRICES))
# Markets whose vendors deliver a row for a minute without a trade: there an absent row is a missing
# observation; elsewhere it is a minute in which nothing traded.
FULL_GRID = frozenset({"cn", "cn15", "crypto"})
# Minutes of the day that every vendor may leave out: the calls, and 14:58-14:59 while the closing call collects.
CALLS = {"cn": (565, 898, 899, 900), "us": (570,)}


@dataclass(frozen=True)
class Grid:
    """One session of minute bars as arrays.

    `columns`: every price and flow of `schema.MINUTE_BARS` -> (S, T) float64, NaN = unavailable. Prices are raw,
    flows in shares, currency and counts. `traded_ST`: whether the minute had volume.

    - traded: what the vendor says; a column the vendor lacks is NaN;
    - nothing traded: flows 0 (orders and cancels as the vendor says), open = high = low = close = the session's last
      close, NaN before the first trade (the prior session's close belongs there; it is `pre_close` of the daily
      table), never back-filled;
    - missing (no row where the vendor delivers every minute, or past the end of a half day): everything NaN.
    """

    symbols: tuple[str, ...]
    columns: dict[str, np.ndarray]
    traded_ST: np.ndarray


def grid(bars: pl.DataFrame, market: Market, view: str, symbols: Sequence[str] | None = None) -> Grid:
    """The bars of ONE session in a view: open first, high max, low min, close last, flows summed.

    `bars` has symbol, slot (stored) and any of the price and flow columns; a column `session`, where present,
    tells a half day. `symbols` gives the rows of the result in order (default: those present, sorted); one
    without bars is NaN throughout. Both row order and unknown columns of `bars` are of no effect.
    """
    names = tuple(sorted(set(bars["symbol"].to_list()))) if symbols is None else tuple(symbols)
    chosen = bars if symbols is None else bars.filter(pl.col("symbol").is_in(list(names)))
    row = chosen["symbol"].cast(pl.Enum(list(names))).to_physical().to_numpy()
    place = (len(names), len(market.slots)), (row, chosen["slot"].to_numpy())
    traded_SN: np.ndarray = _dense(chosen["volume"], place) > 0
    missing_SN = _missing(chosen, market, place)
    starts, kept = _merges(market.views[view])
    columns = {name: _dense(chosen[name], place)[:, kept] for name in (*PRICES, *FLOWS) if name in chosen.columns}
    traded_ST: np.ndarray = np.logical_or.reduceat(traded_SN[:, kept], starts, axis=1)
    missing_ST = ~traded_ST & np.logical_or.reduceat(missing_SN[:, kept], starts, axis=1)
    columns = _merge_prices(columns, traded_SN[:, kept], starts) | _merge_flows(columns, traded_SN[:, kept], starts)
    for values_ST in columns.values():
        values_ST[missing_ST] = np.nan
    unavailable_ST = np.broadcast_to(np.nan, traded_ST.shape)
    return Grid(names, {name: columns.get(name, unavailable_ST) for name in (*PRICES, *FLOWS)}, traded_ST)


def required_minutes(market: Market) -> frozenset[int]:
    """Minutes of the day for which the market's vendors always deliver a row; none where they leave rows out."""
    if market.name not in FULL_GRID:
        return frozenset()
    return frozenset(market.slots) - frozenset(CALLS.get(market.name, ()))


Place = tuple[tuple[int, int], tuple[np.ndarray, np.ndarray]]


def _dense(column: pl.Series, place: Place) -> np.ndarray:
    shape, index = place
    values_SN: np.ndarray = np.full(shape, np.nan)
    values_SN[index] = column.cast(pl.Float64).to_numpy()
    return values_SN


def _missing(bars: pl.DataFrame, market: Market, place: Place) -> np.ndarray:
    """Where no row means "not observed" rather than "nothing traded": (S, N) bool."""
    shape, index = place
    absent_SN: np.ndarray = np.ones(shape, bool)
    absent_SN[index] = False
    nothing_S: np.ndarray = np.all(absent_SN, axis=1)
    always = required_minutes(market)
    required_N = np.array([minute in always for minute in market.slots])
    if "session" in bars.columns and bars.height:
        required_N[last_slot(market, bars["session"][0]) + 1 :] = True
    missing_SN: np.ndarray = absent_SN & (required_N | nothing_S[:, None])
    return missing_SN


def _merges(view: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Stored slots a view keeps, and where each of its T groups starts among them."""
    positions = np.array(view)
    kept = np.flatnonzero(positions >= 0)
    return np.flatnonzero(np.diff(positions[kept], prepend=-1)), kept


def _merge_prices(columns: dict[str, np.ndarray], traded: np.ndarray, starts: np.ndarray) -> dict[str, np.ndarray]:
    """Prices of the traded minutes merged, then the last close carried into the untraded ones."""
    price = {name: np.where(traded, columns[name], np.nan) for name in PRICES}
    close_ST = _first(price["close"][:, ::-1], traded.shape[1] - np.append(starts[1:], traded.shape[1])[::-1])[:, ::-1]
    merged = {
        "open": _first(price["open"], starts),
        "high": np.fmax.reduceat(price["high"], starts, axis=1),
        "low": np.fmin.reduceat(price["low"], starts, axis=1),
        "close": close_ST,
    }
    carried_ST = _carry(close_ST)
    return {name: np.where(np.isnan(close_ST), carried_ST, values_ST) for name, values_ST in merged.items()}


def _merge_flows(columns: dict[str, np.ndarray], traded: np.ndarray, starts: np.ndarray) -> dict[str, np.ndarray]:
    """Sums over each group. A flow that nobody has is left out; one null in a group makes the group NaN."""
    return {
        name: np.add.reduceat(np.where(traded | _spoken(name, columns), columns[name], 0.0), starts, axis=1)
        for name in FLOWS
        if name in columns and not np.isnan(columns[name]).all()
    }


def _spoken(name: str, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Where the vendor's row says what a flow was although nothing traded: orders come and go all the same."""
    return ~np.isnan(columns["volume"]) if name in ORDER_FLOWS else np.zeros(columns[name].shape, bool)


def _first(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The first value of each group that is not NaN."""
    ends = np.append(starts[1:], values.shape[1])
    result = values[:, starts]
    for offset in range(1, int((ends - starts).max())):
        place = np.minimum(starts + offset, ends - 1)
        result = np.where(np.isnan(result), values[:, place], result)
    return result


def _carry(values_ST: np.ndarray) -> np.ndarray:
    """The last value that is not NaN, at or before each slot."""
    seen_ST = np.where(np.isnan(values_ST), 0, np.arange(values_ST.shape[1])[None, :])
    return np.take_along_axis(values_ST, np.maximum.accumulate(seen_ST, axis=1), axis=1)


def derive_daily(bars: pl.DataFrame, market: Market, previous: pl.DataFrame) -> pl.DataFrame:
    """`daily_bars` rows of ONE session from its stored bars, for a vendor who gives no daily table.

    Open of the first traded minute, close of the last, high and low between, sums of volume and amount; a symbol
    without a trade is suspended at its previous close. `previous` (symbol, close of the session before, float_shares
    where known) gives `pre_close` and `turnover`. `adj_factor` is 1, what minutes cannot tell is null.
    """
    names = tuple(sorted(set(bars["symbol"].to_list())))
    row = bars["symbol"].cast(pl.Enum(list(names))).to_physical().to_numpy()
    place = (len(names), len(market.slots)), (row, bars["slot"].to_numpy())
    columns = {name: _dense(bars[name], place) for name in (*PRICES, "volume", "amount")}
    traded_SN = columns["volume"] > 0
    price = {name: np.where(traded_SN, columns[name], np.nan) for name in PRICES}
    sums = {name: np.where(traded_SN, columns[name], 0.0).sum(axis=1) for name in ("volume", "amount")}
    told = pl.DataFrame(
        {
            "symbol": names,
            "open": _at(price["open"], traded_SN.argmax(axis=1)),
            "high": np.fmax.reduce(price["high"], axis=1),
            "low": np.fmin.reduce(price["low"], axis=1),
            "close": _at(price["close"], traded_SN.shape[1] - 1 - traded_SN[:, ::-1].argmax(axis=1)),
            **sums,
            "suspended": ~traded_SN.any(axis=1),
        }
    )
    return _with_previous(told.fill_nan(None), previous)


def _at(values_SN: np.ndarray, slot_S: np.ndarray) -> np.ndarray:
    chosen_S: np.ndarray = np.take_along_axis(values_SN, slot_S[:, None], axis=1)[:, 0]
    return chosen_S


def _with_previous(told: pl.DataFrame, previous: pl.DataFrame) -> pl.DataFrame:
    known = previous if "float_shares" in previous.columns else previous.with_columns(float_shares=None)
    before = known.select("symbol", pl.col("close").alias("pre_close"), pl.col("float_shares").cast(pl.Float64))
    joined = told.join(before, on="symbol", how="left", maintain_order="left")
    return joined.with_columns(
        *(pl.coalesce(name, "pre_close").alias(name) for name in PRICES),
        (pl.col("volume") / pl.col("float_shares")).alias("turnover"),
        pl.lit(1.0).alias("adj_factor"),
        pl.lit(False).alias("st"),
    )
