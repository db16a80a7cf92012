"""The synthetic exchange's tables as a vendor delivers them, including late and wrong first copies.

Letters in array names: S symbols, T vendor rows of a session.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.exchange.days import INDUSTRIES, TICKS, Day, State, Universe
from fpm.exchange.prices import MINUTES, ROWS
from fpm.schema import INDICES, OPTIONAL_FLOWS, PRICES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.exchange.tape import TickTables

MINUTE_COLUMNS = (*PRICES, "volume", "amount", *OPTIONAL_FLOWS)
INDEX_SHARES = (0.30, 0.30, 0.40)  # of eligible symbols, by free-float value: stand-ins for CSI300, CSI500, CSI1000
SEASONING = 20  # sessions since listing that an index requires
LATE_MINUTES = slice(31, 41)  # 10:01 .. 10:10: few enough that the first copy is usable
DOUBLED_MINUTES = slice(91, 121)  # 11:01 .. 11:30


@dataclass(frozen=True)
class Correction:
    """The true minute bars of some symbols in a second delivery of their session, known from `known_at` (UTC)."""

    known_at: datetime
    minute_bars: pl.DataFrame


@dataclass(frozen=True)
class SessionTables:
    """All tables that one session delivers, and those that only the simulator has (`oracle`, `styles`).

    `minute_bars` is the first copy; the symbols of `correction` are late or wrong in it. Empty bars mean that no file
    arrives; `truncated` that the file is cut off in the middle. `ticks` are the true ones, None unless the exchange
    generates them. `index_members` is empty except on the first session of a week.
    """

    session: date
    minute_bars: pl.DataFrame
    daily_bars: pl.DataFrame
    index_members: pl.DataFrame
    oracle: pl.DataFrame
    styles: pl.DataFrame
    correction: Correction | None
    truncated: bool = False
    ticks: TickTables | None = None


@dataclass(frozen=True)
class Dates:
    """Listing dates, which never change, and delisting dates: null until announced, then the session after the last."""

    listed: list[date]
    delisted: list[date | None]


def listing_dates(universe: Universe, state: State, calendar: list[date], index: int) -> Dates:
    """Return the dates known in the evening of session `index`; `calendar` holds all sessions and some after them."""
    listed, delisted = [], []
    for age, days, notice in zip(state.age_S, universe.age_days_S, state.notice_S, strict=True):
        start = index + 1 - int(age)
        listed.append(calendar[start] if start >= 0 else calendar[0] - timedelta(days=int(days)))
        delisted.append(calendar[index + 1 + int(notice)] if notice >= 0 else None)
    return Dates(listed, delisted)


def minute_bars(session: date, symbols: list[str], flows: dict[str, np.ndarray]) -> pl.DataFrame:
    """Return the bars of symbols that traded, `ROWS` each, stamped by naive local bar END; `flows` are their (S, T)."""
    midnight = np.datetime64(session, "us")
    minute_T = midnight + np.array(MINUTES, "timedelta64[m]")
    columns = {name: flows[name].ravel() for name in MINUTE_COLUMNS}
    return pl.DataFrame(
        {
            "symbol": pl.Series(symbols, dtype=pl.String).gather(np.repeat(np.arange(len(symbols)), ROWS)),
            "minute": np.tile(minute_T, len(symbols)),
            **columns,
        }
    )


def daily_bars(
    session: date, universe: Universe, state: State, day: Day, flows: dict[str, np.ndarray], dates: Dates
) -> pl.DataFrame:
    """Return one row per listed symbol; without a limit in force the limits are null.

    A suspended symbol repeats its reference price with volume 0.
    """
    listed_S, traded_S = state.listed_S, day.traded_S
    reference_S = day.pre_close_S / TICKS
    prices = {
        "open": flows["open"][:, 0],
        "high": flows["high"].max(axis=1),
        "low": flows["low"].min(axis=1),
        "close": flows["close"][:, -1],
    }
    frame = pl.DataFrame(
        {
            "symbol": list(universe.symbols),
            **{name: np.where(traded_S, price_S, reference_S) for name, price_S in prices.items()},
            "pre_close": reference_S,
            "volume": flows["volume"].sum(axis=1) * traded_S,
            "amount": cents(flows["amount"].sum(axis=1)) * traded_S,
            "adj_factor": state.adj_factor_S * state.payout_S,
            "limit_up": _none_where_free(day.limit_up_S),
            "limit_down": _none_where_free(day.limit_down_S),
            "suspended": ~traded_S,
            "st": state.notice_S >= 0,
            "industry": [INDUSTRIES[i] for i in universe.sector_S],
            "total_shares": np.rint(universe.total_shares_S * state.adj_factor_S),
            "float_shares": np.rint(universe.float_shares_S * state.adj_factor_S),
            "list_date": pl.Series(dates.listed, dtype=pl.Date),
            "delist_date": pl.Series(dates.delisted, dtype=pl.Date),
        }
    )
    stamped = frame.filter(pl.Series(listed_S)).with_columns(session=pl.lit(session))
    return stamped.select("symbol", "session", pl.all().exclude("symbol", "session"))


def cents(value_S: np.ndarray) -> np.ndarray:
    """Round to the nearest whole cent."""
    return np.asarray(np.rint(value_S * TICKS) / TICKS)


def _none_where_free(limit_S: np.ndarray) -> pl.Series:
    return pl.Series([ticks / TICKS if ticks else None for ticks in limit_S.tolist()], dtype=pl.Float64)


def index_numbers(universe: Universe, state: State) -> np.ndarray:
    """Return the index that each symbol enters at a review by yesterday's free-float value, -1 for none, (S,)."""
    value_S = universe.float_shares_S * state.adj_factor_S * state.close_S
    eligible_S = state.listed_S & (state.age_S >= SEASONING) & (state.notice_S < 0)
    order = np.argsort(-np.where(eligible_S, value_S, 0.0), kind="stable")[: eligible_S.sum()]
    edges = np.rint(np.cumsum((0.0, *INDEX_SHARES)) * len(order)).astype(int)
    index_S = np.full(len(value_S), -1)
    for index in range(len(INDICES)):
        index_S[order[edges[index] : edges[index + 1]]] = index
    return index_S


def index_members(session: date, universe: Universe, state: State, index_S: np.ndarray) -> pl.DataFrame:
    """Return the members before the open that are still listed.

    Weights follow yesterday's free-float value and sum to 1 per index.
    """
    value_S = universe.float_shares_S * state.adj_factor_S * state.close_S
    parts = []
    for index, name in enumerate(INDICES):
        inside = np.flatnonzero((index_S == index) & state.listed_S)
        weight = value_S[inside] / value_S[inside].sum()
        names = [universe.symbols[i] for i in inside]
        columns = {"index": [name] * len(names), "symbol": names, "weight": weight}
        parts.append(pl.DataFrame(columns, schema={"index": pl.String, "symbol": pl.String, "weight": pl.Float64}))
    frame = pl.concat(parts).with_columns(session=pl.lit(session))
    return frame.select("index", "session", "symbol", "weight")


def by_symbol(session: date, symbols: list[str], columns: dict[str, np.ndarray]) -> pl.DataFrame:
    """Return a frame of symbol, session and one float column per name; every array is (S,)."""
    frame = pl.DataFrame({"symbol": symbols, **columns}).with_columns(session=pl.lit(session))
    return frame.select("symbol", "session", *columns)


def style_columns(names: Sequence[str], style_SK: np.ndarray) -> dict[str, np.ndarray]:
    """Return the styles by name, (S,) each."""
    return {name: style_SK[:, k] for k, name in enumerate(names)}


def spoil(true_bars: pl.DataFrame, symbols: list[str], late: bool) -> pl.DataFrame:
    """Return a first copy that is wrong for `symbols`.

    If late, ten minutes are missing; otherwise every flow of one half-hour is doubled.
    """
    row = np.arange(len(true_bars)) % ROWS
    minutes = LATE_MINUTES if late else DOUBLED_MINUTES
    hit = true_bars["symbol"].is_in(symbols) & pl.Series((row >= minutes.start) & (row < minutes.stop))
    if late:
        return true_bars.filter(~hit)
    flows = [name for name in MINUTE_COLUMNS if name not in PRICES]
    factor = pl.lit(hit.cast(pl.Int64) + 1)
    return true_bars.with_columns((pl.col(name) * factor).alias(name) for name in flows)
