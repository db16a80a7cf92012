"""Daily bars of many symbols as arrays: the input of every traditional factor.

Prices are adjusted (price x adj_factor) and so are volumes (volume / adj_factor), so splits leave no trace. A suspended
session has no return and no volume, and its close is the last traded one; the return over a suspension belongs to the
session of resumption.

Letters in array names: H sessions, oldest first; S symbols.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fpm.panels import cells

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

Array = NDArray[np.float64]

INPUTS = ("open", "high", "low", "close", "volume", "amount", "turnover", "float_shares", "adj_factor")


@dataclass(frozen=True)
class DailyPanel:
    """Daily bars as (H, S) float64 arrays, NaN where a symbol is suspended or not listed.

    `close` is carried through suspensions (NaN before listing); `traded_close` is not. `returns`: return since the last
    close, NaN without a trade. Prices and volumes are adjusted, `raw_close` is not. `listed`: sessions since the
    symbol's first row, (S,).
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

    def block(self, symbols: slice) -> DailyPanel:
        """Return the panel of some of its symbols."""
        return DailyPanel(**{item.name: getattr(self, item.name)[..., symbols] for item in fields(self)})


def daily_panel(daily: pl.DataFrame, days: Sequence[date], symbols: Sequence[str]) -> DailyPanel:
    """Return daily bars as arrays; `daily` has rows of these sessions and symbols only."""
    shape, cell_R = (len(days), len(symbols)), cells(daily, days, symbols)
    raw = {name: _dense(daily, name, cell_R, shape) for name in INPUTS}
    suspended = _dense(daily.with_columns(pl.col("suspended").cast(pl.Float64)), "suspended", cell_R, shape)
    adjust = np.where(raw["adj_factor"] > 0, raw["adj_factor"], np.nan)
    traded = (suspended != 1) & (raw["volume"] > 0) & (raw["close"] > 0) & np.isfinite(adjust)
    bars = {name: np.where(traded, values, np.nan) for name, values in raw.items()}
    close = _carried(bars["close"] * adjust)
    previous = np.concatenate([np.full_like(close[:1], np.nan), close[:-1]])
    present = np.zeros(shape, bool)
    present.ravel()[cell_R] = True
    return DailyPanel(
        **{name: bars[name] * adjust for name in ("open", "high", "low")},
        close=close,
        traded_close=bars["close"] * adjust,
        raw_close=_carried(bars["close"]),
        volume=bars["volume"] / adjust,
        amount=bars["amount"],
        turnover=np.where(np.isnan(bars["turnover"]), bars["volume"] / raw["float_shares"], bars["turnover"]),
        float_shares=raw["float_shares"],
        returns=bars["close"] * adjust / previous - 1,
        listed=np.where(present.any(axis=0), len(days) - np.argmax(present, axis=0), 0),
    )


def _dense(daily: pl.DataFrame, name: str, cell_R: NDArray[np.int64], shape: tuple[int, int]) -> Array:
    values = np.full(shape, np.nan)
    if name in daily.columns:
        values.ravel()[cell_R] = daily[name].cast(pl.Float64).to_numpy()
    return values


def _carried(x_HS: Array) -> Array:
    """Return the last available value at or before each session."""
    last = np.where(np.isnan(x_HS), 0, np.arange(len(x_HS))[:, None])
    return np.take_along_axis(x_HS, np.maximum.accumulate(last, axis=0), axis=0)
