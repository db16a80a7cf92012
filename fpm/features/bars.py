"""Minute bars as a dense grid: stored slots merged into a view, and the values of a minute without a trade.

Letters in array names: S symbols, N stored slots of the market, T slots of the view.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.schema import MINUTE_BARS, ORDER_FLOWS, PRICES
from fpm.sessions import session_slots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.markets import Market

FLOWS = tuple(name for name in MINUTE_BARS.columns if name not in ("symbol", "slot", *PRICES))
BLOCK = 128  # symbols at a time: their arrays of one session stay in a core's cache


@dataclass(frozen=True)
class Grid:
    """One session of minute bars as arrays.

    `columns`: every price and flow of `schema.MINUTE_BARS` -> (S, T) float64, NaN = unavailable. Prices are raw,
    flows in shares, currency and counts. `traded_ST`: whether the minute had volume. A minute is one of:

    - traded: the vendor's values; a column that the vendor lacks is NaN;
    - without a trade: flows 0 (orders and cancels: the vendor's values), open = high = low = close = the session's last
      close, NaN before the first trade (the prior session's close, `pre_close` of the daily table, belongs there);
      nothing is filled backwards;
    - missing (no row although the vendor delivers every minute, or after the end of a half day): everything NaN.

    `available`: the flows of which any symbol has a value.
    """

    symbols: tuple[str, ...]
    columns: dict[str, np.ndarray]
    traded_ST: np.ndarray
    available: frozenset[str]

    def block(self, rows: slice) -> Grid:
        """The grid of some of its symbols."""
        columns = {name: values_ST[rows] for name, values_ST in self.columns.items()}
        return replace(self, symbols=self.symbols[rows], columns=columns, traded_ST=self.traded_ST[rows])


def blocks(symbols: int) -> list[slice]:
    """The rows of so many symbols, `BLOCK` at a time."""
    return [slice(start, min(start + BLOCK, symbols)) for start in range(0, symbols, BLOCK)]


def grid(bars: pl.DataFrame, market: Market, view: str, symbols: Sequence[str] | None = None) -> Grid:
    """Return the bars of ONE session in a view: open first, high max, low min, close last, flows summed.

    `bars` has symbol, slot (stored) and any of the price and flow columns; its column `session`, if there is one,
    identifies a half day. `symbols` gives the rows of the result in order (default: those present, sorted); a symbol
    without bars is NaN throughout. The row order and unknown columns of `bars` have no effect.
    """
    names = tuple(bars["symbol"].unique().sort().to_list()) if symbols is None else tuple(symbols)
    rows = bars if symbols is None else bars.filter(pl.col("symbol").is_in(list(names)))
    place_R = rows["symbol"].cast(pl.Enum(list(names))).to_physical().to_numpy()
    if (np.diff(place_R.astype(np.int64)) < 0).any():
        order_R = np.argsort(place_R, kind="stable")
        rows, place_R = rows[order_R], place_R[order_R]
    ends = np.append(0, np.cumsum(np.bincount(place_R, minlength=len(names))))
    used = _delivered(rows, market.views[view])
    required_N = _required(rows, market)
    columns = {name: np.empty((len(names), market.view_size(view))) for name in (*PRICES, *used)}
    traded_ST = np.empty((len(names), market.view_size(view)), bool)
    for block in blocks(len(names)):
        begin, end = ends[block.start], ends[block.stop]
        cells = Cells(
            (block.stop - block.start, len(market.slots)),
            (place_R[begin:end] - np.uint32(block.start), rows["slot"][begin:end].to_numpy()),
        )
        merged, traded_ST[block] = _merged(rows[begin:end], cells, required_N, market.views[view], used)
        for name, values_ST in merged.items():
            columns[name][block] = values_ST
    unavailable_ST = np.broadcast_to(np.nan, traded_ST.shape)
    available = frozenset(name for name in used if np.isfinite(columns[name]).any())
    return Grid(names, {name: columns.get(name, unavailable_ST) for name in (*PRICES, *FLOWS)}, traded_ST, available)


def _delivered(rows: pl.DataFrame, view: tuple[int, ...]) -> list[str]:
    """The flows of which any symbol has a value in the view's slots; a flow without any is unavailable everywhere."""
    outside = [slot for slot, position in enumerate(view) if position < 0]
    inside = rows.filter(~pl.col("slot").is_in(outside)) if outside else rows
    flows = [name for name in FLOWS if name in rows.columns]
    return [name for name in flows if not np.isnan(inside[name].cast(pl.Float64).to_numpy()).all()]


def _merged(
    bars: pl.DataFrame, cells: Cells, required_N: np.ndarray, view: tuple[int, ...], flows: Sequence[str]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The prices and flows of some symbols in a view, (S, T) each, and whether the minute had volume."""
    traded_SN: np.ndarray = cells.dense(bars["volume"]) > 0
    missing_SN = _missing(cells, required_N)
    starts, slots = _merges(view)
    columns = {name: cells.dense(bars[name])[:, slots] for name in dict.fromkeys((*PRICES, "volume", *flows))}
    traded_ST: np.ndarray = np.logical_or.reduceat(traded_SN[:, slots], starts, axis=1)
    missing_ST = ~traded_ST & np.logical_or.reduceat(missing_SN[:, slots], starts, axis=1)
    merged = _merge_prices(columns, traded_SN[:, slots], starts)
    merged |= _merge_flows(columns, traded_SN[:, slots], starts, flows)
    for values_ST in merged.values():
        values_ST[missing_ST] = np.nan
    return merged, traded_ST


def required_minutes(market: Market) -> frozenset[int]:
    """Return the minutes of the day for which every vendor of the market delivers a row; none if vendors omit rows."""
    return frozenset(market.slots) - market.calls if market.exchange.every_minute else frozenset()


@dataclass(frozen=True)
class Cells:
    """The cell of every bar in an array of symbols x stored slots."""

    shape: tuple[int, int]
    index: tuple[np.ndarray, np.ndarray]

    @classmethod
    def from_bars(cls, bars: pl.DataFrame, symbols: tuple[str, ...], market: Market) -> Cells:
        """Return the cells of one session's bars, whose symbols are all among `symbols`."""
        row = bars["symbol"].cast(pl.Enum(list(symbols))).to_physical().to_numpy()
        return cls((len(symbols), len(market.slots)), (row, bars["slot"].to_numpy()))

    def dense(self, column: pl.Series) -> np.ndarray:
        """Return a column of the bars as (S, N) float64, NaN in cells without a bar."""
        values_SN: np.ndarray = np.full(self.shape, np.nan)
        values_SN[self.index] = column.cast(pl.Float64).to_numpy()
        return values_SN


def _required(bars: pl.DataFrame, market: Market) -> np.ndarray:
    """Return the slots in which an absent row means "not observed" rather than "without a trade", (N,) bool."""
    always = required_minutes(market)
    required_N = np.array([minute in always for minute in market.slots])
    if "session" in bars.columns and bars.height:
        required_N |= ~session_slots(market, bars["session"][0]).open_N
    return required_N


def _missing(cells: Cells, required_N: np.ndarray) -> np.ndarray:
    """Return where nothing was observed: required slots without a row, and symbols without any, (S, N) bool."""
    absent_SN: np.ndarray = np.ones(cells.shape, bool)
    absent_SN[cells.index] = False
    nothing_S: np.ndarray = np.all(absent_SN, axis=1)
    missing_SN: np.ndarray = absent_SN & (required_N | nothing_S[:, None])
    return missing_SN


def _merges(view: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the start of each of a view's T groups among its stored slots, and these slots."""
    positions = np.array(view)
    slots = np.flatnonzero(positions >= 0)
    return np.flatnonzero(np.diff(positions[slots], prepend=-1)), slots


def _merge_prices(columns: dict[str, np.ndarray], traded: np.ndarray, starts: np.ndarray) -> dict[str, np.ndarray]:
    """Merge the prices of traded minutes, then carry the last close into minutes without a trade."""
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


def _merge_flows(
    columns: dict[str, np.ndarray], traded: np.ndarray, starts: np.ndarray, flows: Sequence[str]
) -> dict[str, np.ndarray]:
    """Sum each group; one null in a group makes the group NaN."""
    return {
        name: np.add.reduceat(np.where(traded | _recorded(name, columns), columns[name], 0.0), starts, axis=1)
        for name in flows
    }


def _recorded(name: str, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Return where a flow is recorded without a trade: order flows, in every row of the vendor."""
    return ~np.isnan(columns["volume"]) if name in ORDER_FLOWS else np.zeros(columns[name].shape, bool)


def _first(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return each group's first value that is not NaN."""
    ends = np.append(starts[1:], values.shape[1])
    result = values[:, starts]
    for offset in range(1, int((ends - starts).max())):
        position = np.minimum(starts + offset, ends - 1)
        result = np.where(np.isnan(result), values[:, position], result)
    return result


def _carry(values_ST: np.ndarray) -> np.ndarray:
    """Return the last value that is not NaN, at or before each slot."""
    last_ST = np.where(np.isnan(values_ST), 0, np.arange(values_ST.shape[1])[None, :])
    return np.take_along_axis(values_ST, np.maximum.accumulate(last_ST, axis=1), axis=1)


def derive_daily(bars: pl.DataFrame, market: Market, previous: pl.DataFrame) -> pl.DataFrame:
    """Derive the `daily_bars` rows of ONE session from its stored bars, for a vendor without a daily table.

    Open of the first traded minute, close of the last, high and low over all, sums of volume and amount; a symbol
    without a trade is suspended at its previous close. `previous` (symbol, close of the session before, optionally
    float_shares) gives `pre_close` and `turnover`. `adj_factor` is 1; columns that minutes cannot give are null.
    """
    names = tuple(sorted(set(bars["symbol"].to_list())))
    cells = Cells.from_bars(bars, names, market)
    columns = {name: cells.dense(bars[name]) for name in (*PRICES, "volume", "amount")}
    traded_SN = columns["volume"] > 0
    price = {name: np.where(traded_SN, columns[name], np.nan) for name in PRICES}
    sums = {name: np.where(traded_SN, columns[name], 0.0).sum(axis=1) for name in ("volume", "amount")}
    derived = pl.DataFrame(
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
    return _with_previous(derived.fill_nan(None), previous)


def _at(values_SN: np.ndarray, slot_S: np.ndarray) -> np.ndarray:
    """Return each symbol's value in one slot, (S,)."""
    value_S: np.ndarray = np.take_along_axis(values_SN, slot_S[:, None], axis=1)[:, 0]
    return value_S


def _with_previous(derived: pl.DataFrame, previous: pl.DataFrame) -> pl.DataFrame:
    """Add the columns that need the session before: pre_close, turnover, prices of suspended symbols."""
    with_shares = previous if "float_shares" in previous.columns else previous.with_columns(float_shares=None)
    before = with_shares.select("symbol", pl.col("close").alias("pre_close"), pl.col("float_shares").cast(pl.Float64))
    joined = derived.join(before, on="symbol", how="left", maintain_order="left")
    return joined.with_columns(
        *(pl.coalesce(name, "pre_close").alias(name) for name in PRICES),
        (pl.col("volume") / pl.col("float_shares")).alias("turnover"),
        pl.lit(1.0).alias("adj_factor"),
        pl.lit(False).alias("st"),
    )
