"""Daily bars of many symbols laid out as arrays: what every traditional factor is made of.

Prices are adjusted (price x adj_factor) and volumes too (volume / adj_factor), so that splits leave no trace. A
suspended session has no return and no volume, and its close is the last one traded; the move over a suspension belongs
to the session of resumption.

Letters in array names: H sessions, oldest first; S symbols.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

Array = NDArray[np.float64]

INPUTS = ("open", "high", "low", "close", "volume", "amount", "turnover", "float_shares", "adj_factor")


@dataclass(frozen=True)
class DailyPanel:
    """Daily bars as (H, S) float64 arrays; NaN where suspended or not listed.

    `close` is carried through suspensions (NaN before listing); `traded_close` is not. `returns` is the return since
    the last close, NaN where not traded. Prices and volumes are adjusted, `raw_close` is not.
    """

    open: Array
    high: Array
    low: Array
    close: Array
    traded_close: Array
    raw_close: Array
    volume: Array
    amount: Array
    turnover: Array
    float_shares: Array
    returns: Array
    listed: NDArray[np.int64]


def daily_panel(daily: pl.DataFrame, days: Sequence[date], symbols: Sequence[str]) -> DailyPanel:
    """Daily bars of these sessions and symbols, and of no others, as arrays."""
    day_at, symbol_at = ({key: i for i, key in enumerate(keys)} for keys in (days, symbols))
    index = [day_at[day] for day in daily["session"].to_list()], [symbol_at[name] for name in daily["symbol"].to_list()]
    raw = {name: _dense(daily, name, index, (len(days), len(symbols))) for name in INPUTS}
    suspended = _dense(daily.with_columns(pl.col("suspended").cast(pl.Float64)), "suspended", index, raw["close"].shape)
    adjust = np.where(raw["adj_factor"] > 0, raw["adj_factor"], np.nan)
    traded = (suspended != 1) & (raw["volume"] > 0) & (raw["close"] > 0) & np.isfinite(adjust)
    known = {name: np.where(traded, values, np.nan) for name, values in raw.items()}
    close = _carried(known["close"] * adjust)
    previous = np.concatenate([np.full_like(close[:1], np.nan), close[:-1]])
    present = np.zeros(raw["close"].shape, bool)
    present[index] = True
    return DailyPanel(
        **{name: known[name] * adjust for name in ("open", "high", "low")},
        close=close,
        traded_close=known["close"] * adjust,
        raw_close=_carried(known["close"]),
        volume=known["volume"] / adjust,
        amount=known["amount"],
        turnover=np.where(np.isnan(known["turnover"]), known["volume"] / raw["float_shares"], known["turnover"]),
        float_shares=raw["float_shares"],
        returns=known["close"] * adjust / previous - 1,
        listed=np.where(present.any(axis=0), len(days) - np.argmax(present, axis=0), 0),
    )


def _dense(daily: pl.DataFrame, name: str, index: tuple[list[int], list[int]], shape: tuple[int, ...]) -> Array:
    values = np.full(shape, np.nan)
    if name in daily.columns:
        values[index] = daily[name].cast(pl.Float64).to_numpy()
    return values


def _carried(x_HS: Array) -> Array:
    """The last value known at or before each session."""
    seen = np.where(np.isnan(x_HS), 0, np.arange(len(x_HS))[:, None])
    return np.take_along_axis(x_HS, np.maximum.accumulate(seen, axis=0), axis=0)
