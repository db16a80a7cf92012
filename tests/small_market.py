"""A market of eight minutes and its seeded bars, with every special case: the test data of features and factors.

Symbols: A is ordinary; B does not trade in the first two minutes of a session but has bars in them (other minutes
without a trade have no bar); C is halted every fourth session; D splits 2 for 1 halfway; E lists late.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from fpm.features.minute_features import PRESETS, Profile
from fpm.markets import Market
from fpm.schema import OPTIONAL_FLOWS

SLOTS = 8
SMALL = Market("small", "UTC", None, tuple(range(1, SLOTS + 1)), {"8": tuple(range(SLOTS))}, "8", "XX")
PROFILES = {name: Profile(name, "8", PRESETS["tiny"]) for name in ("l2_32", "bar_32", "bar_flow_32")}
FIRST = date(2024, 1, 1)
NO_TRADE = dict.fromkeys(("volume", "amount", *OPTIONAL_FLOWS), 0.0)


def small_market(sessions: int, seed: int = 0) -> dict[str, pl.DataFrame]:
    """Return `minute_bars` and `daily_bars` with their `session`, prices and volumes raw."""
    rng = np.random.default_rng(seed)
    minutes: list[dict[str, Any]] = []
    days: list[dict[str, Any]] = []
    for symbol in "ABCDE":
        close, adjust = 10.0 + rng.integers(0, 20), 1.0
        for i in range(sessions // 3 if symbol == "E" else 0, sessions):
            session, pre_close = FIRST + timedelta(days=i), close
            if symbol == "D" and i == sessions // 2:
                close, pre_close, adjust = close / 2, close / 2, 2.0
            bars = [] if symbol == "C" and i % 4 == 3 else _minutes(rng, symbol, close, adjust)
            close = bars[-1]["close"] if bars else close
            minutes += [{"session": session, "symbol": symbol, **bar} for bar in bars]
            days.append(
                {"session": session, "symbol": symbol, "pre_close": pre_close, "adj_factor": adjust} | _day(bars, close)
            )
    return {
        "minute_bars": pl.DataFrame(minutes).with_columns(pl.col("slot").cast(pl.Int16)),
        "daily_bars": pl.DataFrame(days, infer_schema_length=None).with_columns(industry=pl.lit("I")),
    }


def _minutes(rng: np.random.Generator, symbol: str, close: float, adjust: float) -> list[dict[str, Any]]:
    bars = []
    for slot in range(SLOTS):
        if symbol == "B" and slot < 2:
            bars.append({"slot": slot, **dict.fromkeys(("open", "high", "low", "close"), close), **NO_TRADE})
            continue
        if rng.random() < 0.15 and 0 < slot < SLOTS - 1:
            continue
        opening = round(close * float(np.exp(rng.normal(0, 2e-3))), 2)
        close = opening if rng.random() < 0.2 else round(opening * float(np.exp(rng.normal(0, 4e-3))), 2)
        high, low = max(opening, close) + rng.integers(0, 3) / 100, min(opening, close) - rng.integers(0, 3) / 100
        volume = float(rng.integers(1, 60) * 100 * adjust)
        bar = {"slot": slot, "open": opening, "high": high, "low": low, "close": close, "volume": volume}
        bar |= {"amount": volume * (high + low) / 2} | {name: float(rng.integers(0, 1000)) for name in OPTIONAL_FLOWS}
        bars.append(bar)
    return bars


def _day(bars: list[dict[str, Any]], close: float) -> dict[str, Any]:
    opening, high, low = close, close, close
    if traded := [bar for bar in bars if bar["volume"] > 0]:
        opening, high, low = traded[0]["open"], max(bar["high"] for bar in traded), min(bar["low"] for bar in traded)
    return {
        "open": opening,
        "high": high,
        "low": low,
        "close": close,
        "volume": sum((bar["volume"] for bar in bars), 0.0),
        "amount": sum((bar["amount"] for bar in bars), 0.0),
        "limit_up": close * 1.1,
        "limit_down": close * 0.9,
        "suspended": not bars,
        "float_shares": 1e6,
        "turnover": None,
    }
