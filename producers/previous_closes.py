"""Each symbol's last close before a session: `pre_close` of derived daily bars, and prices that cannot follow it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from fpm.ingest.price_jumps import CODE, FACTS, KEYS, WINDOW, price_jumps
from fpm.ingest.quarantine import FAULT_COLUMNS
from fpm.ingest.scales import scale_faults, scaled_sessions
from fpm.sessions import previous_sessions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm.ingest.units import Stated
    from fpm.ingest.vendor_bars import Combined
    from fpm.store.ledger.stores import Stores

NO_FAULTS = pl.DataFrame(
    schema={"session": pl.Date, "symbol": pl.String, "reason_code": pl.String, "reason": pl.String}
)
LOOK_BACK = 5  # sessions that may hold a symbol's previous close


def previous_closes(session: date, stores: Stores, known_at: datetime | None) -> pl.DataFrame:
    """symbol, close, float_shares: each symbol's last close before the session, as known at a moment (None: now).

    A symbol that did not trade for more than `LOOK_BACK` sessions has none; a renamed company keeps its own.
    """
    before = previous_sessions(stores.market, session, LOOK_BACK) or [session - timedelta(days=1)]
    past = stores.as_of(known_at).named(session)
    rows = past.read("daily_bars", before[0], before[-1], columns=("symbol", "close", "float_shares"))
    return rows.drop_nulls("close").unique("symbol", keep="last", maintain_order=True).drop("session")


@dataclass(frozen=True)
class Beside:
    """A batch of bars beside the closes before.

    `combined`: what stays. `faults`: session, symbol, reason_code, reason of what does not; `falls`: see `Jumps`.
    """

    combined: Combined
    faults: pl.DataFrame
    falls: pl.DataFrame


def beside_closes(combined: Combined, stated: Stated, stores: Stores, daily: Mapping[date, pl.DataFrame]) -> Beside:
    """The bars of a batch without the symbol-sessions that look scaled, or jump further than their board allows.

    `daily`: session -> rows of the vendor's daily table. No scale is looked for where the caller says what the prices
    are, no jump where he says that they are adjusted.
    """
    faults, falls = close_faults(combined.frame, stated, stores, daily)
    return Beside(_without(combined, faults), faults, falls)


def close_faults(
    bars: pl.DataFrame, stated: Stated, stores: Stores, daily: Mapping[date, pl.DataFrame]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`faults` and `falls` (`Beside`) of bars: session, symbol, slot, prices, volume."""
    past = _past(bars, stores)
    scaled = NO_FAULTS if past is None or stated.prices else scale_faults(_scaled(bars, past))
    if past is None or stated.prices == "adjusted" or not stores.market.exchange.limits:
        return scaled, NO_FAULTS.drop("reason_code")
    rest = bars.join(scaled, on=KEYS, how="anti", maintain_order="left") if scaled.height else bars
    jumps = price_jumps(rest, past, _facts(rest, daily, stores), stores.market)
    return pl.concat([scaled, jumps.faults.select(*KEYS, pl.lit(CODE).alias("reason_code"), "reason")]), jumps.falls


def _past(bars: pl.DataFrame, stores: Stores) -> pl.DataFrame | None:
    """session, symbol, close, adj_factor of the `WINDOW` sessions before the first one of `bars`; None without bars."""
    first = bars["session"].min()
    if not isinstance(first, date):
        return None
    before = previous_sessions(stores.market, first, WINDOW) or [first - timedelta(days=1)]
    past = stores.as_of(None).named(first)
    return past.read("daily_bars", before[0], before[-1], columns=("symbol", "close", "adj_factor")).drop_nulls("close")


def _scaled(bars: pl.DataFrame, past: pl.DataFrame) -> pl.DataFrame:
    """`scaled_sessions` beside the closes of the last `LOOK_BACK` sessions."""
    recent = past["session"].unique().sort()[-LOOK_BACK:]
    closes = past.filter(pl.col("session").is_in(recent.implode())).unique("symbol", keep="last", maintain_order=True)
    return scaled_sessions(bars, closes)


def _without(combined: Combined, faults: pl.DataFrame) -> Combined:
    """The bars without the symbol-sessions of `faults` (session, symbol, reason_code, reason): their rows go."""
    if faults.is_empty():
        return combined
    rows = combined.frame.join(faults, on=KEYS, how="inner", maintain_order="left").select(FAULT_COLUMNS)
    frame = combined.frame.join(faults, on=KEYS, how="anti", maintain_order="left")
    return replace(combined, frame=frame, quarantined=pl.concat([combined.quarantined, rows]))


def _facts(bars: pl.DataFrame, daily: Mapping[date, pl.DataFrame], stores: Stores) -> pl.DataFrame:
    """session, symbol and `FACTS` of the sessions of `bars`: of the delivery's daily rows, else of the stored ones."""
    stored = set(stores.sessions("daily_bars"))
    parts = [pl.DataFrame(schema={"session": pl.Date, "symbol": pl.String, **FACTS})]
    for day in bars["session"].unique().sort().to_list():
        if day in daily:
            rows = daily[day].with_columns(pl.lit(day).alias("session"))
            parts.append(rows.select(name for name in parts[0].columns if name in rows.columns))
        elif day in stored:
            parts.append(stores.read("daily_bars", day, columns=("symbol", *FACTS)))
    return pl.concat(parts, how="diagonal_relaxed")
